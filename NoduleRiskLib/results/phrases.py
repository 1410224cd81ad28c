"""The phrases that panel, page, terminal and files share. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..grades import Grade

if TYPE_CHECKING:
    from ..imaging.dicom_facts import ImageReference
    from ..imaging.outline import Outline
    from ..imaging.points import Point
    from .nodule import Calcification, Nodule

SUSPICION_MEANS = "chance that at least half of LIDC's readers give malignancy 4 or 5"
CALCIFICATION_MEANS = "share of readers expected to see any"
#: Said of what version 0.1.0 assessed.
NOTHING_OUTLINED = "No nodule was outlined at this point, so it has no grades: assess it again to have them."


def one_line(point: Point, nodule: Nodule | None, doubts: Sequence[str] = ()) -> str:
    """A result in one line: name, place, what is doubtful, diameter, malignancy and suspicion.

    >>> from NoduleRiskLib import Point
    >>> one_line(Point("upper lobe", (-56.2, -86.2, -115.0)), None)
    "'upper lobe' at R -56.2 A -86.2 S -115.0: no nodule outlined"
    """
    start = f"{point.label[:40]!r} at {place(point.ras, 1)}: "
    if nodule is None:
        return start + "no nodule outlined"
    malignancy = nodule.estimate("malignancy")
    doubtful = f"doubtful ({', '.join(doubts)}): " if doubts else ""
    return (
        f"{start}{doubtful}{nodule.outline.diameter_mm:.1f} mm, malignancy {malignancy.value:.1f} "
        f"({malignancy.low:.1f} to {malignancy.high:.1f}), suspicion {percent(nodule.suspicion_probability)}"
    )


def place(ras: tuple[float, float, float], spaces: int = 2) -> str:
    """A position in RAS mm: ``R -56.2  A -86.2  S -115.0``."""
    return (" " * spaces).join(f"{axis} {x:.1f}" for axis, x in zip("RAS", ras, strict=True))


def image(reference: ImageReference | None) -> str:
    """The image through a nodule's middle as a DICOM viewer numbers it; empty without a number.

    >>> from NoduleRiskLib.imaging.dicom_facts import ImageReference
    >>> image(ImageReference("1.2", "3", 57, "1.2.840"))
    'image 57, series 3'
    """
    if reference is None or reference.number is None:
        return ""
    series = f", series {reference.series_number}" if reference.series_number else ""
    return f"image {reference.number}{series}"


def image_uids(reference: ImageReference | None) -> str:
    """The same image as an archive finds it, and its series: UIDs."""
    if reference is None or not reference.sop_uid:
        return ""
    return f"SOP instance {reference.sop_uid}, of series {reference.series_uid}"


def size(outline: Outline) -> tuple[str, str]:
    """Both axes, and volume. The diameter is the mean of the axes and stands among the grades."""
    return (
        f"{outline.long_axis_mm:.1f} × {outline.short_axis_mm:.1f} mm",
        f"volume {outline.volume_mm3:,.0f} mm³",
    )


def measured_on(outline: Outline) -> str:
    """On whose outline sizes were measured."""
    return "measured on your outline" if outline.drawn_by == "user" else "measured on the network's outline"


def solid_part(nodule: Nodule) -> str:
    """Sizes of a part-solid nodule's solid part; empty for other nodules, or if there is none."""
    solid = nodule.solid_part
    if solid is None or not nodule.part_solid:
        return ""
    return (
        f"solid part {solid.diameter_mm:.1f} mm ({solid.long_axis_mm:.1f} × {solid.short_axis_mm:.1f}), "
        f"{solid.volume_mm3:,.0f} mm³, by threshold"
    )


def repeatability(nodule: Nodule) -> str:
    """By how much a second measurement may differ, in one sentence; empty if the model package does not know."""
    if nodule.repeatability is None:
        return ""
    diameter, volume = nodule.repeatability
    return (
        f"A second measurement of this nodule may differ by ± {diameter:.0f} % in diameter and ± {volume:.0f} % in "
        "volume without any growth."
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
