"""Points that a hand put on nodules: a name and a place in RAS millimetres, and the files that hold them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import NoduleRiskError

#: What takes a file's coordinates to RAS. The numbers are those of Slicer before 4.11.
COORDINATE_SYSTEMS = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1), "0": (1, 1, 1), "1": (-1, -1, 1)}
UNITS_MM = {"mm": 1.0, "um": 0.001}
CSV_COLUMNS = {("r", "a", "s"): "RAS", ("l", "p", "s"): "LPS"}
LABEL_COLUMNS = ("label", "name")
FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"


@dataclass(frozen=True)
class Point:
    """A named position.

    Attributes
    ----------
    label : str
    ras : tuple of float
        R, A and S in mm.
    """

    label: str
    ras: tuple[float, float, float]


def read(path: str | Path) -> list[Point]:
    """The points in a Slicer markups file (``.mrk.json``, ``.fcsv``) or a CSV table, in the file's order.

    A CSV table has columns ``r, a, s`` or ``l, p, s`` (mm) and may have ``label`` or ``name``; their case and other
    columns do not matter. Labels need not differ; points without one are called by their number, from 1. Points that
    Slicer marks as not placed are left out.

    Parameters
    ----------
    path : path

    Returns
    -------
    list of Point
        At least one.

    Raises
    ------
    NoduleRiskError
        If the file is no such file or holds no points, or a point has no three finite coordinates.
    """
    path = Path(path)
    if not path.is_file():
        raise NoduleRiskError(f"{path} does not exist or is no file: check its name and place.")
    rows = READERS.get(path.suffix.lower())
    if rows is None:
        raise NoduleRiskError(f"{path} is no file of points: {EXPECTED}.")
    try:
        # Excel puts a byte order mark before its UTF-8.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise NoduleRiskError(f"{path} is no text in UTF-8: save it again in that encoding.") from error
    points = [Point(row.label.strip() or str(number), _ras(row)) for number, row in enumerate(rows(path, text), 1)]
    if not points:
        raise NoduleRiskError(f"{path} holds no points: place at least one on a nodule and save again.")
    return points


class _Row(NamedTuple):
    """A point as its file tells it. ``place`` names file and line; ``to_ras_mm`` are factors of ``position``."""

    place: str
    label: str
    position: Any
    to_ras_mm: tuple[float, ...]


def _ras(row: _Row) -> tuple[float, float, float]:
    # A text of three digits is no position.
    position = row.position if isinstance(row.position, list) else []
    try:
        # Adding zero turns -0.0 into 0.0.
        r, a, s = (float(value) * factor + 0.0 for value, factor in zip(position, row.to_ras_mm, strict=True))
    except (TypeError, ValueError):
        r = a = s = math.nan
    if not all(map(math.isfinite, (r, a, s))):
        raise NoduleRiskError(
            f"{row.place} has the position {row.position}, not three numbers in mm: correct or delete it."
        )
    return r, a, s


def _from_markups(path: Path, text: str) -> Iterator[_Row]:
    """Slicer's Markups JSON (its schema markups-schema-v1.0.3)."""
    try:
        markups = json.loads(text)["markups"]
        kinds = [markup["type"] for markup in markups]
    except json.JSONDecodeError as error:
        raise NoduleRiskError(
            f"{path}, line {error.lineno}, is no JSON ({error.msg}): save the points again."
        ) from error
    except (KeyError, TypeError) as error:
        raise NoduleRiskError(f"{path} is JSON without Slicer's markups: {EXPECTED}.") from error
    for kind, markup in zip(kinds, markups, strict=True):
        if kind != "Fiducial":
            raise NoduleRiskError(f"{path} holds a markup of type {kind}: save the nodules' points as a point list.")
        system = str(markup.get("coordinateSystem", "LPS"))
        unit = markup.get("coordinateUnits", "mm")
        # A coded entry: value, scheme, meaning.
        unit = str(unit[0] if isinstance(unit, list) and unit else unit)
        if system not in COORDINATE_SYSTEMS or unit not in UNITS_MM:
            raise NoduleRiskError(
                f"{path} has coordinateSystem {system} in {unit}, and only LPS or RAS in mm or um can be read: "
                "save it from Slicer again."
            )
        factors = tuple(sign * UNITS_MM[unit] for sign in COORDINATE_SYSTEMS[system])
        for number, point in enumerate(markup.get("controlPoints") or (), 1):
            told = point if isinstance(point, dict) else {}
            if told.get("positionStatus", "defined") == "defined":
                place = f"{path}, control point {number},"
                yield _Row(place, str(told.get("label") or ""), told.get("position"), factors)


def _from_fcsv(path: Path, text: str) -> Iterator[_Row]:
    """Slicer's older fiducial list: a CSV whose head stands in comments."""
    head: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            name, _, value = line.lstrip("# ").partition("=")
            head[name.strip()] = value.strip()
    system = head.get("CoordinateSystem", "")
    if system not in COORDINATE_SYSTEMS:
        raise NoduleRiskError(
            f"{path} does not say whether it is LPS or RAS (its head has '# CoordinateSystem = {system}'): "
            "save the points from Slicer again."
        )
    columns = head.get("columns", FCSV_COLUMNS).split(",")
    # Slicer 5 writes two more values than it names: positionStatus (2 is placed) and autoCreated.
    columns += ["positionStatus", "autoCreated"]
    # One line is one point, comments included, so that line numbers stay right.
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            point = dict(zip(columns, next(csv.reader([line])), strict=False))
            if point.get("positionStatus") in (None, "", "2"):
                position = [point.get(axis) for axis in "xyz"]
                yield _Row(f"{path}, line {number},", point.get("label", ""), position, COORDINATE_SYSTEMS[system])


def _from_csv(path: Path, text: str) -> Iterator[_Row]:
    reader = csv.reader(text.splitlines())
    columns = [name.strip().lower() for name in next(reader, [])]
    axes = next((axes for axes in CSV_COLUMNS if set(axes) <= set(columns)), None)
    if axes is None:
        raise NoduleRiskError(f"{path}, line 1, has the columns {', '.join(columns) or '(none)'}: {EXPECTED}.")
    for values in reader:
        point = dict(zip(columns, values, strict=False))
        # The table that Slicer exports has a column ``defined``: 0 is a point that was never placed.
        if any(value.strip() for value in values) and point.get("defined", "1").strip() != "0":
            label = next((point[name] for name in LABEL_COLUMNS if name in point), "")
            position = [point.get(axis) for axis in axes]
            yield _Row(f"{path}, line {reader.line_num},", label, position, COORDINATE_SYSTEMS[CSV_COLUMNS[axes]])


EXPECTED = "points come as Slicer's .mrk.json or .fcsv, or as a .csv with columns r, a, s (or l, p, s) in mm"
READERS: dict[str, Callable[[Path, str], Iterator[_Row]]] = {
    ".json": _from_markups,
    ".fcsv": _from_fcsv,
    ".csv": _from_csv,
}
