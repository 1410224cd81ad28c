"""What is typed at the command line: options that several commands have, and text made into points."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..errors import NoduleRiskError
from ..imaging.points import Point

Model = Annotated[Path, typer.Option(help="Model package: a folder with model.json.")]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu, cuda:0, ...")]

#: A decimal comma is joined to its number, too, so that the user is told about it and not about an unknown option.
NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)


class PointCommand(TyperCommand):
    """A command whose --point takes three numbers, any of them negative, and may be repeated."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The numbers after ``--point`` become one argument before typer sees them; no others are taken.

        Raises
        ------
        NoduleRiskError
            If numbers stand without ``--point``: for typer, negative ones would be options.
        """
        args = joined(args)
        switches = [one for one in self.params if getattr(one, "is_flag", False)]
        numbers = stray(args, {"--help", *(name for one in switches for name in one.opts + one.secondary_opts)})
        if numbers:
            example = " ".join(numbers) if len(numbers) == 3 else "-56.2 -86.2 -115"
            raise NoduleRiskError(
                f"{' '.join(numbers)}: every nodule's three numbers stand behind a --point of their own, "
                f"such as --point {example}."
            )
        return super().parse_args(ctx, args)


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


def stray(args: list[str], flags: Collection[str]) -> list[str]:
    """The numbers that belong to no option; ``flags`` are the options that take no value.

    >>> stray(["ct.nrrd", "-1", "2", "3", "--device", "0", "--json"], {"--json"})
    ['-1', '2', '3']

    A CT may be called 5; then it comes first.

    >>> stray(["5", "--json", "6"], {"--json"})
    ['6']
    """
    found: list[str] = []
    positional = 0
    before = ""
    for one in args:
        is_value = before.startswith("--") and "=" not in before and before not in flags
        before = "" if is_value else one
        if is_value or one.startswith("--"):
            continue
        positional += 1
        if NUMBER.fullmatch(one) and (positional > 1 or one[0] in "+-"):
            found.append(one)
    return found


def point(number: int, text: str) -> Point:
    """The point that ``--point`` names: three numbers, R A S in mm.

    Raises
    ------
    NoduleRiskError
        If it is not three numbers.
    """
    text = text.strip()
    parts = re.split(r"\s*[,;]\s*|\s+", text)
    # A comma that separates some of the numbers only stands inside the others.
    separators = {found.strip() for found in re.findall(r"\s*[,;]\s*|\s+", text)}
    try:
        r, a, s = (float(part) if NUMBER.fullmatch(part) else math.nan for part in parts)
    except ValueError:
        r = a = s = math.nan
    if len(separators) != 1 or not all(map(math.isfinite, (r, a, s))):
        comma = " with points and not commas in the numbers," if "," in text else ""
        raise NoduleRiskError(
            f"--point takes three numbers, R A S in millimetres,{comma} such as --point -56.2 -86.2 -115; "
            f"this is {text!r}."
        )
    return Point(f"nodule {number}", (r, a, s))


def pairs_of(given: Sequence[str]) -> dict[str, str]:
    """What ``--pair`` says: of each name in the later CT that in the earlier one, or "" for none.

    >>> pairs_of(["nodule 1=nodule 3", "nodule 2="])
    {'nodule 1': 'nodule 3', 'nodule 2': ''}
    """
    pairs: dict[str, str] = {}
    for one in given:
        now, equals, before = (part.strip() for part in one.partition("="))
        if not (now and equals) or now in pairs:
            raise NoduleRiskError(
                f"--pair takes a nodule's names in the later and in the earlier CT, each nodule once, such as "
                f"--pair 'nodule 1=nodule 3'; this is {one!r}."
            )
        pairs[now] = before
    return pairs


def points_csv(points: Sequence[Point]) -> str:
    """Points as a CSV table that ``points.read`` reads: label, r, a, s in mm."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(("label", "r", "a", "s"))
    writer.writerows((one.label, *one.ras) for one in points)
    return lines.getvalue()
