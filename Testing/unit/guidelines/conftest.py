"""A record of inputs from plain values, for every test of the guidelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from NoduleRiskLib.guidelines import Axes, Inputs, told


@pytest.fixture(scope="session")
def given() -> Callable[..., Inputs]:
    """``given(size=7, nodule_type="solid")``: all told by the user, a number for a size is a round one's diameter."""

    def make(**values: Any) -> Inputs:
        for name in ("size", "solid_part"):
            if isinstance(values.get(name), int | float):
                values[name] = Axes.of_round(values[name])
        return Inputs(**{name: told(value) for name, value in values.items() if value is not None})

    return make


@pytest.fixture(scope="session")
def screened(given: Callable[..., Inputs]) -> Callable[..., Inputs]:
    """A whole answer's inputs but for the nodule: a screening CT."""
    return lambda **values: given(**{"setting": "screening", **values})
