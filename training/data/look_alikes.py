"""What looks like a sign and is none: vessels, fissures, pleural tags, another scan. No grade must follow it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from NoduleRiskLib.imaging.volume import Array

from .augmentation import between_slices, other_slices
from .crops import WIDE
from .planting import (
    TRAINING,
    Plant,
    Planted,
    Ranges,
    Subject,
    draw_from,
    into_lung,
    mapped,
    put,
    random_way,
    rod,
    tube,
)


def vessel_in(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """One or two long vessels that end in the nodule."""
    cover = np.zeros(subject.pixels.shape, np.float32)
    for _ in range(int(rng.integers(1, 3))):
        way = into_lung(subject, rng, 12.0, None)
        if way is not None:
            np.maximum(
                cover, tube(subject, way[0] - way[1], way[1], draw_from(rng, ranges.vessel_width_mm), rng), out=cover
            )
    return _innocent(subject, cover, min(subject.density, 60.0) - rng.uniform(0, 60), rng)


def vessel_by(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """One to three long vessels that pass by, at most touching."""
    cover = np.zeros(subject.pixels.shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        way = into_lung(subject, rng, 5.0, None)
        if way is None:
            continue
        width = draw_from(rng, ranges.vessel_width_mm)
        across = np.cross(way[1], random_way(rng))
        across /= max(float(np.linalg.norm(across)), 1e-6)
        middle = way[0] + way[1] * (width / 2 + rng.uniform(0.0, 5.0))
        for sign in (1, -1):
            np.maximum(cover, tube(subject, middle, sign * across, width, rng), out=cover)
    cover[subject.inside] = 0
    return _innocent(subject, cover, min(subject.density, 60.0) - rng.uniform(0, 60), rng)


def fissure(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """A thin sheet beside the nodule or at it."""
    way = into_lung(subject, rng, 5.0, None)
    if way is None:
        return again(subject, rng, ranges)
    tilt = way[1] + 0.3 * rng.normal(size=3)
    tilt /= np.linalg.norm(tilt)
    distance = np.abs((subject.places - way[0]) @ tilt - rng.uniform(0.0, 4.0)) - rng.uniform(0.3, 0.6)
    cover = np.clip(0.5 - distance / WIDE.pixel_mm, 0, 1).astype(np.float32)
    cover[subject.inside] = 0
    return _innocent(subject, cover, rng.uniform(-550, -250), rng)


def pleural_tag(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """Chest wall some way off and one straight line from the nodule to it."""
    way = into_lung(subject, rng, 12.0, None)
    if way is None:
        return again(subject, rng, ranges)
    start, direction = way
    reach = rng.uniform(11, 17)
    cover = rod(subject, start - direction, start + direction * (reach + 2), *[rng.uniform(0.4, 0.8)] * 2)
    wall = np.clip(0.5 + ((subject.places - start) @ direction - reach) / WIDE.pixel_mm, 0, 1).astype(np.float32)
    return _innocent(subject, np.maximum(cover, wall), rng.uniform(0, 60), rng)


def again(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """The same nodule with more noise, a softer or sharper kernel, or half a millimetre further."""
    kind = rng.integers(3)
    pixels = subject.pixels
    if kind == 0:
        noise = gaussian_filter(rng.standard_normal(pixels.shape).astype(np.float32), (0, 0.6, 0.6))
        pixels = pixels + noise * (rng.uniform(10, 40) / max(float(noise.std()), 1e-6))
    elif kind == 1:
        detail = pixels - gaussian_filter(pixels, (0, 0.8, 0.8))
        pixels = pixels + rng.uniform(-0.7, 0.9) * detail
    else:
        return mapped(subject, np.eye(2), {}, shift=rng.uniform(-1.0, 1.0, 2))
    return Planted(pixels.astype(np.float32), subject.outlines, np.zeros(pixels.shape, bool), {})


def resampled(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """The same nodule on another grid: slices between the scan's own, in half of them with coarser pixels."""
    at = other_slices(subject.offset_mm, rng)
    pixels, offset_mm = between_slices(subject.pixels, at), between_slices(subject.offset_mm, at)
    outlines = np.round(between_slices(subject.outlines, at)).astype(np.uint8)
    if rng.random() < 0.5:
        pixels = _on_coarser_pixels(pixels, rng.uniform(0.8, 1.1))
    touched = np.zeros(pixels.shape, bool)
    return Planted(pixels.astype(np.float32), outlines, touched, {}, offset_mm=offset_mm)


#: By name.
INNOCENT: dict[str, Plant] = {
    "vessel in": vessel_in,
    "vessel by": vessel_by,
    "fissure": fissure,
    "pleural tag": pleural_tag,
    "again": again,
    "resampled": resampled,
}


def _on_coarser_pixels(pixels: Array, pixel_mm: float) -> Array:
    """Slices (n, 96, 96) as they come back from pixels of another size, both ways linear."""
    side = np.arange(0, (WIDE.pixels - 1) * WIDE.pixel_mm + 1e-6, pixel_mm) / WIDE.pixel_mm
    back = np.minimum(np.arange(WIDE.pixels) * WIDE.pixel_mm / pixel_mm, len(side) - 1)
    for axis in (1, 2):
        for places in (side, back):
            pixels = np.moveaxis(between_slices(np.moveaxis(pixels, axis, 0), places), 0, axis)
    return pixels


def _innocent(subject: Subject, cover: Array, hu: float, rng: np.random.Generator) -> Planted:
    pixels, touched = put(subject, cover, hu, rng)
    return Planted(pixels, subject.outlines, touched, {}, ())
