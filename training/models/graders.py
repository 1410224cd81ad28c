"""One training run of a grader: batches of turned, shifted, thinned nodules, a balanced loss, the best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES, GRADES
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.model_package import load
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT

from ..checkpoints import keep_state, resumed
from ..data.augmentation import compose
from ..data.found_outlines import FoundOutlines
from .baselines import TRUNKS
from .devices import backward, even_out, on, own_part
from .loss_weighting import BALANCES, recall
from .precision import half_where_fast
from .pretraining import MASKED, fill_in_slices
from .targets_and_losses import GRADE, TASKS, Labels, fit_heads, losses, read, read_labels

#: What begins at nothing in a network that has learned all else takes so many times larger steps: of 1, 20, 100 and 300
#: the one with the lowest inner loss of fold 0 (training/RESULTS.md).
LATE_RATE = 300.0


@dataclass(frozen=True)
class GraderRun:
    """One training run of the graders.

    Attributes
    ----------
    config : ModelConfig
    trunk : str
        Key of ``peers.TRUNKS``: what makes one summary of a nodule's slices.
    answers : str
        Key of ``answers.ANSWERS``: what the heads are asked.
    tasks : tuple of str
        Whose losses count, of ``answers.TASKS``: one of them is single-task learning.
    balance : str
        Key of ``balance.BALANCES``.
    weak_share : float
        Share of the nodules of an epoch that are drawn from those of one or two readers.
    cycles : tuple of int
        Epochs of each cycle: the learning rate falls along a cosine and starts anew (Loshchilov and Hutter 2017,
        "SGDR", arXiv 1608.03983).
    batch, learning_rate, weight_decay, seed
        As usual; a batch counts nodules.
    inner_share : float
        Share of the training patients that choose the epoch instead of training.
    calcification_weight : float
        Of the losses of presence and pattern beside the grades' own.
    start : str
        Folder of a model package whose graders, one a fold of these five, training goes on from; ``pretrain.MASKED``:
        a trunk that first learns to fill in slices; "" begins anew.
    """

    config: ModelConfig = field(default_factory=ModelConfig)
    trunk: str = "transformer"
    answers: str = "values"
    tasks: tuple[str, ...] = GRADE_NAMES
    balance: str = "dwa"
    weak_share: float = 0.0
    cycles: tuple[int, ...] = (40, 30)
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    inner_share: float = 0.1
    calcification_weight: float = 0.25
    seed: int = 0
    start: str = ""

    @property
    def epochs(self) -> int:
        """Of all cycles."""
        return sum(self.cycles)


def going_on(start: Path) -> GraderRun:
    """A short run with small steps from a package's graders, which must be of the same folds.

    For new outlines, and for what the heads read besides since the package was made.
    """
    return GraderRun(start=str(start), cycles=(8,), learning_rate=5e-4)


def build(run: GraderRun) -> NoduleViT:
    """The run's untrained network."""
    model = TRUNKS[run.trunk](run.config)
    fit_heads(model, run.answers, run.tasks)
    return model


def train_grader(
    fold: int,
    training: Sequence[FoundOutlines],
    run: GraderRun,
    folder: Path,
    device: str,
    console: Console,
    weak: Sequence[FoundOutlines] = (),
) -> NoduleViT:
    """Train on the other folds' nodules; resumes from ``folder`` after a kill, losing no more than an epoch.

    Under ``fabric run`` each device takes its share of every batch, and all of them return the same network. Batch
    normalisation goes by each device's own slices.

    Parameters
    ----------
    fold : int
        Names the run; its patients must be neither in ``training`` nor in ``weak``.
    training : sequence of Located
    weak : sequence of Located
        Nodules of one or two readers, for runs with a ``weak_share`` or a pretrained trunk.

    Raises
    ------
    NoduleRiskError
        If there is nothing to train on, ``folder`` holds the state of another run, or several devices cannot share it.
    """
    fabric = on(device)
    device = str(fabric.device)
    if fabric.world_size > 1 and run.balance == "gradnorm":
        raise NoduleRiskError("GradNorm needs each grade's own gradients on one device: run it without `fabric run`.")
    if run.batch % fabric.world_size:
        raise NoduleRiskError(
            f"{fabric.world_size} devices cannot share a batch of {run.batch} evenly: choose another --batch."
        )
    state_file = folder / f"grader-{fold}.pt"
    parts = [*training, *weak]
    nodules = [(part, index) for part, found_outlines in enumerate(parts) for index in range(len(found_outlines.table))]
    table = (
        pd.concat([found_outlines.table for found_outlines in parts], ignore_index=True) if parts else pd.DataFrame()
    )
    reference = np.arange(len(table)) < sum(len(found_outlines.table) for found_outlines in training)
    inner = _inner_patients(table[reference], run, fold) if reference.any() else reference
    held, trained = np.flatnonzero(inner), np.flatnonzero(~inner)
    if len(trained) < run.batch:
        raise NoduleRiskError(
            f"Fold {fold} leaves {len(trained)} nodules to train on, fewer than a batch of {run.batch}: give more "
            "folds or nodules."
        )
    # Whoever helps to choose the epoch teaches nothing, weak nodules included.
    weak_rows = np.flatnonzero(~reference & ~table.patient_id.isin(table.patient_id[held]).to_numpy())
    if run.weak_share and not len(weak_rows):
        raise NoduleRiskError("This run trains on nodules of one or two readers, and there are none: see the data set.")
    labels = read_labels(table)
    # Grades that are the same for all have no spread to divide by.
    mean, std = labels.grades[trained].mean(0), labels.grades[trained].std(0).clamp(min=1e-3)
    labels = labels.standardised(mean, std)
    torch.manual_seed(run.seed * 100 + fold)
    model, shape_is_new = build(run), False
    if run.start and run.start != MASKED:
        package = load(run.start)
        graders = package.networks().graders
        # The measures of shape came later: for whoever has learned without them, they begin at nothing.
        shape_is_new = package.config != run.config
        if (shape_is_new and replace(run.config, shape_features=False) != package.config) or fold >= len(graders):
            raise NoduleRiskError(
                f"{run.start} has {len(graders)} graders, maybe of another kind: give a package of these five folds."
            )
        # The same folds: what this fold's grader never saw, the one it goes on from never saw either.
        model.load_state_dict(graders[fold].state_dict(), strict=not shape_is_new)
    model = model.to(device)
    if run.start == MASKED:
        unlabelled = [nodules[i] for i in (*trained, *weak_rows)]
        fill_in_slices(model, parts, unlabelled, run, fold, folder, fabric, console)
    model.target_mean.copy_(mean[: len(GRADES)])
    model.target_std.copy_(std[: len(GRADES)])
    balance = BALANCES[run.balance](len(run.tasks), model.vit.norm.weight).to(device)
    named = list(model.named_parameters())
    learned: list[dict[str, Any]] = [
        {"params": [one for name, one in named if not name.startswith("shape_features.")]},
        {
            "params": [one for name, one in named if name.startswith("shape_features.")],
            "lr_scale": LATE_RATE if shape_is_new else 1.0,
        },
        {"params": list(balance.parameters()), "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(learned, lr=run.learning_rate, weight_decay=run.weight_decay, fused=True)
    average = ModelEmaV3(model, decay=0.99, use_warmup=True)
    kept = {"model": model, "average": average.module, "balance": balance, "optimizer": optimizer}
    state: dict[str, Any] = {
        "run": repr(run),
        "epoch": 0,
        "losses": [],
        "seconds": [],
        "rates": [],
        "best": [math.inf, {}],
    }
    state = resumed(state, kept, state_file, device)
    log = _tensorboard(folder, fold) if fabric.is_global_zero else None
    for epoch in range(state["epoch"], run.epochs):
        began = time.monotonic()
        # Dropout, too, goes on as it would have.
        torch.manual_seed((run.seed * 100 + fold) * 1000 + epoch)
        rng = np.random.default_rng([run.seed, fold, epoch])
        recall(balance, state["losses"])
        order = rng.permutation(trained)
        if run.weak_share:
            swapped = rng.random(len(order)) < run.weak_share
            order[swapped] = rng.choice(weak_rows, swapped.sum())
        rng = own_part(fabric, rng)
        steps = len(order) // run.batch
        summed = np.zeros(len(run.tasks))
        model.train()
        for step in range(steps):
            _schedule(optimizer, run, epoch + step / steps)
            rows = order[step * run.batch : (step + 1) * run.batch][fabric.global_rank :: fabric.world_size]
            batch, zoom = compose(parts, [nodules[i] for i in rows], rng, True, run.config.layout)
            wanted = _zoomed(labels[rows], zoom, std)
            tasks, calcification = losses_of(model, batch.to(device), wanted.to(device), run)
            loss = balance(tasks) + run.calcification_weight * calcification
            optimizer.zero_grad()
            backward(fabric, loss, model, balance)
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            average.update(model)
            summed += tasks.detach().cpu().numpy()
        rate = steps * run.batch / (time.monotonic() - began)
        even_out(fabric, [torch.from_numpy(summed)])
        state["losses"].append((summed / steps).tolist())
        held_loss = math.inf
        if epoch >= run.cycles[0] // 2 and len(held):
            held_loss = _held_out(average.module, parts, [nodules[i] for i in held], labels[held], run, device)
            # Rounding differs between GPUs; which epoch is best must not.
            held_loss = fabric.broadcast(held_loss)
            if held_loss < state["best"][0]:
                state["best"] = [held_loss, {n: value.clone() for n, value in average.module.state_dict().items()}]
        state["epoch"] = epoch + 1
        state["seconds"].append(time.monotonic() - began)
        state["rates"].append(rate)
        console.print(
            f"grader, fold {fold}, epoch {epoch + 1}/{run.epochs}: loss {np.mean(state['losses'][-1]):.4f}, "
            f"inner {held_loss:.4f}, {rate:.0f} nodules/s"
        )
        if log:
            for name, loss in zip(run.tasks, state["losses"][-1], strict=True):
                log.add_scalar(f"loss/{name}", loss, epoch + 1)
            log.flush()
        if fabric.is_global_zero:
            keep_state(state | {name: one.state_dict() for name, one in kept.items()}, state_file)
        # Whoever reads the state next finds it written.
        fabric.barrier()
    model.load_state_dict(state["best"][1] or average.module.state_dict())
    return model.eval()


def history(folder: Path, fold: int) -> dict[str, float]:
    """What a finished run cost: minutes, and nodules a second while it trained (median epoch)."""
    state = torch.load(folder / f"grader-{fold}.pt", weights_only=True, map_location="cpu")
    return {"minutes": sum(state["seconds"]) / 60, "nodules_per_second": float(np.median(state["rates"]))}


def said_by(model: NoduleViT, batch: Batch, tasks: Sequence[str]) -> dict[str, Tensor]:
    """Each task's head's own numbers, (B, k) float32."""
    with half_where_fast(batch.pixels.device):
        summary = model.summary(model.tokens(batch), batch)
        return {name: model.heads[name](summary).float() for name in tasks}


def losses_of(model: NoduleViT, batch: Batch, labels: Labels, run: GraderRun) -> tuple[Tensor, Tensor]:
    """The loss of each of the run's tasks, shape (tasks,), and calcification's own; labels standardised."""
    return losses(said_by(model, batch, run.tasks), labels, run.answers, run.tasks)


@torch.no_grad()
def grade(model: NoduleViT, found_outlines: FoundOutlines, run: GraderRun, device: str) -> Array:
    """Nine grades of each nodule at its located outline, (N, 9) in grade units; NaN where the run leaves one out."""
    told = []
    rows = [(0, index) for index in range(len(found_outlines.table))]
    for begin in range(0, len(rows), run.batch):
        batch, _ = compose(
            [found_outlines], rows[begin : begin + run.batch], np.random.default_rng(0), False, run.config.layout
        )
        told.append(read(model, said_by(model, batch.to(device), run.tasks), run.answers).cpu())
    return np.asarray(torch.cat(told)) if told else np.zeros((0, len(GRADES)))


def _zoomed(labels: Labels, zoom: Array, std: Tensor) -> Labels:
    """The labels of nodules that were enlarged so much (shape (B,)): only their diameters change."""
    for task, name in enumerate(TASKS):
        if name in GRADE and GRADE[name].logarithmic:
            labels.grades[:, task] += torch.as_tensor(np.log2(zoom)).float() / std[task]
    return labels


def _tensorboard(folder: Path, fold: int) -> Any:
    """A log of the losses where TensorBoard is installed, otherwise ``None``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder / "tensorboard" / str(fold))


def _inner_patients(table: pd.DataFrame, run: GraderRun, fold: int) -> Array:
    """Which rows choose the epoch: all nodules of a share of the patients."""
    patients = np.sort(table.patient_id.unique())
    rng = np.random.default_rng([run.seed, fold, 7])
    chosen = rng.choice(patients, max(1, round(run.inner_share * len(patients))), replace=False)
    return table.patient_id.isin(chosen).to_numpy()


def _schedule(optimizer: torch.optim.Optimizer, run: GraderRun, epoch: float) -> None:
    for cycle in run.cycles:
        progress = epoch / cycle
        if progress < 1:
            break
        epoch -= cycle
    rate = run.learning_rate * min(1.0, progress * 12 + 0.02) * 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


@torch.no_grad()
def _held_out(
    model: nn.Module,
    training: Sequence[FoundOutlines],
    held: Sequence[tuple[int, int]],
    labels: Labels,
    run: GraderRun,
    device: str,
) -> float:
    """Mean over the run's tasks of the loss on nodules that choose the epoch."""
    assert isinstance(model, NoduleViT)
    model.eval()
    total = 0.0
    rng = np.random.default_rng(0)
    for begin in range(0, len(held), run.batch):
        rows = np.arange(begin, min(begin + run.batch, len(held)))
        batch, _ = compose(training, [held[int(i)] for i in rows], rng, False, run.config.layout)
        tasks, _ = losses_of(model, batch.to(device), labels[rows].to(device), run)
        total += float(tasks.mean()) * len(rows)
    return total / len(held)
