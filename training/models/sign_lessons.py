"""Lessons by planted signs: first for the evidence alone, then beside the readers' own nodules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from NoduleRiskLib.networks.nodule_vit import NoduleViT

from ..checkpoints import Key
from ..data.planted_pairs import Pairs, Twin, augmented, eligible, plant
from .devices import Devices, own_part
from .drawn_ahead import DrawnAhead
from .grader_settings import GraderSettings
from .sign_losses import Answers, answers, pairs_loss
from .targets_and_losses import losses, of_task
from .training_loop import LossAt, Recipe, Schedule, train
from .training_nodules import TrainingNodules

#: Learning rate of the lessons; that of the heads, which have learned everything else, is so much lower.
LESSON_RATE, HEADS_RATE = 5e-3, 0.2
#: Of what the readers said of the nodules themselves, beside the pairs' loss.
READERS_WEIGHT = 0.1
#: Epochs of the lessons: how often their state is kept.
EPOCHS = 4
#: Pairs that help to choose the epoch, by batch.
HELD_OUT = (16,) * 6


class SignLessons:
    """What a fold's grader is taught by planted signs.

    Parameters
    ----------
    nodules : TrainingNodules
    settings : GraderSettings
        With evidence and lessons (``planting``).
    fold : int
    devices : Devices
        Each draws its own share of the pairs.
    workers : int
        Processes that draw them meanwhile.
    """

    def __init__(
        self, nodules: TrainingNodules, settings: GraderSettings, fold: int, devices: Devices, workers: int = 0
    ) -> None:
        self.nodules, self.settings, self.fold, self.devices = nodules, settings, fold, devices
        self.workers, self.twins = workers, list[Twin]()
        self.able = eligible(nodules.parts, [nodules.at[i] for i in nodules.training])
        # There is room for more of them than beside the readers' own nodules.
        self.per_lesson = settings.planted * 3 // 2
        self.number = {at: i for i, at in enumerate(nodules.at)}
        held = eligible(nodules.parts, [nodules.at[i] for i in nodules.validation])
        rng = np.random.default_rng([settings.seed, fold, 11])
        layout, parts = settings.config.layout, nodules.parts
        self.validation = [
            augmented([plant(parts, held, rng) for _ in range(count)], rng, layout) for count in HELD_OUT
        ]

    def plant(self) -> None:
        """Plant all twins, once; processes that are to share them start afterwards."""
        if not self.twins:
            planting = DrawnAhead[int, Twin](lambda _, own: plant(self.nodules.parts, self.able, own), self.workers)
            rng = np.random.default_rng([self.settings.seed, self.fold, 13])
            self.twins.extend(planting.each(range(self.settings.twins), rng))

    def teach(self, model: NoduleViT, key: Key, folder: Path, console: Console) -> None:
        """Train evidence and heads on planted pairs, in place; what encodes the slices stays as it is.

        Evidence learns the signs, and the heads learn to leave to it what it adds in real nodules.

        Parameters
        ----------
        model : NoduleViT
        key : dict
            What the grader depends on; the lessons last for other settings of the epochs that follow.
        folder : Path
            Where the state is kept.
        console : Console
        """
        learners = nn.ModuleDict({"evidence": model.evidence, "heads": model.heads})
        model.eval().requires_grad_(False)
        learners.requires_grad_(True)
        groups: list[dict[str, Any]] = [
            {"params": list(model.evidence.parameters())},
            {"params": list(model.heads.parameters()), "lr_scale": HEADS_RATE},
        ]

        drawing = DrawnAhead(self.pairs, self.workers)

        def begin(rng: np.random.Generator, past_losses: Sequence[Sequence[float]]) -> tuple[int, LossAt]:
            self.plant()
            steps = self.settings.lessons // EPOCHS
            lessons = drawing.each([self.per_lesson] * steps, own_part(self.devices, rng))

            def loss_at(step: int) -> tuple[Tensor, Tensor]:
                pairs = next(lessons).to(self.devices.device)
                given = answers(model, pairs)
                of_pairs = pairs_loss(given, pairs, model.target_std, evidence_alone=True)
                of_readers = self._readers_loss(given, pairs)
                return of_pairs + READERS_WEIGHT * of_readers, torch.stack([of_pairs, of_readers]).detach()

            return steps, loss_at

        recipe = Recipe(
            kind="evidence",
            name=str(self.fold),
            key=lessons_key(key),
            schedule=Schedule((EPOCHS,), LESSON_RATE),
            optimizer=torch.optim.AdamW(groups, lr=LESSON_RATE, weight_decay=0.01),
            seed=7000 + self.fold,
            random=lambda epoch: np.random.default_rng([7, self.fold, epoch]),
            begin=begin,
            batch=self.per_lesson,
            tasks=("pairs", "readers"),
            clip=5.0,
            average=0.99,
        )
        train(learners, recipe, folder, console, self.devices)
        model.requires_grad_(True)

    @torch.no_grad()
    def held_out(self, model: nn.Module) -> float:
        """The mean loss on pairs of the validation patients."""
        assert isinstance(model, NoduleViT)
        model.eval()
        held = [pairs.to(self.devices.device) for pairs in self.validation]
        each = [pairs_loss(answers(model, pairs), pairs, model.target_std) for pairs in held]
        return float(torch.stack(each).mean())

    def pairs(self, count: int, rng: np.random.Generator) -> Pairs:
        """Some of the twins with their nodules, newly augmented: this device's share of ``count``."""
        chosen = rng.integers(len(self.twins), size=max(count // self.devices.world_size, 1))
        return augmented([self.twins[i] for i in chosen], rng, self.settings.config.layout)

    def _readers_loss(self, given: Answers, pairs: Pairs) -> Tensor:
        """How far the model is from the readers of the nodules without what was planted."""
        rows = np.array([self.number[at] for at in pairs.at])
        labels = self.nodules.labels[rows].zoomed(pairs.zoom, self.nodules.std).to(str(given.raw.device))
        tasks, settings = self.settings.tasks, self.settings
        outputs = {name: of_task(given.raw[: len(rows)], name) for name in tasks}
        of_tasks, calcification = losses(outputs, labels, settings.targets, tasks)
        return of_tasks.sum() + settings.calcification_weight * calcification


def lessons_key(key: Key) -> Key:
    """Of ``graders.grader_key``, what the lessons depend on."""
    later = ("cycles", "learning_rate", "weight_decay", "planted_weight", "weighting")
    return {name: value for name, value in key.items() if name not in later}
