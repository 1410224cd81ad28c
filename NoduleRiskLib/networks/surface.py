"""What the surface of a nodule says of its shape: a ridge regression of a few measures, beside the heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..grades import GRADE_NAMES
from ..imaging.surface_features import SURFACE_FEATURES

#: The grades that are the mean of what their head says and of what the surface says. Spiculation is none of them: with
#: the surface it followed the readers hardly better and was further from them (training/RESULTS.md).
SURFACE_GRADES = ("lobulation", "sphericity")
AT = tuple(GRADE_NAMES.index(name) for name in SURFACE_GRADES)
#: Features count up to so many standard deviations from their mean.
FARTHEST = 4.0


class Surface(nn.Module):
    """Surface features (``imaging.surface_features``) to ``SURFACE_GRADES``, standardised as the heads' outputs are.

    Fitted, not trained: ``training.models.surface``.
    """

    middle: Tensor
    spread: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        features, grades = len(SURFACE_FEATURES), len(SURFACE_GRADES)
        self.register_buffer("middle", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.register_buffer("weight", torch.zeros(grades, features))
        self.register_buffer("bias", torch.zeros(grades))

    def standardised(self, features: Tensor) -> Tensor:
        """Features (B, 28) in standard deviations from the mean nodule's; what was not measured is as in that one."""
        away = (features - self.middle) / self.spread.clamp(min=1e-4)
        return torch.nan_to_num(away).clamp(-FARTHEST, FARTHEST)

    def forward(self, features: Tensor) -> Tensor:
        """(B, 28) -> (B, 2)."""
        return nn.functional.linear(self.standardised(features), self.weight, self.bias)
