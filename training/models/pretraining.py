"""Masked mosaics: before it is asked for grades, the trunk learns to fill in slices that were hidden from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor, nn

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT

from ..checkpoints import keep_state, resumed
from ..data.augmentation import compose
from ..data.found_outlines import FoundOutlines
from .devices import backward, even_out, own_part
from .precision import half_where_fast

if TYPE_CHECKING:
    from .graders import GraderRun

#: ``GraderRun.start`` of the runs that begin so.
MASKED = "masked slices"
#: Rows and columns of what is told of a hidden slice.
PIXELS = 8


class FillIn(nn.Module):
    """The trunk with a token that stands for a hidden slice and a linear decoder, which are thrown away afterwards.

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
        encoded = torch.where(hidden[batch.valid][:, None], self.hidden, model.embed(channels))
        slices = model.vit.norm(model.attended(model.place(encoded, batch), batch))[:, 1:]
        told = self.decoder(slices[hidden[:, batch.valid.any(0)]])
        wanted = nn.functional.adaptive_avg_pool2d(channels[:, :1], PIXELS).flatten(1)[hidden[batch.valid]]
        return nn.functional.mse_loss(told.float(), wanted)


def half_of(valid: Tensor, rng: np.random.Generator) -> Tensor:
    """Half of each nodule's slices, rounded down, at random: bool, like ``valid`` (B, S)."""
    drawn = np.where(valid, rng.random(valid.shape), np.inf)
    place = drawn.argsort(1).argsort(1)
    return torch.as_tensor(place < valid.sum(1, keepdim=True).numpy() // 2)


def fill_in_slices(
    model: NoduleViT,
    parts: Sequence[FoundOutlines],
    nodules: Sequence[tuple[int, int]],
    run: GraderRun,
    fold: int,
    folder: Path,
    fabric: Fabric,
    console: Console,
) -> None:
    """Teach the model's trunk in place, as many epochs as the grades get; no label is read.

    Resumes from ``folder`` after a kill, losing no more than an epoch.

    Parameters
    ----------
    model : NoduleViT
        On the device of ``fabric``.
    parts, nodules
        Whom to learn from: which of ``parts``, which row; turned and shifted as for the grades.
    run : GraderRun
        Its seed, batch and rates hold here, too.
    fold : int
        Names the run; its patients must not be among ``nodules``.

    Raises
    ------
    NoduleRiskError
        If the run's trunk has no tokens to hide, or ``folder`` holds the state of another run.
    """
    if run.trunk != "transformer":
        raise NoduleRiskError(f"Only a transformer can fill in slices, not a {run.trunk}.")
    state_file = folder / f"masked-{fold}.pt"
    task = FillIn(model).to(fabric.device)
    steps = len(nodules) // run.batch
    optimizer = torch.optim.AdamW(task.parameters(), lr=run.learning_rate, weight_decay=run.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run.learning_rate, total_steps=run.epochs * steps, pct_start=0.1, cycle_momentum=False
    )
    kept: dict[str, Any] = {"task": task, "optimizer": optimizer, "schedule": schedule}
    state: dict[str, Any] = {"run": repr(run), "epoch": 0, "losses": []}
    state = resumed(state, kept, state_file, fabric.device)
    task.train()
    for epoch in range(state["epoch"], run.epochs):
        torch.manual_seed((run.seed * 100 + fold) * 1000 + epoch)
        rng = np.random.default_rng([run.seed, fold, epoch, 1])
        order = rng.permutation(len(nodules))
        rng = own_part(fabric, rng)
        total = np.zeros(1)
        for step in range(steps):
            rows = order[step * run.batch : (step + 1) * run.batch][fabric.global_rank :: fabric.world_size]
            batch, _ = compose(parts, [nodules[i] for i in rows], rng, True, run.config.layout)
            hidden = half_of(batch.valid, rng)
            with half_where_fast(fabric.device):
                loss = task(batch.to(fabric.device), hidden.to(fabric.device))
            optimizer.zero_grad()
            backward(fabric, loss, task)
            optimizer.step()
            schedule.step()
            total += loss.item()
        even_out(fabric, [torch.from_numpy(total)])
        state["losses"].append(float(total[0]) / steps)
        state["epoch"] = epoch + 1
        console.print(f"masked slices, fold {fold}, epoch {epoch + 1}/{run.epochs}: loss {state['losses'][-1]:.4f}")
        if fabric.is_global_zero:
            keep_state(state | {name: one.state_dict() for name, one in kept.items()}, state_file)
        fabric.barrier()
