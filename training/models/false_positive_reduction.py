"""Training of the false-positive network: cubes around nodules against cubes around vessels, chest wall and lung."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from NoduleRiskLib.imaging.resampling import sample
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.false_positive_reduction import GRID_MM, FalsePositiveNet

from ..checkpoints import digest, key_of
from ..data.context_synthesis import ContextStacks
from ..data.crops import WIDE
from .segmentation import tissues
from .training_loop import LossAt, Recipe, Schedule, train

#: What to show beside nodules, and how often.
KINDS = {"vessel": 0.35, "vessel's bright middle": 0.35, "chest wall": 0.2, "lung": 0.1}
BRIGHT_HU = -150
#: How far the centre of a found outline lies from that of the readers' (standard deviation along each axis).
MISS_MM = 1.0


@dataclass(frozen=True)
class FalsePositiveSettings:
    """Settings of one training run of the false-positive network.

    Attributes
    ----------
    epochs, batch, learning_rate, seed
        As usual; a batch counts places.
    crop_places, cube_places : (int, int)
        Places per epoch in each crop and in each cube: on the nodule, and elsewhere.
    """

    epochs: int = 6
    batch: int = 32
    learning_rate: float = 2e-3
    crop_places: tuple[int, int] = (1, 1)
    cube_places: tuple[int, int] = (10, 20)
    seed: int = 0


def train_false_positive(
    name: str,
    crops: Sequence[ContextStacks],
    cubes: ContextStacks,
    settings: FalsePositiveSettings,
    folder: Path,
    console: Console,
) -> FalsePositiveNet:
    """Train on all nodules that are given, or go on with a run that was stopped.

    Parameters
    ----------
    name : str
        Of the run, such as its fold; it seeds the run, too.
    crops : sequence of ContextStacks
        The same crops in different surroundings: each epoch takes one of them for each crop.
    cubes : ContextStacks
    settings : FalsePositiveSettings
    folder : Path
        Where the state is kept.
    console : Console
    """
    seed = (settings.seed, *name.encode())
    torch_seed = int(np.random.default_rng(seed).integers(2**31))
    torch.manual_seed(torch_seed)
    network = FalsePositiveNet()

    def begin(rng: np.random.Generator, losses: object) -> tuple[int, LossAt]:
        cubes_hu, is_nodule = _epoch(crops, cubes, settings, rng)

        def loss_at(step: int) -> tuple[Tensor, Tensor]:
            here = slice(step * settings.batch, (step + 1) * settings.batch)
            x = cubes_hu[here].astype(np.float32)
            if rng.random() < 0.5:
                x += rng.uniform(0, 40) * rng.standard_normal(x.shape, np.float32)
            logits = network(torch.as_tensor(x))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.as_tensor(is_nodule[here]))
            return loss, loss[None]

        return len(cubes_hu) // settings.batch, loss_at

    recipe = Recipe(
        kind="false-positive",
        name=name,
        key=key_of(settings, run=name, nodules=digest(cubes.key, *(one.key for one in crops))),
        schedule=Schedule((settings.epochs,), settings.learning_rate, warm_up=20),
        optimizer=torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=0.02),
        seed=torch_seed,
        random=lambda epoch: np.random.default_rng([*seed, epoch]),
        begin=begin,
        batch=settings.batch,
    )
    return train(network, recipe, folder, console)


def _epoch(
    crops: Sequence[ContextStacks],
    cubes: ContextStacks,
    settings: FalsePositiveSettings,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Cubes of HU (N, 32, 32, 32), int16, and whether each shows a nodule (float32), in random order."""
    cubes_hu: list[Array] = []
    is_nodule: list[float] = []
    for variants, (inside, elsewhere) in ((crops, settings.crop_places), ((cubes,), settings.cube_places)):
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
            cubes_hu += [_cube(volume, voxel, rng) for voxel in on + off]
            is_nodule += [1.0] * len(on) + [0.0] * len(off)
    order = rng.permutation(len(cubes_hu))
    return np.stack(cubes_hu)[order], np.array(is_nodule, np.float32)[order]


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


def wide_volume(pixels: Array, offset_mm: Array) -> Volume:
    """Slices (n, 96, 96) cut with ``WIDE``, each ``offset_mm`` from the nodule, as a volume in a frame of its own."""
    matrix = np.diag([WIDE.pixel_mm, WIDE.pixel_mm, float(np.diff(offset_mm).mean()), 1.0])
    matrix[2, 3] = float(offset_mm[0])
    return Volume(pixels, matrix)


def _cube(volume: Volume, voxel: Array, rng: np.random.Generator) -> Array:
    """The cube about a voxel (slice, row, column), a little off, turned any way and zoomed: int16 (32, 32, 32)."""
    turn = Rotation.random(rng=rng).as_matrix() * math.exp(rng.normal() * 0.07)
    centre = volume.to_ras(voxel[::-1]) + rng.normal(size=3) * MISS_MM
    return np.rint(sample(volume, centre + GRID_MM @ turn.T)).astype(np.int16)
