"""Where in the lungs a place is, in a radiologist's words: side and third of the height, told from the lung mask.

Lobes are not told: no fissure is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
from scipy import ndimage

from .lung_mask import lung_mask
from .volume import Array, Volume

#: Thirds of a lung's height, from its base up.
THIRDS = ("lower third", "middle third", "upper third")
#: How often the mask is made smaller until right and left lung, where they touch, come apart.
PARTED = 4
#: The smaller lung has at least this share of the larger one's voxels, and their middles lie so far apart, mm.
SMALLER, APART_MM = 0.2, 60.0
#: Both lungs together are at least so wide, mm.
BOTH_MM = 180.0
#: Farther than this (mm) from both lungs, or as close to one as to the other but for so much, no side is told.
FAR_MM, UNSURE_MM = 15.0, 5.0
#: A lung that fills more than this share of its largest slice where the scan ends goes on beyond it.
CUT_OFF = 0.15

_SEEN: WeakKeyDictionary[Volume, tuple[_Lung, ...]] = WeakKeyDictionary()


@dataclass(frozen=True)
class LungPlace:
    """Side and third, each "" where it cannot be told (a crop, a place between the lungs, a scan that ends early)."""

    side: Literal["right", "left", ""] = ""
    third: str = ""


@dataclass(frozen=True, eq=False)
class _Lung:
    """One lung: its voxels (RAS mm, shape (N, 3)), base and apex (S mm; ``None`` if the scan cuts it off)."""

    side: Literal["right", "left"]
    places: Array
    ends_mm: tuple[float, float] | None


def lung_place(volume: Volume, ras: Array) -> LungPlace:
    """Side and third of a place.

    Parameters
    ----------
    volume : Volume
        The CT. Asked of the same volume again, it does not look again.
    ras : ndarray, shape (3,)
        RAS mm.
    """
    if volume not in _SEEN:
        _SEEN[volume] = _lungs(lung_mask(volume).outside_mm)
    lungs = _SEEN[volume]
    if not lungs:
        return LungPlace()
    away_mm = [float(np.linalg.norm(one.places - np.asarray(ras), axis=1).min()) for one in lungs]
    nearest = int(np.argmin(away_mm))
    if min(away_mm) > FAR_MM or abs(away_mm[0] - away_mm[1]) < UNSURE_MM:
        return LungPlace()
    lung = lungs[nearest]
    if lung.ends_mm is None:
        return LungPlace(lung.side)
    base, apex = lung.ends_mm
    return LungPlace(lung.side, THIRDS[int(np.clip(3 * (ras[2] - base) / (apex - base), 0, 2))])


def _lungs(outside_mm: Volume | None) -> tuple[_Lung, ...]:
    """Both lungs, or none where they cannot be told from each other."""
    if outside_mm is None:
        return ()
    two, lost_mm = _parted(outside_mm)
    if not two:
        two, lost_mm = _halved(outside_mm), 0.0
    scan_s_mm = outside_mm.corners_ras()[:, 2]
    two.sort(key=lambda places: float(places[:, 0].mean()))
    sides: tuple[Literal["left", "right"], ...] = ("left", "right")
    return tuple(
        _Lung(side, places, _ends(places[:, 2], scan_s_mm, lost_mm)) for side, places in zip(sides, two, strict=False)
    )


def _parted(outside_mm: Volume) -> tuple[list[Array], float]:
    """The places of both lungs where they are two parts, and how much (mm) was taken off to part them."""
    for smaller in range(PARTED):
        mask = outside_mm.array == 0
        mask = ndimage.binary_erosion(mask, iterations=smaller) if smaller else mask
        parts, _ = ndimage.label(mask)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        one, other = np.argsort(sizes)[-2:] if len(sizes) > 2 else (0, 0)
        if sizes[one] and sizes[one] >= SMALLER * sizes[other]:
            two = [_ras(outside_mm, parts == part) for part in (one, other)]
            if abs(two[0][:, 0].mean() - two[1][:, 0].mean()) >= APART_MM:
                return two, float(smaller * outside_mm.spacing_mm.max())
    return [], 0.0


def _halved(outside_mm: Volume) -> list[Array]:
    """The places on both sides of the mediastinum, where lungs that touch are thinnest; none of a single lung."""
    places = _ras(outside_mm, outside_mm.array == 0)
    low, high = places[:, 0].min(), places[:, 0].max()
    if high - low < BOTH_MM:
        return []
    step_mm = float(outside_mm.spacing_mm.max())
    counts, edges = np.histogram(places[:, 0], np.arange(low, high + step_mm, step_mm))
    inner = slice(len(counts) // 3, -(-2 * len(counts) // 3))
    middle = edges[inner.start + int(np.argmin(counts[inner]))] + step_mm / 2
    right = places[:, 0] > middle
    return [places[right], places[~right]]


def _ends(s_mm: Array, scan_s_mm: Array, lost_mm: float) -> tuple[float, float] | None:
    """Base and apex of a lung from its voxels' S, ``None`` if the scan ends within it."""
    levels, counts = np.unique(np.round(s_mm, 1), return_counts=True)
    step_mm = float(np.median(np.diff(levels))) if len(levels) > 1 else 1.0
    for end, limit in ((0, scan_s_mm.min()), (-1, scan_s_mm.max())):
        at_end = abs(levels[end] - limit) < 1.5 * step_mm + lost_mm
        if at_end and counts[end] > CUT_OFF * counts.max():
            return None
    return float(levels[0] - lost_mm), float(levels[-1] + lost_mm)


def _ras(grid: Volume, mask: Array) -> Array:
    return grid.to_ras(np.argwhere(mask)[:, ::-1])
