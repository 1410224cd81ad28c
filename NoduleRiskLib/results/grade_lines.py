"""The nine grades of a nodule as lines of text and bars: the one table that panel, page and terminal draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..grades import GRADES, Grade
from .phrases import along, pattern, percent

if TYPE_CHECKING:
    from .nodule import Estimate, Nodule


@dataclass(frozen=True)
class GradeLine:
    """One grade as it is shown.

    Attributes
    ----------
    name, unit : str
        The grade's name, and "mm" or nothing.
    value : str
        The estimate, or the share of readers who would see calcification; empty without a nodule, like all texts.
    interval : str
        The 80 % interval; for calcification what the share is of.
    word : str
        LIDC's word for the value; for calcification the pattern; empty for diameter.
    below : str
        Percentage of LIDC's nodules whose readers gave less; empty for calcification.
    low, at, high : float or None
        Interval and value on the drawn scale, 0 to 1; ``None`` without a nodule.
    marks : tuple of (float, str)
        Where the scale is marked, 0 to 1, and what stands there.
    """

    name: str
    unit: str = ""
    value: str = ""
    interval: str = ""
    word: str = ""
    below: str = ""
    low: float | None = None
    at: float | None = None
    high: float | None = None
    marks: tuple[tuple[float, str], ...] = ()


def grade_lines(nodule: Nodule | None) -> list[GradeLine]:
    """One line per grade, in the order of ``GRADES``."""
    if nodule is None:
        return [GradeLine(grade.name, grade.unit, marks=_marks(grade)) for grade in GRADES]
    return [_line(estimate, nodule) for estimate in nodule.estimates]


def _line(estimate: Estimate, nodule: Nodule) -> GradeLine:
    grade = estimate.grade
    if grade.name == "calcification":
        # A mean over its codes is no pattern, so the share of readers stands in its place.
        share = nodule.calcification.presence
        return GradeLine(
            name=grade.name,
            value=percent(share),
            interval="of readers",
            word=pattern(nodule.calcification),
            low=0.0,
            at=share,
            high=share,
        )
    low, at, high = (along(grade, value) for value in (estimate.low, estimate.value, estimate.high))
    return GradeLine(
        name=grade.name,
        unit=grade.unit,
        value=f"{estimate.value:.1f}",
        interval=f"{estimate.low:.1f} – {estimate.high:.1f}",
        word=estimate.word if grade.words else "",
        below=f"{estimate.percentile:.0f} %",
        low=low,
        at=at,
        high=high,
        marks=_marks(grade),
    )


def _marks(grade: Grade) -> tuple[tuple[float, str], ...]:
    if grade.name == "calcification":
        return ()
    return tuple((along(grade, value), f"{value:g}") for value in grade.marks)
