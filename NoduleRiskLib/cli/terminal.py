"""Assessments on the terminal, by rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..grades import DISCLAIMER, GRADES
from ..results.assessment import Assessment, Nodule
from ..results.grade_lines import GradeLine, grade_lines
from ..results.phrases import CALCIFICATION_MEANS, NOTHING_OUTLINED, SUSPICION_MEANS, percent, place, size

if TYPE_CHECKING:
    from ..phantom.chest_ct import PhantomNodule

#: Short headings for tables in which every nodule is one row, in the order of ``GRADES``.
SHORT = ("Subt", "Lobu", "Spic", "Sphe", "Marg", "Text", "Calcif", "Diam", "Malignancy")
#: Characters of a drawn scale.
BAR = 11


def on_terminal(assessments: Sequence[Assessment]) -> Group:
    """All that people read on the terminal: heading, table, warnings in full, disclaimer."""
    # What is about the whole CT is said once.
    warnings = dict.fromkeys(warning for one in assessments for warning in one.warnings)
    lines = [Text(f"! {printable(warning.text)}", "yellow") for warning in sorted(warnings, key=lambda w: w.about)]
    parts: list[RenderableType] = [heading(assessments[0])] if len(assessments) == 1 else []
    if len(assessments) > 1 or assessments[0].nodule:
        parts.append(table(assessments))
    parts.append(Group(*lines, Text(DISCLAIMER, "bold")))
    return Group(*(Padding(part, (0, 1, 1, 1)) for part in parts))


def table(assessments: Sequence[Assessment]) -> Table:
    """The grades of one nodule, one grade per row; of several, one nodule per row."""
    return _one(assessments[0].nodule) if len(assessments) == 1 else _many(assessments)


def heading(assessment: Assessment) -> Text:
    """Where the nodule is, how suspicious and how large: the lines above its table."""
    text = Text.assemble((printable(assessment.point.label), "bold"), f"   {place(assessment.point.ras)} mm")
    nodule = assessment.nodule
    if nodule is None:
        return text.append(f"\n{NOTHING_OUTLINED}")
    text.append("\nSuspicion probability ").append(percent(nodule.suspicion_probability), "bold cyan")
    return text.append(f": {SUSPICION_MEANS}\nOutline: {', '.join(size(nodule.outline))}")


def printable(text: str) -> str:
    """Text of unknown origin as a terminal may show it: without control characters, which could command it."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def beside_readers(assessments: Sequence[Assessment], nodules: Sequence[PhantomNodule]) -> Table:
    """The estimates beside what LIDC's readers said of the real nodules whose shapes the phantom's have."""
    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        header_style="dim",
        title="Estimates, and the grades that LIDC's readers gave the real nodules of these shapes",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("")
    for short in SHORT:
        table.add_column(short, justify="right")
    for one, nodule in zip(assessments, nodules, strict=False):
        readers = {grade.name: f"{nodule.grades[grade.name]:.1f}" for grade in GRADES}
        readers["calcification"] = percent(nodule.calcified)
        table.add_row(Text(printable(one.point.label)), *(line.value or "–" for line in grade_lines(one.nodule)))
        table.add_row("  its readers", *readers.values(), style="dim")
    return table


def _one(nodule: Nodule | None) -> Table:
    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        header_style="dim",
        caption="Below: percentage of LIDC's nodules whose readers gave less.",
        caption_justify="left",
    )
    table.add_column("Grade")
    table.add_column("Value", justify="right")
    table.add_column("80 % interval", justify="center")
    table.add_column("Scale", no_wrap=True)
    table.add_column("LIDC word")
    table.add_column("Below", justify="right")
    for line in grade_lines(nodule):
        table.add_row(
            f"{line.name}{f', {line.unit}' if line.unit else ''}",
            line.value,
            line.interval,
            _bar(line),
            Text(line.word),
            line.below,
            style="bold" if line.name == "malignancy" else "",
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
        label = Text(printable(one.point.label))
        if one.nodule is None:
            table.add_row(label, *("–" for _ in GRADES), "–")
        else:
            table.add_row(label, *_short(one.nodule), percent(one.nodule.suspicion_probability))
    return table


def _short(nodule: Nodule) -> list[str]:
    """Each grade in a few characters, in the order of ``GRADES``."""
    return [
        f"{line.value} ({line.interval.replace(' ', '')})" if line.name == "malignancy" else line.value
        for line in grade_lines(nodule)
    ]


def _bar(line: GradeLine) -> Text:
    """A scale with its interval and value."""
    if line.low is None or line.at is None or line.high is None:
        return Text()
    first, at, last = (round(share * (BAR - 1)) for share in (line.low, line.at, line.high))
    text = Text()
    for i in range(BAR):
        text.append("●" if i == at else "━" if first <= i <= last else "─", "cyan" if first <= i <= last else "dim")
    return text
