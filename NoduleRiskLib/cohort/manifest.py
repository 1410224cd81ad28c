"""Which series a cohort has: our own table, idc-index's manifests, LUNA16's annotations."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NoduleRiskError
from ..imaging.image_file import FILE_TYPES
from ..imaging.inputs import as_points
from ..imaging.points import Point
from ..imaging.shown import shown
from .places import beside, is_remote, joined

if TYPE_CHECKING:
    import pandas as pd

#: What tables call a series, best first: ours, DICOM's keyword (idc-index), LUNA16's.
ID_COLUMNS = ("id", "series_uid", "SeriesInstanceUID", "seriesuid", "crdc_series_uuid")
#: Columns of coordinates in mm, and what takes them to RAS. LUNA16's world coordinates are ITK's, which are LPS.
AXES = {("r", "a", "s"): (1, 1, 1), ("l", "p", "s"): (-1, -1, 1), ("coordX", "coordY", "coordZ"): (-1, -1, 1)}
LABEL_COLUMNS = ("label", "name")
#: A line of the manifests that idc-index and the IDC portal write for s5cmd; the folder's name is the series' UUID.
S5CMD = re.compile(r"\s*cp\s+'?(s3://[^\s']+?/([0-9a-fA-F-]{36}))/\*'?(\s.*)?")
#: idc-index calls its folders CT_<SeriesInstanceUID>.
IDC_FOLDER = "CT_"
#: LUNA16's lung masks, which are called as their CTs are.
MASKS = {"seg-lungs-LUNA16"}
EXPECTED = (
    "a manifest has the columns id (or series_uid) and ct, or those of idc-index (SeriesInstanceUID, series_aws_url), "
    "or those of LUNA16's annotations.csv; or it is idc-index's list of cp s3://... lines"
)


@dataclass(frozen=True)
class Series:
    """One CT of a cohort.

    Attributes
    ----------
    id : str
        Its name in the manifest and in both tables.
    ct : str
        A folder or file, or an address that fsspec knows (``s3://``, ``gs://``).
    series_uid : str
        Which series of a DICOM folder; "" takes the only one.
    points, segmentation : str
        Files, or addresses; "" for none.
    placed : tuple of Point
        Points of a second table, RAS mm.
    inputs : str
        Digest of all these, see ``inputs.with_digests``; "" if unknown.
    """

    id: str
    ct: str
    series_uid: str = ""
    points: str = ""
    segmentation: str = ""
    placed: tuple[Point, ...] = ()
    inputs: str = ""

    def to_json(self) -> str:
        """As text, for a worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Series:
        values = json.loads(text)
        placed = tuple(Point(one["label"], tuple(one["ras"]), one["tracking_uid"]) for one in values.pop("placed"))
        return cls(**values, placed=placed)


def read_manifest(path: str, points: str | None = None, cts: Path | None = None) -> list[Series]:
    """The series of a manifest, in its order.

    Parameters
    ----------
    path : str
        CSV, Parquet or an s5cmd list; a file, or an address that fsspec knows.
    points : str, optional
        A second table, CSV or Parquet: the id, and r, a, s or l, p, s (mm) with or without a label, several rows a
        series; or ``points`` or ``segmentation``, files, one row a series. LUNA16's annotations.csv is one, too.
    cts : Path, optional
        Where CTs lie that the manifest gives no path of on this computer: files or folders called by the id, or
        ``CT_`` and the id, at any depth.

    Raises
    ------
    NoduleRiskError
        If a table cannot be read or is none of these, an id stands there twice, or a CT is not found below ``cts``
        or more than once.
    """
    series = _idc_list(path) or _from_table(path, _table(path), cts is not None)
    if points:
        series = _with_points(series, points)
    if cts:
        series = list(_found(series, cts))
    seen: set[str] = set()
    for one in series:
        if one.id in seen:
            raise NoduleRiskError(f"{path} names the series {shown(one.id)} twice: keep one row a series.")
        seen.add(one.id)
    if not series:
        raise NoduleRiskError(f"{path} names no series: {EXPECTED}.")
    return series


def _from_table(path: str, table: pd.DataFrame, elsewhere: bool) -> list[Series]:
    columns = set(table.columns)
    form = next((read for needed, read in FORMS if needed <= columns), None)
    if form is None or (key := _key(table)) is None or (form is _own and "ct" not in columns and not elsewhere):
        raise NoduleRiskError(f"{path} has the columns {shown(', '.join(map(str, table.columns)))}: {EXPECTED}.")
    _refuse_blank(path, table, key)
    return form(path, table, key)


def _own(path: str, table: pd.DataFrame, key: str) -> list[Series]:
    folder = beside(path)
    names = [name for name in ("ct", "points", "segmentation") if name in table.columns]
    return [
        replace(Series(row[key], "", row.get("series_uid", "")), **_places(row, names, folder))
        for row in table.to_dict("records")
    ]


def _idc_table(path: str, table: pd.DataFrame, key: str) -> list[Series]:
    """idc-index's own columns; the folder of a series in the public bucket is its UUID."""
    if "series_aws_url" not in table.columns:
        table = table.assign(series_aws_url=[f"s3://{b}/{u}/*" for b, u in zip(*map(table.get, _BUCKET), strict=True)])
    return [
        Series(row["SeriesInstanceUID"], row["series_aws_url"].removesuffix("/*"), row["SeriesInstanceUID"])
        for row in table.to_dict("records")
    ]


def _luna16(path: str, table: pd.DataFrame, key: str) -> list[Series]:
    """One row a nodule; their CTs are looked for by their names."""
    placed = _placed(path, table, key)
    return [Series(uid, "", placed=tuple(of)) for uid, of in placed.items()]


_BUCKET = ("aws_bucket", "crdc_series_uuid")
#: Columns by which a form is known -> what reads it; the first that fits.
FORMS: tuple[tuple[set[str], Callable[[str, Any, str], list[Series]]], ...] = (
    ({"seriesuid", "coordX", "coordY", "coordZ"}, _luna16),
    ({"SeriesInstanceUID", "series_aws_url"}, _idc_table),
    ({"SeriesInstanceUID", *_BUCKET}, _idc_table),
    (set(), _own),
)


def _idc_list(path: str) -> list[Series]:
    """The series of an s5cmd list; none if the file is something else."""
    if path.lower().endswith((".csv", ".parquet")):
        return []
    try:
        import fsspec

        with fsspec.open(path, "rt", encoding="utf-8") as file:
            lines = [line.rstrip("\n") for line in file if line.strip() and not line.startswith("#")]
    except (OSError, ValueError, ImportError) as error:
        raise NoduleRiskError(f"{path} cannot be read as a manifest ({error}): {EXPECTED}.") from error
    found = [S5CMD.fullmatch(line) for line in lines]
    if None in found:
        raise NoduleRiskError(f"{path} has the line {shown(lines[found.index(None)])}: {EXPECTED}.")
    return [Series(one[2], one[1]) for one in found if one]


def _with_points(series: list[Series], path: str) -> list[Series]:
    table = _table(path)
    key = _key(table)
    if key is None:
        raise NoduleRiskError(f"{path} has no column of {', '.join(ID_COLUMNS)}: say whose points they are.")
    _refuse_blank(path, table, key)
    files = [name for name in ("points", "segmentation") if name in table.columns]
    axes = _axes(table)
    if files and axes:
        raise NoduleRiskError(
            f"{path} has the columns {' and '.join(files)} and {', '.join(axes)}: keep either files or positions."
        )
    if files:
        folder = beside(path)
        named: dict[str, dict[str, Any]] = {}
        for number, row in enumerate(table.to_dict("records"), 2):
            places = _places(row, files, folder)
            if named.setdefault(row[key], places) != places:
                raise NoduleRiskError(
                    f"{path}, row {number}, names other files for {shown(row[key])} than a row before: keep one row a "
                    "series."
                )
    else:
        named = {name: {"placed": tuple(points)} for name, points in _placed(path, table, key).items()}
    known = [named.get(one.id) or named.get(one.series_uid) or {} for one in series]
    if not any(known):
        raise NoduleRiskError(f"None of the series in {path} ({key}) is one of the manifest's: compare their names.")
    return [replace(one, **more) for one, more in zip(series, known, strict=True)]


def _placed(path: str, table: pd.DataFrame, key: str) -> dict[str, list[Point]]:
    """The points of a table with coordinates, by series; those without a label are numbered within theirs."""
    axes = _axes(table)
    if axes is None:
        raise NoduleRiskError(
            f"{path} has the columns {shown(', '.join(map(str, table.columns)))}: a table of points has the series' "
            "id and r, a, s or l, p, s in mm, or points or segmentation with a file a series."
        )
    label = next((name for name in LABEL_COLUMNS if name in table.columns), None)
    found: dict[str, list[Point]] = {}
    for number, row in enumerate(table.to_dict("records"), 2):
        of = found.setdefault(row[key], [])
        try:
            # Adding zero turns -0.0 into 0.0.
            ras = [float(row[axis]) * sign + 0.0 for axis, sign in zip(axes, AXES[axes], strict=True)]
            (point,) = as_points([ras])
        except (ValueError, NoduleRiskError) as error:
            given = ", ".join(str(row[axis]) for axis in axes)
            raise NoduleRiskError(
                f"{path}, row {number}, has the position {shown(given)}, not three numbers in mm: correct it."
            ) from error
        of.append(replace(point, label=(row[label] if label else "") or str(len(of) + 1)))
    return found


def _places(row: Mapping[str, str], names: Iterable[str], folder: str) -> dict[str, Any]:
    """The paths of a row; relative ones start at the table."""
    return {name: joined(folder, row[name]) if row[name] else "" for name in names}


def _found(series: list[Series], cts: Path) -> Iterator[Series]:
    """The series with their CTs' places below a folder; a place on this computer that the manifest tells stays."""
    if not cts.is_dir():
        raise NoduleRiskError(f"{cts} is no folder: name the one that holds the CTs.")
    wanted = {name for one in series if not _is_here(one.ct) for name in (one.id, IDC_FOLDER + one.id)}
    there: dict[str, list[str]] = {}
    for folder, folders, files in os.walk(cts):
        folders[:] = sorted(set(folders) - MASKS)
        for name in (*folders, *sorted(files)):
            stem = next((name[: -len(end)] for end in FILE_TYPES if name.lower().endswith(end)), name)
            for known in {stem, name} & wanted:
                there.setdefault(known, []).append(os.path.join(folder, name))
    for one in series:
        if _is_here(one.ct):
            yield one
            continue
        places = there.get(one.id) or there.get(IDC_FOLDER + one.id) or [one.ct]
        if len(places) > 1:
            raise NoduleRiskError(
                f"{places[0]} and {places[1]} could both be the CT of {shown(one.id)}: write the right path into a "
                "column ct, or name the folder that holds the CTs alone."
            )
        if not places[0]:
            raise NoduleRiskError(
                f"No file or folder below {cts} is called {shown(one.id)}: name the folder that holds all CTs, or "
                "write their paths into a column ct."
            )
        yield replace(one, ct=places[0])


def _is_here(ct: str) -> bool:
    return bool(ct) and not is_remote(ct)


def _key(table: pd.DataFrame) -> str | None:
    return next((name for name in ID_COLUMNS if name in table.columns), None)


def _axes(table: pd.DataFrame) -> tuple[str, str, str] | None:
    return next((axes for axes in AXES if set(axes) <= set(table.columns)), None)


def _refuse_blank(path: str, table: pd.DataFrame, key: str) -> None:
    """Refuse rows without an id: an empty one would be that of every series without a UID."""
    if missing := [number for number, one in enumerate(table[key], 2) if not one.strip()]:
        raise NoduleRiskError(f"{path}, row {missing[0]}, has no {key}: name every series.")


def _table(path: str) -> pd.DataFrame:
    """A CSV or Parquet table as text."""
    import pandas as pd

    try:
        if path.lower().endswith(".parquet"):
            return pd.read_parquet(path).astype("string").fillna("").astype(object)
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, ValueError, ImportError) as error:
        raise NoduleRiskError(f"{path} cannot be read as a manifest ({error}): {EXPECTED}.") from error
