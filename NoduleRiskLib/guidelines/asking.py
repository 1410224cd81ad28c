"""How a guideline is asked: its rule is tried with all that an open input could be, values that are alike at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any, TypeVar

from .answer import Answer, Open, Outcome, Used, together
from .inputs import Inputs, Known
from .questions import QUESTIONS, Question, rounded, said

T = TypeVar("T")
U = TypeVar("U")
Rule = Callable[[Inputs, "Reader"], Outcome]
#: One choice, or both ends of a span of numbers, of which the first stands for all.
Values = tuple[Any, ...]
#: By name, what is tried in place of the record's value: all that it could be and that the rule took alike so far.
Tried = Mapping[str, tuple[Values, ...]]


def answer(guideline: str, rule: Rule, inputs: Inputs) -> Answer:
    """Ask a guideline, also for every value that its open inputs could have.

    Parameters
    ----------
    guideline : str
        Its name.
    rule : callable
        Reads inputs through the ``Reader`` that it is given, in any order, and depends on nothing else.
    inputs : Inputs
    """
    trace = _Trace()
    ways = _explore(rule, inputs, {}, trace)
    return Answer(
        guideline,
        together(outcome for _, outcome in ways),
        tuple(
            Used(QUESTIONS[name].label, said(known.value, QUESTIONS[name].unit), known.origin)
            for name, known in trace.read.items()
            if known.value is not None
        ),
        tuple(
            _opened(rule, inputs, known, None if known.name in trace.ranges else ways)
            for known in trace.read.values()
            if known.value is None or known.origin == "graded"
        ),
    )


@dataclass
class _Trace:
    """Which inputs were read, and which of them as a range."""

    read: dict[str, Known[Any]] = field(default_factory=dict)
    ranges: set[str] = field(default_factory=set)


class Reader:
    """How a rule reads its inputs: each is noted, and the rule stops where one is unknown, to be tried with all values.

    Parameters
    ----------
    inputs : Inputs
    tried : mapping of str to tuple
        Values that are tried in place of the record's own.
    trace : _Trace
        Filled with what is read.
    """

    def __init__(self, inputs: Inputs, tried: Tried, trace: _Trace) -> None:
        self._inputs, self._tried, self._trace = inputs, tried, trace

    def __call__(self, known: Known[T]) -> T:
        """The value."""
        return self.told(known, lambda value: value)

    def told(self, known: Known[T], tell: Callable[[T], U]) -> U:
        """What ``tell`` says of the value: of those that it takes alike one is tried for all."""
        possible = self._possible(known)
        if len(possible) == 1:
            return tell(possible[0][0])
        alike: dict[U, list[Values]] = {}
        for values in possible:
            alike.setdefault(tell(values[0]), []).append(values)
        if len(alike) > 1:
            raise _Unknown(known.name, [tuple(some) for some in alike.values()])
        return next(iter(alike))

    def known(self, known: Known[Any]) -> bool:
        """Whether there is a value that the record holds, or that is tried."""
        return known.name in self._tried or known.value is not None

    def optional(self, known: Known[T]) -> T | None:
        """The value, or ``None`` where the rule can do without it."""
        return self(known) if self.known(known) else None

    def all(self, known: Known[T]) -> tuple[T, ...]:
        """Every value that it can have; for numbers the ends of what is possible."""
        possible = self._possible(known)
        if len(possible) > 1 and known.name in self._tried:
            raise _Unknown(known.name, [(values,) for values in possible])
        if len(possible) > 1:
            self._trace.ranges.add(known.name)
        return tuple(value for values in possible for value in values)

    def reaches(self, name: str, low: float, high: float, threshold: float) -> bool:
        """Whether a number between ``low`` and ``high`` is at least ``threshold``; both are tried if it can be both."""
        if low >= threshold or high < threshold:
            return low >= threshold
        if name in self._tried:
            return bool(self._tried[name][0][0])
        raise _Unknown(name, [((False,),), ((True,),)])

    def _possible(self, known: Known[Any]) -> tuple[Values, ...]:
        """All that it can be: one where the record holds it, or where something is taken for granted."""
        self._trace.read.setdefault(known.name, known)
        if known.name in self._tried:
            return self._tried[known.name]
        taken = QUESTIONS[known.name].usual if known.value is None else known.value
        return _possible(known.name, self._inputs)[1] if taken is None else ((taken,),)


def months_under(inputs: Inputs, read: Reader, months: float) -> bool:
    """Whether fewer whole months lie between the earlier CT and this one: as told, or else by the days between both."""
    earlier = read.optional(inputs.earlier)
    if inputs.interval_months.value is None and earlier is not None:
        return rounded(earlier.days / 30.4375, 0) < months
    return read.told(inputs.interval_months, lambda told: told < months)


class _Unknown(Exception):  # noqa: N818
    """A rule asked for what is not known; not an error, but where its table branches."""

    def __init__(self, name: str, possible: list[tuple[Values, ...]]) -> None:
        super().__init__(name)
        self.name, self.possible = name, possible


def _explore(rule: Rule, inputs: Inputs, tried: Tried, trace: _Trace) -> list[tuple[Tried, Outcome]]:
    """What was tried and what came of it, for every way that the unknown inputs leave open."""
    try:
        return [(tried, rule(inputs, Reader(inputs, tried, trace)))]
    except _Unknown as unknown:
        name, possible = unknown.name, unknown.possible
    return [way for alike in possible for way in _explore(rule, inputs, {**tried, name: alike}, trace)]


def _opened(rule: Rule, inputs: Inputs, known: Known[Any], ways: list[tuple[Tried, Outcome]] | None) -> Open:
    """What each value of one input would lead to, whatever the others are.

    ``ways`` has the answers already where the input is unknown; a taken value and a range have to be tried anew.
    """
    question, name = QUESTIONS[known.name], known.name
    taken = question.usual if known.value is None else known.value
    labels, possible = _possible(name, inputs)
    if ways is None:
        ways = [way for values in possible for way in _explore(rule, inputs, {name: (values,)}, _Trace())]
    elif taken is not None:
        ways = _explore(rule, inputs, {name: possible}, _Trace())
    changes = [
        (label, together(outcome for tried, outcome in ways if values in tried.get(name, possible)))
        for label, values in zip(labels, possible, strict=True)
    ]
    return Open(
        name,
        question.label,
        "graded" if known.value is not None else "unknown" if taken is None else "not named",
        "" if taken is None else said(taken, question.unit),
        tuple((said(value), outcomes) for value, outcomes in changes)
        if question.choices
        else tuple(_spans(changes, question)),
    )


def _possible(name: str, inputs: Inputs) -> tuple[tuple[Any, ...], tuple[Values, ...]]:
    """All that an input can be: choices, or both ends of spans of numbers; and the values there."""
    # A part is not larger than the whole.
    whole = inputs.size.value if name == "solid_part" else None
    return _possible_up_to(name, None if whole is None else whole.long_mm)


@lru_cache(maxsize=256)
def _possible_up_to(name: str, longest: float | None) -> tuple[tuple[Any, ...], tuple[Values, ...]]:
    question = QUESTIONS[name]
    if question.choices:
        return question.choices, tuple((choice,) for choice in question.choices)
    cuts = question.cuts
    if longest is not None:
        cuts = (*(cut for cut in cuts if cut < longest), longest)
    # A span ends before the next one starts: whole numbers one earlier.
    step = 1 if question.make is int else 0
    ends = tuple((low, high - step if high != cuts[-1] else high) for low, high in pairwise(cuts))
    return ends, tuple(tuple(dict.fromkeys(map(question.make, pair))) for pair in ends)


def _spans(
    changes: Sequence[tuple[Any, tuple[Outcome, ...]]], question: Question
) -> Iterator[tuple[str, tuple[Outcome, ...]]]:
    """Spans of numbers in words, neighbours of the same outcomes as one; the outermost are open."""
    unit, to = question.unit, " to " if question.make is int else " to under "
    lowest, highest = changes[0][0][0], changes[-1][0][1]
    for outcomes, group in groupby(changes, key=lambda change: change[1]):
        spans = [span for span, _ in group]
        low, high = spans[0][0], spans[-1][1]
        if (low, high) == (lowest, highest):
            text = "any"
        elif high == highest:
            text = f"{low:g} {unit} or more"
        elif low == high:
            text = f"{low:g} {unit}"
        else:
            text = f"under {high:g} {unit}" if low == lowest and unit else f"{low:g}{to}{high:g} {unit}"
        yield " ".join(text.split()), outcomes
