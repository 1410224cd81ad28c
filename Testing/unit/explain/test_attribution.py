"""What the study of heatmaps would lose if an attribution method did not do what its name says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_heatmaps import OneReason, grade_of
from torch import Tensor, nn

from NoduleRiskLib.explain.pixel_attribution import (
    PIXEL_METHODS,
    as_lung,
    blocks_occluded,
    deeplift_rescale,
    gradient,
    integrated,
)
from NoduleRiskLib.explain.slice_attribution import SLICE_METHODS
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT, collate

# All methods


class Bends(OneReason):
    """As ``OneReason``, through a ReLU that lies between lung and tissue: no slope on lung's side of it."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.bend = nn.ReLU()

    def embed(self, channels: Tensor) -> Tensor:
        return self.bend(channels[:, :, self.rows, self.columns] + 0.4).mean((2, 3))


def way_from_lung(grader: NoduleViT, batch: Batch) -> Tensor:
    """How far each grade is from where it would be if all slices were lung, (9,)."""
    with torch.no_grad():
        lung = as_lung(grader, batch).expand_as(grader.channels(batch))
        empty = grader.read(grader.raw(grader.place(grader.embed(lung), batch), batch)).grades[0]
        return grader.read(grader.raw(grader.tokens(batch), batch)).grades[0] - empty


def test_secants_account_for_all_of_the_way_where_the_gradient_does_not(stack: SliceStack) -> None:
    batch = collate([stack])
    place = int(np.argmax(stack.outline.sum((1, 2))))
    grader = Bends(place, slice(4, 12), slice(4, 12))
    way = way_from_lung(grader, batch)
    assert way.min() > 1e-3
    assert torch.allclose(deeplift_rescale(grader, batch).sum((1, 2, 3)), way, rtol=1e-3)
    assert not torch.allclose(gradient(grader, batch).sum((1, 2, 3)), way, rtol=0.05)


def test_integrated_gradients_account_for_all_of_the_way(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    grader, batch = trained(tiny), collate([stack])
    way = way_from_lung(grader, batch)
    missed = integrated(grader, batch, steps=64).sum((1, 2, 3)) - way
    assert missed.abs().max() < 0.05 * way.abs().max()


def test_an_occluded_block_moves_the_grade_by_what_is_told(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    grader, batch = trained(tiny), collate([stack])
    told = blocks_occluded(grader, batch)[:, 1, 8:, :8].sum((1, 2))
    channels = grader.channels(batch)
    channels[1, :, 8:, :8] = as_lung(grader, batch)[0, :, 8:, :8]
    with torch.no_grad():
        without = grader.read(grader.raw(grader.place(grader.embed(channels), batch), batch)).grades[0]
        assert torch.allclose(told, grader(batch).grades[0] - without, atol=1e-5)
        assert told.abs().max() > 3e-4


def test_the_outline_is_no_part_of_the_image(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    grader, batch = trained(tiny), collate([stack])
    lung = as_lung(grader, batch, outline=False)
    assert torch.equal(lung[:, -1], batch.outline[batch.valid])
    assert not torch.allclose(deeplift_rescale(grader, batch), deeplift_rescale(grader, batch, outline=False))


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", SLICE_METHODS)
def test_every_slice_method_weighs_the_valid_slices(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack, name: str, measured: bool
) -> None:
    config = replace(tiny, surface_features=measured, calcium_features=measured)
    grader, batch = trained(config), collate([stack])
    before = grade_of(grader, stack)
    weights = SLICE_METHODS[name](grader, batch, grader.tokens(batch))
    assert weights.shape == (9, stack.valid.sum())
    assert weights.isfinite().all()
    assert weights.std(1).min() > 0
    # Attention as such knows no grades.
    assert torch.equal(weights[0], weights[1]) == (name in ("class attention", "rollout"))
    assert np.array_equal(grade_of(grader, stack), before)


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", PIXEL_METHODS)
def test_every_pixel_method_leaves_the_grader_as_it_was(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack, name: str, measured: bool
) -> None:
    config = replace(tiny, surface_features=measured, calcium_features=measured)
    grader, batch = trained(config), collate([stack])
    before = grade_of(grader, stack)
    moves = PIXEL_METHODS[name](grader, batch)
    assert moves.shape == (9, stack.valid.sum(), 16, 16)
    assert moves.isfinite().all()
    assert not moves.requires_grad
    assert np.array_equal(grade_of(grader, stack), before)


def test_what_attention_the_class_token_pays_is_told(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    grader, batch = trained(tiny), collate([stack])
    tokens = grader.tokens(batch)
    weights = SLICE_METHODS["class attention"](grader, batch, tokens)[0]
    assert 0 < weights.sum() <= 1
    rollout = SLICE_METHODS["rollout"](grader, batch, tokens)[0]
    # Half of each block passes the class token itself on.
    assert 0 < rollout.sum() < 1 - 0.5**tiny.depth  # type: ignore[operator]
