"""Guidelines on the terminal, by rich: what they answer of each nodule, and what they can be told."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..guidelines import QUESTIONS
from ..guidelines.about import About
from ..guidelines.answer import RESEARCH_USE
from ..guidelines.lines import answer_line
from ..guidelines.management import manage
from ..guidelines.questions import said
from ..imaging.dicom_facts import DicomFacts
from ..results.assessment import Assessment
from .terminal import DOUBT, DOUBTFUL, printable


def answers_on_terminal(assessments: Sequence[Assessment], facts: DicomFacts | None, about: About) -> Group:
    """For each nodule its doubts, then each guideline's answer in a line; the report has the rest."""
    parts: list[RenderableType] = []
    for one in assessments:
        found = manage(one, facts, about.of(one.point.label))
        if found is None:
            continue
        parts.append(Text(f"{printable(one.point.label)}: guidelines and risk models", "bold"))
        parts += [Text(printable(caution), DOUBT) for caution in found.cautions]
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for line in map(answer_line, found.answers):
            table.add_row(line.name, Text(line.short), style=DOUBTFUL if found.cautions else "")
        parts.append(table)
    return Group(*parts, Text(RESEARCH_USE, "bold"))


def questions_on_terminal() -> Table:
    """Every question that ``--about`` answers: its name, what it asks, what can be answered."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("Name", "Asks for", "Answers", "Holds for"):
        table.add_column(heading)
    for name, question in QUESTIONS.items():
        if name == "earlier":
            continue
        answers = " / ".join(said(choice) for choice in question.choices)
        if not answers:
            axes = question.unit == "mm"
            answers = "long x short axis, mm" if axes else f"a number{f', {question.unit}' if question.unit else ''}"
        table.add_row(name, question.label, Text(answers), "the CT" if question.patient else "one nodule")
    return table
