"""The in-slice heatmaps of graders with evidence: the maps that were added up into the grades, as they are shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..grades import GRADES
from ..networks.evidence import OUTPUTS, counted
from ..networks.nodule_vit import NoduleViT

#: Evidence (standard deviations of the readers' grades for each ``evidence.UNIT_MM3``) that is shown at full strength.
FULL = 2.0
#: Calcification is shown as its presence.
_SHOWN = tuple("presence" if grade.name == "calcification" else grade.name for grade in GRADES)
_AT = [OUTPUTS.index(name) for name in _SHOWN]


@torch.no_grad()
def evidence_maps(graders: Sequence[NoduleViT], channels: Tensor) -> Tensor:
    """What is laid over the CT, 0 to 1, mean over the graders: (9, N, h, w), from slices (N, C, h, w).

    The maps of all nodules have one scale: where a sign is not seen, nothing is shown.
    """
    return torch.stack([_shown(grader, channels) for grader in graders]).mean(0)


def _shown(grader: NoduleViT, channels: Tensor) -> Tensor:
    _, maps = grader.with_evidence(channels)
    strong = counted(maps[:, _AT]) * grader.evidence.near(channels[:, -1])[:, None]
    fine = functional.interpolate(strong, channels.shape[-2:], mode="bilinear", align_corners=False)
    return (fine / FULL).clamp(0, 1).transpose(0, 1)
