"""What is timed on: the synthetic chest, made as long as a scan may be, and its nodules."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.model_package import SHIPPED, ModelPackage, load
from NoduleRiskLib.networks.segmentation import segment
from NoduleRiskLib.phantom import chest_ct

#: Rows and columns of a scanner's image; the phantom's own is a part of it.
MATRIX = 512
AIR_HU = -1024


@cache
def chest() -> tuple[Volume, tuple[Point, ...]]:
    """The phantom as it is, and a point on each of its seven nodules."""
    volume, nodules = chest_ct.chest_ct()
    return volume, tuple(nodule.point for nodule in nodules)


def long_chest(slices: int) -> tuple[Volume, Point]:
    """A CT of 512 x 512 x ``slices`` voxels, repeating the phantom along its axis, and a point on a nodule of it."""
    volume, points = chest()
    depth, rows, columns = volume.array.shape
    array = np.full((slices, MATRIX, MATRIX), AIR_HU, np.int16)
    corner = ((MATRIX - rows) // 2, (MATRIX - columns) // 2)
    inner = array[:, corner[0] : corner[0] + rows, corner[1] : corner[1] + columns]
    point = next(one for one in points if one.label == "lobulated")
    # The nodule comes to lie in the middle of the scan.
    first = round(float(volume.to_ijk(np.array(point.ras))[2])) - slices // 2
    inner[...] = volume.array[(first + np.arange(slices)) % depth]
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] = volume.to_ras(np.array([-corner[1], -corner[0], first]))
    return replace(volume, array=array, ijk_to_ras=matrix), point


def many_points(number: int) -> tuple[Point, ...]:
    """So many points on the phantom's nodules, each a little off the ones before: as many different answers."""
    rng = np.random.default_rng(0)
    points = chest()[1]
    return tuple(Point(f"F-{i + 1}", _moved(points[i % len(points)].ras, rng.uniform(-1, 1, 3))) for i in range(number))


@cache
def stacks(number: int) -> tuple[SliceStack, ...]:
    """So many slice stacks, cut at the nodules' own extents, each a little off the ones before."""
    volume, points = chest()
    outlines = segment(volume, np.array([point.ras for point in points]), package().networks().segmentation)
    rng = np.random.default_rng(0)
    found = [outline for outline in outlines if outline is not None]
    return tuple(
        cut(volume, one.centre_ras + rng.uniform(-1, 1, 3), package().config.layout, one.bounds_ras, one.probability)
        for one in (found[i % len(found)] for i in range(number))
    )


@cache
def package() -> ModelPackage:
    """The package that ships."""
    return load(SHIPPED)


def _moved(ras: tuple[float, float, float], by: Array) -> tuple[float, float, float]:
    r, a, s = (np.array(ras) + by).tolist()
    return (r, a, s)
