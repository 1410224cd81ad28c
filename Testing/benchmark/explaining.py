"""Heatmaps: all nine of a nodule against one forward pass, and against a pass of its own for each grade."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from NoduleRiskLib.explain.heatmaps import explain
from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT, average, collate

from .samples import package, stacks
from .timing import Contender, Part, devices, in_turns, race

OURS = "nine heatmaps, as shipped"


def parts() -> Iterator[Part]:
    """One nodule of middling size on every device."""
    for device in devices():
        ways = _ways(package().networks(device).graders, stacks(7)[2])
        yield Part(
            f"Heatmaps of one nodule of {int(stacks(7)[2].valid.sum())} slices, five graders, {device.upper()}",
            race(ways, in_turns(ways, seconds=15), OURS),
        )


def _ways(graders: list[NoduleViT], stack: SliceStack) -> dict[str, Contender]:
    batch = collate([stack]).to(graders[0].target_mean.device)

    def forward() -> object:
        with torch.inference_mode():
            return average(graders, batch)

    def separate() -> object:
        return [_gradient(grader, batch, grade) for grader in graders for grade in range(len(GRADES))]

    return {
        OURS: lambda: explain(graders, stack),
        "one forward pass (grades alone)": forward,
        "a forward and a backward pass for each grade": separate,
    }


def _gradient(grader: NoduleViT, batch: Batch, grade: int) -> Tensor:
    leaf = grader.channels(batch).requires_grad_(True)
    grades = grader.read(grader.raw(grader.place(grader.embed(leaf), batch), batch)).grades
    return torch.autograd.grad(grades[0, grade], leaf)[0]
