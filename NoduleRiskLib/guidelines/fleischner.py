"""Fleischner Society 2017: what to do about nodules that a CT shows by chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import questions as asked
from .answer import Answer, Conclusion, Outcome, Refusal
from .asking import Reader, answer
from .inputs import Inputs
from .questions import Axes, rounded

NAME = "Fleischner 2017"
SOURCE = "MacMahon et al. 2017, doi 10.1148/radiol.2017161659, table 1"
YOUNGEST = 35

UNDER, MIDDLE, OVER = "under 6 mm", "6 to 8 mm", "over 8 mm"
#: Whole mm and mm3 up to which a size class holds.
UNDER_END, MIDDLE_END = (6, 100), (8, 250)

ANY = ""
SMALL_PART, LARGE_PART = "solid part under 6 mm", "solid part 6 mm or more"
#: From more than this many whole mm on, the text on part-solid nodules asks for more than a CT.
PART_FOR_PET_MM = 8


class Row(NamedTuple):
    """One field of the published table; ``ANY`` stands for what is not asked there."""

    kinds: tuple[str, ...]
    number: str
    sizes: tuple[str, ...]
    risk: str
    solid_part: str
    advice: str


_SOLID, _NON_SOLID, _PART_SOLID, _SUBSOLID = ("solid",), ("non-solid",), ("part-solid",), ("non-solid", "part-solid")
_FROM_6 = (MIDDLE, OVER)
TABLE = (
    Row(_SOLID, "single", (UNDER,), "low risk", ANY, "No routine follow-up."),
    Row(_SOLID, "single", (UNDER,), "high risk", ANY, "CT in 12 months is optional."),
    Row(_SOLID, "single", (MIDDLE,), "low risk", ANY, "CT in 6 to 12 months; then consider one at 18 to 24 months."),
    Row(_SOLID, "single", (MIDDLE,), "high risk", ANY, "CT in 6 to 12 months; then one at 18 to 24 months."),
    Row(_SOLID, "single", (OVER,), ANY, ANY, "Consider CT in 3 months, PET/CT or tissue sampling."),
    Row(_SOLID, "several", (UNDER,), "low risk", ANY, "No routine follow-up."),
    Row(_SOLID, "several", (UNDER,), "high risk", ANY, "CT in 12 months is optional."),
    Row(_SOLID, "several", _FROM_6, "low risk", ANY, "CT in 3 to 6 months; then consider one at 18 to 24 months."),
    Row(_SOLID, "several", _FROM_6, "high risk", ANY, "CT in 3 to 6 months; then one at 18 to 24 months."),
    Row(_SUBSOLID, "single", (UNDER,), ANY, ANY, "No routine follow-up."),
    Row(_NON_SOLID, "single", _FROM_6, ANY, ANY, "CT in 6 to 12 months; if it persists, every 2 years to 5 years."),
    Row(
        _PART_SOLID,
        "single",
        _FROM_6,
        ANY,
        SMALL_PART,
        "CT in 3 to 6 months; if it is unchanged, yearly for 5 years.",
    ),
    Row(
        _PART_SOLID,
        "single",
        _FROM_6,
        ANY,
        LARGE_PART,
        "CT in 3 to 6 months; if the solid part is still there, it is highly suspicious.",
    ),
    Row(_SUBSOLID, "several", (UNDER,), ANY, ANY, "CT in 3 to 6 months; if stable, consider CT at 2 and 4 years."),
    Row(_SUBSOLID, "several", _FROM_6, ANY, ANY, "CT in 3 to 6 months; then by the most suspicious nodule."),
)


class Limit(NamedTuple):
    """One limit of the guideline's range: an input, when it lies outside, and the sentence that says so."""

    name: str
    outside: Callable[[Any], bool]
    sentence: str


_BENIGN = "Fleischner 2017 is not for nodules with benign calcification or fat."
LIMITS = (
    Limit("age", lambda age: age < YOUNGEST, "Fleischner 2017 is for patients of 35 years and older."),
    Limit("cancer", lambda cancer: cancer != "none", "Fleischner 2017 is not for patients who have or had a cancer."),
    Limit("immunosuppressed", bool, "Fleischner 2017 is not for immunosuppressed patients."),
    Limit(
        "setting",
        lambda setting: setting == "screening",
        "Fleischner 2017 is for nodules found by chance, not for screening.",
    ),
    Limit(
        "lesion",
        lambda lesion: lesion not in ("nodule", asked.LYMPH_NODE),
        "Fleischner 2017 is for nodules, not for airway lesions or cysts.",
    ),
    Limit("calcification", lambda pattern: pattern in asked.BENIGN_CALCIFICATION, _BENIGN),
    Limit("fat", bool, _BENIGN),
    Limit("comparison", lambda change: change == "gone", "The nodule is gone: there is nothing to follow up."),
)


def fleischner(inputs: Inputs) -> Answer:
    """The Fleischner Society's guideline of 2017 for nodules found by chance.

    Sizes are the mean of long and short axis rounded to whole mm: 5.5 mm is 6 mm, 8.4 mm is 8 mm. The diameter
    decides where it is known; where the volume would lead elsewhere, a note says so. Risk is the clinician's estimate
    (age, smoking, size, margin, upper lobe): no formula gives it, and suspicion is not used for it.

    References
    ----------
    MacMahon et al. 2017, "Guidelines for management of incidental pulmonary nodules detected on CT images",
    doi 10.1148/radiol.2017161659. Rounding: Bankier et al. 2017, "Recommendations for measuring pulmonary nodules at
    CT", doi 10.1148/radiol.2017162894.
    """
    return answer(NAME, rule, inputs)


def rule(inputs: Inputs, read: Reader) -> Outcome:
    """The row of the table, or why the guideline does not hold."""
    if refusal := _outside(inputs, read):
        return refusal
    volume = read.optional(inputs.volume_mm3)
    by_volume = None if volume is None else _class(rounded(volume, 0), column=1)
    if by_volume is not None and inputs.size.value is None:
        row = _row(inputs, read, by_volume)
    else:
        row = _row(inputs, read, read.told(inputs.size, lambda size: _class(size.mean_mm(0))))
    category = ", ".join(filter(None, [read(inputs.nodule_type), row.number, _sizes(row), row.risk, row.solid_part]))
    notes = []
    if row.solid_part == LARGE_PART and read.told(inputs.solid_part, lambda part: part.mean_mm(0) > PART_FOR_PET_MM):
        notes.append("As the solid part is over 8 mm, PET/CT, biopsy or resection are recommended.")
    if read.known(inputs.comparison) and read.told(inputs.comparison, lambda change: change != "baseline"):
        notes.append("The table is for the CT that shows a nodule first; growth of 2 mm or more needs more than that.")
    if volume is not None and by_volume is not None and by_volume not in row.sizes:
        notes.append(f"By its volume of {rounded(volume, 0):.0f} mm3 it would be {by_volume}.")
    return Conclusion(category, row.advice, category, SOURCE, tuple(notes))


def _outside(inputs: Inputs, read: Reader) -> Refusal | None:
    """Why the guideline does not hold, if it does not: by what is known before anything unknown is asked."""
    # Stable: what is known keeps its order, and so does what is not.
    for limit in sorted(LIMITS, key=lambda one: not read.known(getattr(inputs, one.name))):
        if read.told(getattr(inputs, limit.name), limit.outside):
            return Refusal(limit.sentence, SOURCE)
    return None


def _row(inputs: Inputs, read: Reader, size: str) -> Row:
    """The row that fits; what no row in question asks is not read."""
    kind = read(inputs.nodule_type)
    rows = [row for row in TABLE if kind in row.kinds and size in row.sizes]
    columns: tuple[tuple[str, Callable[[], str]], ...] = (
        ("number", lambda: "single" if read.told(inputs.count, lambda count: count == 1) else "several"),
        ("risk", lambda: f"{read(inputs.risk)} risk"),
        ("solid_part", lambda: read.told(inputs.solid_part, _part)),
    )
    for column, value in columns:
        if any(getattr(row, column) != ANY for row in rows):
            rows = [row for row in rows if getattr(row, column) in (value(), ANY)]
    (row,) = rows
    return row


def _class(size: float, column: int = 0) -> str:
    """The size class of whole mm (column 0) or whole mm3 (column 1)."""
    return UNDER if size < UNDER_END[column] else MIDDLE if size <= MIDDLE_END[column] else OVER


def _part(solid_part: Axes) -> str:
    return LARGE_PART if solid_part.mean_mm(0) >= 6 else SMALL_PART


def _sizes(row: Row) -> str:
    return "6 mm or more" if row.sizes == _FROM_6 else row.sizes[0]
