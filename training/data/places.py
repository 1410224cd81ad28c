"""Places that false-positive reduction learns from: on nodules and beside them, each outlined as the pipeline would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track
from scipy import ndimage

from NoduleRiskLib.imaging.outline import Outline
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.false_positive_reduction import outlined_cube

from ..checkpoints import Key, read_arrays, write_arrays
from .context_synthesis import ContextStacks
from .crops import WIDE
from .found_outlines import missed_point
from .real_lungs import marks, windows
from .surroundings import Surroundings

#: Side (voxels of 1 mm) of what is kept of a place: more than the network reads, so that it can be turned.
KEPT_SIDE = 40
#: What to show beside nodules, and how often.
KINDS = {"vessel": 0.35, "vessel's bright middle": 0.35, "chest wall": 0.2, "lung": 0.1}
NODULE, LONE = "nodule", "nodule of one reader"
CROPS, CUBES, WHOLE = "crops", "cubes", "whole CTs"
#: How sure it is that a place is a nodule's, by how many of four readers marked it.
SURE = {1: 0.2, 2: 0.6, 3: 1.0, 4: 1.0}
BRIGHT_HU = -150
#: A smaller blob of tissue in a slice may be a vessel's cross-section; a larger one is chest wall, heart or liver.
VESSEL_RADIUS_MM = 4.5
#: Windows cut from each whole CT at random, and places in each.
WINDOWS, PLACES_PER_WINDOW = 60, 6

#: From a volume and points (RAS mm) to their outlines.
Finder = Callable[[Volume, Sequence[Array]], list[Outline]]


@dataclass(frozen=True, eq=False)
class Places:
    """N places.

    Attributes
    ----------
    table : DataFrame
        One row per place: ``source`` (such as ``CROPS``), ``kind`` (``NODULE``, ``LONE``, a key of ``KINDS`` or of
        ``real_lungs.marks``), ``target`` (0 to 1: how sure it is that this is a nodule), ``patient_id``, ``diameter``
        of the outline (mm), ``unsure``.
    hu : int16 (N, 40, 40, 40)
        Around the outline's centre, axes R, A, S, voxels of 1 mm.
    outline : uint8 (N, 40, 40, 40)
        Times 255.
    """

    table: pd.DataFrame
    hu: Array
    outline: Array


def places(nodules: Surroundings, data: Path, finder: Finder, key: Key, folder: Path, seed: int) -> Places:
    """Outline points on the nodules and beside them; the first call writes ``folder``, later ones read it.

    Parameters
    ----------
    nodules : Surroundings
    data : Path
        For the readers' marks on the whole CTs.
    finder : callable
    key : dict
        What finder and nodules depend on.
    folder : Path
    seed : int
    """
    key = {**key, "seed": str(seed), "kept_side": str(KEPT_SIDE)}
    if not folder.exists():
        rows: list[dict[str, object]] = []
        parts: dict[str, list[Array]] = {"hu": [], "outline": []}
        asked = list(_asked(nodules, data, np.random.default_rng(seed)))
        for one in track(asked, f"Outlining {folder.name}", transient=True):
            if not one.volume.contains(one.point):
                continue
            (outline,) = finder(one.volume, [one.point])
            hu, inside = outlined_cube(one.volume, outline, KEPT_SIDE)
            parts["hu"].append(np.rint(hu).astype(np.int16)[None])
            parts["outline"].append(np.rint(inside * 255).astype(np.uint8)[None])
            row = {name: getattr(one, name) for name in ("source", "kind", "target", "patient_id")}
            rows.append(row | {"diameter": outline.diameter_mm, "unsure": outline.unsure})
        write_arrays(folder, pd.DataFrame(rows), parts, key)
    kept = read_arrays(folder, ("hu", "outline"), key, mapped=True)
    return Places(kept.table, **kept.slices)


@dataclass(frozen=True, eq=False)
class _Asked:
    """A point (RAS mm of ``volume``) to be outlined; the other fields are columns of ``Places.table``."""

    source: str
    kind: str
    target: float
    patient_id: str
    volume: Volume
    point: Array


def _asked(nodules: Surroundings, data: Path, rng: np.random.Generator) -> Iterator[_Asked]:
    for source, stacks, on, off in (
        (CROPS, nodules.synthetic[0], 1, 1),
        ("crops at 1 mm", nodules.synthetic[1], 0, 1),
        ("crops in other lungs", nodules.implanted, 1, 0),
        (CUBES, nodules.cubes, 3, 8),
        (WHOLE, nodules.whole, 4, 10),
        (CROPS, nodules.lone, 1, 0),
    ):
        if stacks:
            yield from _in_stacks(source, stacks, on, off, rng)
    for ct in nodules.cts:
        yield from _in_stacks(WHOLE, windows(ct, WINDOWS, rng), 0, PLACES_PER_WINDOW, rng)
        for one in marks(data, ct.patient_id).itertuples():
            place = np.array([one.r, one.a, one.s])
            for _ in range(4):
                yield _Asked(WHOLE, str(one.kind), 0.0, ct.patient_id, ct.volume, place + rng.normal(size=3))


def _in_stacks(source: str, stacks: ContextStacks, on: int, off: int, rng: np.random.Generator) -> Iterator[_Asked]:
    for index, row in enumerate(stacks.table.itertuples()):
        here = slice(int(stacks.first[index]), int(stacks.last[index]))
        if here.stop - here.start < 2:
            continue
        pixels, share = stacks.pixels[here], stacks.share[here]
        volume = wide_volume(pixels, stacks.offset_mm[here])
        marked = np.argwhere(share >= 126)
        for _ in range(on if len(marked) else 0):
            # Of a ball of the same volume.
            diameter_mm = float(6 * len(marked) * np.prod(volume.spacing_mm) / np.pi) ** (1 / 3)
            point = volume.to_ras(marked.mean(0)[::-1]) + missed_point(diameter_mm, rng)
            kind = LONE if row.n_readers == 1 else NODULE
            yield _Asked(source, kind, SURE[row.n_readers], row.patient_id, volume, point)
        for kind, voxel in beside(pixels, share, off, rng):
            yield _Asked(source, kind, 0.0, row.patient_id, volume, volume.to_ras(voxel[::-1]))


def beside(pixels: Array, share: Array, count: int, rng: np.random.Generator) -> list[tuple[str, Array]]:
    """Up to ``count`` places on no nodule: a key of ``KINDS`` and a voxel (slice, row, column)."""
    near = ndimage.binary_dilation((share > 0).any(0), iterations=6)
    free = np.zeros_like(near)
    # Around a place nearer to the edge there is too little image.
    free[WIDE.pixels // 3 : -WIDE.pixels // 3, WIDE.pixels // 3 : -WIDE.pixels // 3] = True
    free &= ~near
    found = []
    for kind in rng.choice(list(KINDS), count, p=list(KINDS.values())).tolist():
        one = int(rng.integers(len(pixels)))
        vessel, wall, lung = tissues(pixels[one])
        of_kind = {"vessel": vessel, "chest wall": wall, "lung": lung}.get(kind, vessel & (pixels[one] > BRIGHT_HU))
        at = np.argwhere(of_kind & free)
        if len(at):
            found.append((kind, np.array([one, *at[rng.integers(len(at))]], np.float64)))
    return found


def tissues(image: Array) -> tuple[Array, Array, Array]:
    """Which pixels of a slice (HU, (h, w), as ``WIDE`` cuts it) are vessels, chest wall (or heart, liver) and lung."""
    tissue = image > -500
    thick = ndimage.distance_transform_edt(tissue) > VESSEL_RADIUS_MM / WIDE.pixel_mm
    from_thick = ndimage.distance_transform_edt(~thick) if thick.any() else np.full(tissue.shape, np.inf)
    wall = tissue & (from_thick <= VESSEL_RADIUS_MM / WIDE.pixel_mm + 1)
    return tissue & ~wall, wall, ~tissue


def wide_volume(pixels: Array, offset_mm: Array) -> Volume:
    """Slices (n, 96, 96) cut with ``WIDE``, each ``offset_mm`` from the nodule, as a volume in a frame of its own."""
    matrix = np.diag([WIDE.pixel_mm, WIDE.pixel_mm, float(np.diff(offset_mm).mean()), 1.0])
    matrix[2, 3] = float(offset_mm[0])
    return Volume(pixels, matrix)
