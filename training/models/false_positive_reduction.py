"""Training of the false-positive network: outlines of nodules against outlines of vessels, chest wall and lung."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.false_positive_reduction import SIDE, FalsePositiveNet

from ..checkpoints import Key, key_of
from ..data.places import KEPT_SIDE, Places
from .precision import half_where_fast
from .training_loop import LossAt, Recipe, Schedule, train

#: How far the outline's centre is moved along each axis (standard deviation).
MISS_MM = 0.7


@dataclass(frozen=True)
class FalsePositiveSettings:
    """Settings of one training run of the false-positive network.

    Attributes
    ----------
    epochs, batch, learning_rate, seed
        As usual; a batch counts places.
    """

    epochs: int = 6
    batch: int = 32
    learning_rate: float = 2e-3
    seed: int = 0


def train_false_positive(
    name: str, places: Places, made_by: Key, settings: FalsePositiveSettings, folder: Path, console: Console
) -> FalsePositiveNet:
    """Train on all places that are given, or go on with a run that was stopped.

    Parameters
    ----------
    name : str
        Of the run, such as its fold; it seeds the run, too.
    places : Places
    made_by : dict
        What the places depend on.
    settings : FalsePositiveSettings
    folder : Path
        Where the state is kept.
    console : Console
    """
    seed = (settings.seed, *name.encode())
    torch_seed = int(np.random.default_rng(seed).integers(2**31))
    torch.manual_seed(torch_seed)
    network = FalsePositiveNet().to(memory_format=torch.channels_last_3d)
    target = torch.as_tensor(places.table.target.to_numpy(np.float32))

    def begin(rng: np.random.Generator, losses: object) -> tuple[int, LossAt]:
        order = rng.permutation(len(target))

        def loss_at(step: int) -> tuple[Tensor, Tensor]:
            here = np.sort(order[step * settings.batch : (step + 1) * settings.batch])
            x = turned(places.hu[here], places.outline[here], rng).to(memory_format=torch.channels_last_3d)
            with half_where_fast("cpu"):
                logits = network(x)
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), target[here])
            return loss, loss[None]

        return len(target) // settings.batch, loss_at

    recipe = Recipe(
        kind="false-positive",
        name=name,
        key=key_of(settings, run=name, **made_by),
        schedule=Schedule((settings.epochs,), settings.learning_rate, warm_up=20),
        optimizer=torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=0.02),
        seed=torch_seed,
        random=lambda epoch: np.random.default_rng([*seed, epoch]),
        begin=begin,
        batch=settings.batch,
    )
    return train(network, recipe, folder, console)


def turned(hu: Array, outline: Array, rng: np.random.Generator) -> Tensor:
    """Places (N, 40, 40, 40) as the network reads them, (N, 2, 32, 32, 32): turned, moved, half of them with noise.

    Half are turned any way and zoomed; the others by right angles, which leaves them as sharp as they are.
    """
    count = len(hu)
    x = torch.as_tensor(np.stack([hu.astype(np.float32), outline.astype(np.float32) / 255], 1))
    # Four Gaussian numbers are a quaternion of any rotation, each as likely as the other.
    turns = Rotation.from_quat(rng.normal(size=(count, 4))).as_matrix() * np.exp(rng.normal(size=(count, 1, 1)) * 0.07)
    shift = rng.normal(size=(count, 3)) * MISS_MM
    sharp = rng.random(count) < 0.5
    for one in np.flatnonzero(sharp):
        turns[one] = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    shift[sharp] = np.rint(shift[sharp])
    matrix = np.concatenate([turns * (SIDE / KEPT_SIDE), shift[:, :, None] / (KEPT_SIDE / 2)], 2)
    grid = nn.functional.affine_grid(
        torch.as_tensor(matrix, dtype=torch.float32), [count, 2, SIDE, SIDE, SIDE], align_corners=False
    )
    x = nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    noise = (rng.uniform(0, 40, count) * (rng.random(count) < 0.5)).astype(np.float32)
    x[:, 0] += torch.as_tensor(noise[:, None, None, None] * rng.standard_normal(x[:, 0].shape, np.float32))
    return x
