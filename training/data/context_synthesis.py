"""Synthetic lung above and below each crop: the data set holds only the nodule's own slices, a whole CT goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk
from rich.progress import track
from scipy import ndimage

from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.volume import Array, Volume

from ..checkpoints import digest, read_arrays, write_arrays
from .crops import WIDE, Nodule, Stacks, data_key, read_nodule

DEPTH_MM = 12.0


@dataclass(frozen=True, eq=False)
class ContextStacks:
    """Nodules with what lies above and below them: N nodules, T slices in all.

    Attributes
    ----------
    table : DataFrame
        One row per nodule.
    pixels : int16 (T, 96, 96)
        HU, as ``resampling.cut`` with ``WIDE`` gives them.
    share : uint8 (T, 96, 96)
        Share of the readers who marked each pixel, times 255.
    offset_mm : float32 (T,)
        Distance of each slice from the nodule's centre.
    first, last : int (N,)
        Where each nodule's slices begin, and one past where they end.
    key : str
        Digest of what the arrays were made from.
    """

    table: pd.DataFrame
    pixels: Array
    share: Array
    offset_mm: Array
    first: Array
    last: Array
    key: str


def with_context(table: pd.DataFrame, data: Path, folder: Path, cubic: bool, seed: int) -> ContextStacks:
    """All crops of ``table`` with synthetic lung; the first call writes ``folder``, later ones read it.

    With ``cubic`` they are resampled to voxels of 1 mm, as reformatted scans are (and the data set's cubes).
    """
    key = data_key(data) | {
        "nodules": f"{len(table)} ({digest(*table.nodule_id)})",
        "cubic": str(cubic),
        "seed": str(seed),
        "depth_mm": str(DEPTH_MM),
    }
    if not folder.exists():
        parts: dict[str, list[Array]] = {"pixels": [], "share": [], "offset_mm": []}
        for row in track(list(table.itertuples()), f"Extending crops ({folder.name})", transient=True):
            nodule = read_nodule(data, row.nodule_id)
            volume = extend(nodule, np.random.default_rng([seed, *row.nodule_id.encode()]))
            stack = cut(at_one_millimetre(volume) if cubic else volume, np.zeros(3), WIDE, outline=nodule.share())
            parts["pixels"].append(np.round(stack.pixels[stack.valid]).astype(np.int16))
            parts["share"].append(np.round(stack.outline[stack.valid] * 255).astype(np.uint8))
            parts["offset_mm"].append(stack.offset_mm[stack.valid].astype(np.float32))
        write_arrays(folder, table, parts, key)
    kept = read_arrays(folder, ("pixels", "share", "offset_mm"), key, mapped=True)
    return ContextStacks(kept.table, **kept.slices, first=kept.first[:-1], last=kept.first[1:], key=digest(key))


def of_cubes(cubes: Stacks) -> ContextStacks:
    """The cubes, which hold the true lung around the nodule."""
    share = np.round(cubes.share(slice(None)) * 255).astype(np.uint8)
    first, last = cubes.first[:-1], cubes.first[1:]
    return ContextStacks(cubes.table, cubes.pixels, share, cubes.offset_mm, first, last, cubes.key)


def at_one_millimetre(volume: Volume) -> Volume:
    """Resampled linearly to cubic voxels of 1 mm along the same axes."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing_mm.tolist())
    size = np.floor((np.array(volume.array.shape[::-1]) - 1) * volume.spacing_mm).astype(int) + 1
    grid = sitk.Resample(
        image, size.tolist(), sitk.Transform(), sitk.sitkLinear, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), np.eye(3).ravel()
    )
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, :3] /= volume.spacing_mm
    return Volume(sitk.GetArrayFromImage(grid), matrix)


def extend(nodule: Nodule, rng: np.random.Generator, depth_mm: float = DEPTH_MM) -> Volume:
    """The crop with slices added at both ends that hold no nodule any more.

    Each added slice is the end slice with the nodule painted out by lung from beside it, drifting sideways as
    vessels do from slice to slice; at one end in three a vessel runs on where the nodule was.

    Parameters
    ----------
    nodule : Nodule
        Its slices along k, in the order of S.
    rng : Generator
    depth_mm : float
        How far the added slices reach at least, at each end.

    Returns
    -------
    Volume
        Same grid, more slices; the crop's own voxels are untouched.
    """
    volume = nodule.volume
    count = math.ceil(depth_mm / volume.spacing_mm[2])
    marked = np.any([reader.array > 0 for reader in nodule.readers], axis=0)
    below = _beyond(volume.array[0], marked[0], count, volume.spacing_mm, rng)[::-1]
    above = _beyond(volume.array[-1], marked[-1], count, volume.spacing_mm, rng)
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] -= count * matrix[:3, 2]
    return Volume(np.concatenate([below, volume.array, above]).astype(np.int16), matrix, volume.name)


def paint_out(image: Array, marked: Array, margin: int = 2) -> Array:
    """A slice (h, w) without the marked region, which is filled from the place beside it that fits its rim best."""
    if not marked.any():
        return image.astype(np.float32)
    region = ndimage.binary_dilation(marked, iterations=margin)
    rim = ndimage.binary_dilation(region, iterations=2) & ~region
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    reach = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 2
    best, lowest = image, np.inf
    for turn in np.linspace(0, 2 * np.pi, 16, endpoint=False):
        for distance in (reach, 1.3 * reach, 1.7 * reach):
            step = np.round(distance * np.array([np.sin(turn), np.cos(turn)])).astype(int)
            moved = ndimage.shift(image, step, order=0, mode="reflect")
            # What comes to lie on the region must not be the nodule itself.
            if (ndimage.shift(region.astype(np.uint8), step, order=0, mode="reflect")[region] > 0).any():
                continue
            misfit = float(np.abs(moved[rim].astype(np.float32) - image[rim]).mean())
            if misfit < lowest:
                best, lowest = moved, misfit
    feather = np.clip(ndimage.gaussian_filter(region.astype(np.float32), 1.0) * 1.6, 0, 1)
    feather[marked] = 1
    return np.asarray(image * (1 - feather) + best * feather, np.float32)


def _beyond(image: Array, marked: Array, count: int, spacing: Array, rng: np.random.Generator) -> Array:
    """``count`` slices (h, w) that follow an end slice, nearest first."""
    empty = paint_out(image, marked)
    # Vessels run at 30 to 60 degrees to the slices more often than straight through them.
    way = rng.normal(size=2) * 0.3 * spacing[2] / spacing[0]
    vessel = rng.random() < 1 / 3 and marked.any()
    start = np.array(ndimage.center_of_mass(marked)) if marked.any() else np.zeros(2)
    radius = rng.uniform(0.8, 1.8) / spacing[0]
    rows, columns = np.indices(image.shape)
    slices = []
    drift = np.zeros(2)
    for _ in range(count):
        drift = drift + way + rng.normal(size=2) * 0.15 * spacing[2] / spacing[0]
        # Whole pixels: interpolation would smooth the noise and so give the added slices away.
        one = ndimage.shift(empty, np.round(drift * 0.5), order=0, mode="nearest")
        if vessel:
            at = start + 2 * drift
            tube = np.clip(radius + 0.5 - np.hypot(rows - at[0], columns - at[1]), 0, 1)
            one = np.maximum(one, tube * 880 - 850)
        slices.append(one + rng.normal(size=one.shape) * 12)
    return np.stack(slices)
