"""Local evidence: for every head output a map over each slice, which adds up to a part of the grade.

The map that is added up is the map that is shown: nothing is derived from gradients afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..grades import CALCIFICATION_PATTERNS, GRADES

#: What has a map, in the order of ``NoduleViT.raw``: nine grades, calcification's presence, its patterns.
OUTPUTS = (*(grade.name for grade in GRADES), "presence", *CALCIFICATION_PATTERNS)
#: Of these evidence lowers the output: what stands out in the image is the low end of their scale.
LOWERED = ("subtlety", "sphericity", "margin", "texture", "calcification")
#: A map's pixel is so many of the slice's pixels wide: 1.4 mm.
STRIDE = 2
#: Evidence counts up to so many map pixels from the outline: 8.4 mm.
REACH = 6
#: Evidence of 1 over this volume adds one standard deviation to a grade; what adds up to more than ``SATURATION`` of
#: them adds less than in proportion: the whole nodule may be ground glass, and spicules are thin.
UNIT_MM3, SATURATION = 60.0, 2.0
#: A standard deviation's worth of evidence adds so much to a logit.
LOGITS = 2.0
#: mm2 of a map's pixel, and mm that a nodule's only slice stands for.
PIXEL_AREA, SINGLE_MM = (0.7 * STRIDE) ** 2, 2.5


class EvidenceMaps(nn.Module):
    """From what the slice encoder sees to maps, and from maps to what they add to the head outputs.

    The encoder's three stages are brought together again at the resolution of the first (Lin et al. 2017, "Feature
    pyramid networks", arXiv 1612.03144), beside a stage of their own. What stands out in a map is added up over all
    pixels near the outline, of all slices, as a volume: half as many spicules add half as much, until it is a lot.

    Parameters
    ----------
    channels : int
        Of the slices, the last being the outline.
    stages : sequence of int
        Channels of the encoder's stages, finest first.
    width : int
    """

    direction: Tensor

    def __init__(self, channels: int, stages: Sequence[int], width: int = 32) -> None:
        super().__init__()
        self.detail = nn.Sequential(_block(width, channels, stride=STRIDE), _block(width))
        self.across = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in stages)
        self.down = nn.ModuleList(_block(width) for _ in stages)
        self.fine = nn.Sequential(_block(width, 2 * width + 2), _block(width))
        self.maps = nn.Conv2d(width, len(OUTPUTS), 1)
        # Without training there is no evidence.
        nn.init.zeros_(self.maps.weight)
        assert self.maps.bias is not None
        nn.init.zeros_(self.maps.bias)
        direction = torch.tensor([-1.0 if name in LOWERED else 1.0 for name in OUTPUTS])
        # Presence and patterns are logits.
        direction[len(GRADES) :] = LOGITS
        self.register_buffer("direction", direction, persistent=False)

    def forward(self, channels: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """Maps (N, 15, h / 2, w / 2), strong where the sign is, from slices (N, C, h, w) and the encoder's stages."""
        seen: Tensor | None = None
        for features, across, down in reversed(list(zip(stages, self.across, self.down, strict=True))):
            own = across(features)
            seen = down(own if seen is None else own + functional.interpolate(seen, own.shape[-2:]))
        assert seen is not None
        rows, columns = (torch.linspace(-1, 1, size, device=channels.device) for size in seen.shape[-2:])
        radius = torch.hypot(rows[:, None], columns).to(seen.dtype).expand(len(seen), 1, -1, -1)
        coarse = functional.avg_pool2d(channels[:, -1:], STRIDE).to(seen.dtype)
        maps: Tensor = self.maps(self.fine(torch.cat([seen, self.detail(channels), coarse, radius], 1))).float()
        return maps

    @staticmethod
    def near(outline: Tensor) -> Tensor:
        """Where evidence counts, bool (N, h / 2, w / 2): at outlines (N, h, w) and up to ``REACH`` from them."""
        coarse = functional.max_pool2d(outline[:, None].float(), STRIDE)
        return functional.max_pool2d(coarse, 2 * REACH + 1, stride=1, padding=REACH)[:, 0] > 0.5

    def added_up(self, maps: Tensor, near: Tensor) -> Tensor:
        """The sum over the near pixels of each slice, (N, 15)."""
        return (counted(maps) * near[:, None]).flatten(2).sum(-1)

    def terms(self, sums: Tensor, valid: Tensor) -> Tensor:
        """What all slices of a nodule add to its head outputs, (B, 15), from their sums times thickness (B, S, 15)."""
        total = (sums * valid[..., None]).sum(1) * (PIXEL_AREA / UNIT_MM3)
        return SATURATION * torch.asinh(total / SATURATION) * self.direction


def counted(maps: Tensor) -> Tensor:
    """What is added up of maps, and shown: only what stands out, since small values everywhere would come to much."""
    return maps * torch.sigmoid(6 * (maps - 0.5))


def thickness_mm(offset_mm: Tensor, valid: Tensor) -> Tensor:
    """How much of the nodule each slice stands for, (B,), from offsets and validity (B, S) of one plane's slices."""
    low = offset_mm.masked_fill(~valid, torch.inf).amin(1)
    high = offset_mm.masked_fill(~valid, -torch.inf).amax(1)
    steps = valid.sum(1) - 1
    return torch.where(steps > 0, (high - low) / steps.clamp(min=1), SINGLE_MM).clamp(0.3, 6.0)


def _block(after: int, before: int | None = None, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before or after, after, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
