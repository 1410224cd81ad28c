"""What makes one NoduleViT: its slices, input channels and transformer. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ..imaging.slice_stack import LAYOUTS, Layout

#: HU windows, one image channel each: lung, soft tissue, ground glass, calcium and bone.
WINDOWS = ((-1000.0, 400.0), (-160.0, 240.0), (-900.0, -300.0), (100.0, 1000.0))

Embedding = Literal["conv", "linear"]
Position = Literal["mm", "slot"]


@dataclass(frozen=True)
class ModelConfig:
    """Everything that makes one NoduleViT; part of ``model.json``.

    Attributes
    ----------
    layout : Layout
        What is cut for each nodule.
    windows : tuple of (low, high)
        HU ranges, one input channel each, scaled to -1..1. ImageNet weights want three.
    outline : bool
        Whether the nodule's outline (0 to 1) is one more channel.
    transformer : str
        The plain name of a timm ``VisionTransformer``; where ``dim``, ``depth`` or ``heads`` is ``None``, its own.
    dim, depth, heads : int or None
        Token width (even), blocks, attention heads.
    embedding : str
        How a slice becomes a token: "linear" (the ViT's own patch embedding, as in the paper) or "conv"
        (a small convolutional encoder: sees texture without pretraining).
    position : str
        How a token knows its place: "slot" (learned, one for each place of the mosaic, as in the paper) or
        "mm" (sine and cosine of its offset in mm, plus its plane).
    shape_features : bool
        Whether the heads also read the outline's 3-D shape features (``imaging.shape_features``).
    surface_features : bool
        Whether lobulation and sphericity are the mean of what their heads and what the nodule's surface says
        (``networks.measured``).
    calcium_features : bool
        Whether calcification and its presence are the mean of what the head and what the nodule's calcium says, and its
        pattern the calcium's alone (``networks.measured``).
    evidence : bool
        Whether maps of local evidence (``networks.evidence``) add to the grades; needs the outline and the embedding
        "conv".
    drop : float
        Dropout in transformer and heads.
    """

    layout: Layout = LAYOUTS["native"]
    windows: tuple[tuple[float, float], ...] = WINDOWS
    outline: bool = True
    transformer: str = "vit_tiny_patch16_224"
    dim: int | None = 128
    depth: int | None = 4
    heads: int | None = 4
    embedding: Embedding = "conv"
    position: Position = "mm"
    shape_features: bool = True
    surface_features: bool = False
    calcium_features: bool = False
    evidence: bool = False
    drop: float = 0.1

    @property
    def channels(self) -> int:
        """Input channels: the windows and, if used, the outline."""
        return len(self.windows) + self.outline


def paper_config(layout: Layout = LAYOUTS["native"]) -> ModelConfig:
    """The paper's transformer: linear patch embedding, learned positions, three windows, a ViT of ImageNet size."""
    return replace(
        ModelConfig(layout),
        windows=WINDOWS[:3],
        outline=False,
        transformer="vit_base_patch32_224",
        dim=None,
        depth=None,
        heads=None,
        embedding="linear",
        position="slot",
        shape_features=False,
        drop=0.0,
    )
