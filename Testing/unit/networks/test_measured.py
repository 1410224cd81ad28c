"""Grades that are half from their heads, half from what is measured of the nodule's surface or calcium."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.calcium_features import CALCIUM_FEATURES
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.imaging.surface_features import SURFACE_FEATURES
from NoduleRiskLib.networks.measured import CALCIUM_AT, FARTHEST, SURFACE_GRADES, Measured
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.nodule_vit import NoduleViT, collate

Trained = Callable[..., NoduleViT]


def fitted() -> Measured:
    surface = Measured(len(SURFACE_FEATURES), len(SURFACE_GRADES))
    surface.middle.fill_(5.0)
    surface.spread.fill_(2.0)
    surface.weight[0, 0], surface.weight[1, 1] = 1.0, -0.5
    surface.bias.copy_(torch.tensor([0.1, 0.2]))
    return surface


def given(**values: float) -> Tensor:
    features = torch.full((1, len(SURFACE_FEATURES)), 5.0)
    for name, value in values.items():
        features[0, int(name[1:])] = value
    return features


def test_a_feature_counts_by_how_far_it_is_from_the_mean_nodules() -> None:
    assert fitted()(given()).tolist()[0] == torch.tensor([0.1, 0.2]).tolist()
    assert torch.allclose(fitted()(given(_0=9.0, _1=7.0)), torch.tensor([[2.1, -0.3]]))


def test_what_was_not_measured_is_as_in_the_mean_nodule_and_nothing_is_too_far() -> None:
    assert torch.equal(fitted()(given(_0=float("nan"))), fitted()(given()))
    assert torch.allclose(fitted()(given(_0=1e6)), torch.tensor([[FARTHEST + 0.1, 0.2]]))
    flat = fitted()
    flat.spread.zero_()
    assert torch.isfinite(flat(given(_0=6.0))).all()


def measuring(plain: NoduleViT, part: str) -> NoduleViT:
    """The same grader, which also reads what is measured of this part."""
    both = NoduleViT(replace(plain.config, **{f"{part}_features": True})).eval()
    missing, unknown = both.load_state_dict(plain.state_dict(), strict=False)
    assert {name.split(".")[0] for name in missing} == {part} and not unknown
    # Its directions are not kept with the weights.
    both.evidence = plain.evidence
    return both


@torch.no_grad()
def test_two_grades_are_the_mean_and_the_others_stay(tiny: ModelConfig, trained: Trained, stack: SliceStack) -> None:
    plain = trained(replace(tiny, evidence=True))
    both = measuring(plain, "surface")
    batch = collate([stack])
    assert batch.surface_features.shape == (1, len(SURFACE_FEATURES)) and torch.isfinite(batch.surface_features).all()
    both.surface.bias.copy_(torch.tensor([3.0, -2.0]))
    tokens = plain.tokens(batch)
    terms, raw, mean = plain.terms(tokens, batch), plain.raw(tokens, batch), both.raw(both.tokens(batch), batch)
    assert terms.abs().max() > 1e-3
    expected = raw.clone()
    for name, said in zip(SURFACE_GRADES, (3.0, -2.0), strict=True):
        at = GRADE_NAMES.index(name)
        # Evidence counts whole.
        expected[:, at] = (raw[:, at] - terms[:, at] + said) / 2 + terms[:, at]
    assert torch.allclose(mean, expected, atol=1e-5)
    assert not torch.allclose(mean, raw, atol=0.1)


@torch.no_grad()
def test_calcification_is_the_mean_and_its_pattern_the_calciums(
    tiny: ModelConfig, trained: Trained, stack: SliceStack
) -> None:
    plain = trained(replace(tiny, evidence=True))
    both = measuring(plain, "calcium")
    batch = collate([stack])
    assert batch.calcium_features.shape == (1, len(CALCIUM_FEATURES)) and torch.isfinite(batch.calcium_features).all()
    said = torch.tensor([3.0, -2.0, 0.1, 0.2, 0.9, 0.4, 0.5])
    both.calcium.bias.copy_(said)
    tokens = plain.tokens(batch)
    raw, mean = plain.raw(tokens, batch), both.raw(both.tokens(batch), batch)
    expected = raw.clone()
    at = list(CALCIUM_AT)
    expected[:, at] = (raw[:, at] + said[:2]) / 2
    expected[:, 10:] = said[2:]
    assert torch.allclose(mean, expected, atol=1e-5)
    assert both.read(mean).pattern.argmax() == 2


@torch.no_grad()
def test_what_nobody_reads_is_not_measured(tiny: ModelConfig, trained: Trained, stack: SliceStack) -> None:
    plain = trained(replace(tiny, evidence=True))
    without = collate([stack, stack], plain.config)
    assert without.surface_features.shape == without.calcium_features.shape == (2, 0)
    assert torch.equal(plain(without).grades, plain(collate([stack, stack])).grades)
    both = collate([stack], replace(tiny, surface_features=True, calcium_features=True))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(both, collate([stack]), strict=True))
