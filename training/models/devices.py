"""One device, or the several that ``fabric run`` starts a process on each of.

``fabric run`` takes a script, and this is it: ``fabric run --devices 2 training/models/devices.py compare ...`` is
``python -m training compare ...`` on two GPUs; ``fabric run --help`` tells how to name several nodes.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn


@cache
def on(device: str) -> Fabric:
    """Lightning Fabric on this torch device, or on what ``fabric run`` asks for instead; ready to use."""
    if "LT_CLI_USED" in os.environ:
        return Fabric()
    one = torch.device(device)
    fabric = Fabric(accelerator=one.type, devices=[one.index or 0] if one.type == "cuda" else 1)
    fabric.launch()
    return fabric


@torch.no_grad()
def even_out(fabric: Fabric, tensors: Sequence[Tensor]) -> None:
    """Give each tensor the mean of what it is on all devices, in place; they have the same shapes everywhere."""
    if fabric.world_size > 1:
        # All at once: many small messages take longer than a large one.
        own = torch.cat([one.flatten() for one in tensors]).to(fabric.device)
        mean = fabric.all_reduce(own, reduce_op="mean")
        assert isinstance(mean, Tensor)
        for one, part in zip(tensors, mean.split([one.numel() for one in tensors]), strict=True):
            one.copy_(part.view(one.shape))


def backward(fabric: Fabric, loss: Tensor, *networks: nn.Module) -> None:
    """The loss's gradients, and the networks' running means, the same on all devices."""
    fabric.backward(loss)
    if fabric.world_size > 1:
        even_out(fabric, [one.grad for network in networks for one in network.parameters() if one.grad is not None])
        even_out(fabric, [one for network in networks for name, one in network.named_buffers() if "running" in name])


def own_part(fabric: Fabric, rng: np.random.Generator) -> np.random.Generator:
    """A device's own part of the chance that all share; on one device it is all of it."""
    return [rng, *rng.spawn(fabric.world_size - 1)][fabric.global_rank]


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])
    runpy.run_module("training", run_name="__main__", alter_sys=True)
