"""Series for the cohort's trials: crops of the synthetic chest CT, and the ways in which archives break CTs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from NoduleRiskLib.cohort.manifest import Series
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.volume import Array, Volume, write_nrrd
from NoduleRiskLib.phantom.chest_ct import chest_ct
from Testing.unit.imaging.made_scans import chest, write_series

#: Voxels of a crop around a nodule, slices first: enough for all that is looked at around it.
HALF = np.array((22, 40, 40))


def crops() -> list[tuple[Volume, Point]]:
    """A small CT around each nodule of the phantom."""
    volume, nodules = chest_ct()
    found = []
    for one in nodules:
        middle = np.rint(volume.to_ijk(one.point_ras)).astype(int)[::-1]
        low = np.maximum(middle - HALF, 0)
        matrix = volume.ijk_to_ras.copy()
        matrix[:3, 3] = volume.to_ras(low[::-1].astype(float))
        box = tuple(slice(a, b) for a, b in zip(low, middle + HALF, strict=True))
        found.append((Volume(volume.array[box].copy(), matrix, "crop"), one.point))
    return found


def small_series(folder: Path, count: int, broken_each: int = 0) -> list[Series]:
    """So many small series with a nodule each; every so many-th is broken in the next of the ways of ``BROKEN``."""
    folder.mkdir(parents=True, exist_ok=True)
    cut = crops()
    made = []
    for number in range(count):
        volume, point = cut[number % len(cut)]
        rng = np.random.default_rng(number)
        noisy = (volume.array + rng.normal(0, 4, volume.array.shape)).astype(np.int16)
        file = folder / f"series-{number:04d}.nrrd"
        series = Series(file.stem, str(file), placed=(point,))
        if broken_each and number % broken_each == broken_each - 1:
            ways = list(BROKEN)
            made.append(BROKEN[ways[number // broken_each % len(ways)]](file, noisy, volume.ijk_to_ras, series))
            continue
        write_nrrd(file, Volume(noisy, volume.ijk_to_ras))
        made.append(series)
    return made


def manifest(folder: Path, series: list[Series]) -> list[str]:
    """Write a manifest and its points; what the command line is given for them."""
    lines = [f"{one.id},{one.ct}" for one in series]
    points = [f"{one.id},{p.label},{','.join(map(str, p.ras))}" for one in series for p in one.placed]
    (folder / "manifest.csv").write_text("\n".join(["id,ct", *lines]) + "\n")
    (folder / "points.csv").write_text("\n".join(["id,label,r,a,s", *points]) + "\n")
    return [str(folder / "manifest.csv"), "--points", str(folder / "points.csv")]


def _write(file: Path, array: Array, matrix: Array) -> None:
    write_nrrd(file, Volume(array, matrix))


def _cut_short(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    _write(file, array, matrix)
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)
    return series


def _flipped_bit(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    _write(file, array, matrix)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 16
    file.write_bytes(data)
    return series


def _empty(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    file.touch()
    return series


def _not_there(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    return series


def _no_ct(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    _write(file, np.zeros_like(array), matrix)
    return series


def _without_rescale(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    _write(file, (array + 1024).astype(np.int16), matrix)
    return series


def _two_slices(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    _write(file, array[:2], matrix)
    return series


def _point_outside(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    _write(file, array, matrix)
    return Series(series.id, series.ct, placed=(Point("far away", (900.0, 0.0, 0.0)),))


def _not_a_number(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    holed = array.astype(np.float32)
    holed[3:5] = np.nan
    _write(file, holed, matrix)
    return series


def _in_colour(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((9, 9, 9, 3), np.uint8), isVector=True), str(file))
    return series


def _slice_missing(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    folder = write_series(file.with_suffix(""), chest())
    sorted(folder.iterdir())[8].unlink()
    return Series(series.id, str(folder), placed=series.placed)


def _two_series(file: Path, array: Array, matrix: Array, series: Series) -> Series:
    folder = write_series(file.with_suffix(""), chest())
    write_series(folder, chest(shift=2.0), prefix="other", SeriesInstanceUID="1.2.4")
    return Series(series.id, str(folder), placed=series.placed)


#: Ways in which a CT is broken -> what writes one so and says where it lies.
BROKEN: dict[str, Callable[[Path, Array, Array, Series], Series]] = {
    "cut short": _cut_short,
    "a bit flipped": _flipped_bit,
    "empty": _empty,
    "not there": _not_there,
    "no CT": _no_ct,
    "HU without rescaling": _without_rescale,
    "two slices": _two_slices,
    "point outside": _point_outside,
    "not a number": _not_a_number,
    "in colour": _in_colour,
    "a slice missing": _slice_missing,
    "two series": _two_series,
}
