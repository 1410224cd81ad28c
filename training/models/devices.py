"""One device, or the several that ``fabric run`` starts a process on each of.

``fabric run`` takes a script, and this is it: ``fabric run --devices 2 training/models/devices.py compare ...`` is
``python -m training compare ...`` on two GPUs; ``fabric run --help`` explains how to name several nodes.
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


class OneProcess:
    """What the training loop asks of Fabric, for a network that one process trains on the CPU on its own."""

    device = torch.device("cpu")
    world_size, global_rank, is_global_zero = 1, 0, True

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss."""
        loss.backward()

    def broadcast(self, value: float) -> float:
        """The value itself."""
        return value

    def barrier(self) -> None:
        """Nobody to wait for."""


Devices = Fabric | OneProcess


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
def average_over_devices(devices: Devices, tensors: Sequence[Tensor]) -> None:
    """Give each tensor its mean over all devices, in place; they have the same shapes everywhere."""
    if isinstance(devices, Fabric) and devices.world_size > 1:
        # All at once: many small messages take longer than a large one.
        own = torch.cat([one.flatten() for one in tensors]).to(devices.device)
        mean = devices.all_reduce(own, reduce_op="mean")
        assert isinstance(mean, Tensor)
        for one, part in zip(tensors, mean.split([one.numel() for one in tensors]), strict=True):
            one.copy_(part.view(one.shape))


def backward(devices: Devices, loss: Tensor, *networks: nn.Module) -> None:
    """The loss's gradients, and the networks' running means, the same on all devices."""
    devices.backward(loss)
    if devices.world_size > 1:
        named = [one for network in networks for one in network.named_buffers()]
        parameters = [one for network in networks for one in network.parameters()]
        average_over_devices(devices, [one.grad for one in parameters if one.grad is not None])
        average_over_devices(devices, [one for name, one in named if "running" in name])


def own_part(devices: Devices, rng: np.random.Generator) -> np.random.Generator:
    """This device's generator of random numbers, made from the one that all share; on one device it is that one."""
    return [rng, *rng.spawn(devices.world_size - 1)][devices.global_rank]


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])
    runpy.run_module("training", run_name="__main__", alter_sys=True)
