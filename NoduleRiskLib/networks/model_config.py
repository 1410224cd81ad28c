"""NoduleViT: a timm vision transformer whose every token is one whole slice, shared by nine grade heads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ..imaging.slice_stack import LAYOUTS, Layout

#: HU windows, one image channel each: lung, soft tissue, ground glass, calcium and bone.
WINDOWS = ((-1000.0, 400.0), (-160.0, 240.0), (-900.0, -300.0), (100.0, 1000.0))


@dataclass(frozen=True)
class ModelConfig:
    """Everything that makes one NoduleViT; stands in ``model.json``.

    Attributes
    ----------
    layout : Layout
        What is cut for each nodule.
    windows : tuple of (low, high)
        HU ranges, one input channel each, scaled to -1..1. ImageNet weights want three.
    outline : bool
        Whether the located outline (0 to 1) is one more channel.
    transformer : str
        A timm ``VisionTransformer`` by name; its size where ``dim``, ``depth`` and ``heads`` are ``None``.
    dim, depth, heads : int or None
        Token width, blocks, attention heads.
    embedding : str
        How a slice becomes a token: "linear" (the ViT's own patch embedding, as in the paper) or "conv"
        (a small convolutional encoder: sees texture without pretraining).
    position : str
        How a token knows its place: "slot" (learned, one for each place of the mosaic, as in the paper) or
        "mm" (sine and cosine of its offset in mm, plus its plane).
    shape_features : bool
        Whether the heads also read the outline's measures in space (``imaging.shape_features``), which slices show
        badly.
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
    embedding: str = "conv"
    position: str = "mm"
    shape_features: bool = True
    drop: float = 0.1

    @property
    def channels(self) -> int:
        """Input channels: the windows and, if used, the outline."""
        return len(self.windows) + self.outline

    def to_dict(self) -> dict[str, Any]:
        """For JSON, as format 4 has it; ``from_dict`` is the way back."""
        values = asdict(self)
        values["shape"] = values.pop("shape_features")
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """The way back from ``to_dict``; raises ``TypeError`` or ``KeyError`` on unknown or missing keys."""
        layout = Layout(**{**values["layout"], "planes": tuple(values["layout"]["planes"])})
        windows = tuple((float(low), float(high)) for low, high in values["windows"])
        # Format 4 calls them ``shape``; older formats have none.
        rest = dict(values)
        shape_features = rest.pop("shape", rest.pop("shape_features", False))
        return cls(**{**rest, "shape_features": shape_features, "layout": layout, "windows": windows})


def paper_config(layout: Layout = LAYOUTS["native"]) -> ModelConfig:
    """The paper's transformer: linear patch embedding, learned places, three windows, ImageNet-sized ViT."""
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
