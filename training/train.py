"""One training run of a grader: batches of turned, shifted, thinned nodules, the paper's loss, the best epoch kept."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from NoduleRiskLib.extent import INSIDE
from NoduleRiskLib.grades import CALCIFICATION_PATTERNS, GRADES
from NoduleRiskLib.model import Batch, ModelConfig, NoduleViT
from NoduleRiskLib.volume import Array

from .balance import dynamic_weight_average
from .crops import WIDE, targets
from .outlines import TRIES, Located


@dataclass(frozen=True)
class GraderRun:
    """One training run of the graders.

    Attributes
    ----------
    config : ModelConfig
    cycles : tuple of int
        Epochs of each cycle: the learning rate falls along a cosine and starts anew (Loshchilov and Hutter 2017,
        "SGDR", arXiv 1608.03983).
    batch, learning_rate, weight_decay, seed
        As usual; a batch counts nodules.
    temperature : float
        Of the dynamic weight average.
    inner_share : float
        Share of the training patients that choose the epoch instead of training.
    calcification_weight : float
        Of the losses of presence and pattern beside the nine grades' own.
    """

    config: ModelConfig = field(default_factory=ModelConfig)
    cycles: tuple[int, ...] = (40, 30)
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    temperature: float = 2.0
    inner_share: float = 0.1
    calcification_weight: float = 0.25
    seed: int = 0

    @property
    def epochs(self) -> int:
        """Of all cycles."""
        return sum(self.cycles)


@dataclass(frozen=True, eq=False)
class Labels:
    """What N nodules' readers gave: grades (N, 9, diameter as log2 mm), calcified (N), patterns (N, 5)."""

    grades: Tensor
    calcified: Tensor
    patterns: Tensor

    def __getitem__(self, rows: Array) -> Labels:
        return Labels(self.grades[rows], self.calcified[rows], self.patterns[rows])


def read_labels(table: pd.DataFrame) -> Labels:
    """The labels of a table's nodules, float32."""
    patterns = table[[f"pattern_{code + 1}" for code in range(len(CALCIFICATION_PATTERNS))]].to_numpy(np.float32)
    return Labels(
        torch.as_tensor(targets(table), dtype=torch.float32),
        torch.as_tensor(table.calcified.to_numpy(np.float32)),
        torch.as_tensor(patterns),
    )


def train_grader(
    fold: int, training: Sequence[Located], run: GraderRun, folder: Path, device: str, console: Console
) -> NoduleViT:
    """Train on the other folds' nodules; resumes from ``folder`` after a kill, losing no more than an epoch.

    Parameters
    ----------
    fold : int
        Names the run; its nodules must not be in ``training``.
    training : sequence of Located
    """
    state_file = folder / f"grader-{fold}.pt"
    nodules = [(part, index) for part, located in enumerate(training) for index in range(len(located.table))]
    table = pd.concat([located.table for located in training], ignore_index=True)
    labels = read_labels(table)
    inner = _inner_patients(table, run, fold)
    torch.manual_seed(run.seed * 100 + fold)
    model = NoduleViT(run.config).to(device).to(memory_format=torch.channels_last)
    model.target_mean.copy_(labels.grades[~inner].mean(0))
    model.target_std.copy_(labels.grades[~inner].std(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=run.learning_rate, weight_decay=run.weight_decay)
    average = ModelEmaV3(model, decay=0.99, use_warmup=True)
    losses: list[Array] = []
    best: tuple[float, dict[str, Tensor]] = (math.inf, {})
    start = 0
    if state_file.is_file():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        losses = [np.array(one) for one in state["losses"]]
        best, start = (state["best"][0], state["best"][1]), state["epoch"]
    held = [nodules[i] for i in np.flatnonzero(inner)]
    trained = np.flatnonzero(~inner)
    for epoch in range(start, run.epochs):
        rng = np.random.default_rng([run.seed, fold, epoch])
        weights = torch.as_tensor(dynamic_weight_average(losses, run.temperature), dtype=torch.float32, device=device)
        order = rng.permutation(trained)
        steps = len(order) // run.batch
        summed = np.zeros(len(GRADES))
        model.train()
        for step in range(steps):
            _schedule(optimizer, run, epoch + step / steps)
            rows = order[step * run.batch : (step + 1) * run.batch]
            batch, zoom = compose(training, [nodules[i] for i in rows], rng, True, run.config.layout.pixels)
            wanted = labels[rows]
            wanted.grades[:, [g.logarithmic for g in GRADES]] += torch.as_tensor(np.log2(zoom))[:, None].float()
            tasks, calcification = losses_of(model, batch.to(device), wanted, device)
            loss = (weights * tasks).sum() + run.calcification_weight * calcification
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            average.update(model)
            summed += tasks.detach().cpu().numpy()
        losses.append(summed / max(steps, 1))
        held_loss = math.inf
        if epoch >= run.cycles[0] // 2:
            held_loss = _held_out(average.module, training, held, labels[np.flatnonzero(inner)], run, device)
            if held_loss < best[0]:
                best = (held_loss, {name: value.clone() for name, value in average.module.state_dict().items()})
        console.print(
            f"grader, fold {fold}, epoch {epoch + 1}/{run.epochs}: loss {losses[-1].mean():.4f}, inner {held_loss:.4f}"
        )
        state = {
            "model": model.state_dict(),
            "average": average.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "losses": [one.tolist() for one in losses],
            "best": list(best),
            "epoch": epoch + 1,
        }
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, state_file.with_suffix(".part"))
        os.replace(state_file.with_suffix(".part"), state_file)
    model.load_state_dict(best[1] or average.module.state_dict())
    return model.eval()


def losses_of(model: NoduleViT, batch: Batch, wanted: Labels, device: str) -> tuple[Tensor, Tensor]:
    """Half mean squared error of each standardised grade, shape (9,), and calcification's own loss.

    The latter: cross-entropy of the share of readers who saw calcification, and of their patterns.
    """
    nine = len(GRADES)
    with torch.autocast(batch.pixels.device.type, torch.bfloat16):
        raw = model.raw(model.tokens(batch), batch).float()
    standardised = (wanted.grades.to(device) - model.target_mean) / model.target_std
    tasks = 0.5 * (raw[:, :nine] - standardised).square().mean(0)
    calcified, patterns = wanted.calcified.to(device), wanted.patterns.to(device)
    presence = nn.functional.binary_cross_entropy_with_logits(raw[:, nine], calcified)
    pattern = -(patterns * raw[:, nine + 1 :].log_softmax(-1)).sum(-1)
    return tasks, presence + (pattern * calcified).mean()


def compose(
    training: Sequence[Located], nodules: Sequence[tuple[int, int]], rng: np.random.Generator, turned: bool, size: int
) -> tuple[Batch, Array]:
    """A batch of nodules, given as (which of ``training``, which row), and each one's zoom (shape (B,)).

    ``size`` is the rows and columns of a slice.

    With ``turned``: each with an outline of its own choosing (readers' share, one reader, one of the locator's),
    turned, mirrored, shifted, zoomed, thinned, its end slices dropped now and then, noisy. Without: the
    locator's first outline, as in use.
    """
    stacks, zooms = [], np.ones(len(nodules))
    for n, (part, index) in enumerate(nodules):
        located = training[part]
        here = slice(int(located.first[index]), int(located.first[index + 1]))
        pixels, offset = located.pixels[here].astype(np.float32), located.offset_mm[here].astype(np.float64)
        outline = _outline(located, here, rng if turned else None)
        holds = np.flatnonzero((outline > INSIDE).any((1, 2)))
        if turned:
            holds = _thinned(holds, rng)
            zooms[n] = math.exp(rng.normal() * 0.08) if rng.random() < 0.5 else 1.0
        z, rows, columns = np.nonzero(outline > INSIDE)
        middle = np.array([columns.mean(), rows.mean()]) - (WIDE.pixels - 1) / 2
        place = _affine(middle, zooms[n], rng if turned else None)
        window = _windows(np.stack([pixels[holds], outline[holds]], 1), place, size)
        offset = offset[holds] - offset[z].mean()
        if turned:
            window[:, 0] += float(rng.normal() * 15)
            if rng.random() < 0.3:
                window[:, 0] += torch.as_tensor(rng.normal(size=window[:, 0].shape) * rng.uniform(5, 40)).float()
            if rng.random() < 0.2 and len(holds) > 2:
                # As a reformatted scan does: each slice a mix of itself and the next one.
                share = rng.uniform(0.2, 0.5)
                window[:-1] = (1 - share) * window[:-1] + share * window[1:]
            offset = offset * zooms[n] * (1 if rng.random() < 0.5 else -1)
        stacks.append((window, offset))
    depth = max(len(offset) for _, offset in stacks)
    empty = torch.zeros(len(stacks), depth, size, size)
    batch = Batch(
        empty,
        empty.clone(),
        torch.zeros(len(stacks), depth),
        torch.zeros(len(stacks), depth, dtype=torch.int64),
        torch.zeros(len(stacks), depth, dtype=torch.bool),
    )
    for n, (window, offset) in enumerate(stacks):
        count = len(offset)
        batch.pixels[n, :count], batch.outline[n, :count] = window[:, 0], window[:, 1]
        batch.offset_mm[n, :count], batch.valid[n, :count] = torch.as_tensor(offset).float(), True
    return batch, zooms


def _outline(located: Located, here: slice, rng: np.random.Generator | None) -> Array:
    """One outline (float32, 0 to 1, shape (n, 96, 96)) that holds at least one pixel."""
    share = located.share[here].astype(np.float32) / 255
    drawn = np.flatnonzero(share.any((0, 2, 3)))
    mean = share[:, drawn].mean(1)
    found = located.located[here].astype(np.float32) / 255
    kind = 0.0 if rng is None else rng.random()
    if rng is None:
        chosen = found[:, 0]
    elif kind < 0.45:
        chosen = found[:, int(rng.integers(TRIES))]
    elif kind < 0.6:
        chosen = share[:, int(rng.choice(drawn))]
    elif kind < 0.8:
        # As sure of more or of less than the readers were.
        chosen = np.clip(mean + rng.uniform(-0.35, 0.35) * (mean > 0), 0, 1)
    else:
        chosen = mean
    for outline in (chosen, mean, share.max(1)):
        if (outline > INSIDE).any():
            return outline
    return np.asarray(mean / mean.max())


def _thinned(holds: Array, rng: np.random.Generator) -> Array:
    if len(holds) >= 4 and rng.random() < 0.25:
        holds = holds[int(rng.integers(2)) :: 2]
    if len(holds) >= 3 and rng.random() < 0.15:
        holds = holds[1:]
    if len(holds) >= 3 and rng.random() < 0.15:
        holds = holds[:-1]
    return holds


def _affine(middle: Array, zoom: float, rng: np.random.Generator | None) -> Array:
    """From window pixels to wide pixels, both (x, y) from their middle: shape (2, 3)."""
    if rng is None:
        return np.hstack([np.eye(2), middle[:, None]])
    exact = zoom == 1.0
    angle = rng.integers(4) * math.pi / 2 if exact else rng.uniform(0, 2 * math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / zoom
    turn[:, 0] *= 1 if rng.random() < 0.5 else -1
    shifted = middle + rng.normal(size=2) * 0.8
    # Whole pixels keep the image as sharp as it is in use.
    return np.hstack([turn, (np.round(shifted) if exact else shifted)[:, None]])


def _windows(slices: Array, place: Array, size: int) -> Tensor:
    """(n, c, 96, 96) -> (n, c, size, size), bilinear; what lies beside the image repeats its edge."""
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    x, y = torch.meshgrid(at, at, indexing="xy")
    grid = torch.stack([x, y, torch.ones_like(x)], -1) @ torch.as_tensor(place).T
    grid = (2 * grid / slices.shape[-1]).float().expand(len(slices), -1, -1, -1)
    return nn.functional.grid_sample(torch.as_tensor(slices).float(), grid, padding_mode="border", align_corners=False)


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
        group["lr"] = rate


@torch.no_grad()
def _held_out(
    model: nn.Module,
    training: Sequence[Located],
    held: Sequence[tuple[int, int]],
    labels: Labels,
    run: GraderRun,
    device: str,
) -> float:
    """Mean over nine grades of the loss on nodules that choose the epoch."""
    assert isinstance(model, NoduleViT)
    model.eval()
    total = torch.zeros(len(GRADES))
    rng = np.random.default_rng(0)
    for begin in range(0, len(held), run.batch):
        rows = np.arange(begin, min(begin + run.batch, len(held)))
        batch, _ = compose(training, [held[int(i)] for i in rows], rng, False, run.config.layout.pixels)
        tasks, _ = losses_of(model, batch.to(device), labels[rows], device)
        total += tasks.cpu() * len(rows)
    return float(total.mean() / max(len(held), 1))
