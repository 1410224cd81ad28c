"""What people would be shown as a grade's reason, though it was not: heatmaps of graders whose reasons are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from conftest import CENTRE
from torch import Tensor, nn

from NoduleRiskLib.explain.heatmap import Heatmap
from NoduleRiskLib.explain.heatmaps import crossed, explain
from NoduleRiskLib.explain.pixel_attribution import (
    PIXEL_METHODS,
    as_lung,
    blocks_occluded,
    deeplift_rescale,
    gradient,
    integrated,
    lung_hu,
)
from NoduleRiskLib.explain.slice_attribution import SLICE_METHODS, leave_one_out
from NoduleRiskLib.grades import GRADE_NAMES, GRADES
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout, SliceStack, part
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT, Prediction, collate
from NoduleRiskLib.results.assessment import Assessment


class OneReason(nn.Module):
    """Grades a nodule by the mean HU of one patch of one slice, and by nothing else; ``sign`` turns it round."""

    def __init__(self, place: int, rows: slice, columns: slice, sign: float = 1.0) -> None:
        super().__init__()
        self.place_, self.rows, self.columns, self.sign = place, rows, columns, sign
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
    assessment = Assessment("A", (0, 0, 0), None, stack=lit, heatmaps=explain([OneReason(place, ROWS, COLUMNS)], lit))
    volumes = assessment.heatmap_volumes("spiculation")
    assert set(volumes) == set(lit.layout.planes)
    volume = volumes["axial"]
    k, j, i = np.unravel_index(np.argmax(volume.array), volume.array.shape)
    reason_ras = lit.pixels_ras()[place, ROWS, COLUMNS]
    shown = volume.to_ras(np.array([i, j, k]))
    assert np.linalg.norm(reason_ras - shown, axis=-1).min() < 1e-6
    again = cut(volume, reason_centre(stack), stack.layout)
    assert np.allclose(again.pixels[stack.valid], assessment.heatmaps["spiculation"].in_slice[stack.valid], atol=1e-4)


def reason_centre(stack: SliceStack) -> Array:
    """The stack's own centre: the middle of any slice, less its offset along the plane's normal."""
    return stack.pixels_ras()[0].mean((0, 1)) - stack.offset_mm[0] * np.array([0, 0, 1])


def test_a_point_without_nodule_has_no_heatmap_to_show() -> None:
    with pytest.raises(KeyError, match="no nodule was found"):
        Assessment("A", (0, 0, 0), None).heatmap_volumes("margin")


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
    assert torch.equal(leave_one_out(trained(tiny), collate([only])), torch.ones(9, 1))
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
    volume: Volume = Assessment("A", (0, 0, 0), None, stack=stack, heatmaps=heatmaps).heatmap_volumes("margin")["axial"]
    assert volume.array.shape == (stack.valid.sum(), *stack.pixels.shape[1:])
    assert volume.array.dtype == np.float32


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


@pytest.mark.parametrize("name", SLICE_METHODS)
def test_every_slice_method_weighs_the_valid_slices(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack, name: str
) -> None:
    grader, batch = trained(tiny), collate([stack])
    before = grade_of(grader, stack)
    weights = SLICE_METHODS[name](grader, batch)
    assert weights.shape == (9, stack.valid.sum())
    assert weights.isfinite().all()
    assert weights.std(1).min() > 0
    # Attention as such knows no grades.
    assert torch.equal(weights[0], weights[1]) == (name in ("class attention", "rollout"))
    assert np.array_equal(grade_of(grader, stack), before)


@pytest.mark.parametrize("name", PIXEL_METHODS)
def test_every_pixel_method_leaves_the_grader_as_it_was(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack, name: str
) -> None:
    grader, batch = trained(tiny), collate([stack])
    before = grade_of(grader, stack)
    moves = PIXEL_METHODS[name](grader, batch)
    assert moves.shape == (9, stack.valid.sum(), 16, 16)
    assert moves.isfinite().all()
    assert not moves.requires_grad
    assert np.array_equal(grade_of(grader, stack), before)


def test_what_attention_the_class_token_pays_is_told(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], stack: SliceStack
) -> None:
    weights = SLICE_METHODS["class attention"](trained(tiny), collate([stack]))[0]
    assert 0 < weights.sum() <= 1
    rollout = SLICE_METHODS["rollout"](trained(tiny), collate([stack]))[0]
    # Half of each block passes the class token itself on.
    assert 0 < rollout.sum() < 1 - 0.5**tiny.depth  # type: ignore[operator]
