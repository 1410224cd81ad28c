"""Two CTs of one synthetic patient, made so that what became of each nodule is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, uniform_filter
from scipy.spatial.transform import Rotation

from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.phantom.anatomy import COARSE
from NoduleRiskLib.phantom.chest_ct import grid_to_ras, without_nodules

#: Between both CTs; the days in which the volume of what grows doubles.
DAYS, DOUBLING_DAYS = 365.0, (300.0, 600.0)
SIZES_MM, SLICES_MM, PIXELS_MM = (6.0, 20.0), (1.0, 2.5), (0.65, 0.9)
COUNT, MOVED_MM, TURNED, BREATH, BENT_MM = (3, 10), 30.0, 10.0, (0.85, 1.15), 5.0
#: Kernels as they are seen: blur in the plane (mm), and noise (HU).
KERNELS = ((0.7, 18.0), (0.45, 30.0), (0.3, 45.0))
#: Nodules lie so far from each other and from the lung's edge, mm.
APART_MM, DEEP_MM = 14.0, 4.0
SOLID_HU = 40.0
#: What becomes of a nodule, and how often.
FATES = {"growing": 0.35, "stable": 0.35, "new": 0.15, "gone": 0.15}


@dataclass(frozen=True, eq=False)
class Made:
    """One nodule: its fate, places (RAS mm) and true volumes (mm3) on both CTs, NaN where it is not there."""

    label: str
    fate: str
    places: tuple[Array, Array]
    volumes: tuple[float, float]
    doubling_days: float


@dataclass(frozen=True, eq=False)
class Pair:
    """Two CTs and their nodules."""

    prior: Volume
    current: Volume
    nodules: tuple[Made, ...]
    breath: float
    slices_mm: tuple[float, float]


def pair(seed: int) -> Pair:
    """A pair of CTs; equal for equal seeds."""
    rng = np.random.default_rng(seed)
    body, lung = _body(seed % 3)
    breath = float(np.exp(rng.uniform(*np.log(BREATH))))
    moved = _movement(rng, breath)
    # Breathing is no affine movement: what lies near the diaphragm moves more.
    bend = float(rng.uniform(-BENT_MM, BENT_MM))
    slices = tuple(float(x) for x in rng.uniform(*SLICES_MM, 2))
    grids = [_grid(rng, mm) for mm in slices]
    still, bent = _Place(np.eye(4), 0.0), _Place(moved, bend)
    nodules, painted = [], ([], [])  # type: ignore[var-annotated]
    places = _places(rng, body, lung, int(rng.integers(COUNT[0], COUNT[1] + 1)))
    for number, place in enumerate(places, 1):
        fate = str(rng.choice(list(FATES), p=list(FATES.values())))
        diameter = float(np.exp(rng.uniform(*np.log(SIZES_MM))))
        axes = np.array((1.0, rng.uniform(0.75, 1), rng.uniform(0.75, 1)))
        axes *= diameter / 2 / axes.prod() ** (1 / 3)
        turn = Rotation.random(random_state=rng.integers(2**31)).as_matrix()
        doubling = float(rng.uniform(*DOUBLING_DAYS)) if fate == "growing" else math.inf
        scale = 2 ** (DAYS / doubling / 3)
        volume = float(4 / 3 * math.pi * axes.prod())
        there = (place, bent.forward(place))
        if fate != "new":
            painted[0].append((there[0], axes, turn))
        if fate != "gone":
            painted[1].append((there[1], axes * scale, moved[:3, :3] / breath @ turn))
        volumes = (math.nan if fate == "new" else volume, math.nan if fate == "gone" else volume * scale**3)
        nodules.append(Made(f"n{number}", fate, there, volumes, doubling))
    volumes_ = [
        _scanned(rng, body, where, grid, some, name)
        for where, grid, some, name in zip((still, bent), grids, painted, ("prior", "current"), strict=True)
    ]
    return Pair(*volumes_, tuple(nodules), breath, (slices[0], slices[1]))


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the body's places lie in a CT: affine, and bent near the diaphragm."""

    moved: Array
    bend_mm: float

    def back(self, ras: Array) -> Array:
        """Places (..., 3) of the CT in the body."""
        inverse = np.linalg.inv(self.moved)
        straight = ras @ inverse[:3, :3].T + inverse[:3, 3]
        low = np.clip((_middle()[2] + 120 - straight[..., 2]) / 240, 0, 1)
        return straight + self.bend_mm * (low**2)[..., None] * np.array((0.0, 0.3, 1.0))

    def forward(self, body: Array) -> Array:
        """A place of the body in the CT: ``back`` turned round, by a few steps."""
        straight = np.array(body, float)
        for _ in range(20):
            ras = straight @ self.moved[:3, :3].T + self.moved[:3, 3]
            straight += body - self.back(ras)
        return straight @ self.moved[:3, :3].T + self.moved[:3, 3]


@cache
def _body(seed: int) -> tuple[Volume, Array]:
    hu, lung = without_nodules(np.random.default_rng(1000 + seed))
    return Volume(hu, grid_to_ras()), lung


@cache
def _middle() -> Array:
    from NoduleRiskLib.phantom.anatomy import SHAPE

    return (grid_to_ras() @ (*(np.array(SHAPE[::-1]) - 1) / 2, 1.0))[:3]


def _movement(rng: np.random.Generator, breath: float) -> Array:
    axis, way = (one / np.linalg.norm(one) for one in rng.standard_normal((2, 3)))
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec(np.radians(rng.uniform(0, TURNED)) * axis).as_matrix() * breath
    moved[:3, 3] = _middle() + way * rng.uniform(0, MOVED_MM) - moved[:3, :3] @ _middle()
    return moved


def _grid(rng: np.random.Generator, slices_mm: float) -> tuple[Array, tuple[int, int, int]]:
    """``ijk_to_ras`` and shape of a scan around the chest's middle, slices in either order."""
    pixel = float(rng.uniform(*PIXELS_MM))
    size = np.ceil(np.array((340, 260, 280)) / (pixel, pixel, slices_mm)).astype(int)
    way = float(rng.choice((-1, 1)))
    grid = np.diag((-pixel, -pixel, way * slices_mm, 1.0))
    grid[:3, 3] = _middle() - grid[:3, :3] @ ((size - 1) / 2) + rng.uniform(-1, 1, 3)
    return grid, (int(size[2]), int(size[1]), int(size[0]))


def _places(rng: np.random.Generator, body: Volume, lung: Array, count: int) -> list[Array]:
    """Places in the lung (RAS), deep enough and apart, that are no vessels."""
    coarse = Volume(np.empty(lung.shape), body.ijk_to_ras @ np.diag((COARSE,) * 3 + (1,)))
    dense = uniform_filter((body.array[::COARSE, ::COARSE, ::COARSE] > -500).astype(np.float32), (3, 5, 5))
    free = lung[: dense.shape[0], : dense.shape[1], : dense.shape[2]] < -DEEP_MM - SIZES_MM[1] / 2
    # The lungs' tops and bottoms leave the scan when the patient moves.
    height = coarse.to_ras(np.stack([np.zeros(len(free)), np.zeros(len(free)), np.arange(len(free))], 1))[:, 2]
    free[np.abs(height - _middle()[2]) > 85] = False
    found: list[Array] = []
    candidates = np.argwhere(free & (dense < 0.1))
    for k, j, i in rng.permutation(candidates):
        place = coarse.to_ras(np.array((i, j, k), float))
        if all(np.linalg.norm(place - other) > APART_MM + SIZES_MM[1] for other in found):
            found.append(place)
        if len(found) == count:
            break
    return found


def _scanned(
    rng: np.random.Generator,
    body: Volume,
    where: _Place,
    grid: tuple[Array, tuple[int, int, int]],
    nodules: Sequence[tuple[Array, Array, Array]],
    name: str,
) -> Volume:
    """The body with nodules (place, half axes, turn) as a scanner sees it."""
    ijk_to_ras, shape = grid
    hu = np.empty(shape, np.float32)
    j, i = np.indices(shape[1:])
    for k in range(shape[0]):
        ras = np.stack([i, j, np.full_like(i, k)], -1) @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]
        kji = np.moveaxis(body.to_ijk(where.back(ras))[..., ::-1], -1, 0)
        hu[k] = map_coordinates(body.array, kji, output=np.float32, order=1, mode="nearest")
    empty = Volume(hu, ijk_to_ras, name)
    for nodule in nodules:
        _paint(empty, *nodule)
    blur_mm, noise_hu = KERNELS[rng.integers(len(KERNELS))]
    blur = blur_mm / empty.spacing_mm[0]
    spread = 1 / (2 * math.sqrt(math.pi) * max(blur, 0.3))
    for one in hu:
        noise = rng.standard_normal(one.shape, np.float32) * np.float32(noise_hu / spread)
        one[...] = gaussian_filter(one + noise, blur)
    return Volume(np.clip(np.rint(hu), -1024, 3000).astype(np.int16), ijk_to_ras, name, {"made": name})


def _paint(volume: Volume, place: Array, axes: Array, turn: Array) -> None:
    """Draw an ellipsoid; each voxel holds the share of it that lies within."""
    reach = np.ceil((axes.max() + 2) / volume.spacing_mm).astype(int)
    middle = np.rint(volume.to_ijk(place)).astype(int)
    first = np.maximum(middle - reach, 0)
    last = np.minimum(middle + reach + 1, volume.array.shape[::-1])
    box = tuple(slice(a, b) for a, b in zip(first[::-1], last[::-1], strict=True))
    part = volume.array[box]
    kji = np.stack(np.indices(part.shape), -1) + first[::-1]
    share = np.zeros(part.shape)
    steps = [(np.arange(n) + 0.5) / n - 0.5 for n in np.maximum(np.ceil(volume.spacing_mm / 0.4), 1).astype(int)]
    for di, dj, dk in product(*steps):
        offset = volume.to_ras(kji[..., ::-1] + (di, dj, dk)) - place
        share += (((offset @ turn) / axes) ** 2).sum(-1) < 1
    share /= math.prod(map(len, steps))
    part[...] = np.maximum(part, part + share * (SOLID_HU - part))
