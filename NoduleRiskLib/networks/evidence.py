"""Local evidence: for every head output a map over each slice, which adds up to a part of the grade.

The map that is added up is the map that is shown: nothing is derived from gradients afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..grades import CALCIFICATION_PATTERNS, GRADES

#: What has a map, in the order of ``NoduleViT.raw``: nine grades, calcification's presence, its patterns.
OUTPUTS = (*(grade.name for grade in GRADES), "presence", *CALCIFICATION_PATTERNS)
#: Of these evidence lowers the output: what stands out in the image is the low end of their scale.
LOWERED = ("subtlety", "sphericity", "margin", "texture", "calcification")
#: Channels of the slices before and after one, which alone tell a vessel from a spicule.
BESIDE = 2
#: A map's pixel is so many of the slice's pixels wide: 1.4 mm.
STRIDE = 2
#: Evidence counts up to so many map pixels from the outline: 8.4 mm.
REACH = 6
#: Evidence that is shown at full strength; the lessons ask for so much where a sign was planted.
FULL = 2.0
#: Where training starts: the most that evidence adds to a grade (standard deviations), and the volume of evidence that
#: adds half of it in a nodule of ``NODULE_MM3`` (10 mm).
MOST, HALF_MM3, NODULE_MM3 = 3.0, 60.0, 520.0
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
        self.response = Response()

    def forward(self, channels: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """Maps (N, 15, h / 2, w / 2), strong where the sign is, from slices (N, C, h, w) and the encoder's stages."""
        maps: Tensor = self.maps(self.features(channels, stages)).float()
        return maps

    def features(self, channels: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """What maps are made of, (N, width, h / 2, w / 2), from slices (N, C, h, w) and the encoder's stages."""
        seen: Tensor | None = None
        for stage, across, down in reversed(list(zip(stages, self.across, self.down, strict=True))):
            own = across(stage)
            seen = down(own if seen is None else own + functional.interpolate(seen, own.shape[-2:]))
        assert seen is not None
        rows, columns = (torch.linspace(-1, 1, size, device=channels.device) for size in seen.shape[-2:])
        radius = torch.hypot(rows[:, None], columns).to(seen.dtype).expand(len(seen), 1, -1, -1)
        coarse = functional.avg_pool2d(channels[:, -1:], STRIDE).to(seen.dtype)
        features: Tensor = self.fine(torch.cat([seen, self.detail(channels), coarse, radius], 1))
        return features

    @staticmethod
    def near(outline: Tensor) -> Tensor:
        """Where evidence counts, bool (N, h / 2, w / 2): at outlines (N, h, w) and up to ``REACH`` from them."""
        coarse = functional.max_pool2d(outline[:, None].float(), STRIDE)
        return functional.max_pool2d(coarse, 2 * REACH + 1, stride=1, padding=REACH)[:, 0] > 0.5

    def added_up(self, maps: Tensor, outline: Tensor) -> Tensor:
        """Of each slice (N, 15 + 1): the sum over the pixels near the outline (N, h, w), and the outline's pixels."""
        added = (counted(maps) * self.near(outline)[:, None]).flatten(2).sum(-1)
        covered = (outline > 0.5).flatten(1).sum(-1, keepdim=True) / STRIDE**2
        return torch.cat([added, covered.to(added.dtype)], 1)

    def terms(self, sums: Tensor, valid: Tensor) -> Tensor:
        """What all slices of a nodule add to the outputs, (B, 15), from ``added_up`` times thickness (B, S, 16)."""
        total = (sums * valid[..., None]).sum(1) * PIXEL_AREA
        added: Tensor = self.response(total[:, :-1], total[:, -1])
        return added


class Response(nn.Module):
    """How much a volume of evidence adds to each head output: a Hill curve with four numbers of its own, all learned.

    A fleck of calcium says as much as a calcified nodule, ground glass counts by its share of the nodule, and one line
    that runs into a nodule is a vessel where five are spicules: so how much there is at most, how much evidence gives
    half of that, how steeply it rises there, and how the half grows with the nodule. (Hill 1910, J Physiol 40, iv-vii.)
    """

    direction: Tensor

    def __init__(self) -> None:
        super().__init__()
        count = len(OUTPUTS)
        self.log_most = nn.Parameter(torch.full((count,), math.log(MOST)))
        self.log_half = nn.Parameter(torch.full((count,), math.log(HALF_MM3)))
        #: Through ``softplus`` and ``sigmoid``: steepness 1 and more, the half between constant and a fixed share.
        self.steeper = nn.Parameter(torch.full((count,), -2.0))
        self.by_size = nn.Parameter(torch.full((count,), -1.0))
        direction = torch.tensor([-1.0 if name in LOWERED else 1.0 for name in OUTPUTS])
        # Presence and patterns are logits.
        direction[len(GRADES) :] = LOGITS
        self.register_buffer("direction", direction, persistent=False)

    def forward(self, evidence_mm3: Tensor, nodule_mm3: Tensor) -> Tensor:
        """What is added (B, 15), in standard deviations and logits, by evidence (B, 15) in nodules (B,); 0 by none."""
        size = (nodule_mm3 / NODULE_MM3).clamp(min=0.02).log()[:, None]
        share = evidence_mm3 / (self.log_half + self.by_size.sigmoid() * size).exp()
        # A hair above nothing, so that there is a slope to learn from.
        risen = share * (share.abs() + 1e-3).pow(functional.softplus(self.steeper))
        return self.log_most.exp() * risen / (1 + risen.abs()) * self.direction


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
