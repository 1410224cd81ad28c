"""A nodule with its outline, grades and heatmaps. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ..explain.heatmap import Heatmap
from ..grades import Grade
from ..imaging.outline import INSIDE, Outline
from ..imaging.resampling import on_grid, paste
from ..imaging.simpleitk_images import like_input, to_volume
from ..imaging.slice_stack import SliceStack
from ..imaging.solid_part import SolidPart
from ..imaging.volume import Volume
from ..similar.reference_set import SimilarNodule

if TYPE_CHECKING:
    from collections.abc import Mapping

Image = TypeVar("Image")

#: From the first to below the second texture grade a nodule is part-solid: LIDC's word for it is then neither
#: "non-solid" nor "solid".
PART_SOLID = (1.5, 4.5)


@dataclass(frozen=True)
class Estimate:
    """A grade's predicted value with its interval, all in grade units.

    Attributes
    ----------
    grade : Grade
    value : float
    low, high : float
        Ends of the interval that holds the readers' mean for 80 % of LIDC nodules (measured out of fold).
    percentile : float
        Percentage (0 to 100) of LIDC's reference nodules whose readers gave less.
    """

    grade: Grade
    value: float
    low: float
    high: float
    percentile: float

    @property
    def word(self) -> str:
        """LIDC's word for the value."""
        return self.grade.word(self.value)


@dataclass(frozen=True)
class Calcification:
    """Calcification as a presence and a pattern: LIDC's codes for it are names, so they have no mean.

    Attributes
    ----------
    presence : float
        Share of readers (0 to 1) expected to see any.
    pattern : str
        The most likely pattern if there is any.
    pattern_probability : float
        How likely that pattern is among the five, 0 to 1.
    """

    presence: float
    pattern: str
    pattern_probability: float

    @property
    def word(self) -> str:
        """The pattern, or "absent" unless at least half of the readers would see calcification."""
        return self.pattern if self.presence >= 0.5 else "absent"


@dataclass(frozen=True)
class Term:
    """What one grade adds to the suspicion.

    Attributes
    ----------
    grade : Grade
    value : float
        As shown, in grade units; calcification: share of readers (0 to 1) expected to see any.
    adds : float
        Log-odds, against LIDC's average nodule.
    """

    grade: Grade
    value: float
    adds: float


@dataclass(frozen=True)
class Account:
    """Why the suspicion is what it is: a sum over the eight other grades, an account of the model and not of causes.

    Attributes
    ----------
    intercept : float
        Log-odds of LIDC's average nodule.
    terms : tuple of Term
        In the order of ``OTHER_GRADES``.
    """

    intercept: float
    terms: tuple[Term, ...]

    @property
    def average(self) -> float:
        """The probability (0 to 1) of LIDC's average nodule, from which the terms lead on."""
        return probability(self.intercept)

    @property
    def probability(self) -> float:
        """The probability (0 to 1) that the terms lead to, beside which stands the nodule's suspicion probability."""
        return probability(self.intercept + math.fsum(term.adds for term in self.terms))


def probability(log_odds: float) -> float:
    """A probability (0 to 1) from its log-odds; any number will do."""
    # Beyond that a double is 0 or 1 anyway, and exp would overflow.
    return 1 / (1 + math.exp(-min(max(log_odds, -700.0), 700.0)))


@dataclass(frozen=True, eq=False)
class Nodule:
    """What lies at a point: its outline, grades and heatmaps.

    Attributes
    ----------
    outline : Outline
        Which voxels are the nodule's, and what was measured on them.
    estimates : tuple of Estimate
        In the order of ``GRADES``.
    calcification : Calcification
    suspicion_probability : float
        Chance (0 to 1) that at least half of LIDC's readers give malignancy 4 or 5; not the chance of cancer.
    stack : SliceStack
        The slices that were graded, with the outline.
    heatmaps : dict of str to Heatmap
        By grade name; empty if none were asked for.
    solid_part : SolidPart or None
        What is measured on the solid part by a threshold; ``None``: nothing in the outline is solid, or it was not
        measured.
    repeatability : (diameter_percent, volume_percent) or None
        By how much (±, %) a second measurement of a nodule of this size may differ without any growth: 95 % limits.
        ``None``: the model package does not know.
    account : Account or None
        What each grade adds to the suspicion. ``None``: the model package does not know.
    similar : tuple of SimilarNodule
        The LIDC nodules most like it, nearest first; empty where there is no reference set.
    """

    outline: Outline
    estimates: tuple[Estimate, ...]
    calcification: Calcification
    suspicion_probability: float
    stack: SliceStack
    heatmaps: dict[str, Heatmap] = field(default_factory=dict)
    solid_part: SolidPart | None = None
    repeatability: tuple[float, float] | None = None
    account: Account | None = None
    similar: tuple[SimilarNodule, ...] = ()

    @property
    def part_solid(self) -> bool:
        """Whether the texture grade says that the nodule is part-solid."""
        return PART_SOLID[0] <= self.estimate("texture").value < PART_SOLID[1]

    def estimate(self, name: str) -> Estimate:
        """The estimate of the grade of that name; raises ``KeyError`` if there is none."""
        for estimate in self.estimates:
            if estimate.grade.name == name:
                return estimate
        raise KeyError(f"no grade is called {name!r}: {', '.join(one.grade.name for one in self.estimates)}")

    def heatmap(self, name: str, like: Any = None) -> Any:
        """A grade's in-slice heatmap, 0 to 1, float32.

        Parameters
        ----------
        name : str
            The grade.
        like : Volume or SimpleITK image, optional
            Whose grid to put it on, usually the CT's: 0 outside the graded slices. Without it the heatmap comes on
            the graded slices themselves, where a layout of several planes gives its first plane.

        Returns
        -------
        Volume, or SimpleITK.Image if ``like`` is one

        Raises
        ------
        KeyError
            If there is no heatmap of that name, or none were asked for.
        """
        if name not in self.heatmaps:
            raise KeyError(f"no heatmap of {name!r}: {', '.join(self.heatmaps) or 'none were computed'}")
        volumes = self.heatmap_volumes(name)
        if like is None:
            return next(iter(volumes.values()))
        return like_input(on_grid(list(volumes.values()), to_volume(like, voxels=False)), like)

    def heatmap_volumes(self, name: str) -> Mapping[str, Volume]:
        """A grade's heatmap (0 to 1) in RAS: one small float32 volume per plane of the layout, by the plane's name."""
        return paste(self.stack, self.heatmaps[name].in_slice)

    def mask(self, like: Any = None) -> Any:
        """The outline as uint8 voxels, 1 inside; ``like`` and what is returned are as for ``heatmap``."""
        grid = self.outline.probability if like is None else to_volume(like, voxels=False)
        probability = on_grid([self.outline.probability], grid)
        mask = Volume((probability.array > INSIDE).astype("uint8"), probability.ijk_to_ras, "nodule")
        return mask if like is None else like_input(mask, like)
