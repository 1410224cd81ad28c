"""What heatmaps and grades would be worth if evidence counted where there is none, or not where it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from NoduleRiskLib.explain.evidence_maps import evidence_maps
from NoduleRiskLib.explain.heatmaps import explain
from NoduleRiskLib.explain.slice_attribution import with_slices
from NoduleRiskLib.grades import GRADE_NAMES, OTHER_GRADES
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.networks.evidence import FULL, LOWERED, OUTPUTS, PIXEL_AREA, STRIDE, Response, thickness_mm
from NoduleRiskLib.networks.manifest import AccountFit, TermFit
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.nodule_vit import NoduleViT, collate, neighbours

Trained = Callable[..., NoduleViT]


@pytest.fixture
def grader(tiny: ModelConfig, trained: Trained) -> NoduleViT:
    """A grader whose evidence is not zero."""
    made = trained(replace(tiny, evidence=True))
    torch.manual_seed(3)
    torch.nn.init.normal_(made.evidence.maps.weight, std=0.5)
    return made


@torch.no_grad()
def test_without_training_there_is_no_evidence(tiny: ModelConfig, stack: SliceStack) -> None:
    made = NoduleViT(replace(tiny, evidence=True)).eval()
    batch = collate([stack])
    assert not made.terms(made.tokens(batch), batch).any()


@torch.no_grad()
def test_what_maps_hold_is_what_is_added(grader: NoduleViT, stack: SliceStack) -> None:
    batch = collate([stack])
    channels = grader.channels(batch)
    maps = grader.with_evidence(channels)[1]
    near = grader.evidence.near(channels[:, -1])
    counted = maps * torch.sigmoid(6 * (maps - 0.5)) * near[:, None]
    thickness = thickness_mm(batch.offset_mm, batch.valid)
    volume = counted.sum((0, 2, 3)) * PIXEL_AREA * thickness
    nodule = (channels[:, -1] > 0.5).sum() / STRIDE**2 * PIXEL_AREA * thickness
    expected = grader.evidence.response(volume[None], nodule)[0]
    terms = grader.terms(grader.tokens(batch), batch)[0]
    direction = grader.evidence.response.direction
    assert [name for name, way in zip(OUTPUTS, direction, strict=True) if way < 0] == list(LOWERED)
    assert torch.allclose(terms, expected, atol=1e-4)
    without = grader.raw(grader.tokens(batch), batch)[0] - terms
    plain = NoduleViT(replace(grader.config, evidence=False)).eval()
    plain.load_state_dict({name: one for name, one in grader.state_dict().items() if not name.startswith("evidence.")})
    assert torch.allclose(without, plain.raw(plain.tokens(batch), batch)[0], atol=1e-4)


@torch.no_grad()
def test_more_evidence_moves_more_up_to_a_limit_and_none_moves_nothing() -> None:
    torch.manual_seed(0)
    response = Response()
    torch.nn.init.normal_(response.steeper)
    nodule = torch.full((200,), 520.0)
    added = response(torch.linspace(0, 2000, 200)[:, None].expand(-1, len(OUTPUTS)), nodule) / response.direction
    assert not added[0].any()
    assert (added.diff(dim=0) > 0).all()
    assert (added < response.log_most.exp()).all()
    half = response.log_half.exp()[None]
    assert torch.allclose(response(half, nodule[:1]) / response.direction, response.log_most.exp() / 2, atol=1e-2)
    # A share of the nodule, where that is what was learned.
    torch.nn.init.constant_(response.by_size, 20.0)
    twice = response(2 * half, 2 * nodule[:1]) / response.direction
    assert torch.allclose(twice, response.log_most.exp() / 2, atol=1e-2)


@torch.no_grad()
def test_a_slice_sees_those_beside_it_in_its_own_plane(grader: NoduleViT, stack: SliceStack) -> None:
    batch = collate([stack, replace(stack, pixels=stack.pixels + 200)])
    plane, offset = batch.plane[batch.valid], batch.offset_mm[batch.valid]
    owner = batch.valid.nonzero()[:, 0]
    number = torch.arange(len(plane))
    before, after = neighbours(batch)
    for one, other, missing in ((before, number - 1, 0), (after, number + 1, -1)):
        inside = (other >= 0) & (other < len(number))
        near = other.clamp(0, len(number) - 1)
        alike = inside & (owner[near] == owner) & (plane[near] == plane)
        assert torch.equal(one, torch.where(alike, near, number))
        assert one[missing] == number[missing]
    assert (offset[before] <= offset).all() and (offset[after] >= offset).all()
    channels = grader.channels(batch)
    assert torch.equal(channels[:, 0], channels[before, 2]) and torch.equal(channels[:, 1], channels[after, 2])


@torch.no_grad()
def test_evidence_counts_near_the_outline_only(grader: NoduleViT, stack: SliceStack) -> None:
    outline = np.zeros_like(stack.outline)
    outline[:, :4, :4] = 1.0
    near = grader.evidence.near(torch.as_tensor(outline[stack.valid]).float())
    size = stack.layout.pixels // STRIDE
    assert near.shape[1:] == (size, size)
    assert (near[:, :2, :2].all() and near.float().mean() < 1.0) or size <= 8
    assert not grader.evidence.near(torch.zeros(2, size * STRIDE, size * STRIDE)).any()


@torch.no_grad()
def test_a_slice_that_is_left_out_takes_its_evidence_along(grader: NoduleViT, stack: SliceStack) -> None:
    batch = collate([stack])
    count = int(batch.valid.sum())
    every = torch.ones(1, count, dtype=torch.bool)
    one_less = every.clone()
    one_less[0, 0] = False
    both = with_slices(grader, batch, grader.tokens(batch), torch.cat([every, one_less]))
    assert not torch.allclose(both[0], both[1])
    tokens = grader.tokens(batch)
    assert not grader.terms(tokens, batch._replace(valid=torch.zeros_like(batch.valid))).any()


@torch.no_grad()
def test_the_other_nodules_of_a_batch_change_nothing(grader: NoduleViT, stack: SliceStack) -> None:
    other = replace(stack, pixels=stack.pixels + 300, valid=stack.valid & (np.arange(len(stack.valid)) % 2 == 0))
    alone = grader(collate([stack])).grades[0]
    assert torch.allclose(grader(collate([stack, other])).grades[0], alone, atol=1e-3)


def test_the_heatmap_is_the_evidence_on_one_scale(grader: NoduleViT, stack: SliceStack) -> None:
    batch = collate([stack])
    shown = evidence_maps([grader], batch)[0].numpy()
    heatmaps = explain([grader], stack)
    assert shown.min() >= 0 and shown.max() <= 1
    for g, name in enumerate(GRADE_NAMES):
        assert np.allclose(heatmaps[name].in_valid, shown[g])
    weaker = NoduleViT(grader.config).eval()
    weaker.load_state_dict(grader.state_dict())
    assert weaker.evidence.maps.bias is not None
    torch.nn.init.zeros_(weaker.evidence.maps.weight)
    torch.nn.init.zeros_(weaker.evidence.maps.bias)
    # Nothing seen is nothing shown: a map is not stretched to its own strongest pixel.
    assert not evidence_maps([weaker], batch)[0].any()
    torch.nn.init.constant_(weaker.evidence.maps.bias, 10 * FULL)
    assert evidence_maps([weaker], batch)[0].max() == 1


def test_malignancys_map_shows_what_raises_the_suspicion(grader: NoduleViT, stack: SliceStack) -> None:
    grader.target_std.fill_(1.0)
    batch = collate([stack])
    own = dict(zip(GRADE_NAMES, evidence_maps([grader], batch)[0], strict=True))
    coefficients = dict.fromkeys((grade.name for grade in OTHER_GRADES), 0.0)

    def malignancy(**raises: float) -> torch.Tensor:
        terms = {name: TermFit(0.0, 1.0, value) for name, value in (coefficients | raises).items()}
        return evidence_maps([grader], batch, AccountFit(0.0, terms))[0][GRADE_NAMES.index("malignancy")]

    # What counts is which grade raises it more, not by how much in all.
    assert torch.allclose(malignancy(spiculation=0.2), own["spiculation"])
    assert torch.equal(malignancy(spiculation=0.2), malignancy(spiculation=2.0))
    # A glassy nodule has a low texture: a negative coefficient raises the suspicion where there is glass.
    assert torch.allclose(malignancy(texture=-1.0), own["texture"])
    assert not malignancy(texture=1.0).any()
    # Calcium lowers it, and size has no place.
    assert not malignancy(calcification=-1.0, diameter=1.0).any()
    both = malignancy(spiculation=1.0, texture=-1.0)
    assert (both >= torch.maximum(own["spiculation"], own["texture"]) - 1e-5).all()


def test_several_graders_show_their_mean(grader: NoduleViT, stack: SliceStack) -> None:
    batch = collate([stack])
    silent = NoduleViT(grader.config).eval()
    alone, both = evidence_maps([grader], batch)[0], evidence_maps([grader, silent], batch)[0]
    assert torch.allclose(both, alone / 2)


@pytest.mark.parametrize(
    ("offsets", "expected"), [([-2.5, 0.0, 2.5], 2.5), ([0.0, 1.0, 2.0], 1.0), ([0.0], 2.5), ([0.0, 40.0], 6.0)]
)
def test_a_slice_stands_for_its_thickness(offsets: list[float], expected: float) -> None:
    offset = torch.tensor([[*offsets, 99.0]])
    valid = torch.tensor([[True] * len(offsets) + [False]])
    assert thickness_mm(offset, valid).item() == pytest.approx(expected)
