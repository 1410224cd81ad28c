"""False-positive reduction: whether what was outlined looks like a nodule, by a small 3-D CNN."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ..imaging.outline import Outline
from ..imaging.resampling import sample_grid
from ..imaging.volume import Array, Volume
from .segmentation import scaled

#: Side of the cube that the network reads, voxels of 1 mm.
SIDE = 32


class FalsePositiveNet(nn.Module):
    """A 3-D CNN: HU and outline of a cube (N, 2, 32, 32, 32) -> logits (N,) of a nodule being what is outlined.

    Vessels differ from nodules in the third dimension, which the segmentation network sees only slice by slice.

    Parameters
    ----------
    widths : sequence of int
    channels : int
        2; 1 for the networks of packages of format 5 and older, which read no outline.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64), channels: int = 2) -> None:
        super().__init__()
        self.channels = channels
        layers = [*_convolution(channels, widths[0], 5, 2)]
        for before, after in pairwise(widths):
            layers += [*_convolution(before, after, 3, 2), *_convolution(after, after, 3, 1)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """HU and outline (0 to 1), (N, 2, 32, 32, 32), along any axes -> logits (N,)."""
        x = torch.cat([scaled(x[:, :1]), x[:, 1 : self.channels]], 1)
        x = self.features(x)
        middle = (x.shape[-1] - 1) // 2
        centre = x[..., middle : middle + 2, middle : middle + 2, middle : middle + 2]
        logits: Tensor = self.head(torch.cat([x.mean((2, 3, 4)), centre.mean((2, 3, 4))], 1))[:, 0]
        return logits


@torch.inference_mode()
def nodule_probability(
    volume: Volume | Sequence[Volume],
    outlines: Sequence[Outline],
    networks: Sequence[FalsePositiveNet],
    device: torch.device | str = "cpu",
) -> Array:
    """Probability that each outline is a nodule's; low for vessels, chest wall and plain lung.

    Parameters
    ----------
    volume : Volume, or sequence of N of them
        In which the outlines lie: one for all, or one for each.
    outlines : sequence of Outline
    networks : sequence of FalsePositiveNet
        Their probabilities are averaged; without any, every outline gets 1.
    device : torch device

    Returns
    -------
    float32 array, shape (N,)
        0 to 1.
    """
    if not networks or not outlines:
        return np.ones(len(outlines), np.float32)
    volumes = [volume] * len(outlines) if isinstance(volume, Volume) else volume
    cubes = np.stack([np.stack(outlined_cube(*one)) for one in zip(volumes, outlines, strict=True)])
    x = torch.as_tensor(cubes, dtype=torch.float32, device=device)
    return np.asarray(torch.stack([network(x).sigmoid() for network in networks]).mean(0).cpu())


def outlined_cube(volume: Volume, outline: Outline, side: int = SIDE) -> tuple[Array, Array]:
    """HU and outline (0 to 1) around an outline's centre: float32, (side, side, side), axes R, A, S, voxels of 1 mm."""
    grid_to_ras = np.eye(4)[[2, 1, 0, 3]]
    grid_to_ras[:3, 3] = outline.centre_ras - (side - 1) / 2
    shape = (side, side, side)
    return (
        sample_grid(volume, grid_to_ras, shape),
        sample_grid(outline.probability, grid_to_ras, shape, outside=0.0),
    )


def _convolution(before: int, after: int, size: int, stride: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return (
        nn.Conv3d(before, after, size, stride, size // 2, bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(inplace=True),
    )
