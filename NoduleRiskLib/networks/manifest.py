"""What a model package says of itself: the typed content of ``model.json``. Needs no torch."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from .model_config import ModelConfig

#: The format that is written; raised whenever an older NoduleRisk could not read it. Format 1 had other networks.
FORMAT, OLDEST = 9, 2
WEIGHTS, SETTINGS, CARD = "weights.safetensors", "model.json", "README.md"


@dataclass(frozen=True)
class TermFit:
    """One grade in the account of the suspicion.

    Attributes
    ----------
    mean, deviation : float
        Of the grade as shown, over LIDC's reference nodules (diameter: of log2 mm; calcification: of the share of
        readers expected to see any, 0 to 1).
    coefficient : float
        What one deviation more adds to the log-odds.
    """

    mean: float
    deviation: float
    coefficient: float


@dataclass(frozen=True)
class AccountFit:
    """The suspicion from the eight other grades that are shown: a logistic regression, so that its terms add up.

    Attributes
    ----------
    intercept : float
        Log-odds of LIDC's average nodule.
    terms : dict of str to TermFit
        By grade, all of ``OTHER_GRADES``.
    """

    intercept: float
    terms: dict[str, TermFit]


@dataclass(frozen=True)
class Calibration:
    """Intervals, percentiles and a probability for the networks' estimates; fitted on out-of-fold predictions.

    Attributes
    ----------
    interval : dict of str to tuple of (low, high)
        By grade, for each stratum of the measured diameter: what to add to the estimate for the ends of its 80 %
        interval, in grade units (diameter: log2 mm, added to the measured one). Packages up to format 5 were fitted to
        the graders' own diameter, in its strata too: their interval of diameter is a little too narrow or too wide for
        the measured one.
    reference : dict of str to tuple of float
        By grade: the 0th, 1st, ... 100th percentile of the readers' means over LIDC's reference nodules.
    suspicion : (intercept, slope)
        Logistic regression of "at least half of the readers give malignancy 4 or 5" on the malignancy estimate.
    strata_mm : tuple of float
        Where one stratum of ``interval`` ends and the next begins, mm, rising; none: there is one.
    likely : float
        Nodule probability (0 to 1) below which a nodule is warned about: one in twenty of the reference nodules is.
    repeatability : tuple of (up_to_mm, diameter_percent, volume_percent)
        By how much (±, %) two measurements of one nodule whose mean diameter is up to so many mm differ without any
        growth: 95 % limits, rising in mm. None: it was not measured; packages up to format 5 have none.
    account : AccountFit or None
        Why the suspicion is what it is. ``None``: it was not fitted; packages up to format 6 have none.
    """

    interval: dict[str, tuple[tuple[float, float], ...]]
    reference: dict[str, tuple[float, ...]]
    suspicion: tuple[float, float]
    strata_mm: tuple[float, ...] = ()
    likely: float = 0.8
    repeatability: tuple[tuple[float, float, float], ...] = ()
    account: AccountFit | None = None

    def interval_at(self, grade_name: str, diameter_mm: float) -> tuple[float, float]:
        """What to add to that grade's estimate for a nodule whose measured diameter (mm) is this."""
        return self.interval[grade_name][bisect_right(self.strata_mm, diameter_mm)]

    def repeatability_at(self, diameter_mm: float) -> tuple[float, float] | None:
        """Limits (±, %) of diameter and volume for a nodule of this diameter (mm); ``None`` where there are none."""
        for up_to_mm, diameter_percent, volume_percent in self.repeatability:
            if diameter_mm <= up_to_mm:
                return diameter_percent, volume_percent
        return None


@dataclass(frozen=True)
class GradeFaithfulness:
    """What was measured of one grade's heatmaps, on nodules that the grader was not trained on.

    Attributes
    ----------
    beats_gaussian : bool
        Whether the heatmap shows more than a Gaussian around the point does: better by deletion and by insertion,
        p < 0.01.
    deletion : float
        How far the grade moves when what the heatmap shows is filled with local lung, over the same for the Gaussian.
    insertion : float
        How far the grade still is from its value when only that is kept, over the same for the Gaussian.
    pointing : float
        Share (0 to 1) of nodules that the heatmap's strongest pixel hits when the point is not at their centre.
    """

    beats_gaussian: bool
    deletion: float
    insertion: float
    pointing: float


@dataclass(frozen=True)
class MeanFaithfulness:
    """Means over the grades.

    Attributes
    ----------
    pointing : float
        As for each grade.
    shuffled : float
        Structural similarity (SSIM) of the heatmaps to those of the same network with shuffled weights.
    pairs : float
        SSIM of the heatmaps of random pairs of nodules.
    retest : float
        Rank correlation with the heatmap of a point 1 mm away.
    """

    pointing: float
    shuffled: float
    pairs: float
    retest: float


@dataclass(frozen=True)
class SignTest:
    """Whether a grade's map finds the sign that it is named after, put into nodules of patients new to the grader.

    Attributes
    ----------
    sign : str
        What was planted.
    nodules : int
    auc : float
        How well the map tells the sign's pixels from the others within 6 mm of the outline (area under the ROC curve).
    strongest : float
        Share (0 to 1) of nodules whose strongest pixel is on the sign.
    ball : float
        The AUC of a ball around the nodule's centre.
    passed : bool
        Whether the map reaches what is asked of it (``training/evaluation/sign_scores.py``).
    """

    sign: str
    nodules: int
    auc: float
    strongest: float
    ball: float
    passed: bool


@dataclass(frozen=True)
class HeatmapFaithfulness:
    """How faithful a package's heatmaps are, as ``python -m training faithfulness`` measures it.

    Attributes
    ----------
    command : str
        What measured it.
    pixels : str
        The attribution method, a key of ``explain.pixel_attribution.PIXEL_METHODS``.
    nodules : int
        How many were measured.
    overall : MeanFaithfulness
    grades : dict of str to GradeFaithfulness
        By grade.
    signs : dict of str to SignTest
        By grade, as ``python -m training signs`` measures it; not all grades have a sign with a place.
    """

    command: str
    pixels: str
    nodules: int
    overall: MeanFaithfulness
    grades: dict[str, GradeFaithfulness]
    signs: dict[str, SignTest] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkCounts:
    """How many networks of each kind a package holds; those of a kind are averaged."""

    graders: int
    segmentation: int
    false_positive: int


@dataclass(frozen=True)
class Manifest:
    """All of ``model.json``.

    Attributes
    ----------
    name, version, trained_on : str
        For people.
    networks : NetworkCounts
    grader : ModelConfig
        Of every grader.
    calibration : Calibration
    heatmap_faithfulness : HeatmapFaithfulness or None
        ``None``: it was not measured.
    weights_sha256, card_sha256 : str
        SHA-256 (hex) of the other two files.
    format : int
        In which it was read.
    """

    name: str
    version: str
    trained_on: str
    networks: NetworkCounts
    grader: ModelConfig
    calibration: Calibration
    heatmap_faithfulness: HeatmapFaithfulness | None
    weights_sha256: str
    card_sha256: str
    format: int = FORMAT
