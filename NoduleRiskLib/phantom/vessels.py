"""How the synthetic lung's vessels and airways branch, and how such tubes are drawn into a CT.

Millimetres and axes as in ``phantom_anatomy``: x to the left, y to the back, z upwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..imaging.volume import Array
from .anatomy import AIRWAYS, COARSE, EDGE_MM, SHAPE, SPACING_MM, axes_mm, pairs, to_line

VESSEL_HU, WALL_HU, LUMEN_HU = 40, -180, -975
WALL_MM = 0.75
#: Where an artery and a vein enter the right lung, then the left: start and where they head (x, y, z).
ARTERIES = (((-44, 8, 122), (-60, 8, 116)), ((46, 14, 134), (60, 14, 128)))
VEINS = (((-44, 11, 100), (-60, 6, 98)), ((46, 14, 104), (60, 12, 102)))
#: Twigs of each of the four trees, their radius, and the power that a branch's radius shares with its children's sum.
TWIGS, TWIG_MM, MURRAY = 540, 0.48, 2.6


@dataclass(frozen=True, eq=False, slots=True)
class Tube:
    """A straight piece of vessel, bronchus or spicule.

    Attributes
    ----------
    start, end : ndarray, shape (3,)
        x, y, z in mm.
    start_mm, end_mm : float
        Radius at both ends.
    """

    start: Array
    end: Array
    start_mm: float
    end_mm: float


def vessels(rng: np.random.Generator, lung: Array) -> tuple[list[Tube], list[Tube]]:
    """Arteries and veins that branch from the hila into every part of the lungs.

    ``lung`` is the signed distance to the lungs on the coarse grid, ``[k, j, i]``.
    """
    z, y, x = axes_mm(COARSE)
    k, j, i = np.nonzero(lung < -4.5)
    places = np.stack([x[i], y[j], z[k]], 1)
    trees: tuple[list[Tube], list[Tube]] = ([], [])
    for tree, hila in zip(trees, (ARTERIES, VEINS), strict=True):
        for start, heading in hila:
            side = places[places[:, 0] * start[0] > 0]
            twigs = side[rng.choice(len(side), TWIGS, replace=False)] + rng.uniform(-1, 1, (TWIGS, 3))
            _grow(rng, twigs, np.array(start, float), np.array(heading, float) - start, tree)
    return trees


def bronchi(arteries: Iterable[Tube]) -> list[Tube]:
    """The airways' lumina: from the trachea to the lobes, then one beside each larger artery."""
    tubes = [Tube(a, b, r, r) for r, points in AIRWAYS for a, b in pairs(points)]
    for one in arteries:
        if 1.35 < one.end_mm < 3.2:
            beside = np.cross(one.end - one.start, (0.3, 1.0, 0.2))
            beside *= (1.7 * one.start_mm + WALL_MM) / (math.hypot(*beside) + 1e-6)
            tubes.append(Tube(one.start + beside, one.end + beside, 0.7 * one.start_mm, 0.7 * one.end_mm))
    return tubes


def draw(hu: Array, tubes: Iterable[Tube], value: float, keep: Callable[..., Array], wall_mm: float = 0) -> None:
    """Draw tubes, ``wall_mm`` thicker than they say, into the CT's voxels ``hu``, int16 ``[k, j, i]``.

    ``keep``, ``np.maximum`` or ``np.minimum``, decides between a tube and what lies there already.
    """
    z, y, x = axes_mm()
    z, y = z[:, None, None], y[:, None]
    for tube in tubes:
        thick = max(tube.start_mm, tube.end_mm) + wall_mm + EDGE_MM
        ks, js, is_ = (_span(axis, tube.start[2 - axis], tube.end[2 - axis], thick) for axis in range(3))
        distance, along = to_line(tube.start, tube.end, x[is_], y[js], z[ks])
        radius = along * (tube.end_mm - tube.start_mm) + (tube.start_mm + wall_mm)
        share = (radius - distance) / EDGE_MM + 0.5
        # A twig thinner than the scanner's edge fills only part of a voxel.
        share = np.minimum(np.maximum(share, 0), np.minimum(1, radius / 0.6))
        part = hu[ks, js, is_]
        part[...] = keep(part, part + share * (value - part))


def _grow(rng: np.random.Generator, twigs: Array, start: Array, heading: Array, tubes: list[Tube]) -> None:
    """Grow one tree from ``start`` to all ``twigs`` (N, 3): a branch runs towards its twigs, then they part."""
    waiting = [(twigs, start, heading / math.hypot(*heading), TWIG_MM * len(twigs) ** (1 / MURRAY))]
    while waiting:
        mine, start, heading, thick = waiting.pop()
        middle = mine.sum(0) / len(mine)
        way = (middle - start) * (rng.uniform(0.3, 0.5) if len(mine) > 1 else 1)
        reach = math.hypot(*way) + 1e-6
        # The branch leaves as its parent came and bends into its own way.
        bend = (heading - way / reach) * reach / 6 + rng.standard_normal(3) * reach / 16
        slim = TWIG_MM * len(mine) ** (1 / MURRAY)
        pieces = 1 + int(reach / 6)
        t = np.arange(pieces + 1)[:, None] / pieces
        path = start + way * t + 2 * t * (1 - t) * bend
        sizes = [thick + (slim - thick) * n / pieces for n in range(pieces + 1)]
        tubes += [Tube(path[n], path[n + 1], sizes[n], sizes[n + 1]) for n in range(pieces)]
        if len(mine) > 1:
            spread = mine - middle
            order = np.argsort(spread @ np.linalg.eigh(spread.T @ spread)[1][:, -1])
            cut = min(max(round(len(mine) * rng.uniform(0.3, 0.7)), 1), len(mine) - 1)
            onward = (way / 2 - bend) / (math.hypot(*(way / 2 - bend)) + 1e-6)
            for part in (order[:cut], order[cut:]):
                begin = min(slim, 1.15 * TWIG_MM * len(part) ** (1 / MURRAY))
                waiting.append((mine[part], path[-1], onward, begin))


def _span(axis: int, start: float, end: float, around_mm: float) -> slice:
    """The CT's indices along an axis (0 slices, 1 rows, 2 columns) from ``around_mm`` before to as much after."""
    low, high = (start, end) if start < end else (end, start)
    spacing, size = SPACING_MM[axis], SHAPE[axis]
    middle = size / 2 if axis else 0
    first = math.ceil((low - around_mm) / spacing + middle)
    last = math.floor((high + around_mm) / spacing + middle)
    return slice(min(max(first, 0), size), min(max(last + 1, 0), size))
