"""Assessments on the terminal, by rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..grades import DISCLAIMER, GRADES
from ..results.assessment import Assessment
from ..results.tables import CALCIFICATION_MEANS, SUSPICION_MEANS, along, known, pattern, percent, size

#: Short heads for tables in which every nodule is one row, in the order of ``GRADES``.
SHORT = ("Subt", "Lobu", "Spic", "Sphe", "Marg", "Text", "Calcif", "Diam", "Malignancy")
#: Characters of a drawn scale.
BAR = 11


def on_terminal(assessments: Sequence[Assessment]) -> Group:
    """All that people read on the terminal: heading, table, warnings in full, disclaimer."""

    warnings = dict.fromkeys(warning for one in assessments for warning in one.warnings)
    parts: list[RenderableType] = [heading(assessments[0])] if len(assessments) == 1 else []
    if len(assessments) > 1 or assessments[0].outline:
        parts.append(table(assessments))
    parts.append(Group(*(Text(f"! {warning}", "yellow") for warning in warnings), Text(DISCLAIMER, "bold")))
    return Group(*(Padding(part, (0, 1, 1, 1)) for part in parts))


def table(assessments: Sequence[Assessment]) -> Table:
    """The grades of one nodule, a grade a row; of several, a nodule a row."""
    return _one(assessments[0]) if len(assessments) == 1 else _many(assessments)


def heading(assessment: Assessment) -> Text:
    """Where the nodule is, how suspicious and how large: the lines above its table."""

    place = "  ".join(f"{axis} {x:.1f}" for axis, x in zip("RAS", assessment.point_ras, strict=True))
    text = Text.assemble((assessment.label, "bold"), f"   {place} mm")
    if assessment.outline is None:
        return text.append("\nNo nodule was found here: no grades are given.")
    text.append("\nSuspicion probability ").append(percent(known(assessment.suspicion_probability)), "bold cyan")
    return text.append(f": {SUSPICION_MEANS}\nOutline: {size(assessment)}")


def _one(assessment: Assessment) -> Table:

    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        header_style="dim",
        caption="Below: share of LIDC's nodules whose readers gave less.",
        caption_justify="left",
    )
    table.add_column("Grade")
    table.add_column("Value", justify="right")
    table.add_column("80 % interval", justify="center")
    table.add_column("Scale", no_wrap=True)
    table.add_column("LIDC word")
    table.add_column("Below", justify="right")
    for estimate in assessment.estimates:
        grade, style = estimate.grade, "bold" if estimate.grade.name == "malignancy" else ""
        if grade.name == "calcification":
            seen = known(assessment.calcification)
            word = pattern(seen)
            table.add_row(
                grade.name, percent(seen.presence), "of readers", _bar(0, seen.presence, seen.presence), Text(word), ""
            )
            continue
        table.add_row(
            f"{grade.name}{f', {grade.unit}' if grade.unit else ''}",
            f"{estimate.value:.1f}",
            f"{estimate.low:.1f} – {estimate.high:.1f}",
            _bar(*(along(grade, value) for value in (estimate.low, estimate.value, estimate.high))),
            estimate.word if grade.words else "",
            f"{estimate.percentile:.0f} %",
            style=style,
        )
    return table


def _many(assessments: Sequence[Assessment]) -> Table:

    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        header_style="dim",
        caption=f"Calcif: {CALCIFICATION_MEANS}. Diam: mm. (80 % interval)\nSusp: {SUSPICION_MEANS}.",
        caption_justify="left",
    )
    table.add_column("Nodule", overflow="fold")
    for short in SHORT:
        table.add_column(short, justify="right")
    table.add_column("Susp", justify="right", style="bold cyan")
    for one in assessments:
        if one.outline is None:
            table.add_row(Text(one.label), *("–" for _ in GRADES), "–")
        else:
            table.add_row(Text(one.label), *_short(one), percent(known(one.suspicion_probability)))
    return table


def _short(assessment: Assessment) -> list[str]:
    """Each grade in a few characters, in the order of ``GRADES``."""
    told = {one.grade.name: f"{one.value:.1f}" for one in assessment.estimates}
    told["calcification"] = percent(known(assessment.calcification).presence)
    malignancy = assessment.estimate("malignancy")
    told["malignancy"] += f" ({malignancy.low:.1f}–{malignancy.high:.1f})"
    return list(told.values())


def _bar(low: float, value: float, high: float) -> Text:
    """A scale with its interval and value, each 0 to 1."""

    first, at, last = (round(place * (BAR - 1)) for place in (low, value, high))
    text = Text()
    for i in range(BAR):
        text.append("●" if i == at else "━" if first <= i <= last else "─", "cyan" if first <= i <= last else "dim")
    return text
