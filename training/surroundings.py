"""What lies above and below a crop, made to look like a whole CT: a crop ends where its nodule ends, a CT goes on."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from NoduleRiskLib.volume import Array, Volume

from .crops import Nodule

DEPTH_MM = 12.0


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
        one = ndimage.shift(empty, drift * 0.5, order=1, mode="nearest")
        if vessel:
            at = start + 2 * drift
            tube = np.clip(radius + 0.5 - np.hypot(rows - at[0], columns - at[1]), 0, 1)
            one = np.maximum(one, tube * 880 - 850)
        slices.append(one + rng.normal(size=one.shape) * 12)
    return np.stack(slices)
