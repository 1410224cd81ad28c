"""The phrases that panel, page, terminal and files share. Needs no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..grades import Grade

if TYPE_CHECKING:
    from ..imaging.outline import Outline
    from ..imaging.points import Point
    from .nodule import Calcification, Nodule

SUSPICION_MEANS = "chance that at least half of LIDC's readers give malignancy 4 or 5"
CALCIFICATION_MEANS = "share of readers expected to see any"
NOTHING_OUTLINED = "No nodule was outlined at this point, so it has no grades."


def one_line(point: Point, nodule: Nodule | None) -> str:
    """A result in one line: name, place, size, malignancy and suspicion.

    >>> from NoduleRiskLib import Point
    >>> one_line(Point("upper lobe", (-56.2, -86.2, -115.0)), None)
    "'upper lobe' at R -56.2 A -86.2 S -115.0: no nodule outlined"
    """
    start = f"{point.label[:40]!r} at {place(point.ras, 1)}: "
    if nodule is None:
        return start + "no nodule outlined"
    malignancy = nodule.estimate("malignancy")
    return (
        f"{start}{nodule.outline.diameter_mm:.1f} mm, malignancy {malignancy.value:.1f} "
        f"({malignancy.low:.1f} to {malignancy.high:.1f}), suspicion {percent(nodule.suspicion_probability)}"
    )


def place(ras: tuple[float, float, float], spaces: int = 2) -> str:
    """A position in RAS mm: ``R -56.2  A -86.2  S -115.0``."""
    return (" " * spaces).join(f"{axis} {x:.1f}" for axis, x in zip("RAS", ras, strict=True))


def size(outline: Outline) -> tuple[str, str]:
    """Diameter with both axes, and volume."""
    return (
        f"diameter {outline.diameter_mm:.1f} mm ({outline.long_axis_mm:.1f} × {outline.short_axis_mm:.1f} mm)",
        f"volume {outline.volume_mm3:,.0f} mm³",
    )


def percent(share: float) -> str:
    """A share (0 to 1) as people read it; what is nearly certain never reads as certain.

    >>> percent(0.37), percent(0.9991), percent(0.001)
    ('37 %', '> 99 %', '< 1 %')
    """
    if 0 < share < 0.005 or 0.995 < share < 1:
        return "< 1 %" if share < 0.5 else "> 99 %"
    return f"{100 * share:.0f} %"


def pattern(calcification: Calcification) -> str:
    """Calcification's word, and how likely the pattern is if there is one."""
    word = calcification.word
    return word if word == "absent" else f"{word} ({percent(calcification.pattern_probability)})"


def along(grade: Grade, value: float) -> float:
    """Where ``value`` (grade units) stands on a drawn scale, 0 to 1; diameters double over equal distances."""
    if grade.logarithmic:
        return math.log(grade.clip(value) / grade.low) / math.log(grade.high / grade.low)
    return grade.fraction(value)
