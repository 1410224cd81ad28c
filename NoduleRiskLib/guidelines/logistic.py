"""Logistic risk models as the tables in which they are published, and their range where inputs are missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .asking import Reader
from .inputs import Inputs


@dataclass(frozen=True)
class Term:
    """One row of the published table: ``coefficient`` times ``x`` of the input of that name."""

    label: str
    coefficient: float
    name: str
    x: Callable[[Any], float]


@dataclass(frozen=True)
class Model:
    """Constant and rows of a published table."""

    constant: float
    terms: tuple[Term, ...]

    def risk(self, inputs: Inputs, read: Reader) -> tuple[float, float]:
        """Lowest and highest probability (0 to 1) that the unknown inputs leave possible.

        Each input adds its own share to the exponent, so the extremes of all shares together are the extremes of the
        sum; every share is largest or smallest at an end of what its input can be.
        """
        low = high = self.constant
        for name in dict.fromkeys(term.name for term in self.terms):
            terms = [term for term in self.terms if term.name == name]
            shares = [
                sum(term.coefficient * term.x(value) for term in terms) for value in read.all(getattr(inputs, name))
            ]
            low, high = low + min(shares), high + max(shares)
        return logistic(low), logistic(high)


def logistic(x: float) -> float:
    """Probability (0 to 1) of an exponent: 1 / (1 + exp(-x))."""
    return 1 / (1 + math.exp(-x))
