"""What would be wrong if the fit of the evidence answered for another model, or moved what it must leave alone."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from test_sign_lessons import pairs

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.networks.model_package import SHIPPED, load
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT
from training.models import evidence_fit
from training.models.evidence_fit import FITTED, Weights, fit_evidence, joined, look

AT = GRADE_NAMES.index("spiculation")
MADE = pairs("spicules", "vessel in", "fissure", "calcium")


@pytest.fixture(scope="module")
def grader() -> NoduleViT:
    return load(SHIPPED).networks().graders[0]


def said(model: NoduleViT, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return model.raw(model.tokens(batch), batch)


def test_what_is_fitted_is_what_the_model_says(grader: NoduleViT) -> None:
    parts = [look(grader, batch)[0] for batch in (MADE.before, MADE.after)]
    for name in FITTED:
        at = GRADE_NAMES.index(name)
        given, _ = evidence_fit._Row(grader, at)(joined(parts))
        wanted = torch.cat([said(grader, batch)[:, at] for batch in (MADE.before, MADE.after)])
        # What is read is kept in half precision.
        assert given.detach() == pytest.approx(wanted, abs=0.01)
    some, pixels = joined(parts).of(torch.tensor([1, 6]))
    assert len(some.heads) == 2 and set(some.owner.tolist()) == {0, 1} and len(pixels) == len(some.features)
    assert torch.equal(some.heads, torch.stack([parts[0].heads[1], parts[1].heads[2]]))


def test_look_alikes_move_the_grade_less_and_no_other_grade_changes(
    grader: NoduleViT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_fit, "STEPS", 60)
    monkeypatch.setattr(evidence_fit, "FITTED", {"spiculation": Weights(1.0, 1.0, 20.0)})
    model = deepcopy(grader)
    before = said(model, MADE.before)
    fit_evidence(model, [MADE.before], before[:, : len(GRADE_NAMES)], [MADE], seed=0)
    after = said(model, MADE.before)
    others = [at for at in range(after.shape[1]) if at != AT]
    assert torch.equal(after[:, others], before[:, others])

    def moved(one: NoduleViT) -> torch.Tensor:
        return (said(one, MADE.after) - said(one, MADE.before))[:, AT]

    assert moved(grader)[0] > 0.5 and moved(model)[0] > 0.5 * moved(grader)[0]
    assert moved(model)[1:3].abs().max() < moved(grader)[1:3].abs().max()
    maps = [one.with_evidence(one.channels(MADE.after))[1].detach() for one in (grader, model)]
    assert torch.equal(maps[0][:, others], maps[1][:, others]) and not torch.equal(maps[0], maps[1])
