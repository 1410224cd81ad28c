"""A synthetic chest: where its bones, organs and lungs lie, and their Hounsfield units.

Everything here is in the phantom's own millimetres: x to the patient's left from the midline, y to the back,
z upwards from the lowest slice. Distances are signed, in mm and negative inside. Arrays are ordered ``[k, j, i]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter

from ..imaging.volume import Array

Path = tuple[tuple[float, float, float], ...]

#: Slices, rows and columns of the CT, and the distances between them.
SHAPE = (160, 296, 400)
SPACING_MM = (1.5, 0.84375, 0.84375)
#: Large structures are worked out on every second voxel and interpolated: eight times faster.
COARSE = 2
#: Coarse slices worked out together: few enough to stay in the processor's cache.
SLAB = 3
AIR_HU, FAT_HU, MUSCLE_HU, BLOOD_HU, LIVER_HU = -1000, -98, 54, 42, 60
MARROW_HU, CORTEX_HU, CARTILAGE_HU = 170, 520, 95
LUNG_HU = -862
#: Softness of every edge: the scanner's point spread, mm.
EDGE_MM = 1.1

FAR_MM = 60

#: z (mm), half width, half depth and middle (y) of the inner chest wall; then of the skin.
CAGE = ((0, 126, 92, 4), (60, 131, 95, 3), (120, 127, 92, 2), (180, 110, 80, 6), (215, 90, 66, 12), (240, 74, 54, 16))
SKIN = ((0, 156, 113, 3), (60, 160, 116, 3), (120, 158, 113, 2), (180, 152, 105, 4), (240, 146, 92, 8))
CARINA = (-2.0, 22.0, 150.0)
#: Tubes of blood: radius (mm) and the points (x, y, z) that they run through.
GREAT_VESSELS: tuple[tuple[float, Path], ...] = (
    (12.0, ((17, 46, -5), (19, 44, 60), (21, 40, 120), (22, 34, 158), (16, 18, 176), (4, -4, 178), (-12, -22, 166))),
    (15.0, ((-12, -22, 166), (-16, -28, 140), (-8, -26, 112), (2, -22, 95))),
    (9.0, ((-24, -10, 90), (-27, -14, 130), (-27, -10, 170), (-24, -16, 195))),
    (13.0, ((14, -34, 100), (16, -36, 122), (18, -22, 136), (30, 4, 138), (44, 14, 134))),
    (10.5, ((17, -26, 132), (-4, -6, 132), (-26, 2, 128), (-42, 6, 122))),
    (8.0, ((-14, 12, 100), (-32, 8, 104), (-46, 10, 100))),
    (8.0, ((16, 14, 102), (36, 12, 106), (46, 14, 104))),
    (6.0, ((-6, -6, 176), (-14, 4, 200), (-24, 2, 245))),
    (5.0, ((6, 2, 178), (14, 10, 205), (18, 8, 245))),
    (5.5, ((14, 14, 176), (28, 20, 205), (38, 16, 245))),
    (7.0, ((-24, -16, 193), (-34, -22, 215), (-44, -20, 245))),
    (7.0, ((-22, -17, 190), (8, -26, 200), (34, -26, 220), (44, -22, 245))),
)
#: The oesophagus and a vein beside the spine.
OTHER_TUBES: tuple[tuple[float, Path], ...] = (
    (6.5, ((8, 36, -5), (7, 36, 80), (4, 38, 150), (3, 36, 245))),
    (4.0, ((-6, 48, 20), (-7, 48, 150))),
)
#: Airways from the trachea to the lobes: radius of the lumen and points. The first three lie in the mediastinum.
AIRWAYS: tuple[tuple[float, Path], ...] = (
    (8.5, ((1, 18, 245), (0, 18, 200), CARINA)),
    (6.3, (CARINA, (-18, 25, 138), (-32, 26, 124))),
    (5.8, (CARINA, (18, 26, 138), (42, 30, 122))),
    (4.0, ((-20, 25, 137), (-40, 22, 144), (-52, 18, 156))),
    (4.4, ((-32, 26, 124), (-42, 26, 104), (-52, 34, 84))),
    (3.4, ((-40, 25, 110), (-52, 8, 98), (-62, -8, 88))),
    (4.0, ((42, 30, 122), (52, 18, 134), (60, 10, 150))),
    (4.2, ((42, 30, 122), (52, 36, 104), (60, 44, 84))),
)
#: The heart's chambers: centre and half sizes of ellipsoids that grow together.
HEART = (
    ((32, -24, 68), (42, 38, 38)),
    ((4, -36, 76), (44, 30, 36)),
    ((-20, -14, 86), (30, 34, 34)),
    ((6, 8, 96), (34, 22, 22)),
)


@dataclass(frozen=True, eq=False)
class Chest:
    """The large structures on the coarse grid (every second voxel), float32 ``[k, j, i]``.

    Attributes
    ----------
    skin, lung, bone : ndarray
        Distance in mm to the structure, negative inside.
    tissue : ndarray
        HU of what fills the body where there is neither lung nor bone.
    grain : ndarray
        Fine unevenness of the lung, HU.
    """

    skin: Array
    lung: Array
    bone: Array
    tissue: Array
    grain: Array


@cache
def axes_mm(step: int = 1) -> tuple[Array, Array, Array]:
    """z, y and x (mm) of the CT's slices, rows and columns; ``step=COARSE`` gives the coarse grid's."""
    z, y, x = (
        ((np.arange(0, n + step - 1, step) - (n / 2 if axis else 0)) * spacing).astype(np.float32)
        for axis, (n, spacing) in enumerate(zip(SHAPE, SPACING_MM, strict=True))
    )
    return z, y, x


def chest(rng: np.random.Generator) -> Chest:
    """A chest whose shapes ``rng`` bends a little."""
    z, y, x = axes_mm(COARSE)
    shape = (z.size, y.size, x.size)
    bend_x, bend_y, bend_z, uneven = _waves(rng, shape, (2.5, 2.5, 3.5, 7.0))
    grain = gaussian_filter(rng.standard_normal(shape, np.float32), (0.5, 0.7, 0.7)) * np.float32(70)
    slabs = []
    for k in range(0, z.size, SLAB):
        part = slice(k, k + SLAB)
        bent = (x + bend_x[part], y[:, None] + bend_y[part], z[part, None, None] + bend_z[part])
        slabs.append(_slab(*bent, uneven[part]))
    skin, lung, bone, tissue = (np.concatenate(fields) for fields in zip(*slabs, strict=True))
    return Chest(skin, lung, bone, tissue, grain)


def slices(body: Chest) -> Iterator[Array]:
    """The CT's slices from the lowest up, float32 HU ``[j, i]``, without vessels, airways and noise."""
    fields = np.stack((body.skin, body.lung, body.bone, body.tissue, body.grain), 1)
    z, y, x = axes_mm()
    y = y[:, None]
    # Heights of the lungs' fissures: the oblique ones of both lungs, and the right one's horizontal one.
    oblique = np.where(x < 0, 118 - 0.75 * (y + 20), 124 - 0.85 * (y + 20)) + 0.0016 * (np.abs(x) - 60) ** 2
    level = np.where((x < 0) & (y < -8), 112 - 0.0022 * (x + 60) ** 2 + 0.06 * y, 1e3)
    # The patient lies on a thin curved table, and the lungs' lower side is denser.
    table = AIR_HU + 700 * inside(np.abs(y - 121.5 + 0.0011 * x**2) - 1, EDGE_MM)
    parenchyma = LUNG_HU + 0.28 * y
    for k, height in enumerate(z):
        low, rest = divmod(k, COARSE)
        skin, lung, bone, hu, grain = _finer((fields[low] + fields[low + 1]) / 2 if rest else fields[low])
        shell = CORTEX_HU - (CORTEX_HU - MARROW_HU) * inside(bone + 2.4, 1.5)
        hu += inside(bone, EDGE_MM) * (shell - hu)
        gap = np.minimum(np.abs(oblique - height), np.abs(level - height))
        air = parenchyma + grain + 130 * inside(gap - 0.5, 1.5)
        hu += inside(lung, EDGE_MM) * (air - hu)
        hu += inside(np.abs(skin + 0.9) - 0.9, EDGE_MM) * (10 - hu)
        yield np.maximum(AIR_HU + inside(skin, EDGE_MM) * (hu - AIR_HU), table)


def inside(distance: Array, width_mm: float) -> Array:
    """Share of a voxel inside an edge at this distance, 0 to 1, for an edge ``width_mm`` soft."""
    share = 0.5 - distance * (1 / width_mm)
    return np.asarray(np.minimum(np.maximum(share, 0, out=share), 1, out=share))


def pairs(points: Path) -> Iterator[tuple[Array, Array]]:
    """Neighbouring points of a path."""
    for a, b in pairwise(points):
        yield np.array(a, float), np.array(b, float)


def to_line(start: Array, end: Array, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Distance from the stretch between two points, and how far along it (0 to 1) the nearest point lies."""
    a, b, c = (float(e - s) for s, e in zip(start, end, strict=True))
    x, y, z = x - float(start[0]), y - float(start[1]), z - float(start[2])
    length = a * a + b * b + c * c + 1e-6
    along = np.minimum(np.maximum(x * (a / length) + y * (b / length) + z * (c / length), 0), 1)
    return np.sqrt((x - along * a) ** 2 + (y - along * b) ** 2 + (z - along * c) ** 2), along


def _waves(rng: np.random.Generator, shape: tuple[int, ...], sizes: tuple[float, ...], count: int = 5) -> list[Array]:
    """Smooth random fields, one for each standard deviation in ``sizes``: sums of a few cosines along each axis."""
    bases = [np.cos(np.pi * np.outer(np.arange(n) / n, np.arange(count))).astype(np.float32) for n in shape]
    fields = []
    for size in sizes:
        weights = rng.standard_normal((count,) * 3).astype(np.float32)
        weights[0, 0, 0] = 0
        weights *= np.float32(size / np.linalg.norm(weights) * 2**1.2)
        fields.append(np.einsum("abc,ka,jb,ic->kji", weights, *bases, optimize=True))
    return fields


def _slab(x: Array, y: Array, z: Array, uneven: Array) -> tuple[Array, Array, Array, Array]:
    """``skin``, ``lung``, ``bone`` and ``tissue`` of ``Chest`` for a few slices; ``uneven`` is smooth noise in mm."""
    skin = _oval(SKIN, x, y, z)
    cage = _oval(CAGE, x, y, z)
    # Spine, heart and great vessels stay near the midline: no need to look for them anywhere else.
    middle = (..., slice(x.shape[-1] // 2 - 56, x.shape[-1] // 2 + 56))
    spine, canal = (_widen(near, x.shape, middle) for near in _spine(x[middle], y[middle], z[middle]))
    ribs, cartilage = _ribs(cage, x, y, z)
    bone = np.minimum(np.minimum(spine, ribs), _shoulder(cage, x, y, z))
    blood, others, windpipe = (
        _widen(_tubes(tubes, x[middle], y[middle], z[middle]), x.shape, middle)
        for tubes in (GREAT_VESSELS, OTHER_TUBES, AIRWAYS[:3])
    )
    heart = _widen(_heart(x[middle], y[middle], z[middle]), x.shape, middle)
    between = np.minimum(np.minimum(blood, heart), np.minimum(others, windpipe - 2)) - 4
    height = z.mean((1, 2), keepdims=True)
    width = np.interp(height, (0, 90, 150, 195, 240), (16, 12, 12, 19, 32)).astype(np.float32)
    # In front of the great vessels the lungs nearly touch.
    waist = 1 - 0.75 * np.exp(-(((y + 52) / 24) ** 2)) * np.clip(np.minimum(height - 80, 200 - height) / 25, 0, 1)
    wall = np.abs(x - 2) - width * waist.astype(np.float32)
    mediastinum = _blend(_blend(between, wall, 14), np.hypot(x / 1.25, y - 64) - 20, 10)
    below = _diaphragm(x, y) - z
    # The chest wall narrows the lungs to round tops.
    top = 44 * (1 - np.sqrt(1 - np.clip((z - 180) / 54, 0, 1) ** 2))
    lung = -_blend(-_cut(cage + 2 + top, -mediastinum, 7), -np.maximum(below, z - 234), 4)
    tissue = _tissue(skin, cage, below, x, y, z, uneven)
    organs = ((cartilage, CARTILAGE_HU), (others, MUSCLE_HU), (heart, BLOOD_HU), (blood, BLOOD_HU), (canal, 20))
    for distance, hu in organs:
        tissue += inside(distance, 1.6) * (hu - tissue)
    return skin, lung, bone, tissue


def _widen(near: Array, shape: tuple[int, ...], middle: tuple[Any, ...]) -> Array:
    """A distance known in the middle columns alone, on all of them: elsewhere any large number."""
    wide = np.full(shape, FAR_MM, np.float32)
    wide[middle] = near
    return wide


def _oval(table: tuple[tuple[float, ...], ...], x: Array, y: Array, z: Array) -> Array:
    """Distance to an upright tube whose cross-section follows ``table``: z, half width, half depth, middle."""
    height = z.mean((1, 2), keepdims=True)
    width, depth, middle = (np.interp(height, *curve).astype(np.float32) for curve in _curves(table))
    y = y - middle
    u, v = (x / width) ** 2, (y / depth) ** 2
    # Squarer than an ellipse: mixed with the curve of fourth powers.
    reach = 0.6 * np.sqrt(u + v) + 0.4 * np.sqrt(np.sqrt(u * u + v * v))
    return np.asarray(np.hypot(x, y) * (1 - 1 / np.maximum(reach, 1e-3)))


@cache
def _curves(table: tuple[tuple[float, ...], ...]) -> tuple[tuple[Array, Array], ...]:
    """Smooth curves through a table's columns: heights and values of each column but the first."""
    heights = np.linspace(-20, 260, 141)
    knots = np.array(table, float)
    return tuple((heights, PchipInterpolator(knots[:, 0], column)(heights)) for column in knots.T[1:])


def _spine(x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Distance to the vertebrae, and to the canal behind them."""
    y = y - 63 + 6e-4 * (z - 120) ** 2
    level = (z + 4) % 24 - 12
    body = np.maximum(np.hypot(x / 1.2, y) - 14.5, np.abs(level) - 9.8)
    canal = np.hypot(x, y - 22) - 8.5
    arch = np.maximum(np.abs(canal - 2) - 2.2, np.abs(level + 2) - 8)
    spinous = np.maximum(np.maximum(np.abs(x) - 2.6, np.abs(y - 40) - 9), np.abs(level + 6 + 0.3 * (y - 40)) - 7)
    transverse = np.hypot(y - 25 - 0.15 * np.abs(x), level - 2) - 4.5
    transverse = np.maximum(transverse, np.maximum(np.abs(x) - 31, 9 - np.abs(x)))
    return np.minimum(np.minimum(body, arch), np.minimum(spinous, transverse)), canal


def _ribs(cage: Array, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Distance to the ribs and sternum, and to the ribs' cartilage: bands that fall from back to front."""
    turn = np.arctan2(np.abs(x), y - 6)
    height = (z + 38 * (1 - np.cos(1.15 * turn)) + 3) % 22 - 11
    band = (np.hypot(height / 5.6, (cage - 4.6) / 3.4) - 1) * 4
    front = (turn - 2.45) * 80
    ribs = np.maximum(np.maximum(band, front), (0.24 - turn) * 80)
    sternum = np.hypot(np.maximum(np.abs(x) - 12 - 0.5 * np.clip(z - 170, 0, 18), 0), cage - 7) - 5.5
    sternum = np.maximum(np.maximum(sternum, np.abs(z - 153) - 61), y)
    return np.minimum(ribs, sternum), np.maximum(band, -front)


def _shoulder(cage: Array, x: Array, y: Array, z: Array) -> Array:
    """Distance to the shoulder blades and collar bones."""
    side = np.abs(x)
    # A thin curved plate over the ribs, thicker at its outer rim.
    blade = np.abs(cage - 17 - 0.06 * np.maximum(z - 110, 0)) - 2 - 3.5 * np.exp(-(((side - 106) / 7) ** 2))
    rim = np.maximum(np.maximum(104 + 0.5 * (118 - side) - z, 22 - y), np.maximum(62 - side, side - 112))
    collar = to_line(np.array((20, -46, 214)), np.array((112, -22, 243)), side, y, z)[0] - 6
    return np.asarray(np.minimum(_cut(blade, rim, 5), collar))


def _tubes(tubes: tuple[tuple[float, Path], ...], x: Array, y: Array, z: Array) -> Array:
    """Distance to the nearest of several tubes; far from them any large number."""
    near = np.full(x.shape, FAR_MM, np.float32)
    low, high = z.min() - 20, z.max() + 20
    for radius, points in tubes:
        for start, end in pairs(points):
            if min(start[2], end[2]) - radius < high and max(start[2], end[2]) + radius > low:
                near = np.minimum(near, to_line(start, end, x, y, z)[0] - radius)
    return near


def _heart(x: Array, y: Array, z: Array) -> Array:
    """Distance to the heart."""
    heart = np.full(x.shape, FAR_MM, np.float32)
    if z.min() < 150:
        for (a, b, c), (u, v, w) in HEART:
            reach = np.sqrt(((x - a) / u) ** 2 + ((y - b) / v) ** 2 + ((z - c) / w) ** 2)
            heart = _blend(heart, (reach - 1) * min(u, v, w), 8)
    return heart


def _diaphragm(x: Array, y: Array) -> Array:
    """Height (mm) of the diaphragm: a dome on each side, the right one higher."""
    right = 64 - 38 * ((x + 58) / 68) ** 2 - 42 * ((y + 4) / 84) ** 2
    left = 54 - 36 * ((x - 62) / 66) ** 2 - 40 * ((y + 4) / 84) ** 2
    return -_blend(-right, -left, 10)


def _tissue(skin: Array, cage: Array, below: Array, x: Array, y: Array, z: Array, uneven: Array) -> Array:
    """HU of fat, muscle and belly; ``below`` is the depth under the diaphragm."""
    high = np.clip((z - 110) / 90, 0, 1)
    front = 11 * np.exp(-(((np.abs(x) - 62) / 38) ** 2)) * high * inside(y, 40)
    back = (17 * np.exp(-((x / 70) ** 2)) + 24 * high * np.clip(np.abs(x) / 80, 0, 1)) * inside(-y - 10, 60)
    muscle = np.maximum(cage - 15 - front - back - 0.25 * uneven, skin + 5 + np.abs(uneven) * 0.4)
    tissue = FAT_HU + inside(muscle, 1.6) * (MUSCLE_HU - FAT_HU)
    # Thin fat between the ribs' muscles and those that lie over them, and between chest wall and lung.
    tissue += inside(np.abs(cage - 10.5 - 0.1 * uneven) - 0.7, 1.6) * (0.75 * FAT_HU - tissue)
    tissue += inside(np.abs(cage - 24 - 0.3 * uneven) - 0.5, 1.6) * (0.75 * FAT_HU - tissue)
    tissue += inside(cage - 1, 2.5) * (FAT_HU - tissue)
    if below.max() < 0:
        return tissue
    belly = np.maximum(2 - below, cage)
    liver = np.maximum(belly, x - 34 + 0.5 * (y + 40) + 0.4 * z)
    spleen = np.maximum(belly, np.sqrt((x - 86) ** 2 + (y - 44) ** 2 + (1.2 * z - 12) ** 2) - 46)
    stomach = np.maximum(belly, np.sqrt((x - 60) ** 2 + (1.1 * (y + 16)) ** 2 + (z - 10) ** 2) - 40)
    for organ, hu in ((np.maximum(-below, cage), 20), (belly, FAT_HU), (stomach, 24), (spleen, 50), (liver, LIVER_HU)):
        tissue += inside(organ, 1.6) * (hu - tissue)
    return tissue


def _finer(planes: Array) -> Array:
    """Coarse planes (F, j, i) with the values between their pixels added, cut to the CT's rows and columns."""
    count, rows, columns = planes.shape
    tall = np.empty((count, 2 * rows - 1, columns), np.float32)
    tall[:, ::2] = planes
    tall[:, 1::2] = (planes[:, 1:] + planes[:, :-1]) / 2
    fine = np.empty((count, 2 * rows - 1, 2 * columns - 1), np.float32)
    fine[..., ::2] = tall
    fine[..., 1::2] = (tall[..., 1:] + tall[..., :-1]) / 2
    return fine[:, : SHAPE[1], : SHAPE[2]]


def _blend(a: Array, b: Array, width: float) -> Array:
    """Distance to two shapes grown together, rounded over ``width`` mm."""
    near = np.maximum(width - np.abs(a - b), 0)
    return np.asarray(np.minimum(a, b) - near * near * (1 / (4 * width)))


def _cut(a: Array, b: Array, width: float) -> Array:
    """Distance to what two shapes share, its edge rounded over ``width`` mm."""
    return -_blend(-a, -b, width)
