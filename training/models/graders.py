"""Training of the graders: augmented nodules, weighted losses, the epoch chosen by validation patients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.model_package import load
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT

from ..checkpoints import Key, digest, key_of
from ..data.augmentation import as_in_use, compose
from ..data.found_outlines import FoundOutlines
from ..data.planted_pairs import Pairs
from .devices import Devices, on, own_part
from .drawn_ahead import DrawnAhead
from .grader_settings import GraderSettings, build
from .loss_weighting import WEIGHTINGS, recall
from .precision import half_where_fast
from .pretraining import fill_in_slices
from .sign_lessons import SignLessons
from .sign_losses import answers, pairs_loss
from .targets_and_losses import Labels, losses, of_task, read
from .training_loop import LossAt, Recipe, Schedule, read_progress, train
from .training_nodules import TrainingNodules, training_nodules

#: What starts at zero in a network that has learned everything else takes so many times larger steps. Shape features:
#: of 1, 20, 100 and 300 the one with the lowest validation loss on fold 0 (training/RESULTS.md).
NEW_PART_RATES = {"shape_features": 300.0, "evidence": 1.5}


def train_grader(
    fold: int,
    reference: Sequence[FoundOutlines],
    settings: GraderSettings,
    folder: Path,
    device: str,
    console: Console,
    weak: Sequence[FoundOutlines] = (),
    workers: int = 0,
) -> NoduleViT:
    """Train on the other folds' nodules, or go on with a run that was stopped; without epochs, as ``start`` has it.

    Under ``fabric run`` each device takes its share of every batch, and all of them return the same network. Batch
    normalisation uses each device's own slices.

    Parameters
    ----------
    fold : int
        Its patients must be neither in ``reference`` nor in ``weak``.
    reference : sequence of FoundOutlines
    settings : GraderSettings
    folder : Path
        Where the state is kept.
    device : str
        A torch device.
    console : Console
    weak : sequence of FoundOutlines
        Nodules of one or two readers, for runs with a ``weak_share`` or pretraining.
    workers : int
        Processes that draw nodules and plant signs while a GPU trains.

    Raises
    ------
    NoduleRiskError
        If there is nothing to train on, ``folder`` holds a state of other settings, or several devices cannot share it.
    """
    devices = on(device)
    device = str(devices.device)
    _check_devices(devices, settings)
    nodules = training_nodules(fold, reference, weak, settings)
    key = grader_key(fold, reference, weak, settings)

    torch.manual_seed(settings.seed * 100 + fold)
    model = build(settings)
    new = _start_from_package(model, settings, fold) if settings.start else ()
    model = model.to(device)
    if not settings.epochs:
        return model.eval()
    if settings.pretrained:
        unlabelled = [nodules.at[i] for i in (*nodules.training, *nodules.weak)]
        fill_in_slices(model, nodules.parts, unlabelled, settings, key, fold, folder, devices, console)
    model.target_mean.copy_(nodules.mean[: len(GRADES)])
    model.target_std.copy_(nodules.std[: len(GRADES)])
    lessons = SignLessons(nodules, settings, fold, devices, workers) if settings.planting else None
    # A state of the epochs that follow holds what the lessons taught.
    if lessons and not (folder / f"grader-{fold}.pt").is_file():
        lessons.teach(model, key, folder, console)
    weighting = WEIGHTINGS[settings.weighting](len(settings.tasks), model.vit.norm.weight).to(device)

    def draw(rows: Array, rng: np.random.Generator) -> tuple[Batch, Labels, Pairs | None]:
        batch, zoom = compose(nodules.parts, [nodules.at[i] for i in rows], rng, True, settings.config.layout)
        labels = nodules.labels[rows].zoomed(zoom, nodules.std)
        return batch, labels, lessons.pairs(settings.planted, rng) if lessons else None

    drawing = DrawnAhead(draw, workers)

    def begin(rng: np.random.Generator, past_losses: Sequence[Sequence[float]]) -> tuple[int, LossAt]:
        recall(weighting, past_losses, device)
        order = rng.permutation(nodules.training)
        if settings.weak_share:
            swapped = rng.random(len(order)) < settings.weak_share
            order[swapped] = rng.choice(nodules.weak, swapped.sum())
        if lessons:
            lessons.plant()
        steps = len(order) // settings.batch
        batches = order[: steps * settings.batch].reshape(steps, settings.batch)
        shares = batches[:, devices.global_rank :: devices.world_size]
        examples = drawing.each(list(shares), own_part(devices, rng))

        def loss_at(step: int) -> tuple[Tensor, Tensor]:
            batch, labels, pairs = next(examples)
            tasks, calcification = losses_of(model, batch.to(device), labels.to(device), settings)
            loss = weighting(tasks) + settings.calcification_weight * calcification
            if pairs:
                pairs = pairs.to(device)
                loss = loss + settings.planted_weight * pairs_loss(answers(model, pairs), pairs, model.target_std)
            return loss, tasks

        return steps, loss_at

    def held_out(averaged: nn.Module, epoch: int) -> float:
        if epoch < settings.cycles[0] // 2 or not len(nodules.validation):
            return math.inf
        loss = _validation_loss(averaged, nodules, settings, device)
        return loss + settings.planted_weight * lessons.held_out(averaged) if lessons else loss

    recipe = Recipe(
        kind="grader",
        name=str(fold),
        key=key,
        schedule=Schedule(settings.cycles, settings.learning_rate),
        optimizer=_optimizer(model, weighting, settings, new),
        seed=settings.seed * 100 + fold,
        random=lambda epoch: np.random.default_rng([settings.seed, fold, epoch]),
        begin=begin,
        batch=settings.batch,
        tasks=settings.tasks,
        weighting=weighting,
        clip=5.0,
        average=0.99,
        held_out=held_out,
    )
    return train(model, recipe, folder, console, devices)


def grader_key(
    fold: int, reference: Sequence[FoundOutlines], weak: Sequence[FoundOutlines], settings: GraderSettings
) -> Key:
    """Everything that the weights of a fold's grader depend on."""
    parts = [*reference, *weak]
    count = sum(len(part.table) for part in parts)
    nodules = digest(*(part.key for part in parts), *(name for part in parts for name in part.table.nodule_id))
    key = key_of(settings, fold=fold, nodules=f"{count} ({nodules})")
    if settings.start:
        key["start"] = load(settings.start).model_id
    return key


def cost(folder: Path, fold: int) -> dict[str, float]:
    """What a finished run cost: minutes, and nodules per second while it trained (median epoch)."""
    progress = read_progress(folder / f"grader-{fold}.pt")
    return {"minutes": sum(progress.seconds) / 60, "nodules_per_second": float(np.median(progress.rates))}


def outputs_of(model: NoduleViT, batch: Batch, tasks: Sequence[str]) -> dict[str, Tensor]:
    """The output of each task's head, (B, k) float32."""
    with half_where_fast(batch.pixels.device):
        tokens = model.tokens(batch)
        summary = model.summary(tokens, batch)
        outputs = {name: model.heads[name](summary).float() for name in tasks}
    if not model.config.evidence:
        return outputs
    terms = model.terms(tokens, batch)
    return {name: output + of_task(terms, name) for name, output in outputs.items()}


def losses_of(model: NoduleViT, batch: Batch, labels: Labels, settings: GraderSettings) -> tuple[Tensor, Tensor]:
    """The loss of each task, shape (tasks,), and calcification's own; labels standardised."""
    return losses(outputs_of(model, batch, settings.tasks), labels, settings.targets, settings.tasks)


@torch.no_grad()
def grade(model: NoduleViT, nodules: FoundOutlines, settings: GraderSettings, device: str) -> Array:
    """Nine grades of each nodule at its found outline, (N, 9) in grade units; NaN for grades that were not trained."""
    rows = [(0, index) for index in range(len(nodules.table))]
    values = [
        read(model, outputs_of(model, batch.to(device), settings.tasks), settings.targets).cpu()
        for batch in as_in_use([nodules], rows, settings.config.layout, settings.batch)
    ]
    return np.asarray(torch.cat(values)) if values else np.zeros((0, len(GRADES)))


def _check_devices(devices: Devices, settings: GraderSettings) -> None:
    if devices.world_size > 1 and settings.weighting == "gradnorm":
        raise NoduleRiskError("GradNorm needs each grade's own gradients on one device: run it without `fabric run`.")
    if settings.batch % devices.world_size:
        raise NoduleRiskError(
            f"{devices.world_size} devices cannot share a batch of {settings.batch} evenly: choose another --batch."
        )


def _start_from_package(model: NoduleViT, settings: GraderSettings, fold: int) -> tuple[str, ...]:
    """Give the model the weights of the package's grader of this fold; the names of the parts that are new to it.

    The folds are the same: the patients that this fold's grader must not see, the package's grader never saw either.
    """
    assert settings.start
    package = load(settings.start)
    graders = package.networks().graders
    # Packages without shape features or evidence are taken, too: what is new then starts at zero.
    new = tuple(name for name in NEW_PART_RATES if getattr(settings.config, name) and not getattr(package.config, name))
    kept = {name: getattr(settings.config, name) and name not in new for name in NEW_PART_RATES}
    known = replace(settings.config, shape_features=kept["shape_features"], evidence=kept["evidence"])
    if known != replace(package.config, surface_features=False, calcium_features=False) or fold >= len(graders):
        raise NoduleRiskError(
            f"{settings.start} has {len(graders)} graders, maybe of another kind: give a package of these five folds."
        )
    # What is measured is fitted once a grader is trained.
    measured = ("surface.", "calcium.")
    state = {name: value for name, value in graders[fold].state_dict().items() if not name.startswith(measured)}
    model.load_state_dict(state, strict=not new)
    return new


def _optimizer(
    model: NoduleViT, weighting: nn.Module, settings: GraderSettings, new: Sequence[str]
) -> torch.optim.Optimizer:
    parts: dict[str, list[nn.Parameter]] = {"": [], **{part: [] for part in NEW_PART_RATES}}
    for name, one in model.named_parameters():
        part = name.split(".")[0]
        parts[part if part in parts else ""].append(one)
    groups: list[dict[str, Any]] = [
        {"params": own, "lr_scale": NEW_PART_RATES[part] if part in new else 1.0} for part, own in parts.items() if own
    ]
    groups.append({"params": list(weighting.parameters()), "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


@torch.no_grad()
def _validation_loss(model: nn.Module, nodules: TrainingNodules, settings: GraderSettings, device: str) -> float:
    """Mean over the tasks of the loss on the validation nodules."""
    assert isinstance(model, NoduleViT)
    model.eval()
    total, seen = 0.0, 0
    at = [nodules.at[i] for i in nodules.validation]
    for batch in as_in_use(nodules.parts, at, settings.config.layout, settings.batch):
        rows = nodules.validation[seen : seen + len(batch.valid)]
        tasks, _ = losses_of(model, batch.to(device), nodules.labels[rows].to(device), settings)
        total += float(tasks.mean()) * len(rows)
        seen += len(rows)
    return total / len(nodules.validation)
