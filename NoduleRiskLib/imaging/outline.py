"""A nodule's outline, and what is measured on it: place, axes, diameter, volume."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import NoduleRiskError
from .resampling import cut, paste, sample
from .slice_stack import Layout, SliceStack
from .volume import Array, Volume

#: Grid on which a user's outline is measured, and the largest that is taken for a nodule's.
PIXEL_MM, LARGEST_MM = 0.7, 120.0
#: An outline is drawn where a pixel belongs to the nodule more likely than not.
INSIDE = 0.5


@dataclass(frozen=True, eq=False)
class Outline:
    """Which voxels are one nodule's, and what is measured on them.

    Attributes
    ----------
    centre_ras : ndarray, shape (3,)
        Centroid of the outlined pixels, RAS mm.
    bounds_ras : ndarray, shape (2, 3)
        Lowest and highest R, A and S of the outlined pixels' centres, mm.
    probability : Volume
        float32, 0 to 1: how likely each voxel is the nodule's; axial slices.
    diameter_mm : float
        Mean of long and short axis in the axial slice where that mean is largest: the Fleischner Society's
        measure (MacMahon et al. 2017, doi 10.1148/radiol.2017161659).
    long_axis_mm, short_axis_mm : float
        Longest distance between two edge points in that slice, and the width at right angles to it.
    volume_mm3 : float
        Outlined pixels times the distance between slices.
    slices : int
        How many axial slices it spans.
    drawn_by : "network" or "user"
        Whose outline it is; a user's is never changed.
    unsure : bool
        Whether the network saw so little that it drew the outline at a lower level, or a small ball.
    """

    centre_ras: Array
    bounds_ras: Array
    probability: Volume
    diameter_mm: float
    long_axis_mm: float
    short_axis_mm: float
    volume_mm3: float
    slices: int
    drawn_by: Literal["network", "user"] = "network"
    unsure: bool = False


def measure(stack: SliceStack, outline: Array, drawn_by: Literal["network", "user"] = "network") -> Outline | None:
    """Measure an outline (0 to 1, shape (S, h, w)) on an axial stack; ``None`` where it is empty."""
    probability = np.where(stack.valid[:, None, None], outline, 0).astype(np.float32)
    inside = probability > INSIDE
    if not inside.any():
        return None
    places = stack.pixels_ras(inside)
    long_axis, short_axis = widest(probability, stack.layout.pixel_mm)
    return Outline(
        centre_ras=places.mean(0),
        bounds_ras=np.stack([places.min(0), places.max(0)]),
        probability=paste(stack, probability)["axial"],
        diameter_mm=(long_axis + short_axis) / 2,
        long_axis_mm=long_axis,
        short_axis_mm=short_axis,
        volume_mm3=float(inside.sum() * stack.layout.pixel_mm**2 * stack.step_mm[0]),
        slices=int(inside.any((1, 2)).sum()),
        drawn_by=drawn_by,
    )


def users_outline(ct: Volume, mask: Volume) -> Outline | None:
    """What a user drew, on the CT's axial slices, and what is measured on it.

    Parameters
    ----------
    ct : Volume
    mask : Volume
        1 inside, on any grid; no more than ``LARGEST_MM`` wide.

    Returns
    -------
    Outline or None
        ``None`` if it fills no pixel of the CT's axial slices.

    Raises
    ------
    NoduleRiskError
        If it lies outside the CT or is larger than any nodule.
    """
    kji = np.argwhere(mask.array)
    places = mask.to_ras(kji[:, ::-1])
    sides_mm = (np.ptp(kji, axis=0)[::-1] + 1) * mask.spacing_mm
    # A voxel reaches half its diagonal beyond its centre.
    beyond = np.linalg.norm(mask.spacing_mm) / 2
    low, high = places.min(0) - beyond, places.max(0) + beyond
    centre = places.mean(0)
    if not ct.contains(centre):
        raise NoduleRiskError("An outline lies outside the CT: was it drawn on another scan?")
    if sides_mm.max() > LARGEST_MM:
        raise NoduleRiskError(
            f"An outline is {sides_mm.max():.0f} mm wide, and nodules are up to {LARGEST_MM:.0f}: choose segments of "
            "single nodules; if it holds several, split it (Segment Editor, Islands)."
        )
    widest_mm = float(2 * np.abs(np.stack([low, high]) - centre).max())
    pixels, slices = 2 * math.ceil(widest_mm / 2 / PIXEL_MM) + 4, 2 * math.ceil(widest_mm / 2) + 5
    stack = cut(
        ct, centre, Layout("outline", slices=slices, pixels=pixels, pixel_mm=PIXEL_MM), np.stack([low, high]), mask
    )
    return measure(stack, stack.outline, "user")


def widest(outline: Array, pixel_mm: float) -> tuple[float, float]:
    """Long and short axis (mm) in the slice where their mean is largest; outline 0 to 1, shape (S, h, w)."""
    best = (0.0, 0.0)
    inside = outline > INSIDE
    # No axis is longer than the diagonal of the box around its outline: most slices need no measuring.
    spans = {place: _span(inside[place]) * pixel_mm for place in np.flatnonzero(inside.any((1, 2)))}
    for place in sorted(spans, key=spans.__getitem__, reverse=True):
        if 2 * spans[place] <= sum(best):
            break
        best = max(best, axes_mm(outline[place], pixel_mm), key=sum)
    return best


def axes_mm(outline: Array, pixel_mm: float) -> tuple[float, float]:
    """Longest distance across an outline (0 to 1, shape (h, w)) and its width at right angles to that, in mm.

    Both are measured between the points where the outline crosses one half, interpolated between pixels.
    """
    edge = _extremes(_crossings(outline)) * pixel_mm
    if not len(edge):
        return 0.0, 0.0
    gaps = edge[:, None] - edge[None]
    distance = np.linalg.norm(gaps, axis=-1)
    first, last = np.unravel_index(np.argmax(distance), distance.shape)
    long_axis = float(distance[first, last])
    across = np.array([-1, 1]) * gaps[first, last][::-1] / max(long_axis, 1e-6)
    width = edge @ across
    return long_axis, float(width.max() - width.min())


def same_nodule(one: Outline, other: Outline) -> bool:
    """Whether two outlines are of one nodule: the centroid of either lies within the other."""
    return any(
        float(sample(a.probability, b.centre_ras[None], outside=0.0)[0]) > INSIDE
        for a, b in ((one, other), (other, one))
    )


def _extremes(points: Array) -> Array:
    """The corners of the convex hull of points (N, 2), in their order: no two others are further apart.

    All pairs of thousands of edge points would take gigabytes.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        return points[np.sort(ConvexHull(points).vertices)]
    except (QhullError, ValueError):
        # Fewer than three points, or all on a line.
        return points


def _span(inside: Array) -> float:
    """Pixels from corner to corner of the box around a mask (h, w) that is not empty, and one beyond at each side."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return math.hypot(np.ptp(rows) + 2, np.ptp(columns) + 2)


def _crossings(outline: Array) -> Array:
    """Points (row, column) in pixels where the outline crosses one half between two neighbours, shape (N, 2)."""
    padded = np.pad(np.asarray(outline, np.float64), 1)
    points = []
    for axis in (0, 1):
        a, b = (padded[:-1], padded[1:]) if axis == 0 else (padded[:, :-1], padded[:, 1:])
        at = np.argwhere((a > INSIDE) != (b > INSIDE))
        low, high = a[tuple(at.T)], b[tuple(at.T)]
        crossing = at.astype(np.float64)
        crossing[:, axis] += (INSIDE - low) / (high - low)
        points.append(crossing)
    return np.concatenate(points) - 1
