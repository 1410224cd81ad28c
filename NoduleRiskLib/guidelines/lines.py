"""Answers and inputs as lines of text: the one table that panel, report and terminal show. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .answer import Answer, Conclusion, Open, either
from .inputs import Inputs
from .questions import QUESTIONS, said

#: How many categories a short answer names; where more are possible, it names what they depend on.
NAMED = 2
#: What a value's origin is called beside it.
ORIGINS = {
    "measured": "measured",
    "graded": "proposed",
    "DICOM header": "DICOM header",
    "user": "yours",
    "unknown": "not known",
}
#: Nobody named the finding, or said that there is an earlier CT.
TAKEN = "assumed"


@dataclass(frozen=True)
class OutcomeLine:
    """One thing that a guideline may say: category, advice with its limits, and the rule with its source."""

    category: str
    sentence: str
    by: str


@dataclass(frozen=True)
class OpenLine:
    """An input that is not settled: its name and what was taken for it, and the same with what it could change."""

    taken: str
    full: str


@dataclass(frozen=True)
class AnswerLine:
    """One guideline's answer as it is shown.

    Attributes
    ----------
    name : str
    short : str
        The category; two where two are possible; otherwise what it depends on.
    settled : bool
        Whether nothing unknown can change it.
    outcomes : tuple of OutcomeLine
    missing, unconfirmed, assumed : tuple of OpenLine
        Inputs that nobody gave, that were proposed and not confirmed, and that were taken for granted, each with what
        it could change.
    idle : str
        The names of open inputs that change nothing.
    """

    name: str
    short: str
    settled: bool
    outcomes: tuple[OutcomeLine, ...]
    missing: tuple[OpenLine, ...]
    unconfirmed: tuple[OpenLine, ...]
    assumed: tuple[OpenLine, ...]
    idle: str


@dataclass(frozen=True)
class InputLine:
    """One input as it is shown.

    Attributes
    ----------
    name, label : str
        The field of ``Inputs``, and its question.
    value : str
        In words; empty if unknown.
    origin : str
        Where it came from, in words.
    wanted : bool
        Whether an answer would change what some guideline says: unknown, or proposed and not confirmed.
    """

    name: str
    label: str
    value: str
    origin: str
    wanted: bool


def answer_line(answer: Answer) -> AnswerLine:
    """One answer in text."""
    outcomes = tuple(
        OutcomeLine(one.category, " ".join((one.advice, *one.notes)).strip(), f"{one.rule} [{one.source}]")
        if isinstance(one, Conclusion)
        else OutcomeLine(one.category, one.sentence, one.source)
        for one in answer.outcomes
    )
    lines = {why: tuple(map(_open, _mattering(answer.open, why))) for why in ("unknown", "graded", "not named")}
    return AnswerLine(
        answer.guideline,
        _short(answer),
        answer.conclusion is not None and not lines["unknown"],
        outcomes,
        lines["unknown"],
        lines["graded"],
        lines["not named"],
        ", ".join(one.label for one in answer.open if not one.matters),
    )


def input_lines(inputs: Inputs, answers: Iterable[Answer]) -> list[InputLine]:
    """The inputs that some guideline looked at, in the order of ``QUESTIONS``: first those that are wanted."""
    answers = list(answers)
    opened = [one for answer in answers for one in answer.open]
    labels = {used.label for answer in answers for used in answer.used} | {one.label for one in opened}
    wanted = {one.name for why in ("unknown", "graded") for one in _mattering(opened, why)}
    lines = []
    for name, question in QUESTIONS.items():
        known = getattr(inputs, name)
        if question.label not in labels and known.origin != "user":
            continue
        taken = known.value is None and question.usual is not None
        value = question.usual if taken else known.value
        text = "" if value is None else said(value, question.unit)
        origin = TAKEN if taken else ORIGINS[known.origin]
        lines.append(InputLine(name, question.label, text, origin, name in wanted))
    return sorted(lines, key=lambda line: not line.wanted)


def _open(one: Open) -> OpenLine:
    return OpenLine(f"{one.label}: {one.value}" if one.value else one.label, str(one))


def _short(answer: Answer) -> str:
    categories = {one.category for one in answer.outcomes}
    missing = [one.label for one in _mattering(answer.open, "unknown")]
    if len(categories) <= NAMED or not missing:
        return either(answer.outcomes)
    return f"depends on {', '.join(missing)}"


def _mattering(opened: Iterable[Open], why: str) -> list[Open]:
    return [one for one in opened if one.why == why and one.matters]
