"""What is typed at the command line, made into points."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Any

from typer.core import TyperCommand

from ..errors import NoduleRiskError
from ..imaging.points import Point

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


class PointCommand(TyperCommand):
    """A command whose --point takes three numbers, any of them negative, and may be repeated."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The numbers after ``--point`` become one argument before typer sees them."""
        return super().parse_args(ctx, joined(args))


def joined(args: list[str]) -> list[str]:
    """Arguments with the numbers that follow ``--point`` made one, so that a minus sign starts no option.

    >>> joined(["ct.nrrd", "--point", "-1", "2", "3"])
    ['ct.nrrd', '--point', '-1 2 3']
    """
    result: list[str] = []
    while args:
        first, *args = args
        result.append(first)
        numbers = list(takewhile(NUMBER.fullmatch, args[:3])) if first == "--point" else []
        if numbers:
            result.append(" ".join(numbers))
            args = args[len(numbers) :]
    return result


def point(number: int, text: str) -> Point:
    """The point that ``--point`` names: three numbers, R A S in mm.

    Raises
    ------
    NoduleRiskError
        If it is not three numbers.
    """
    try:
        r, a, s = (float(part) for part in re.split(r"[\s,;]+", text.strip()))
    except ValueError:
        raise NoduleRiskError(
            f"--point takes three numbers, R A S in millimetres, such as --point -56.2 -86.2 -115; this is {text!r}."
        ) from None
    return Point(f"nodule {number}", (r, a, s))
