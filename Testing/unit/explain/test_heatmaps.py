"""What people would be shown as a grade's reason, though it was not: heatmaps of graders whose reasons are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from NoduleRiskLib.explain.heatmap import Heatmap
from NoduleRiskLib.explain.heatmaps import explain
from NoduleRiskLib.explain.pixel_attribution import (
    gradient,
    lung_hu,
)
from NoduleRiskLib.explain.slice_attribution import leave_one_out
from NoduleRiskLib.grades import GRADE_NAMES, GRADES
from NoduleRiskLib.imaging.outline import measure
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import SliceStack, part
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT, Prediction, collate
from NoduleRiskLib.results.assessment import Calcification, Nodule


class OneReason(nn.Module):
    """Grades a nodule by the mean HU of one patch of one slice, and by nothing else; ``sign`` turns it round."""

    def __init__(self, place: int, rows: slice, columns: slice, sign: float = 1.0) -> None:
        super().__init__()
        self.place_, self.rows, self.columns, self.sign = place, rows, columns, sign
        self.config = ModelConfig()
        self.register_buffer("target_mean", torch.zeros(len(GRADES)))

    def channels(self, batch: Batch) -> Tensor:
        return batch.pixels[batch.valid][:, None] / 1000

    def embed(self, channels: Tensor) -> Tensor:
        return channels[:, :, self.rows, self.columns].mean((2, 3))

    def place(self, encoded: Tensor, batch: Batch) -> Tensor:
        tokens = encoded.new_zeros(*batch.valid.shape, 1)
        tokens[batch.valid] = encoded
        return tokens

    def tokens(self, batch: Batch) -> Tensor:
        return self.place(self.embed(self.channels(batch)), batch)

    def raw(self, tokens: Tensor, batch: Batch) -> Tensor:
        seen = (tokens[..., 0] * batch.valid)[:, self.place_]
        return self.sign * seen[:, None] * torch.arange(1.0, 16)

    def read(self, raw: Tensor) -> Prediction:
        return Prediction(raw[:, :9], raw[:, 9], raw[:, 10:])


ROWS, COLUMNS = slice(3, 6), slice(9, 13)


def reason(stack: SliceStack) -> int:
    """The slice that shall be the reason: neither the first nor the last."""
    return int(np.flatnonzero(stack.valid)[1])


@pytest.fixture
def lit(stack: SliceStack) -> SliceStack:
    """Tissue where the reason shall be, and pixels twice as large: smoothing leaves a spot where it is."""
    pixels = stack.pixels.copy()
    pixels[reason(stack), ROWS, COLUMNS] = 40.0
    return replace(stack, pixels=pixels, layout=replace(stack.layout, pixel_mm=1.4))


def grade_of(grader: NoduleViT, stack: SliceStack, kept: Array | None = None) -> Array:
    """Grades when only some slices are seen, if so wished; the outline was measured on all of them."""
    batch = collate([stack])
    if kept is not None:
        batch = batch._replace(valid=batch.valid & torch.as_tensor(kept))
    with torch.no_grad():
        return np.asarray(grader(batch).grades[0])


# Known reasons


@pytest.mark.parametrize("name", GRADE_NAMES)
def test_the_slice_and_the_pixels_that_are_the_reason_are_shown(lit: SliceStack, name: str) -> None:
    place = reason(lit)
    heatmap = explain([OneReason(place, ROWS, COLUMNS)], lit)[name]
    step = (GRADE_NAMES.index(name) + 1) / 1000
    expected = np.zeros(len(lit.valid))
    expected[place] = abs(lit.pixels[place, ROWS, COLUMNS].mean()) * step
    assert np.allclose(heatmap.slice_weights, expected, rtol=1e-4)
    inside = np.zeros(lit.pixels.shape, bool)
    inside[place, ROWS, COLUMNS] = True
    map_ = heatmap.in_slice
    assert map_[inside].mean() > 0.7
    # Smoothing carries the map some pixels beyond its reason, and into no other slice.
    assert inside[np.unravel_index(np.argmax(map_), map_.shape)]
    assert not np.delete(map_, place, 0).any()
    assert map_[place, -1].max() < 0.1


def test_plain_lung_is_no_reason(stack: SliceStack) -> None:
    place = reason(stack)
    pixels = np.where(stack.outline > 0, stack.pixels, -870.0)
    pixels[place, ROWS, COLUMNS] = -870.0
    heatmap = explain([OneReason(place, ROWS, COLUMNS)], replace(stack, pixels=pixels))["margin"]
    assert not heatmap.in_slice.any()


def test_graders_that_contradict_each_other_give_no_reason(stack: SliceStack) -> None:
    place = reason(stack)
    graders = [OneReason(place, ROWS, COLUMNS, sign) for sign in (1, -1)]
    heatmap = explain(graders, stack)["malignancy"]
    assert not heatmap.slice_weights.any()
    assert not heatmap.in_slice.any()


def test_every_graders_reason_counts(stack: SliceStack) -> None:
    places = np.flatnonzero(stack.valid)[[1, 3]]
    heatmap = explain([OneReason(int(place), ROWS, COLUMNS) for place in places], stack)["margin"]
    assert set(np.flatnonzero(heatmap.slice_weights)) == set(places)
    assert set(np.flatnonzero(heatmap.in_slice.any((1, 2)))) == set(places)


def test_a_heatmap_lies_on_what_moved_the_grade(stack: SliceStack, lit: SliceStack) -> None:
    place = reason(lit)
    nodule = explained(lit, explain([OneReason(place, ROWS, COLUMNS)], lit))
    volumes = nodule.heatmap_volumes("spiculation")
    assert set(volumes) == set(lit.layout.planes)
    volume = volumes["axial"]
    k, j, i = np.unravel_index(np.argmax(volume.array), volume.array.shape)
    reason_ras = lit.pixels_ras()[place, ROWS, COLUMNS]
    shown = volume.to_ras(np.array([i, j, k]))
    assert np.linalg.norm(reason_ras - shown, axis=-1).min() < 1e-6
    again = cut(volume, reason_centre(stack), stack.layout)
    assert np.allclose(again.pixels[stack.valid], nodule.heatmaps["spiculation"].in_slice[stack.valid], atol=1e-4)


def reason_centre(stack: SliceStack) -> Array:
    """The stack's own centre: the middle of any slice, less its offset along the plane's normal."""
    return stack.pixels_ras()[0].mean((0, 1)) - stack.offset_mm[0] * np.array([0, 0, 1])


def explained(stack: SliceStack, heatmaps: dict[str, Heatmap]) -> Nodule:
    """A nodule of which only slices and heatmaps matter."""
    outline = measure(stack, stack.outline)
    assert outline is not None
    return Nodule(outline, (), Calcification(0.0, "central", 0.2), 0.5, stack, heatmaps)


def test_a_heatmap_that_was_not_asked_for_is_missed_by_name(stack: SliceStack) -> None:
    with pytest.raises(KeyError, match="no heatmap of 'margin'"):
        explained(stack, {}).heatmap("margin")


# The real network


@pytest.mark.parametrize("embedding", ["conv", "linear"])
def test_a_slices_weight_is_how_far_the_grade_moves_without_it(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack, embedding: str
) -> None:
    graders = [trained(replace(tiny, embedding=embedding), seed) for seed in (1, 2)]
    told = np.stack([grade_of(grader, stack) for grader in graders])
    heatmaps = explain(graders, stack, slices="leave one out")
    for place in range(len(stack.valid)):
        others = np.arange(len(stack.valid)) != place
        moved = np.abs((np.stack([grade_of(grader, stack, others) for grader in graders]) - told).mean(0))
        weights = [heatmaps[name].slice_weights[place] for name in GRADE_NAMES]
        assert np.allclose(weights, moved, atol=1e-4)
        assert stack.valid[place] == bool(np.any(moved > 1e-4))


def test_the_slice_that_alone_says_what_all_say_weighs_most(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    graders = [trained(tiny, seed) for seed in (1, 2)]
    told = np.mean([grade_of(grader, stack) for grader in graders], 0)
    places = np.flatnonzero(stack.valid)
    ones = [np.arange(len(stack.valid)) == place for place in places]
    off = np.abs([np.mean([grade_of(grader, stack, one) for grader in graders], 0) - told for one in ones])
    for g, heatmap in enumerate(explain(graders, stack).values()):
        assert np.allclose(heatmap.slice_weights[places], off[:, g].max() - off[:, g], atol=1e-5)
        assert heatmap.slice_weights.max() > 1e-3


def test_a_pixels_move_is_how_far_a_step_towards_lung_moves_the_grade(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    # One wide window and a linear embedding: no kink that a finite step might cross.
    grader = trained(replace(tiny, embedding="linear", windows=((-1200.0, 600.0),))).double()
    batch = Batch(*(value.double() if value.is_floating_point() else value for value in collate([stack])))
    moves, lung = gradient(grader, batch), lung_hu(batch)
    assert moves.shape == (9, stack.valid.sum(), 16, 16)
    share, nth = 1e-4, int(np.argmax(stack.outline[stack.valid].sum((1, 2))))
    place = np.flatnonzero(stack.valid)[nth]
    assert stack.outline[place].any()
    for rows, columns in product((slice(8), slice(8, 16)), repeat=2):
        pixels, outline = batch.pixels.clone(), batch.outline.clone()
        pixels[0, place, rows, columns] += share * (lung - pixels[0, place, rows, columns])
        outline[0, place, rows, columns] *= 1 - share
        with torch.no_grad():
            moved = grader(batch._replace(pixels=pixels, outline=outline)).grades[0] - grader(batch).grades[0]
        assert torch.allclose(-moves[:, nth, rows, columns].sum((1, 2)) * share, moved, rtol=1e-2, atol=1e-8)


def test_heatmaps_stay_between_nought_and_one_and_off_absent_slices(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    heatmaps = explain([trained(tiny)], stack)
    assert tuple(heatmaps) == GRADE_NAMES
    for heatmap in heatmaps.values():
        values = heatmap.in_slice
        assert values.shape == stack.pixels.shape
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert (values.min(), values.max()) == (0, 1)
        assert not values[~stack.valid].any()
        assert (heatmap.slice_weights >= 0).all()
        assert not heatmap.slice_weights[~stack.valid].any()


def test_a_nodules_only_slice_is_its_whole_reason(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    place = reason(stack)
    only = part(stack, np.arange(len(stack.valid)) == place)
    grader, batch = trained(tiny), collate([only])
    assert torch.equal(leave_one_out(grader, batch, grader.tokens(batch)), torch.ones(9, 1))
    for heatmap in explain([trained(tiny)], only).values():
        assert np.array_equal(np.flatnonzero(heatmap.slice_weights), [place])
        assert heatmap.in_slice.max() == 1


def test_explaining_changes_no_grade_and_leaves_no_gradient(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    grader = trained(tiny)
    told = grade_of(grader, stack)
    grader.requires_grad_(False)
    with torch.no_grad():
        explain([grader], stack)
    assert np.array_equal(grade_of(grader, stack), told)
    assert all(p.grad is None for p in grader.parameters())


def test_heatmap_volumes_are_small(stack: SliceStack) -> None:
    heatmaps = explain([OneReason(reason(stack), ROWS, COLUMNS)], stack)
    volume = explained(stack, heatmaps).heatmap_volumes("margin")["axial"]
    assert volume.array.shape == (stack.valid.sum(), *stack.pixels.shape[1:])
    assert volume.array.dtype == np.float32
