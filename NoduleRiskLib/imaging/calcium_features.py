"""Measures of the calcium in a nodule: how much there is, and where it lies."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from .outline import INSIDE
from .shape_features import slice_distance_mm
from .volume import Array

#: HU from which a voxel holds some calcium, and from which it counts in full: partial volume lies between. The densest
#: voxels of each of 58 cancers averaged 147 HU at most, of 20 in 33 benign nodules 164 HU or more, which is laid to
#: calcium (Siegelman et al. 1980, doi 10.2214/ajr.135.1.1).
CALCIUM_HU = (150.0, 400.0)
#: Shells about the middle, in radii of a ball of the nodule's volume: each from there to the next.
SHELLS = (0.0, 0.45, 0.8)
#: Of all calcium, a part of its own holds at least so much; more parts than ``MOST_PARTS`` are as many.
PART_SHARE, MOST_PARTS = 0.06, 6
#: So much of a voxel belongs to a part.
PART_FROM = 0.4
#: Less calcium than this (voxels) lies nowhere.
LEAST_VOXELS = 0.5

CALCIUM_FEATURES = (
    *(f"calcium from {low:g} radii on" for low in SHELLS),
    "calcium's share",
    "offset",
    "spread",
    "scatter",
    "parts",
    "largest part",
    "calcium",
    "volume",
    "peak",
    "spread of the radius",
)


def calcium_features(pixels: Array, outline: Array, offset_mm: Array, pixel_mm: float) -> Array:
    """Measures of a nodule's calcium, float32, in the order of ``CALCIUM_FEATURES``; NaN if the outline is empty.

    Shares of calcium (0 to 1) in ``SHELLS`` about the outline's centroid and in the whole; how far the calcium's
    centroid lies from the outline's, and how widely it spreads about its own (root mean square), both in radii of the
    ball with the nodule's volume; that spread over the one of a ball with as much calcium; in how many parts it lies,
    and the largest one's share; log volume of calcium and of the nodule (mm3); 98th percentile of HU, in units of
    ``CALCIUM_HU``'s range; standard deviation of the calcium's distance from the middle, in radii.

    Parameters
    ----------
    pixels : array, shape (S, h, w)
        HU.
    outline : array, shape (S, h, w)
        0 to 1; parallel slices that follow each other.
    offset_mm : array, shape (S,)
        Where the slices lie along their normal.
    pixel_mm : float
    """
    inside = outline > INSIDE
    if not inside.any():
        return np.full(len(CALCIUM_FEATURES), np.nan, np.float32)
    low, high = CALCIUM_HU
    sampling = (slice_distance_mm(offset_mm), pixel_mm, pixel_mm)
    voxel_mm3, hu = math.prod(sampling), pixels[inside]
    calcium = np.clip((hu - low) / (high - low), 0, 1)
    places = np.argwhere(inside) * np.array(sampling)
    radius = _ball_radius(len(hu) * voxel_mm3)
    away = np.linalg.norm(places - places.mean(0), axis=1) / radius
    shell = np.digitize(away, SHELLS) - 1
    held = [calcium[shell == number] for number in range(len(SHELLS))]
    total = float(calcium.sum())
    # Where there is none, it lies in the middle, in one piece.
    offset, spread, scatter, parts, largest, radial = 0.0, 0.0, 1.0, 0, 0.0, 0.0
    if total > LEAST_VOXELS:
        middle = np.average(places, axis=0, weights=calcium)
        offset = float(np.linalg.norm(middle - places.mean(0))) / radius
        rms = math.sqrt(np.average(((places - middle) ** 2).sum(1), weights=calcium))
        spread, scatter = rms / radius, rms / (math.sqrt(3 / 5) * _ball_radius(total * voxel_mm3))
        parts, largest = _parts(inside, calcium)
        mean = np.average(away, weights=calcium)
        radial = math.sqrt(np.average((away - mean) ** 2, weights=calcium))
    return np.array(
        [
            *(one.mean() if len(one) else calcium.mean() for one in held),
            calcium.mean(),
            offset,
            spread,
            scatter,
            min(parts, MOST_PARTS),
            largest,
            math.log(max(total, LEAST_VOXELS) * voxel_mm3),
            math.log(len(hu) * voxel_mm3),
            (np.percentile(hu, 98) - low) / (high - low),
            radial,
        ],
        np.float32,
    )


def _ball_radius(volume_mm3: float) -> float:
    return (3 * volume_mm3 / (4 * math.pi)) ** (1 / 3)


def _parts(inside: Array, calcium: Array) -> tuple[int, float]:
    """In how many parts the calcium of the voxels inside lies, and how much of them the largest is."""
    where = np.zeros(inside.shape, np.float32)
    where[inside] = calcium
    labels, count = ndimage.label(where > PART_FROM, np.ones((3, 3, 3)))
    if not count:
        return 0, 0.0
    sizes = ndimage.sum_labels(where, labels, np.arange(1, count + 1))
    return int((sizes >= PART_SHARE * sizes.sum()).sum()), float(sizes.max() / sizes.sum())
