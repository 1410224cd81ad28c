"""What a triplanar layout would lose if its planes' slice weights did not meet in space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from conftest import CENTRE

from NoduleRiskLib.explain.heatmap import Heatmap
from NoduleRiskLib.explain.heatmaps import crossed, explain
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout, SliceStack, part
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.nodule_vit import NoduleViT

# Three planes as one map

THREE = Layout("three", planes=("axial", "coronal", "sagittal"), slices=9, pixels=16, pixel_mm=1.4, step_mm=2.0)


@pytest.fixture
def three(paint: Callable[..., Volume], ball: Callable[..., Callable[[Array], Array]], frame: Array) -> SliceStack:
    """Three planes around a ball, from a scan in every orientation."""
    return cut(paint(ball((CENTRE, 6.0)), frame), CENTRE, THREE)


def test_three_planes_cross_where_their_slices_do(three: SliceStack) -> None:
    # One slice of each plane weighs: x = -4 mm, y = 2 mm, z = 6 mm from the centre.
    reasons = {"axial": 6.0, "coronal": 2.0, "sagittal": -4.0}
    weights = np.zeros(len(three.valid), np.float32)
    for name, offset in reasons.items():
        here = (three.plane == THREE.planes.index(name)) & np.isclose(three.offset_mm, offset)
        assert here.sum() == 1 and three.valid[here].all()
        # How strong a plane is as a whole must not matter.
        weights[here] = 5.0 + offset
    volume = crossed(three, Heatmap(weights, three.valid, three.pixels[three.valid]))
    assert volume.array.dtype == np.float32
    k, j, i = np.indices(volume.array.shape)
    off = volume.to_ras(np.stack([i, j, k], -1)) - CENTRE - (-4.0, 2.0, 6.0)
    shown = volume.array > 0
    assert shown.any() and volume.array.max() <= 1
    # No further than to the next slice in any direction, and strongest at the crossing.
    assert np.abs(off[shown]).max() < 2.0
    assert np.abs(off[np.unravel_index(np.argmax(volume.array), volume.array.shape)]).max() <= 0.71


def test_a_triplanar_network_gives_one_map_in_space(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], three: SliceStack
) -> None:
    heatmaps = explain([trained(replace(tiny, layout=THREE), seed) for seed in (1, 2)], three)
    volumes = {name: crossed(three, heatmap).array for name, heatmap in heatmaps.items()}
    for array in volumes.values():
        assert np.isfinite(array).all() and array.min() >= 0 and 0 < array.max() <= 1
        # In three directions, not in one.
        assert all(array.std(axis).max() > 1e-3 for axis in range(3))
    assert not np.allclose(volumes["margin"], volumes["malignancy"], atol=1e-3)


def test_one_plane_crosses_with_nothing(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    heatmap = explain([trained(tiny)], stack)["margin"]
    volume = crossed(stack, heatmap)
    weights = heatmap.slice_weights[stack.valid]
    assert np.allclose(volume.array, (weights / weights.max())[:, None, None], atol=1e-6)


def test_without_slices_nothing_crosses(stack: SliceStack) -> None:
    none = part(stack, np.zeros(len(stack.valid), bool))
    with pytest.raises(ValueError, match="nothing to cross"):
        crossed(none, Heatmap(np.zeros(len(none.valid), np.float32), none.valid, none.pixels[none.valid]))
