"""Assessments on the terminal, by rich."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..grades import DISCLAIMER, GRADE_NAMES, GRADES
from ..results.account_lines import TITLE, account_sentence, account_text
from ..results.assessment import Assessment, Nodule
from ..results.grade_lines import GradeLine, grade_lines
from ..results.phrases import (
    CALCIFICATION_MEANS,
    NOTHING_OUTLINED,
    SUSPICION_MEANS,
    image,
    image_uids,
    measured_on,
    percent,
    place,
    repeatability,
    size,
    solid_part,
)
from ..results.similar_lines import TITLE as SIMILAR
from ..results.similar_lines import similar_sentence, similar_text

if TYPE_CHECKING:
    from ..phantom.chest_ct import PhantomNodule

#: Short headings for tables in which every nodule is one row, by grade.
SHORT = dict(
    zip(
        GRADE_NAMES,
        ("Subt", "Lobu", "Spic", "Sphe", "Marg", "Text", "Calcif", "Diam", "Malignancy"),
        strict=True,
    )
)
#: What the figures of a doubtful nodule, and the words beside them that say why, are printed in.
DOUBTFUL, DOUBT = "dim", "yellow not dim"
#: Characters of a drawn scale.
BAR = 11
#: Characters that the tables of one nodule and of several need to be read in one piece.
ONE_WIDE, MANY_WIDE = 66, 74
#: Widths of the columns after the name where several nodules' table has too few characters, by heading; 4 otherwise.
NARROW = {"Calcif": 6, "Malignancy": 10, "Susp": 5}
MANY_CAPTION = f"Calcif: {CALCIFICATION_MEANS}. Diam: mm. (80 % interval)\nSusp: {SUSPICION_MEANS}."


@dataclass(frozen=True)
class _ByWidth:
    """A table, and what is printed in its stead where the terminal has fewer characters than it needs."""

    wide: RenderableType
    narrow: RenderableType
    needed: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self.wide if options.max_width >= self.needed else self.narrow


def on_terminal(assessments: Sequence[Assessment]) -> Group:
    """All that people read on the terminal: what holds for the CT, heading, table, warnings in full, disclaimer."""
    warnings = dict.fromkeys(warning for one in assessments for warning in one.warnings)
    lines = {
        about: [Text(f"! {printable(one.text)}", "yellow") for one in warnings if one.about == about]
        for about in ("ct", "nodule")
    }
    parts: list[RenderableType] = [Group(*lines["ct"])] if lines["ct"] else []
    parts += [heading(assessments[0])] if len(assessments) == 1 else []
    if len(assessments) > 1 or assessments[0].nodule:
        parts.append(_table(assessments))
    images = [(one, line) for one in assessments if len(assessments) > 1 and (line := _image(one))]
    parts += [Group(*(Text(f"{printable(one.point.label)}: {line}", "dim") for one, line in images))] if images else []
    parts.append(Group(*lines["nodule"], Text(DISCLAIMER, "bold")))
    return Group(*(Padding(part, (0, 1, 1, 1)) for part in parts))


def heading(assessment: Assessment) -> Text:
    """Where the nodule is, what is doubtful, how suspicious, how large and why: the lines above its table."""
    text = Text.assemble((printable(assessment.point.label), "bold"), f"   {place(assessment.point.ras)} mm")
    for line in filter(None, (image(assessment.image), image_uids(assessment.image))):
        text.append(f"\n{line[0].upper()}{line[1:]}", "dim")
    nodule, doubts = assessment.nodule, assessment.doubts
    if doubts:
        text.append(f"\n{printable(', '.join(doubts))}", DOUBT)
    if nodule is None:
        return text.append(f"\n{NOTHING_OUTLINED}")
    style = DOUBTFUL if doubts else ""
    text.append("\nSuspicion probability ", style)
    text.append(percent(nodule.suspicion_probability), style or "bold cyan").append(f": {SUSPICION_MEANS}", style)
    sizes = f"Outline: {', '.join(size(nodule.outline))}, {measured_on(nodule.outline)}"
    for line in filter(None, (sizes, solid_part(nodule).capitalize(), repeatability(nodule))):
        text.append(f"\n{line}", style)
    if nodule.account:
        text.append(f"\n{TITLE}: ", style).append(account_text(nodule), style or "bold")
        text.append(f"\n{account_sentence(nodule)}", style)
    if nodule.similar:
        text.append(f"\n{SIMILAR}: ", style).append(similar_text(nodule), style or "bold")
        text.append(f"\n{similar_sentence(nodule)}", style)
    return text


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
    for short in SHORT.values():
        table.add_column(short, justify="right")
    for one, nodule in zip(assessments, nodules, strict=False):
        readers = {grade.name: f"{nodule.grades[grade.name]:.1f}" for grade in GRADES}
        readers["calcification"] = percent(nodule.calcified)
        table.add_row(_label(one), *(line.value or "–" for line in grade_lines(one.nodule)), style=_style(one))
        table.add_row("  its readers", *readers.values(), style="dim")
    return table


def _table(assessments: Sequence[Assessment]) -> _ByWidth:
    """The grades of one nodule, one grade per row; of several, one nodule per row."""
    if len(assessments) == 1:
        return _ByWidth(_one(assessments[0]), _one(assessments[0], scale=False), ONE_WIDE)
    return _ByWidth(_many(assessments), _many_narrow(assessments), MANY_WIDE)


def _one(assessment: Assessment, scale: bool = True) -> Table:
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
    if scale:
        table.add_column("Scale", no_wrap=True)
    table.add_column("LIDC word")
    table.add_column("Below", justify="right")
    for line in grade_lines(assessment.nodule):
        table.add_row(
            f"{line.name}{f', {line.unit}' if line.unit else ''}",
            line.value,
            line.interval,
            *([_bar(line)] if scale else []),
            Text(line.word),
            line.below,
            style=_style(assessment) or ("bold" if line.name == "malignancy" else ""),
        )
    return table


def _many(assessments: Sequence[Assessment]) -> Table:
    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        header_style="dim",
        caption=MANY_CAPTION,
        caption_justify="left",
    )
    table.add_column("Nodule", overflow="fold")
    for short in SHORT.values():
        table.add_column(short, justify="right")
    table.add_column("Susp", justify="right")
    for one in assessments:
        table.add_row(_label(one), *_figures(one), style=_style(one))
    return table


def _many_narrow(assessments: Sequence[Assessment]) -> Group:
    """The same with each name above its figures."""
    headings = (*SHORT.values(), "Susp")

    def row(cells: Sequence[RenderableType], style: str) -> Table:
        grid = Table.grid(padding=(0, 1, 0, 0))
        for heading in headings:
            grid.add_column(justify="right", width=NARROW.get(heading, 4), overflow="fold")
        grid.add_row(*cells, style=style)
        return grid

    rows = [part for one in assessments for part in (_label(one), row(_figures(one), _style(one)))]
    return Group(row(headings, "dim"), *rows, Text(MANY_CAPTION, "dim italic"))


def _image(assessment: Assessment) -> str:
    """The image through a nodule's middle, in one line."""
    return ", ".join(filter(None, (image(assessment.image), image_uids(assessment.image))))


def _figures(assessment: Assessment) -> tuple[RenderableType, ...]:
    """Each grade in a few characters, in the order of ``GRADES``, and the suspicion probability."""
    if assessment.nodule is None:
        return ("–",) * (len(GRADES) + 1)
    suspicion = Text(percent(assessment.nodule.suspicion_probability), _style(assessment) or "bold cyan")
    return (*_short(assessment.nodule), suspicion)


def _label(assessment: Assessment) -> Text:
    """The nodule's name, one mark if there are warnings about it, and below it what is doubtful."""
    text = Text(printable(assessment.point.label), "not dim")
    if any(warning.about == "nodule" for warning in assessment.warnings):
        text.append("\N{NO-BREAK SPACE}!", DOUBT)
    for doubt in assessment.doubts:
        text.append(f"\n{printable(doubt)}", DOUBT)
    return text


def _style(assessment: Assessment) -> str:
    return DOUBTFUL if assessment.doubts else ""


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
