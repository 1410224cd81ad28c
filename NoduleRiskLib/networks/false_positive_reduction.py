"""False-positive reduction: whether what was outlined looks like a nodule, by a small 3-D CNN."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ..imaging.resampling import sample_grid
from ..imaging.volume import Array, Volume
from .segmentation import scaled

#: Side of the cube that the network reads, voxels of 1 mm.
SIDE = 32
_SIDE_MM = np.arange(SIDE) - (SIDE - 1) / 2
#: Offsets of its voxels from the cube's centre, mm: shape (32, 32, 32, 3).
GRID_MM = np.stack(np.meshgrid(_SIDE_MM, _SIDE_MM, _SIDE_MM, indexing="ij"), -1)


class FalsePositiveNet(nn.Module):
    """A 3-D CNN: cubes of HU (N, 32, 32, 32) -> logits (N,) of a nodule in the middle.

    Vessels differ from nodules in the third dimension, which the segmentation network sees only slice by slice.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        layers = [*_convolution(1, widths[0], 5, 2)]
        for before, after in pairwise(widths):
            layers += [*_convolution(before, after, 3, 2), *_convolution(after, after, 3, 1)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """HU (N, 32, 32, 32), along any axes -> logits (N,)."""
        x = self.features(scaled(x[:, None]))
        middle = (x.shape[-1] - 1) // 2
        centre = x[..., middle : middle + 2, middle : middle + 2, middle : middle + 2]
        logits: Tensor = self.head(torch.cat([x.mean((2, 3, 4)), centre.mean((2, 3, 4))], 1))[:, 0]
        return logits


@torch.inference_mode()
def nodule_probability(
    volume: Volume, centres_ras: Array, networks: Sequence[FalsePositiveNet], device: torch.device | str = "cpu"
) -> Array:
    """Probability that a nodule lies at each place; low for vessels, chest wall and plain lung.

    Parameters
    ----------
    volume : Volume
    centres_ras : array, shape (N, 3)
        RAS mm: centroids of the outlines.
    networks : sequence of FalsePositiveNet
        Their probabilities are averaged; without any, every place gets 1.
    device : torch device

    Returns
    -------
    float32 array, shape (N,)
        0 to 1.
    """
    if not networks or not len(centres_ras):
        return np.ones(len(centres_ras), np.float32)
    cubes = np.stack([_cube(volume, centre) for centre in np.asarray(centres_ras, np.float64)])
    x = torch.as_tensor(cubes, dtype=torch.float32, device=device)
    return np.asarray(torch.stack([network(x).sigmoid() for network in networks]).mean(0).cpu())


def _cube(volume: Volume, centre_ras: Array) -> Array:
    """HU around a place, shape (32, 32, 32), axes R, A, S, at ``centre_ras + GRID_MM``."""
    grid_to_ras = np.eye(4)[[2, 1, 0, 3]]
    grid_to_ras[:3, 3] = centre_ras + GRID_MM[0, 0, 0]
    return sample_grid(volume, grid_to_ras, (SIDE, SIDE, SIDE))


def _convolution(before: int, after: int, size: int, stride: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return (
        nn.Conv3d(before, after, size, stride, size // 2, bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(inplace=True),
    )
