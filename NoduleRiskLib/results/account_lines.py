"""Why this suspicion, as bars, a line and a sentence: the one table that panel, page, terminal and notebook draw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .phrases import percent

if TYPE_CHECKING:
    from .nodule import Nodule

#: Account and suspicion probability (0 to 1) that lie so far from each other are said to disagree.
APART = 0.2
#: Terms below (log-odds) are shown together: they move a probability by less than 5 points.
SMALL = 0.2
#: What drawn bars reach on both sides, log-odds; more if a term is larger.
REACH = 3.0
TITLE = "Why this suspicion"
OTHERS = "others"
#: Colours of bars that raise the suspicion, and of those that lower it.
RAISES, LOWERS = "#c2571a", "#0b63a5"


@dataclass(frozen=True)
class AccountLine:
    """One term as it is shown.

    Attributes
    ----------
    name : str
        The grade's name, or "others".
    adds : str
        Log-odds with sign: "+1.2".
    ends : (float, float)
        Of its bar, 0 to 1; one of them lies in the middle.
    colour : str
        Of its bar.
    """

    name: str
    adds: str
    ends: tuple[float, float]
    colour: str


def account_lines(nodule: Nodule) -> list[AccountLine]:
    """The terms, largest first, small ones together; what adds nothing is left out. Empty without an account."""
    if nodule.account is None:
        return []
    terms = sorted(nodule.account.terms, key=lambda term: -abs(term.adds))
    large = [(term.grade.name, term.adds) for term in terms if abs(term.adds) >= SMALL]
    rest = math.fsum(term.adds for term in terms if abs(term.adds) < SMALL)
    reach = max([REACH, *(abs(adds) for _, adds in large)])
    return [_line(name, adds, reach) for name, adds in (*large, (OTHERS, rest)) if round(adds, 1)]


def account_text(nodule: Nodule) -> str:
    """The same in one line: "calcification −2.0, diameter +1.2, others −0.1"; empty without an account."""
    if nodule.account is None:
        return ""
    return ", ".join(f"{line.name} {line.adds}" for line in account_lines(nodule)) or "nothing"


def account_sentence(nodule: Nodule) -> str:
    """What the terms are, where they lead, and what the direct head says beside it; empty without an account."""
    one = nodule.account
    if one is None:
        return ""
    together, direct = one.probability, nodule.suspicion_probability
    if abs(together - direct) < APART:
        told = f"together {percent(together)}, beside a suspicion probability of {percent(direct)}"
    else:
        told = (
            f"together {percent(together)}, at least {100 * APART:.0f} points from the suspicion probability of "
            f"{percent(direct)}, so they explain this nodule badly"
        )
    return (
        f"Log-odds against LIDC's average nodule of {percent(one.average)}, +0.7 doubling the odds: {told}; an account "
        "of this model's own arithmetic, not a cause."
    )


def _line(name: str, adds: float, reach: float) -> AccountLine:
    end = 0.5 + 0.5 * adds / reach
    return AccountLine(name, signed(adds), (min(0.5, end), max(0.5, end)), RAISES if adds > 0 else LOWERS)


def signed(adds: float) -> str:
    """Log-odds with their sign.

    >>> signed(1.234), signed(-2.0)
    ('+1.2', '−2.0')
    """
    return f"{adds:+.1f}".replace("-", "−")
