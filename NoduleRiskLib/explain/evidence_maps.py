"""The in-slice heatmaps of graders with evidence: the maps that were added up into the grades, as they are shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..grades import GRADES
from ..networks.evidence import OUTPUTS
from ..networks.nodule_vit import NoduleViT

#: Shown at full strength: a place so many standard deviations of the readers' grades beyond what is usual. Were the
#: whole nodule like it, the grade would move by as much.
FULL = 2.0
#: As many standard deviations is a logit of calcification's presence worth.
PRESENCE_LOGIT = 0.5
#: Calcification is shown as its presence.
_SHOWN = tuple("presence" if grade.name == "calcification" else grade.name for grade in GRADES)
_AT = [OUTPUTS.index(name) for name in _SHOWN]


@torch.no_grad()
def evidence_maps(graders: Sequence[NoduleViT], channels: Tensor) -> Tensor:
    """What is laid over the CT, 0 to 1, mean over the graders: (9, N, h, w), from slices (N, C, h, w).

    0 is what the training nodules usually show, 1 is ``FULL`` beyond it. The maps of different nodules have one scale:
    where a sign is not seen, nothing is shown.
    """
    return torch.stack([_shown(grader, channels) for grader in graders]).mean(0)


def _shown(grader: NoduleViT, channels: Tensor) -> Tensor:
    evidence = grader.evidence
    scale = torch.tensor([PRESENCE_LOGIT if name == "presence" else 1.0 for name in _SHOWN], device=channels.device)
    _, maps = grader.with_evidence(channels)
    beyond = (maps - evidence.usual[:, None, None])[:, _AT] * scale[:, None, None]
    near = functional.interpolate(evidence.near(channels[:, -1])[:, None].float(), channels.shape[-2:])
    fine = functional.interpolate(beyond, channels.shape[-2:], mode="bilinear", align_corners=False)
    return ((fine / FULL).clamp(0, 1) * near).transpose(0, 1)
