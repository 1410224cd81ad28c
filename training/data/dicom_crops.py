"""The crop data set, made from LIDC-IDRI's DICOM files: each nodule's own slices, its readers' outlines, its cube."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from rich.progress import track
from scipy import ndimage

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.polygons import drawn
from NoduleRiskLib.imaging.reading import read
from NoduleRiskLib.imaging.volume import LPS_TO_RAS, Array, Volume, write_nrrd

from ..checkpoints import read_table, write_table
from . import lidc

#: A crop is this wide and high, in pixels of the scan.
PIXELS = 96
#: A cube is this long, in voxels of 1 mm, and HU in it end here.
CUBE, CUBE_HU = 51, (-1200, 400)
#: How far from a slice an outline's height may lie, as a share of the distance between slices.
OFF_SLICE = 0.25
COLUMNS = (
    *("nodule_id", "patient_id", "series_uid", "luna16_fold", "in_luna16_reference", "n_readers", "annotation_ids"),
    *("slices", "pixel_spacing_mm", "slice_spacing_mm", "slice_thickness_mm", "hu_exact", "hu_method"),
    *("luna16_diameter_mm", *(f"mean_{name}" for name in (*lidc.READER_GRADES, "internal_structure")), "has_cube"),
)
#: LUNA16's official folds, by patient.
OFFICIAL = Path(__file__).with_name("luna16_folds.txt")


def build(
    dicom: Path, data: Path, readings: pd.DataFrame, jobs: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write ``data / lidc``: crops, masks, cubes and ``nodules.csv``, in the format of the crop data set.

    Each scan that is done leaves a file in ``parts``, and a second run goes on with the others. ``nodules.csv`` is
    written last, ``left-out.csv`` beside it.

    Parameters
    ----------
    dicom : Path
        Holds the scans, each series in a folder of its own at any depth, as TCIA's and IDC's clients write them.
    data : Path
    readings : DataFrame
        As ``lidc.readings`` gives them.
    jobs : int, optional
        How many scans are read at a time; default: as many as there are cores.

    Returns
    -------
    (DataFrame, DataFrame)
        ``nodules.csv``, one row per nodule; and what was left out: ``nodule_id``, ``series_uid``, ``reason``.

    Raises
    ------
    NoduleRiskError
        If no scan of LIDC-IDRI is there. A scan that cannot be read is left out and named instead.
    """
    folder_of = {uid: folder for uid, folder in find_series(dicom).items() if uid in set(readings.series_uid)}
    if not folder_of:
        raise NoduleRiskError(
            f"{dicom} holds no scan of LIDC-IDRI that a reader marked: name the folder into which its DICOM files "
            "were fetched."
        )
    root = data / "lidc"
    for kind in ("crops", "masks", "cubes", "parts"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    nodules, drawings = nodule_rows(readings), lidc.outlines()
    missing = [uid for uid in folder_of if not (root / "parts" / f"{uid}.csv").is_file()]
    # Spawned, not forked: a fork copies the locks of threads that it does not copy.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        tasks = []
        for uid in missing:
            own = nodules[nodules.series_uid == uid]
            marks = drawings[drawings.annotation_id.isin(_ids(own.annotation_ids))]
            tasks.append(pool.submit(_one_scan, folder_of[uid], uid, own, marks, root))
        for task in track(as_completed(tasks), "Cutting scans", len(tasks)):
            task.result()
    finally:
        pool.shutdown(cancel_futures=True)
    parts = pd.concat(
        [read_table(root / "parts" / f"{uid}.csv", dtype={"annotation_ids": str}) for uid in sorted(folder_of)]
    ).sort_values("nodule_id", ignore_index=True)
    kept, left_out = parts[parts.reason.isna()], parts[parts.reason.notna()]
    kept = kept.drop(columns="reason").astype({"slices": int})
    left_out = left_out[["nodule_id", "series_uid", "reason"]]
    write_table(root / "left-out.csv", left_out)
    write_table(root / "nodules.csv", kept)
    return kept, left_out


def find_series(dicom: Path) -> dict[str, Path]:
    """SeriesInstanceUID -> the folder that holds it, read from the first DICOM file of each folder below ``dicom``."""
    found = {}
    for folder, _, files in os.walk(dicom):
        for name in sorted(files):
            try:
                header = pydicom.dcmread(
                    Path(folder) / name, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True
                )
            except (pydicom.errors.InvalidDicomError, OSError):
                continue
            if header.get("SeriesInstanceUID"):
                found[str(header.SeriesInstanceUID)] = Path(folder)
                break
    return found


def nodule_rows(readings: pd.DataFrame) -> pd.DataFrame:
    """``lidc.nodules_of`` with the columns of ``nodules.csv`` that need no image.

    ``luna16_diameter_mm`` stays empty: LUNA16's own list does not come with LIDC-IDRI.
    """
    table = lidc.nodules_of(readings)
    scans = lidc.scans().set_index("series_uid")
    rows = table[["patient_id", "series_uid", "n_readers", "annotation_ids"]].copy()
    rows.insert(0, "nodule_id", table.patient_id + "_" + table.groupby("patient_id").cumcount().astype(str))
    rows["luna16_fold"] = table.patient_id.map(official_folds()).where(table.luna16).fillna(-1).astype(int)
    rows["in_luna16_reference"] = table.reference
    rows["slice_thickness_mm"] = table.series_uid.map(scans.thickness_mm)
    rows["luna16_diameter_mm"] = np.nan
    for name in (*lidc.READER_GRADES, "internal_structure"):
        rows[f"mean_{name}"] = table[name]
    return rows.reset_index(drop=True)


@cache
def official_folds() -> dict[str, int]:
    """Patient -> LUNA16's official fold, 0 to 9."""
    lines = [line for line in OFFICIAL.read_text().splitlines() if not line.startswith("#")]
    return {f"LIDC-IDRI-{int(number):04d}": fold for fold, line in enumerate(lines) for number in line.split()}


def _one_scan(folder: Path, uid: str, nodules: pd.DataFrame, drawings: pd.DataFrame, root: Path) -> None:
    """Cut all nodules of one scan; a row each in its part, with the reason if it was left out."""
    rows = []
    try:
        volume = read(folder, uid)
    except NoduleRiskError as error:
        rows = [row._asdict() | {"reason": str(error)} for row in nodules.itertuples(index=False)]
    else:
        for row in nodules.itertuples(index=False):
            try:
                values = _one_nodule(
                    volume, row, drawings[drawings.annotation_id.isin(_ids([row.annotation_ids]))], root
                )
            except NoduleRiskError as error:
                values = {"reason": str(error)}
            rows.append(row._asdict() | values)
    write_table(root / "parts" / f"{uid}.csv", pd.DataFrame(rows, columns=[*COLUMNS, "reason"]))


def _one_nodule(volume: Volume, row: object, drawings: pd.DataFrame, root: Path) -> dict[str, object]:
    name, ids = row.nodule_id, _ids([row.annotation_ids])  # type: ignore[attr-defined]
    if len(ids) > lidc.READERS:
        raise NoduleRiskError(f"{name} has {len(ids)} outlines of {lidc.READERS} readers: neighbours in one.")
    crop, mask, centre_ras = cut_nodule(volume, [drawings[drawings.annotation_id == one] for one in ids], name)
    for kind, image in (("crops", crop), ("masks", mask), ("cubes", cube(volume, centre_ras, name))):
        write_nrrd(root / kind / f"{name}.nrrd", image)
    return {
        "slices": len(crop.array),
        "pixel_spacing_mm": crop.spacing_mm[0],
        "slice_spacing_mm": crop.spacing_mm[2],
        "hu_exact": True,
        "hu_method": "exact",
        "has_cube": True,
    }


def cut_nodule(volume: Volume, readers: list[pd.DataFrame], name: str) -> tuple[Volume, Volume, Array]:
    """A nodule's crop (int16 HU) and mask (uint8, bit r: reader r marked the voxel) on one grid.

    Parameters
    ----------
    volume : Volume
        The scan, its slices along k as ``reading.read`` sorts them.
    readers : list of DataFrame
        The rows of ``lidc.outlines`` of each reader.

    Returns
    -------
    (Volume, Volume, ndarray)
        The slices in which a reader drew, ``PIXELS`` x ``PIXELS`` around the centroid of what at least half of the
        readers marked, or nearer to the middle where the scan ends. That centroid is the origin of RAS;
        where it lies in the scan comes last (RAS mm).

    Raises
    ------
    NoduleRiskError
        If an outline lies between the slices or outside the scan, or none holds a voxel.
    """
    contours = []
    for drawing in readers:
        heights = drawing.z_mm.to_numpy()
        # Outlines know their slice by its DICOM z alone; that of pixel (0, 0) is what the header says.
        k = (heights - volume.ijk_to_ras[2, 3]) / volume.ijk_to_ras[2, 2]
        off = np.abs(k - np.rint(k))
        if off.max() > OFF_SLICE or np.rint(k).min() < 0 or np.rint(k).max() >= len(volume.array):
            worst = heights[np.argmax(np.where((np.rint(k) < 0) | (np.rint(k) >= len(volume.array)), 1, off))]
            raise NoduleRiskError(
                f"{name} is outlined at z = {worst:.2f} mm, where {volume.name} has no slice: fetch the scan again, or "
                "leave the nodule out."
            )
        rows = zip(np.rint(k).astype(int), drawing.included, drawing.polygon, strict=True)
        contours.append([[int(at), int(included), *map(int, polygon.ravel())] for at, included, polygon in rows])
    first = min(contour[0] for reader in contours for contour in reader)
    masks = drawn([[[contour[0] - first, *contour[1:]] for contour in reader] for reader in contours])
    bits = np.zeros((masks.shape[1], *volume.array.shape[1:]), np.uint8)
    height, width = np.minimum(masks.shape[2:], bits.shape[1:])
    for r, mask in enumerate(masks):
        bits[:, :height, :width] |= mask[:, :height, :width].astype(np.uint8) << r
    agreed = np.argwhere(masks.mean(0) >= 0.5)
    agreed = agreed if len(agreed) else np.argwhere(masks.any(0))
    if not len(agreed):
        raise NoduleRiskError(f"No outline of {name} holds a voxel: there is nothing to cut.")
    centre = agreed.mean(0)
    low = np.clip(np.rint(centre[1:]).astype(int) - PIXELS // 2, 0, np.array(bits.shape[1:]) - PIXELS)
    window = (slice(None), slice(low[0], low[0] + PIXELS), slice(low[1], low[1] + PIXELS))
    matrix = volume.ijk_to_ras.copy()
    # From the crop's own first voxel to the centre, in RAS.
    matrix[:3, 3] = matrix[:3, :3] @ (np.array([low[1], low[0], 0]) - centre[::-1])
    slices = volume.array[first : first + len(bits)]
    centre_ras = volume.to_ras((centre + np.array([first, 0, 0]))[::-1])
    return Volume(slices[window], matrix, name), Volume(bits[window], matrix, name), centre_ras


def cube(volume: Volume, centre_ras: Array, name: str = "") -> Volume:
    """The surroundings of a point (RAS mm): ``CUBE`` voxels of 1 mm to each side, axes LPS, the point as origin.

    int16 HU by cubic splines, clipped to ``CUBE_HU``; outside the scan its outermost voxels repeat.
    """
    half = CUBE // 2
    # Axes LPS: i runs to the left and j to the back, against R and A.
    matrix = LPS_TO_RAS.copy()
    matrix[:3, 3] = (half, half, -half)
    k, j, i = np.indices((CUBE, CUBE, CUBE))
    empty = Volume(np.zeros((1, 1, 1), np.int16), matrix)
    at = volume.to_ijk(empty.to_ras(np.stack([i, j, k], -1)) + centre_ras)[..., ::-1]
    # Splines need some voxels around what they fill.
    low = np.clip(np.floor(at.min((0, 1, 2))).astype(int) - 8, 0, np.array(volume.array.shape) - 1)
    high = np.ceil(at.max((0, 1, 2))).astype(int) + 9
    block = volume.array[tuple(slice(a, max(b, a + 1)) for a, b in zip(low, high, strict=True))].astype(np.float32)
    hu = ndimage.map_coordinates(block, np.moveaxis(at - low, -1, 0), order=3, mode="nearest")
    return Volume(np.clip(np.rint(hu), *CUBE_HU).astype(np.int16), matrix, name)


def _ids(joined: Iterable[str]) -> list[int]:
    return [int(one) for ids in joined for one in ids.split(";")]
