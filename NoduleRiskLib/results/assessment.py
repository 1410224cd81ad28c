"""What travels from the model to people: one nodule's grades, extent, heatmaps and warnings. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..explain.heatmap import Heatmap
from ..grades import Grade
from ..imaging.outline import Outline
from ..imaging.resampling import paste
from ..imaging.slice_stack import SliceStack
from ..imaging.volume import Volume


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
        Share (0 to 100) of LIDC's reference nodules whose readers gave less.
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
    """Calcification as people can use it: its codes have no mean.

    Attributes
    ----------
    presence : float
        Share of readers (0 to 1) expected to see any.
    pattern : str
        The likeliest pattern where there is any.
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


@dataclass(frozen=True, eq=False)
class Assessment:
    """All that is said about one point.

    Attributes
    ----------
    label : str
        The point's name.
    point_ras : tuple of float
        Where the user put it, RAS mm.
    extent : Extent or None
        ``None``: no nodule was found under the point, and no grade is given.
    estimates : tuple of Estimate
        In the order of ``GRADES``; empty without a nodule.
    calcification : Calcification or None
    suspicion_probability : float or None
        Chance that at least half of LIDC's readers give malignancy 4 or 5; not the chance of cancer.
    stack : SliceStack or None
        The slices that were graded, with the outline.
    heatmaps : dict of str to Heatmap
        By grade name; empty if none were asked for.
    warnings : tuple of str
        One full sentence each.
    model_id : str
        Name and hash of the model package.
    """

    label: str
    point_ras: tuple[float, float, float]
    outline: Outline | None
    estimates: tuple[Estimate, ...] = ()
    calcification: Calcification | None = None
    suspicion_probability: float | None = None
    stack: SliceStack | None = None
    heatmaps: dict[str, Heatmap] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    model_id: str = ""

    def estimate(self, name: str) -> Estimate:
        """The estimate of the grade of that name; raises ``KeyError`` if there is none."""
        for estimate in self.estimates:
            if estimate.grade.name == name:
                return estimate
        raise KeyError(f"{self.label} has no estimate of {name!r}")

    def heatmap_volumes(self, name: str) -> dict[str, Volume]:
        """A grade's heatmap (0 to 1) in RAS: one small float32 volume a plane, by the plane's name."""
        if self.stack is None:
            raise KeyError(f"{self.label} has no heatmaps: no nodule was found there")
        return paste(self.stack, self.heatmaps[name].in_slice)
