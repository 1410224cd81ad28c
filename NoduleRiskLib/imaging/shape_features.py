"""Six measures of an outline's size and shape in space, which the graders read beside the slices."""

from __future__ import annotations

import math

import numpy as np

from .outline import INSIDE
from .volume import Array

#: What ``shape`` measures, and a volume-equivalent diameter in the middle of LIDC's.
SHAPE_FEATURES = ("size", "flatness", "elongation", "depth", "roundness", "smoothness")
USUAL_MM = 8.0
#: Assumed thickness of a nodule's only slice.
SINGLE_MM = 2.0


def slice_distance_mm(offset_mm: Array) -> float:
    """From a nodule's slice to the next, the shortest there is: of slices at ``offset_mm`` (S,), mm."""
    return float(np.abs(np.diff(offset_mm)).min()) if len(offset_mm) > 1 else SINGLE_MM


def shape_features(outline: Array, offset_mm: Array, pixel_mm: float) -> Array:
    """Size and shape of an outline as natural logarithms, float32, in the order of ``SHAPE``; zeros if it is empty.

    Volume-equivalent diameter over 8 mm; shortest and middle over longest axis of the ellipsoid of inertia; extent
    across the slices over extent within them; short over long axis within them; sphericity index 36 pi V^2 / A^3
    (a ball's is largest; faces of pixels overstate every surface alike).

    Parameters
    ----------
    outline : array, shape (S, h, w)
        0 to 1; parallel slices that follow each other.
    offset_mm : array, shape (S,)
        Where the slices lie along their normal.
    pixel_mm : float
    """
    inside = outline > INSIDE
    if not inside.any():
        return np.zeros(len(SHAPE_FEATURES), np.float32)
    step_mm = slice_distance_mm(offset_mm)
    voxel_mm = np.array([step_mm, pixel_mm, pixel_mm])
    s, rows, columns = np.nonzero(inside)
    places = np.stack([offset_mm[s], rows * pixel_mm, columns * pixel_mm])
    places -= places.mean(1, keepdims=True)
    spread = np.einsum("in,jn->ij", places, places) / len(s) + np.diag(voxel_mm**2 / 12)
    shortest, middle, longest = np.sqrt(np.linalg.eigvalsh(spread))
    short, long = np.sqrt(np.linalg.eigvalsh(spread[1:, 1:]))
    volume = len(s) * voxel_mm.prod()
    padded = np.pad(inside, 1)
    faces = [np.count_nonzero(np.diff(padded, axis=axis)) for axis in range(3)]
    area = faces @ (voxel_mm.prod() / voxel_mm)
    ratios = (
        (6 * volume / math.pi) ** (1 / 3) / USUAL_MM,
        shortest / longest,
        middle / longest,
        2 * math.sqrt(spread[0, 0]) / (short + long),
        short / long,
        36 * math.pi * volume**2 / area**3,
    )
    return np.log(ratios).astype(np.float32)
