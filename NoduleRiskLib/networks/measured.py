"""What hand-made measures of a nodule say beside the heads: its surface of its shape, its calcium of calcification."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..grades import CALCIFICATION_PATTERNS, GRADE_NAMES

#: The grades that are the mean of what their head says and of what the surface says. Spiculation is none of them: with
#: the surface it followed the readers hardly better and was further from them (training/RESULTS.md).
SURFACE_GRADES = ("lobulation", "sphericity")
#: Where they are among the outputs (``NoduleViT.raw``).
SURFACE_AT = tuple(GRADE_NAMES.index(name) for name in SURFACE_GRADES)
#: The outputs that are the mean of what the head with its evidence says and of what the calcium says: calcification's
#: mean code and its presence. The patterns behind them are the calcium's alone.
CALCIUM_AT = (GRADE_NAMES.index("calcification"), len(GRADE_NAMES))
CALCIUM_OUTPUTS = len(CALCIUM_AT) + len(CALCIFICATION_PATTERNS)
#: Features count up to so many standard deviations from their mean.
FARTHEST = 4.0


class Measured(nn.Module):
    """Features to outputs in the units of ``NoduleViT.raw``, linearly.

    Fitted, not trained: ``training.models.measured``.

    Parameters
    ----------
    features, outputs : int
        How many.
    """

    middle: Tensor
    spread: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.register_buffer("weight", torch.zeros(outputs, features))
        self.register_buffer("bias", torch.zeros(outputs))

    def standardised(self, features: Tensor) -> Tensor:
        """Features (B, F) in standard deviations from the typical nodule's; what was not measured is as in that one."""
        away = (features - self.middle) / self.spread.clamp(min=1e-4)
        return torch.nan_to_num(away).clamp(-FARTHEST, FARTHEST)

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) -> (B, outputs)."""
        return nn.functional.linear(self.standardised(features), self.weight, self.bias)


def halved(raw: Tensor, at: tuple[int, ...], said: Tensor) -> Tensor:
    """Outputs (B, 15), of which those ``at`` become the mean of themselves and of what is ``said``, (B, len(at))."""
    where = torch.tensor(at, device=raw.device)
    return raw.index_copy(1, where, (raw[:, where] + said.to(raw.dtype)) / 2)
