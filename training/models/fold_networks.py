"""The segmentation and false-positive networks of all folds in one file: an hour of training need not be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from NoduleRiskLib.networks.false_positive_reduction import FalsePositiveNet
from NoduleRiskLib.networks.segmentation import SegmentationUNet

from ..checkpoints import corrupt

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class FoldNetworks:
    """By fold, the networks that never saw it; -1: those of no fold, which ship."""

    segmentation: Mapping[int, SegmentationUNet]
    false_positive: Mapping[int, FalsePositiveNet]


def write_fold_networks(path: Path, networks: FoldNetworks) -> None:
    """Write a safetensors file, weights in half precision as in model packages."""
    tensors = {
        f"{kind}.{fold}.{name}": value.half() if value.is_floating_point() else value
        for kind, folds in vars(networks).items()
        for fold, network in folds.items()
        for name, value in network.state_dict().items()
    }
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)


def read_fold_networks(path: Path) -> FoldNetworks:
    """What ``write_fold_networks`` wrote, in evaluation mode; ``NoduleRiskError`` if it is missing or corrupt."""
    try:
        states: dict[str, dict[int, dict[str, torch.Tensor]]] = {"segmentation": {}, "false_positive": {}}
        for name, value in load_file(path).items():
            kind, fold, key = name.split(".", 2)
            value = value.float() if value.is_floating_point() else value
            states[kind].setdefault(int(fold), {})[key] = value
        return FoldNetworks(
            {fold: _filled(SegmentationUNet(), state) for fold, state in states["segmentation"].items()},
            {fold: _filled(FalsePositiveNet(), state) for fold, state in states["false_positive"].items()},
        )
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise corrupt(path) from error


def _filled(network: Network, state: dict[str, torch.Tensor]) -> Network:
    network.load_state_dict(state)
    return network.eval()
