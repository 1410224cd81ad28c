"""What would be warned about wrongly if the second opinion looked at another place than the one that was found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from conftest import CENTRE, LUNG_HU, TISSUE_HU, Painter, beside
from torch import Tensor, nn

from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.false_positive_reduction import SIDE, FalsePositiveNet, nodule_probability


class Middle(nn.Module):
    """As sure as the middle of the cube is dense, and its corners are not."""

    def forward(self, cubes: Tensor) -> Tensor:
        half = SIDE // 2
        middle = cubes[:, half - 1 : half + 1, half - 1 : half + 1, half - 1 : half + 1].mean((1, 2, 3))
        corners = cubes[:, :: SIDE - 1, :: SIDE - 1, :: SIDE - 1].mean((1, 2, 3))
        return (middle - corners) / (TISSUE_HU - LUNG_HU) * 20 - 10


def test_the_place_itself_is_looked_at_in_every_scan(
    paint: Painter, ball: Callable[..., Callable[[Array], Array]], frame: Array
) -> None:
    nodule = beside(3.1, -2.2, 1.4)
    volume = paint(ball((nodule, 4.0)), frame)
    told = nodule_probability(volume, np.stack([nodule, nodule + 8.0, CENTRE - 12.0]), [Middle()])
    assert told[0] > 0.95 and told[1:].max() < 0.05


def test_recognisers_are_averaged_and_none_has_no_doubt(
    paint: Painter, ball: Callable[..., Callable[[Array], Array]], frames: dict[str, Array]
) -> None:
    volume = paint(ball((CENTRE, 4.0)), frames["thick"])
    torch.manual_seed(0)
    some = [FalsePositiveNet().eval(), FalsePositiveNet().eval()]
    each = [nodule_probability(volume, CENTRE[None], [one])[0] for one in some]
    assert each[0] != each[1]
    assert np.isclose(nodule_probability(volume, CENTRE[None], some)[0], np.mean(each))
    assert nodule_probability(volume, CENTRE[None], []).tolist() == [1.0]
    assert nodule_probability(volume, np.zeros((0, 3)), some).shape == (0,)
