"""Train the recognisers: cubes around nodules against cubes around vessels, chest wall and lung."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from scipy import ndimage
from scipy.spatial.transform import Rotation
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from NoduleRiskLib.imaging.input_checks import LIKELY
from NoduleRiskLib.imaging.outline import INSIDE
from NoduleRiskLib.imaging.resampling import sample
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.false_positive_reduction import GRID_MM, FalsePositiveNet, nodule_probability

from ..data.context_synthesis import Surrounded
from ..data.crops import WIDE
from ..data.found_outlines import FoundOutlines
from .segmentation import tissues
from .training_loop import fit

#: What to show beside nodules, and how often.
KINDS = {"vessel": 0.35, "vessel's bright middle": 0.35, "chest wall": 0.2, "lung": 0.1}
BRIGHT_HU = -150
#: Places beside each nodule that a fold's recogniser is scored on.
PLACES = 20
#: How far the middle of a located outline lies from that of the readers' (standard deviation along each axis).
MISS_MM = 1.0


@dataclass(frozen=True)
class FalsePositiveRun:
    """One training run of the recognisers.

    Attributes
    ----------
    epochs, batch, learning_rate, seed
        As usual; a batch counts places.
    crop_places, cube_places : (int, int)
        Places in each crop and in each cube, each epoch: on the nodule, and elsewhere.
    """

    epochs: int = 6
    batch: int = 32
    learning_rate: float = 2e-3
    crop_places: tuple[int, int] = (1, 1)
    cube_places: tuple[int, int] = (10, 20)
    seed: int = 0


def train_false_positive(
    name: str, crops: Sequence[Surrounded], cubes: Surrounded, run: FalsePositiveRun, folder: Path, console: Console
) -> FalsePositiveNet:
    """Train on all nodules that are given; resumes from ``folder`` after a kill, losing no more than an epoch.

    Parameters
    ----------
    name : str
        Names the run.
    crops : sequence of Surrounded
        The same crops in different surroundings: each epoch takes one of them for each crop.
    cubes : Surrounded
    """

    def begin(rng: np.random.Generator) -> tuple[int, Callable[[FalsePositiveNet, int], Tensor]]:
        shown, wanted = _epoch(crops, cubes, run, rng)

        def loss(false_positive_net: FalsePositiveNet, step: int) -> Tensor:
            here = slice(step * run.batch, (step + 1) * run.batch)
            x = shown[here].astype(np.float32)
            if rng.random() < 0.5:
                x += rng.uniform(0, 40) * rng.standard_normal(x.shape, np.float32)
            logits = false_positive_net(torch.as_tensor(x))
            return nn.functional.binary_cross_entropy_with_logits(logits, torch.as_tensor(wanted[here]))

        return len(shown) // run.batch, loss

    return fit(FalsePositiveNet, begin, run, 0.02, "recogniser", name, folder, console)


def _epoch(
    crops: Sequence[Surrounded], cubes: Surrounded, run: FalsePositiveRun, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Cubes of HU (N, 32, 32, 32), int16, and whether each shows a nodule (float32), in random order."""
    shown: list[Array] = []
    wanted: list[float] = []
    for variants, (inside, elsewhere) in ((crops, run.crop_places), ((cubes,), run.cube_places)):
        for index in range(len(variants[0].table)):
            nodules = variants[int(rng.integers(len(variants)))]
            here = slice(int(nodules.first[index]), int(nodules.last[index]))
            if here.stop - here.start < 2:
                continue
            pixels, share = nodules.pixels[here], nodules.share[here]
            volume = wide_volume(pixels, nodules.offset_mm[here])
            marked = np.argwhere(share >= 126)
            on = [marked.mean(0)] * inside if len(marked) else []
            off = [voxel for _, voxel in beside(pixels, share, elsewhere, rng)]
            shown += [_cube(volume, voxel, rng) for voxel in on + off]
            wanted += [1.0] * len(on) + [0.0] * len(off)
    order = rng.permutation(len(shown))
    return np.stack(shown)[order], np.array(wanted, np.float32)[order]


def beside(pixels: Array, share: Array, count: int, rng: np.random.Generator) -> list[tuple[str, Array]]:
    """Up to ``count`` places on no nodule: a key of ``KINDS`` and a voxel (slice, row, column)."""
    near = ndimage.binary_dilation((share > 0).any(0), iterations=6)
    free = np.zeros_like(near)
    # Around a place nearer to the edge there is too little image.
    free[WIDE.pixels // 3 : -WIDE.pixels // 3, WIDE.pixels // 3 : -WIDE.pixels // 3] = True
    free &= ~near
    places = []
    for kind in rng.choice(list(KINDS), count, p=list(KINDS.values())).tolist():
        one = int(rng.integers(len(pixels)))
        vessel, wall, lung = tissues(pixels[one])
        of_kind = {"vessel": vessel, "chest wall": wall, "lung": lung}.get(kind, vessel & (pixels[one] > BRIGHT_HU))
        found = np.argwhere(of_kind & free)
        if len(found):
            places.append((kind, np.array([one, *found[rng.integers(len(found))]], np.float64)))
    return places


def second_opinions(found_outlines: FoundOutlines, false_positive_net: FalsePositiveNet) -> pd.DataFrame:
    """What a recogniser that never saw the patients says of the nodules that were found, and of places beside them.

    Returns
    -------
    DataFrame
        One row a place: ``kind`` ("nodule" or a key of ``KINDS``), ``patient_id``, ``probability``.
    """
    rows = []
    for index, row in enumerate(found_outlines.table.itertuples()):
        here = slice(int(found_outlines.first[index]), int(found_outlines.first[index + 1]))
        found = np.argwhere(found_outlines.found_outlines[here, 0] > 255 * INSIDE)
        if not len(found) or here.stop - here.start < 2:
            continue
        rng = np.random.default_rng([0, *row.nodule_id.encode()])
        pixels = found_outlines.pixels[here]
        volume = wide_volume(pixels, found_outlines.offset_mm[here])
        places = [("nodule", found.mean(0)), *beside(pixels, found_outlines.share[here].max(1), PLACES, rng)]
        centres = np.stack([volume.to_ras(voxel[::-1]) for _, voxel in places])
        told = nodule_probability(volume, centres, [false_positive_net])
        rows += [(kind, row.patient_id, value) for (kind, _), value in zip(places, told, strict=True)]
    return pd.DataFrame(rows, columns=["kind", "patient_id", "probability"])


def told_apart(opinions: pd.DataFrame) -> pd.DataFrame:
    """Of each kind of place in ``second_opinions``: how many, the share warned about, the AUC against nodules."""
    nodules = opinions.probability[opinions.kind == "nodule"]
    rows = {}
    for kind, told in opinions.groupby("kind").probability:
        rows[kind] = {"places": len(told), "warned about": (told < LIKELY).mean()}
        if kind != "nodule":
            is_nodule = np.repeat([1, 0], [len(nodules), len(told)])
            rows[kind]["AUC"] = roc_auc_score(is_nodule, [*nodules, *told])
    order = [kind for kind in ("nodule", *KINDS) if kind in rows]
    return pd.DataFrame(rows).T.loc[order].astype({"places": int}).rename_axis("place")


def wide_volume(pixels: Array, offset_mm: Array) -> Volume:
    """Slices (n, 96, 96) cut with ``WIDE``, each ``offset_mm`` from the nodule, as a volume in a frame of its own."""
    matrix = np.diag([WIDE.pixel_mm, WIDE.pixel_mm, float(np.diff(offset_mm).mean()), 1.0])
    matrix[2, 3] = float(offset_mm[0])
    return Volume(pixels, matrix)


def _cube(volume: Volume, voxel: Array, rng: np.random.Generator) -> Array:
    """The cube about a voxel (slice, row, column), a little off, turned any way and zoomed: int16 (32, 32, 32)."""
    # Four Gaussian numbers are a quaternion of any rotation, each as likely as the other.
    turn = Rotation.from_quat(rng.normal(size=4)).as_matrix() * math.exp(rng.normal() * 0.07)
    centre = volume.to_ras(voxel[::-1]) + rng.normal(size=3) * MISS_MM
    return np.rint(sample(volume, centre + GRID_MM @ turn.T)).astype(np.int16)
