"""Pretraining without labels: the backbone learns to fill in slices that were hidden from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT

from ..checkpoints import Key
from ..data.augmentation import compose
from ..data.found_outlines import FoundOutlines
from .devices import Devices, own_part
from .grader_settings import GraderSettings
from .precision import half_where_fast
from .training_loop import LossAt, Recipe, Schedule, train

#: Rows and columns to which a hidden slice is averaged before it is compared.
PIXELS = 8


class FillIn(nn.Module):
    """The backbone with a token that stands for a hidden slice and a linear decoder; only the backbone is kept.

    The idea is He et al. 2022, "Masked autoencoders are scalable vision learners", doi 10.1109/CVPR52688.2022.01553;
    here a patch is a whole slice, and the hidden ones go through the blocks like the others.
    """

    def __init__(self, model: NoduleViT) -> None:
        super().__init__()
        self.model = model
        self.hidden = nn.Parameter(torch.randn(model.vit.embed_dim) * 0.02)
        self.decoder = nn.Linear(model.vit.embed_dim, PIXELS**2)

    def forward(self, batch: Batch, hidden: Tensor) -> Tensor:
        """Mean squared error of the hidden slices (bool, (B, S)), coarsely in the first HU window scaled to -1..1."""
        model = self.model
        channels = model.channels(batch)
        encoded = torch.where(hidden[batch.valid][:, None], self.hidden, model.embed(channels)[:, : len(self.hidden)])
        slices = model.vit.norm(model.attended(model.place(encoded, batch), batch))[:, 1:]
        decoded = self.decoder(slices[hidden[:, batch.valid.any(0)]])
        wanted = nn.functional.adaptive_avg_pool2d(channels[:, -model.config.channels :][:, :1], PIXELS).flatten(1)[
            hidden[batch.valid]
        ]
        return nn.functional.mse_loss(decoded.float(), wanted)


def half_of(valid: Tensor, rng: np.random.Generator) -> Tensor:
    """Half of each nodule's slices, rounded down, at random: bool, like ``valid`` (B, S)."""
    drawn = np.where(valid, rng.random(valid.shape), np.inf)
    place = drawn.argsort(1).argsort(1)
    return torch.as_tensor(place < valid.sum(1, keepdim=True).numpy() // 2)


def fill_in_slices(
    model: NoduleViT,
    parts: Sequence[FoundOutlines],
    nodules: Sequence[tuple[int, int]],
    settings: GraderSettings,
    key: Key,
    fold: int,
    folder: Path,
    devices: Devices,
    console: Console,
) -> None:
    """Train the model's backbone in place, for as many epochs as the grades get; no label is read.

    Parameters
    ----------
    model : NoduleViT
        On its device.
    parts, nodules
        What to learn from: which of ``parts``, which row; augmented as for the grades.
    settings : GraderSettings
        Their seed, batch and rates hold here, too.
    key : dict
        Everything that the weights depend on.
    fold : int
        Its patients must not be among ``nodules``.
    folder : Path
        Where the state is kept.
    devices : Fabric
    console : Console

    Raises
    ------
    NoduleRiskError
        If the backbone has no tokens to hide, or ``folder`` holds a state of other settings.
    """
    if settings.backbone != "transformer":
        raise NoduleRiskError(f"Only the backbone 'transformer' can fill in slices, not '{settings.backbone}'.")
    task = FillIn(model).to(devices.device)
    indices: Array = np.arange(len(nodules))

    def begin(rng: np.random.Generator, losses: object) -> tuple[int, LossAt]:
        order = rng.permutation(indices)
        own_rng = own_part(devices, rng)

        def loss_at(step: int) -> tuple[Tensor, Tensor]:
            rows = order[step * settings.batch : (step + 1) * settings.batch]
            rows = rows[devices.global_rank :: devices.world_size]
            batch, _ = compose(parts, [nodules[i] for i in rows], own_rng, True, settings.config.layout)
            hidden = half_of(batch.valid, own_rng)
            with half_where_fast(devices.device):
                loss = task(batch.to(devices.device), hidden.to(devices.device))
            return loss, loss[None]

        return len(nodules) // settings.batch, loss_at

    recipe = Recipe(
        kind="pretraining",
        name=str(fold),
        key=key,
        schedule=Schedule(settings.cycles, settings.learning_rate, one_cycle=True),
        optimizer=torch.optim.AdamW(task.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay),
        seed=settings.seed * 100 + fold,
        random=lambda epoch: np.random.default_rng([settings.seed, fold, epoch, 1]),
        begin=begin,
        batch=settings.batch,
    )
    train(task, recipe, folder, console, devices)
