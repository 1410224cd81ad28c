"""Points that a user put on nodules: a name and a position in RAS millimetres, and the files that hold them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import NoduleRiskError
from .shown import shown

#: What takes a file's coordinates to RAS. The numbers are those of Slicer before 4.11.
COORDINATE_SYSTEMS = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1), "0": (1, 1, 1), "1": (-1, -1, 1)}
UNITS_MM = {"mm": 1.0, "um": 0.001}
CSV_COLUMNS = {("r", "a", "s"): "RAS", ("l", "p", "s"): "LPS"}
LABEL_COLUMNS = ("label", "name")
#: Columns of a table that are read; none of them may be there twice.
READ_COLUMNS = {"r", "a", "l", "p", "s", "label", "name", "defined"}
SEPARATORS = {";": "semicolons", "\t": "tabs"}
FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
#: What a fiducial list's head may say only once.
FCSV_HEAD = ("CoordinateSystem", "columns")
#: A file of points is not larger, in bytes.
LARGEST = 2**26
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Point:
    """A named position.

    Attributes
    ----------
    label : str
    ras : tuple of float
        R, A and S in mm.
    tracking_uid : str
        The DICOM UID under which a report or segmentation that was read knows the nodule; "" elsewhere.
    """

    label: str
    ras: tuple[float, float, float]
    tracking_uid: str = field(default="", compare=False, repr=False)


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
        If the file is no such file or holds no points, a point has no three finite coordinates, or it is unclear which
        of the file's numbers they are.
    """
    path = Path(path)
    if not path.is_file():
        raise NoduleRiskError(f"{path} does not exist or is no file: check its name and place.")
    rows = READERS.get(path.suffix.lower())
    if rows is None:
        raise NoduleRiskError(f"{path} is no file of points: {EXPECTED}.")
    try:
        if path.stat().st_size > LARGEST:
            raise NoduleRiskError(f"{path} is too large to be a file of points: {EXPECTED}.")
        # Excel puts a byte order mark before its UTF-8.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise NoduleRiskError(f"{path} is no text in UTF-8: save it again in that encoding.") from error
    except OSError as error:
        raise NoduleRiskError(f"{path} cannot be read ({error.strerror}): check its name and place.") from error
    points = [Point(_label(row.label) or str(number), _ras(row)) for number, row in enumerate(rows(path, text), 1)]
    if not points:
        raise NoduleRiskError(f"{path} holds no points: place at least one on a nodule and save again.")
    return points


class _Row(NamedTuple):
    """A point as its file tells it. ``place`` names file and line; ``to_ras_mm`` are factors of ``position``."""

    place: str
    label: str
    position: Any
    to_ras_mm: tuple[float, ...]


def _label(text: str) -> str:
    # Half of a surrogate pair, which JSON can hold, could be neither printed nor saved.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()


def _ras(row: _Row) -> tuple[float, float, float]:
    # A text of three digits is no position.
    position = row.position if isinstance(row.position, list) and len(row.position) == 3 else [None] * 3
    # Adding zero turns -0.0 into 0.0.
    r, a, s = (_number(value) * factor + 0.0 for value, factor in zip(position, row.to_ras_mm, strict=True))
    if not all(map(math.isfinite, (r, a, s))):
        raise NoduleRiskError(
            f"{row.place} has the position {shown(row.position)}, not three numbers in mm: correct or delete it."
        )
    return r, a, s


def _number(value: Any) -> float:
    """A number, or the text of one as other programs read it, too; NaN for anything else."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan


class _TwiceError(ValueError):
    """A name that an object has twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, unless it says one thing twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _TwiceError(name)
        found[name] = value
    return found


def _from_markups(path: Path, text: str) -> Iterator[_Row]:
    """Slicer's Markups JSON (its schema markups-schema-v1.0.3)."""
    try:
        markups = json.loads(text, object_pairs_hook=_unique)["markups"]
        kinds = [markup["type"] for markup in markups]
    except json.JSONDecodeError as error:
        raise NoduleRiskError(
            f"{path}, line {error.lineno}, is no JSON ({error.msg}): save the points again."
        ) from error
    except _TwiceError as error:
        raise NoduleRiskError(f"{path} says {shown(error)!r} twice in one object: save the points again.") from error
    except (KeyError, TypeError, RecursionError, ValueError) as error:
        # Too deep, or a number of thousands of digits.
        raise NoduleRiskError(f"{path} is JSON without Slicer's markups: {EXPECTED}.") from error
    for kind, markup in zip(kinds, markups, strict=True):
        if kind != "Fiducial":
            raise NoduleRiskError(
                f"{path} holds a markup of type {shown(kind)}: save the nodules' points as a point list."
            )
        system = str(markup.get("coordinateSystem", "LPS"))
        unit = markup.get("coordinateUnits", "mm")
        # A coded entry: value, scheme, meaning.
        unit = str(unit[0] if isinstance(unit, list) and unit else unit)
        if system not in COORDINATE_SYSTEMS or unit not in UNITS_MM:
            raise NoduleRiskError(
                f"{path} has coordinateSystem {shown(system)} in {shown(unit)}, and only LPS or RAS in mm or um can "
                "be read: save it from Slicer again."
            )
        factors = tuple(sign * UNITS_MM[unit] for sign in COORDINATE_SYSTEMS[system])
        points = markup.get("controlPoints") or []
        if not isinstance(points, list):
            raise NoduleRiskError(f"{path} has controlPoints {shown(points)}, which is no list: save it again.")
        for number, point in enumerate(points, 1):
            told = point if isinstance(point, dict) else {}
            if told.get("positionStatus", "defined") == "defined":
                place = f"{path}, control point {number},"
                yield _Row(place, str(told.get("label") or ""), told.get("position"), factors)


def _from_fcsv(path: Path, text: str) -> Iterator[_Row]:
    """Slicer's older fiducial list: a CSV whose head stands in comments."""
    head: dict[str, str] = {}
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            name, _, value = line.lstrip("# ").partition("=")
            if head.setdefault(name.strip(), value.strip()) != value.strip() and name.strip() in FCSV_HEAD:
                raise NoduleRiskError(f"{path}, line {number}, says another {name.strip()} than before: save it again.")
    system = head.get("CoordinateSystem", "")
    if system not in COORDINATE_SYSTEMS:
        raise NoduleRiskError(
            f"{path} does not say whether it is LPS or RAS (its head has '# CoordinateSystem = {shown(system)}'): "
            "save the points from Slicer again."
        )
    # Slicer 5 writes two more values than it names: positionStatus (2 is placed) and autoCreated.
    columns = [*head.get("columns", FCSV_COLUMNS).split(","), "positionStatus", "autoCreated"]
    if any(columns.count(axis) != 1 for axis in "xyz"):
        raise NoduleRiskError(f"{path} names its columns {shown(head['columns'])}: save the points from Slicer again.")
    # One line is one point, comments included, so that line numbers stay right.
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            place = f"{path}, line {number},"
            (values,) = _cells(path, line, number - 1)
            point = dict(zip(columns, _fitting(place, values[1], len(columns)), strict=False))
            if point.get("positionStatus") in (None, "", "2"):
                position = [point.get(axis) for axis in "xyz"]
                yield _Row(place, point.get("label", ""), position, COORDINATE_SYSTEMS[system])


def _from_csv(path: Path, text: str) -> Iterator[_Row]:
    rows = _cells(path, text)
    columns = [name.strip().lower() for name in next(rows, (1, []))[1]] or [""]
    found = [axes for axes in CSV_COLUMNS if set(axes) <= set(columns)]
    if not found:
        separator = next((name for sign, name in SEPARATORS.items() if sign in columns[0]), None)
        if separator:
            raise NoduleRiskError(
                f"{path}, line 1, has {separator} between its columns: save it with commas between columns and points "
                f"in numbers (1.5 and not 1,5); {EXPECTED}."
            )
        raise NoduleRiskError(f"{path}, line 1, has the columns {shown(', '.join(columns)) or '(none)'}: {EXPECTED}.")
    twice = [name for name in READ_COLUMNS if columns.count(name) > 1]
    if twice or len(found) > 1:
        what = f"the column {min(twice)} twice" if twice else "columns both of RAS and of LPS"
        raise NoduleRiskError(f"{path}, line 1, has {what}: leave only the one that is meant.")
    (axes,) = found
    for number, values in rows:
        place = f"{path}, line {number},"
        point = dict(zip(columns, _fitting(place, values, len(columns)), strict=False))
        # The table that Slicer exports has a column ``defined``: 0 is a point that was never placed.
        if any(value.strip() for value in values) and point.get("defined", "1").strip() != "0":
            label = next((point[name] for name in LABEL_COLUMNS if name in point), "")
            position = [point.get(axis) for axis in axes]
            yield _Row(place, label, position, COORDINATE_SYSTEMS[CSV_COLUMNS[axes]])


def _cells(path: Path, text: str, lines_before: int = 0) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with the lines on which they end."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        begins = lines_before + reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise NoduleRiskError(
                f"{path}, line {begins}, has a quotation mark that is never closed, or something after one that is: "
                "correct it or save the table again."
            ) from error
        yield lines_before + reader.line_num, values


def _fitting(place: str, values: list[str], columns: int) -> list[str]:
    """The cells of a row, refused if there are more than columns: which number is which would be unclear."""
    if any(value.strip() for value in values[columns:]):
        raise NoduleRiskError(
            f"{place} has {len(values)} cells for {columns} columns: write numbers with a point (1.5 and not 1,5), and "
            "labels that hold a comma in quotation marks."
        )
    return values[:columns]


EXPECTED = "points come as Slicer's .mrk.json or .fcsv, or as a .csv with columns r, a, s (or l, p, s) in mm"
READERS: dict[str, Callable[[Path, str], Iterator[_Row]]] = {
    ".json": _from_markups,
    ".fcsv": _from_fcsv,
    ".csv": _from_csv,
}
