"""What NoduleViT is compared with: the same heads on the same slices, joined in another way or by a 3-D CNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from NoduleRiskLib.imaging.shape_features import SINGLE_MM
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT


class MeanOfSlices(NoduleViT):
    """The heads read the mean of what the blocks make of the slices' tokens, not the class token."""

    def summary(self, tokens: Tensor, batch: Batch) -> Tensor:
        """(B, S, dim) -> (B, dim)."""
        return self._mean(self.attended(tokens, batch)[:, 1:], batch.valid[:, batch.valid.any(0)])

    def _mean(self, tokens: Tensor, valid: Tensor) -> Tensor:
        share = valid / valid.sum(1, keepdim=True)
        mean: Tensor = self.vit.norm((tokens * share[..., None]).sum(1))
        return mean


class MeanOfTokens(MeanOfSlices):
    """The slices' tokens averaged: what is left of NoduleViT without attention."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.vit.blocks = nn.Sequential()

    def summary(self, tokens: Tensor, batch: Batch) -> Tensor:
        """(B, S, dim) -> (B, dim)."""
        return self._mean(tokens, batch.valid)


class Cnn3d(NoduleViT):
    """MONAI's 3-D ResNet on a cube of the nodule's slices, as many voxels deep as wide and as large."""

    def __init__(self, config: ModelConfig, widths: tuple[int, ...] = (24, 48, 96, 192)) -> None:
        # Late: MONAI takes seconds to import, and nothing else needs it.
        from monai.networks.nets.resnet import ResNet, ResNetBlock

        super().__init__(config)
        self.vit.blocks, self.vit.patch_embed = nn.Sequential(), nn.Identity()
        self.cnn = ResNet(
            ResNetBlock,
            [1] * len(widths),
            list(widths),
            n_input_channels=config.channels,
            conv1_t_size=5,
            conv1_t_stride=2,
            no_max_pool=True,
            num_classes=self.vit.embed_dim,
        )

    def tokens(self, batch: Batch) -> Tensor:
        """The nodule as a cube, (B, C, d, h, w): slices interpolated along z; air and no outline beyond them."""
        channels = self.channels(batch)
        slices = channels.new_zeros(*batch.valid.shape, *channels.shape[1:])
        slices[batch.valid] = channels
        layout = self.config.layout
        at = (torch.arange(layout.pixels, device=slices.device) - (layout.pixels - 1) / 2) * layout.pixel_mm
        share = between(batch, at)
        cube = torch.einsum("bds,bschw->bcdhw", share, slices)
        beyond = cube.new_full((cube.shape[1],), -1.0)
        if self.config.outline:
            beyond[-1] = 0
        return cube + beyond[:, None, None, None] * (1 - share.sum(-1))[:, None, :, None, None]

    def summary(self, tokens: Tensor, batch: Batch) -> Tensor:
        """(B, C, d, h, w) -> (B, dim)."""
        # On CPUs oneDNN's bfloat16 convolutions of few voxels read memory that was never written, and give NaN.
        with torch.autocast(tokens.device.type, enabled=tokens.is_cuda, dtype=torch.bfloat16):
            summary: Tensor = self.vit.norm(self.cnn(tokens if tokens.is_cuda else tokens.float()))
        return summary


def between(batch: Batch, at_mm: Tensor, single_mm: float = SINGLE_MM) -> Tensor:
    """How much each slice counts at each place along z: linear between slices, none half a step beyond the last.

    Parameters
    ----------
    batch : Batch
    at_mm : Tensor, shape (d,)
        Offsets, mm.
    single_mm : float
        The step where a nodule has a single slice.

    Returns
    -------
    Tensor, shape (B, d, S)
        Rows sum to 1 where there is a slice, to 0 elsewhere.
    """
    z = torch.where(batch.valid, batch.offset_mm, torch.inf)
    order = z.sort(1).values
    gaps = order[:, 1:] - order[:, :-1]
    usual = torch.nan_to_num(gaps, nan=torch.inf, posinf=torch.inf)
    step = torch.cat([usual, usual.new_full((len(usual), 1), torch.inf)], 1).min(1).values
    step = torch.where(torch.isfinite(step), step, single_mm)[:, None, None]
    apart = (at_mm[None, :, None] - torch.where(batch.valid, batch.offset_mm, 1e6)[:, None, :]).abs()
    share = (1 - apart / step).clamp(min=0)
    total = share.sum(-1, keepdim=True)
    return torch.where(total > 0.5, share / total.clamp(min=0.5), 0)


Backbone = Literal["transformer", "transformer, mean of slices", "mean of tokens", "3-D CNN"]
BACKBONES: dict[Backbone, Callable[[ModelConfig], NoduleViT]] = {
    "transformer": NoduleViT,
    "transformer, mean of slices": MeanOfSlices,
    "mean of tokens": MeanOfTokens,
    "3-D CNN": Cnn3d,
}
