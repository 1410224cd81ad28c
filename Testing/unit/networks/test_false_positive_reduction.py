"""What would be warned about wrongly if the second opinion looked at another place than what was outlined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from conftest import CENTRE, LUNG_HU, TISSUE_HU, Painter, beside
from torch import Tensor, nn

from NoduleRiskLib.imaging.outline import Outline
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.false_positive_reduction import SIDE, FalsePositiveNet, nodule_probability


class Middle(nn.Module):
    """As sure as the outlined middle of the cube is dense, and its corners are neither dense nor outlined."""

    def forward(self, cubes: Tensor) -> Tensor:
        half = SIDE // 2
        middle = cubes[:, :, half - 1 : half + 1, half - 1 : half + 1, half - 1 : half + 1].mean((2, 3, 4))
        corners = cubes[:, :, :: SIDE - 1, :: SIDE - 1, :: SIDE - 1].mean((2, 3, 4))
        difference = middle - corners
        return difference[:, 0] / (TISSUE_HU - LUNG_HU) * difference[:, 1] * 20 - 10


def outlined(volume: Volume, centre: Array) -> Outline:
    """A ball of 4 mm around a place, as it would be drawn there."""
    side = np.arange(-8.0, 9.0)
    s, a, r = np.meshgrid(side, side, side, indexing="ij")
    matrix = np.eye(4)
    matrix[:3, 3] = centre - 8
    probability = Volume((np.sqrt(s**2 + a**2 + r**2) < 4).astype(np.float32), matrix)
    return Outline(centre, np.stack([centre - 4, centre + 4]), probability, 8, 8, 8, 268, 8)


def test_the_outline_itself_is_looked_at_in_every_scan(
    paint: Painter, ball: Callable[..., Callable[[Array], Array]], frame: Array
) -> None:
    nodule = beside(3.1, -2.2, 1.4)
    volume = paint(ball((nodule, 4.0)), frame)
    outlines = [outlined(volume, place) for place in (nodule, nodule + 8.0, CENTRE - 12.0)]
    told = nodule_probability(volume, outlines, [Middle()])
    assert told[0] > 0.95 and told[1:].max() < 0.05


def test_networks_are_averaged_and_none_has_no_doubt(
    paint: Painter, ball: Callable[..., Callable[[Array], Array]], frames: dict[str, Array]
) -> None:
    volume = paint(ball((CENTRE, 4.0)), frames["thick"])
    one = [outlined(volume, CENTRE)]
    torch.manual_seed(0)
    some = [FalsePositiveNet().eval(), FalsePositiveNet().eval(), FalsePositiveNet(channels=1).eval()]
    each = [nodule_probability(volume, one, [network])[0] for network in some]
    assert len(set(each)) == 3
    assert np.isclose(nodule_probability(volume, one, some)[0], np.mean(each))
    assert nodule_probability(volume, one, []).tolist() == [1.0]
    assert nodule_probability(volume, [], some).shape == (0,)


def test_a_network_without_a_second_channel_reads_no_outline(paint: Painter, frames: dict[str, Array]) -> None:
    """Packages of format 5 and older hold such networks."""
    volume = paint(lambda points: points[..., 0] * 10, frames["thick"])
    torch.manual_seed(0)
    old, new = FalsePositiveNet(channels=1).eval(), FalsePositiveNet().eval()
    here = outlined(volume, CENTRE)
    empty = replace(here, probability=Volume(here.probability.array * 0, here.probability.ijk_to_ras))
    assert np.ptp(nodule_probability(volume, [here, empty], [old])) == 0
    assert np.ptp(nodule_probability(volume, [here, empty], [new])) > 0
