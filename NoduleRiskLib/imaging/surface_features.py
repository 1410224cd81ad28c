"""Measures of a nodule's surface: how HU falls from its core to the lung, and how its contour runs in the slices."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from .outline import INSIDE
from .shape_features import slice_distance_mm
from .volume import Array

#: HU is averaged between these distances from the surface, mm, negative inside.
BANDS_MM = (-math.inf, -4.0, -2.5, -1.5, -0.7, 0.0, 0.8, 1.6, 2.5, 4.0, 6.0)
#: The rim, where gradients are looked at: so far to either side of the surface.
RIM_MM = 2.5
#: Waves around a contour, from ellipse to fine teeth; those from ``TEETH`` on are added up.
WAVES, TEETH, ANGLES = (2, 3, 4, 5, 6, 7, 8), (9, 20), 64
#: Contours of slices that hold less than this share of the largest one's pixels are not looked at.
LARGE = 0.3

SURFACE_FEATURES = (
    *(f"HU to {high:g} mm" for high in BANDS_MM[1:]),
    "solidity",
    "short over long axis",
    "perimeter",
    *(f"wave {wave}" for wave in WAVES),
    "teeth",
    "spread of the radius",
    "gradient towards the middle",
    "spread of the gradient's direction",
    "gradient",
    "volume",
    "softness of the outline",
    "doubtful pixels",
)


def surface_features(pixels: Array, outline: Array, offset_mm: Array, pixel_mm: float) -> Array:
    """Measures of a nodule's surface, float32, in the order of ``SURFACE_FEATURES``; NaN if the outline is empty.

    HU in each of ``BANDS_MM`` (a nodule too small for a band has there what the next one out has). Then means over the
    large slices' contours, seen from their centroids: area over that of the convex hull; short over long axis;
    perimeter squared over 4 pi area, both of the star-shaped contour; amplitudes of its radius's Fourier series over
    the mean radius (Kuhl and Giardina's elliptic descriptors in their simplest form) and its standard deviation; in the
    rim the cosine between gradient and radius, weighted by the gradient (the radial gradient index of Kupinski and
    Giger 1998, IEEE Trans Med Imaging 17, 510-517), its standard deviation, and the gradient, HU per pixel. Then
    log volume (mm3), the standard deviation of the outline's probability near the surface, and how many pixels are
    doubtful (0.1 to 0.9) for their number to the power 2/3.

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
        return np.full(len(SURFACE_FEATURES), np.nan, np.float32)
    box = (slice(None), *(_span(np.asarray(inside.any(axes)), pixel_mm) for axes in ((0, 2), (0, 1))))
    pixels, outline, inside = pixels[box], outline[box], inside[box]
    sampling = (slice_distance_mm(offset_mm), pixel_mm, pixel_mm)
    depth = ndimage.distance_transform_edt(~inside, sampling) - ndimage.distance_transform_edt(inside, sampling)
    smooth = ndimage.gaussian_filter(pixels, (0, 0.7, 0.7))
    area = inside.sum((1, 2))
    large = np.flatnonzero(area >= max(LARGE * area.max(), 1))
    contours = [_contour(inside[s], smooth[s], depth[s]) for s in large]
    count = int(area.sum())
    near = _within(depth, 2.0)
    return np.array(
        [
            *_profile(smooth, depth),
            *np.mean(contours, 0),
            math.log(count * math.prod(sampling)),
            outline[near].std(),
            np.count_nonzero((outline > 0.1) & (outline < 0.9)) / count ** (2 / 3),
        ],
        np.float32,
    )


def _within(depth: Array, distance_mm: float) -> Array:
    """What lies so close to the surface; everything, where the outline fills all there is."""
    near = np.abs(depth) < distance_mm
    return near if near.any() else ~near


def _span(held: Array, pixel_mm: float) -> slice:
    """From the first to the last that is held, and as far beyond as anything is looked at."""
    at, beyond = np.flatnonzero(held), math.ceil(BANDS_MM[-1] / pixel_mm) + 4
    return slice(max(int(at[0]) - beyond, 0), int(at[-1]) + beyond + 1)


def _profile(smooth: Array, depth: Array) -> list[float]:
    """Mean HU between ``BANDS_MM``."""
    band = np.digitize(depth.ravel(), BANDS_MM[1:])
    count = len(BANDS_MM) - 1
    pixels, total = np.bincount(band, minlength=count), np.bincount(band, smooth.ravel(), minlength=count)
    means = np.where(pixels > 0, total / np.maximum(pixels, 1), np.nan)[:count]
    for at in reversed(range(count - 1)):
        if np.isnan(means[at]):
            means[at] = means[at + 1]
    return [float(value) for value in np.nan_to_num(means)]


def _contour(inside: Array, smooth: Array, depth: Array) -> tuple[float, ...]:
    """Of one slice: everything between ``HU`` and ``volume`` of ``SURFACE_FEATURES``."""
    rows, columns = np.nonzero(inside)
    middle = np.array([rows.mean(), columns.mean()])
    spread = np.cov(np.stack([rows, columns]), bias=True) + np.eye(2) / 12
    short, long = np.sqrt(np.linalg.eigvalsh(spread))
    angle = np.arange(ANGLES) * (2 * math.pi / ANGLES)
    away = np.stack([np.sin(angle), np.cos(angle)])
    reach = np.arange(0, max(inside.shape) * 0.75, 0.5)
    # How far each ray runs inside.
    on_ray = middle[:, None, None] + away[..., None] * reach
    radius = ndimage.map_coordinates(inside.astype(np.float32), on_ray, order=1).sum(1) * 0.5
    points = away * radius
    waves = np.abs(np.fft.rfft(radius)) / radius.sum()
    following = np.roll(points, -1, 1)
    star = 0.5 * abs(np.sum(points[0] * following[1] - points[1] * following[0]))
    perimeter = np.linalg.norm(following - points, axis=0).sum()
    down, right = np.gradient(smooth)
    rim = _within(depth, RIM_MM)
    y, x = np.nonzero(rim)
    steep = np.hypot(down[rim], right[rim]) + 1e-6
    towards = -(down[rim] * (y - middle[0]) + right[rim] * (x - middle[1])) / (
        steep * (np.hypot(y - middle[0], x - middle[1]) + 1e-6)
    )
    return (
        len(rows) / max(_hull_area(rows, columns), len(rows)),
        short / long,
        perimeter**2 / (4 * math.pi * max(star, 1e-6)),
        *waves[list(WAVES)],
        waves[slice(*TEETH)].sum(),
        radius.std() / radius.mean(),
        (towards * steep).sum() / steep.sum(),
        towards.std(),
        steep.mean(),
    )


def _hull_area(rows: Array, columns: Array) -> float:
    """Of the convex hull of pixels, in pixels: each is a square. They come row by row."""
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    last = np.append(first[1:], len(rows)) - 1
    ends = [(rows[at], columns[at] + right) for at, right in ((first, -0.5), (last, 0.5))]
    corners = [np.stack([row + down, column], 1) for row, column in ends for down in (-0.5, 0.5)]
    return float(ConvexHull(np.concatenate(corners)).volume)
