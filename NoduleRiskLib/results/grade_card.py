"""What the panel says of a nodule: its row in the list, its grade card, its slices. Text and shares, no drawing."""

from __future__ import annotations

import html
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..grades import GRADES, Grade

if TYPE_CHECKING:
    from .assessment import Assessment

#: States of a point: without assessment, changed since its assessment, assessed, not on the image.
NEW, STALE, ASSESSED, OUTSIDE = "new", "stale", "assessed", "outside"
NOTES = {NEW: "new", STALE: "stale", ASSESSED: "", OUTSIDE: "outside"}
CHANGED = "The point or the CT was changed after this assessment: assess again."
STATES = {
    NEW: "Not assessed yet.",
    STALE: CHANGED,
    ASSESSED: "",
    OUTSIDE: "The point lies outside the CT: move it onto the image.",
}
#: A point that moved less than this still marks the same place: tables are saved in six digits.
MOVED_MM = 0.01


@dataclass(frozen=True)
class Row:
    """What is kept of an assessment in one row of a table.

    Attributes
    ----------
    label : str
    ras : tuple of float
        Where the point was when it was assessed, RAS mm.
    digest : str
        ``Volume.digest`` of the CT that was assessed.
    found : bool
        Whether there was a nodule; if not, the numbers are NaN.
    malignancy, suspicion_probability, diameter_mm, volume_mm3 : float
    warnings : str
    model_id : str
    """

    label: str
    ras: tuple[float, float, float]
    digest: str
    found: bool
    malignancy: float
    suspicion_probability: float
    diameter_mm: float
    volume_mm3: float
    warnings: str
    model_id: str

    def fits(self, ras: tuple[float, float, float], digest: str | None) -> bool:
        """Whether it still holds for a point (RAS mm) and a CT (``None``: not known, so not another)."""
        return math.dist(self.ras, ras) < MOVED_MM and digest in (None, self.digest)


@dataclass(frozen=True)
class Bar:
    """A scale from 0 to 1 as it is drawn.

    Attributes
    ----------
    marks : tuple of float
        Where its steps lie.
    low, value, high : float or None
        Interval and value; ``None`` without an assessment.
    """

    marks: tuple[float, ...] = ()
    low: float | None = None
    value: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class GradeRow:
    """One grade on the card: its cells, left to right, and the bar."""

    name: str
    value: str
    word: str
    above: str
    bar: Bar


@dataclass(frozen=True)
class SliceWeight:
    """A graded slice: its middle (RAS mm), its weight (``Heatmap.slice_weights``), its share of the most."""

    middle_ras: tuple[float, float, float]
    weight: float
    share: float


def in_list(state: str, row: Row | None) -> tuple[str, str, str, str, str]:
    """Malignancy, suspicion probability, diameter, volume and note of a nodule; empty where not assessed."""
    from .tables import percent

    if row is None:
        return "", "", "", "", NOTES[state]
    if not row.found:
        return "–", "–", "–", "–", NOTES[state] or "no nodule"
    count = len([sentence for sentence in re.split(r"(?<=\.)\s+", row.warnings) if sentence])
    return (
        f"{row.malignancy:.1f}",
        percent(row.suspicion_probability),
        f"{row.diameter_mm:.1f} mm",
        f"{row.volume_mm3:,.0f} mm³",
        " ".join(filter(None, (NOTES[state], f"⚠ {count}" if count else ""))),
    )


def title(label: str, assessment: Assessment | None) -> str:
    """The card's heading, HTML."""
    from .tables import SUSPICION_MEANS, known, percent, size

    bold = f"<b>{html.escape(label)}</b>"
    if assessment is None:
        return f"{bold}: not assessed yet"
    if assessment.outline is None:
        return f"{bold}: no nodule was found here, so no grades are given"
    return (
        f"{bold} &nbsp; suspicion probability <b>{percent(known(assessment.suspicion_probability))}</b><br>"
        f"<small>{SUSPICION_MEANS}: readers’ suspicion, not pathology</small><br>{size(assessment)}"
    )


def grade_rows(assessment: Assessment | None) -> list[GradeRow]:
    """The nine grades, in the order of ``GRADES``; empty cells without a nodule."""
    from .tables import along, known, pattern, percent

    if assessment is None or not assessment.estimates:
        return [GradeRow(grade.name.capitalize(), "", "", "", Bar(_marks(grade))) for grade in GRADES]
    rows = []
    for estimate in assessment.estimates:
        grade, name = estimate.grade, estimate.grade.name.capitalize()
        if grade.name == "calcification":
            # Its codes have no mean: a share of readers, and what they would call it.
            seen = known(assessment.calcification)
            word = pattern(seen)
            bar = Bar((), 0.0, seen.presence, 0.0)
            rows.append(GradeRow(name, percent(seen.presence), f"of readers; {word}", "", bar))
            continue
        low, value, high = (along(grade, x) for x in (estimate.low, estimate.value, estimate.high))
        rows.append(
            GradeRow(
                name,
                f"{estimate.value:.1f}{f' {grade.unit}' if grade.unit else ''}",
                estimate.word if grade.words else f"{estimate.low:.1f} – {estimate.high:.1f} {grade.unit}",
                f"{estimate.percentile:.0f} %",
                Bar(_marks(grade), low, value, high),
            )
        )
    return rows


def slice_weights(assessment: Assessment | None, name: str) -> list[SliceWeight]:
    """The graded slices of the layout's first plane, from the lowest S up; empty without heatmaps."""
    if assessment is None or assessment.stack is None or name not in assessment.heatmaps:
        return []
    stack, weights = assessment.stack, assessment.heatmaps[name].slice_weights
    middle, most = (stack.layout.pixels - 1) / 2, max(float(weights.max(initial=0)), 1e-9)
    found = []
    for n in range(len(weights)):
        if stack.valid[n] and stack.plane[n] == 0:
            r, a, s = (float(x) for x in (stack.ijk_to_ras[n] @ (middle, middle, 0, 1))[:3])
            found.append(SliceWeight((r, a, s), float(weights[n]), float(weights[n]) / most))
    return sorted(found, key=lambda one: one.middle_ras[2])


def _marks(grade: Grade) -> tuple[float, ...]:
    from .tables import along

    if grade.name == "calcification":
        return ()
    return tuple(along(grade, value) for value in grade.marks)
