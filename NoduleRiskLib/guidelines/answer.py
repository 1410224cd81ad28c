"""What a guideline answers: category, advice, rule and source, and what its open inputs could change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

RESEARCH_USE = "Research use only, not a medical device."


@dataclass(frozen=True)
class Conclusion:
    """What a guideline says where it knows all that it asks.

    Attributes
    ----------
    category : str
        In the guideline's words; for a risk model the probability in percent.
    advice : str
        One full sentence; empty for a risk model, which gives none.
    rule : str
        The row of the published table that led there.
    source : str
        Where that table was published.
    notes : tuple of str
        Sentences that limit it.
    probability : (float, float) or None
        A risk model's lowest and highest probability, 0 to 1, given what is missing: equal if nothing is.
    """

    category: str
    advice: str
    rule: str = field(compare=False)
    source: str
    notes: tuple[str, ...] = ()
    probability: tuple[float, float] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Refusal:
    """One sentence that says why a guideline does not hold here, and the source of that limit."""

    sentence: str
    source: str

    @property
    def category(self) -> str:
        return "does not apply"


Outcome = Conclusion | Refusal


@dataclass(frozen=True)
class Used:
    """An input that was read: its question, its value in words, and where that came from."""

    label: str
    value: str
    origin: str


@dataclass(frozen=True)
class Open:
    """An input that is not settled, and what each of its possible values would lead to.

    Attributes
    ----------
    name, label : str
        The field of ``Inputs``, and its question.
    why : "unknown", "not named" or "graded"
        Nobody said; nobody named the finding, so it was taken as ``value``; or the networks propose ``value``.
    value : str
        What was taken, in words; empty if unknown.
    changes : tuple of (str, tuple of Outcome)
        For each possible value, in words, all that could follow.
    """

    name: str
    label: str
    why: Literal["unknown", "not named", "graded"]
    value: str
    changes: tuple[tuple[str, tuple[Outcome, ...]], ...]

    @property
    def matters(self) -> bool:
        """Whether any two of its values lead elsewhere; for which reason a guideline does not apply is one to it."""
        return len({tuple(one for one in found if isinstance(one, Conclusion)) for _, found in self.changes}) > 1

    def __str__(self) -> str:
        """Its values and what follows from them; of a value that was taken, the others that lead elsewhere."""
        now = next((outcomes for value, outcomes in self.changes if value == self.value), None)
        values: dict[str, list[str]] = {}
        for value, outcomes in self.changes:
            if outcomes != now:
                # Where others decide whether it applies at all, their own lines say so.
                certain = tuple(one for one in outcomes if isinstance(one, Conclusion)) or outcomes
                values.setdefault(either(certain), []).append(value)
        changes = "; ".join(f"{' / '.join(found)}: {then}" for then, found in values.items())
        return f"{self.label}: {self.value} (if {changes})" if self.value else f"{self.label} ({changes})"


@dataclass(frozen=True)
class Answer:
    """What one guideline says of one nodule.

    Attributes
    ----------
    guideline : str
    outcomes : tuple of Conclusion and Refusal
        One if the inputs settle it, otherwise all that the unknown ones leave possible, refusals last.
    used : tuple of Used
        Every input that was known and read.
    open : tuple of Open
        Every input that is unknown, that was taken for granted because nobody said otherwise, or that was graded and
        not confirmed.
    """

    guideline: str
    outcomes: tuple[Outcome, ...]
    used: tuple[Used, ...]
    open: tuple[Open, ...]

    @property
    def conclusion(self) -> Conclusion | None:
        """What holds whatever the unknown inputs are; ``None`` if they leave more than one outcome, or a refusal."""
        only = self.outcomes[0] if len(self.outcomes) == 1 else None
        return only if isinstance(only, Conclusion) else None

    @property
    def refusal(self) -> str:
        """Why the guideline does not apply, if it certainly does not; otherwise empty."""
        first = self.outcomes[0]
        # Refusals stand last: where one is first, there are only refusals.
        return first.sentence if isinstance(first, Refusal) else ""

    @property
    def missing(self) -> tuple[Open, ...]:
        """The inputs that nobody gave."""
        return tuple(one for one in self.open if one.why == "unknown")

    @property
    def headline(self) -> str:
        """Guideline and category, or all categories that are still possible."""
        return f"{self.guideline}: {either(self.outcomes)}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The whole answer as lines of text."""
        yield self.headline
        for outcome in self.outcomes:
            if isinstance(outcome, Refusal):
                yield f"  {outcome.sentence} [{outcome.source}]"
            else:
                yield "  " + ": ".join(
                    filter(None, [outcome.category, " ".join([outcome.advice, *outcome.notes]).strip()])
                )
                yield f"    by: {outcome.rule} [{outcome.source}]"
        if self.used:
            yield "  from: " + "; ".join(f"{one.label}: {one.value} ({one.origin})" for one in self.used)
        for why, heading in (("unknown", "missing"), ("graded", "not confirmed"), ("not named", "taken for granted")):
            yield from (f"  {heading}: {one}" for one in self.open if one.why == why and one.matters)
        if idle := [one.label for one in self.open if not one.matters]:
            yield f"  open, but changes nothing: {', '.join(idle)}"
        yield f"  {RESEARCH_USE}"


def either(outcomes: tuple[Outcome, ...]) -> str:
    """Their categories, each once: "3 or 4A"."""
    categories = list(dict.fromkeys(outcome.category for outcome in outcomes))
    return ("; or " if any("," in category for category in categories) else " or ").join(categories)


def together(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Outcomes each once, refusals last; the rows that lead to one are named together, probabilities are one range."""
    conclusions: dict[Conclusion, list[str]] = {}
    refusals: dict[Refusal, None] = {}
    risks = []
    for outcome in outcomes:
        if isinstance(outcome, Refusal):
            refusals[outcome] = None
        elif outcome.probability is not None:
            risks.append((*outcome.probability, outcome))
        elif outcome.rule not in (rows := conclusions.setdefault(outcome, [])):
            rows.append(outcome.rule)
    if risks:
        low, high = min(risk[0] for risk in risks), max(risk[1] for risk in risks)
        conclusions[replace(risks[0][2], category=in_percent(low, high), probability=(low, high))] = [risks[0][2].rule]
    merged = [one if len(rows) == 1 else replace(one, rule="; or ".join(rows)) for one, rows in conclusions.items()]
    return (*merged, *refusals)


def in_percent(low: float, high: float) -> str:
    """A probability or the range of it (0 to 1) in percent with one decimal."""
    if f"{low:.1%}" == f"{high:.1%}":
        return f"{100 * low:.1f} %"
    return f"{100 * low:.1f} to {100 * high:.1f} %"
