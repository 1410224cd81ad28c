"""From a package's weights to its networks; what does not fit is refused before it takes memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .false_positive_reduction import FalsePositiveNet
from .manifest import WEIGHTS, Manifest
from .nodule_vit import NoduleViT
from .segmentation import SegmentationUNet
from .weights_file import todays_name, unfit

State = dict[str, Tensor]


def build(data: bytes, manifest: Manifest, folder: Path, device: torch.device | str) -> dict[str, list[Any]]:
    """The networks by kind, in evaluation mode and full precision on ``device``.

    Nothing is read from the disk or the network: the transformer is one of timm's own, untrained.

    Parameters
    ----------
    data : bytes
        The weights file.
    manifest : Manifest
    folder : Path
        The package, for the sentences.
    device : torch.device or str

    Raises
    ------
    NoduleRiskError
        If the weights' names or shapes are not those of the networks that the manifest describes.
    """
    makers: dict[str, Callable[[], nn.Module]] = {
        "graders": lambda: NoduleViT(manifest.grader),
        "segmentation": SegmentationUNet,
        "false_positive": lambda: FalsePositiveNet(channels=_channels(states)),
    }
    transformer = manifest.grader.transformer
    if not timm.models.is_model_in_modules(transformer, ["vision_transformer"]):
        raise unfit(folder, f"timm has no VisionTransformer called {transformer}")
    states = read_states(data, manifest, folder)
    networks: dict[str, list[nn.Module]] = {kind: [] for kind in makers}
    for kind, make in makers.items():
        expected = _shapes(_sketch(make, folder).state_dict())
        for number in range(asdict(manifest.networks)[kind]):
            state = states[f"{kind}.{number}"]
            if _shapes(state) != expected:
                raise unfit(folder, f"{kind}.{number} has other layers")
            network = make()
            network.load_state_dict(state)
            networks[kind].append(network.to(device).eval().requires_grad_(False))
    return networks


def _channels(states: Mapping[str, State]) -> int:
    """How many channels the false-positive networks read: those of format 5 and older knew no outline."""
    first = states.get("false_positive.0", {}).get("features.0.weight")
    return 1 if first is not None and first.shape[1:2] == (1,) else 2


def read_states(data: bytes, manifest: Manifest, folder: Path) -> dict[str, State]:
    """By network, such as ``graders.0``: its state, float tensors in full precision."""
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise unfit(folder, f"{WEIGHTS} is not a safetensors file") from error
    states: dict[str, State] = {}
    for name, value in tensors.items():
        kind, number, key = todays_name(name, manifest.format).split(".", 2)
        states.setdefault(f"{kind}.{number}", {})[key] = value.float() if value.is_floating_point() else value
    return states


class _Unallocated(TorchFunctionMode):
    """Layers built under it take no memory: all of them ask ``torch.empty`` for their parameters.

    ``torch.device("meta")`` would do, but timm 1.0.20 reads values of tensors while it builds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **{**(kwargs or {}), **({"device": "meta"} if func is torch.empty else {})})


def _sketch(make: Callable[[], nn.Module], folder: Path) -> nn.Module:
    """A network of which only names and shapes are there."""
    try:
        with _Unallocated():
            network = make()
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise unfit(folder, "no transformer can be built with these settings") from error
    if isinstance(network, NoduleViT):
        vit = network.vit
        plain = type(vit) is VisionTransformer and all(type(block) is Block for block in vit.blocks)
        if not plain or vit.cls_token is None:
            raise unfit(folder, "its transformer is not a plain VisionTransformer with a class token")
    return network


def _shapes(state: State) -> dict[str, tuple[bool, tuple[int, ...]]]:
    return {name: (value.is_floating_point(), tuple(value.shape)) for name, value in state.items()}
