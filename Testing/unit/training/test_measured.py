"""How measures are fitted: readers' answers and the changes that planted signs ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from NoduleRiskLib.grades import CALCIFICATION_PATTERNS
from NoduleRiskLib.imaging.calcium_features import CALCIUM_FEATURES
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from training.models import measured
from training.models.measured import NEVER, fit_calcium, logistic, ridge

RNG = np.random.default_rng(3)
FEATURES = RNG.normal(size=(400, 3))
#: Two features that go together in nodules, as lobes and spicules do; readers' grade follows both.
FEATURES[:, 1] = FEATURES[:, 0] + 0.1 * RNG.normal(size=400)
VALUES = FEATURES[:, 0] + 2.0


def test_without_twins_it_is_a_plain_ridge_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "PENALTY", 1e-6)
    found = ridge(FEATURES, VALUES, np.zeros((0, 3)), np.zeros(0))
    assert found == pytest.approx([1.0, 0.0, 0.0, 2.0], abs=1e-3)


def test_twins_tell_apart_what_goes_together_in_nodules() -> None:
    alone = ridge(FEATURES, VALUES, np.zeros((0, 3)), np.zeros(0))
    # The second feature is another sign's: planted alone, it must move nothing.
    differences = np.array([[1.0, 0, 0], [0, 1.0, 0]] * 50)
    taught = ridge(FEATURES, VALUES, differences, np.array([1.0, 0.0] * 50))
    assert alone[1] > 0.2 and abs(taught[1]) < 0.1 and taught[0] > 0.8
    assert taught[3] == pytest.approx(VALUES.mean() - FEATURES.mean(0) @ taught[:3], abs=0.02)


def test_the_twins_weigh_the_same_however_many_there_are() -> None:
    differences, changes = RNG.normal(size=(20, 3)), RNG.normal(size=20)
    once, often = (ridge(FEATURES, VALUES, np.tile(differences, (n, 1)), np.tile(changes, n)) for n in (1, 7))
    assert once == pytest.approx(often)


NOBODY = np.zeros((0, 3)), np.zeros(0, int)


def test_a_logistic_regression_tells_classes_and_never_the_one_that_nobody_is_in() -> None:
    classes = (FEATURES[:, 2] > 0).astype(int) * 2
    found = logistic(FEATURES, np.eye(3)[classes], *NOBODY, 0.0)
    said = FEATURES @ found[:, :-1].T + found[:, -1]
    assert (said.argmax(1) == classes).mean() > 0.95
    assert found[1].tolist() == [0, 0, 0, NEVER]
    # Where all are in one class, it alone is told.
    assert logistic(FEATURES, np.tile([1.0, 0], (400, 1)), *NOBODY, 0.0).tolist() == [[0] * 4, [0, 0, 0, NEVER]]


def test_votes_count_by_their_share_and_twins_together_by_theirs() -> None:
    share = 1 / (1 + np.exp(-2 * FEATURES[:, 2]))
    votes = np.stack([1 - share, share], 1)
    found = logistic(FEATURES, votes, *NOBODY, 0.0)[1]
    assert found[2] == pytest.approx(2.0, abs=0.2) and abs(found[0]) < 0.3
    # Twins that all show the first feature, and are of the second class.
    twins = np.tile([3.0, 0, 0], (40, 1))
    few, many = (logistic(FEATURES, votes, twins, np.ones(40, int), count)[1] for count in (20.0, 400.0))
    assert found[0] < few[0] < many[0]
    again = logistic(FEATURES, votes, np.tile(twins, (5, 1)), np.ones(200, int), 20.0)[1]
    assert again == pytest.approx(few, abs=0.02)


def test_calcium_is_seen_beside_that_of_calcified_nodules() -> None:
    count = len(CALCIUM_FEATURES)
    held = RNG.normal(5.0, 2.0, size=(30, count)).astype(np.float32)
    features = np.concatenate([np.zeros((300, count), np.float32), held])
    patterns = {f"pattern_{code + 1}": 0.2 for code in range(len(CALCIFICATION_PATTERNS))}
    table = pd.DataFrame({"calcified": [0.0] * 300 + [0.75] * 30, **patterns})
    model = NoduleViT(ModelConfig(dim=16, depth=1, heads=2, evidence=False, calcium_features=True))
    batch: Any = SimpleNamespace(calcium_features=torch.as_tensor(features))
    fit_calcium(model, [batch], np.zeros((330, 9)), table, [])
    assert model.calcium.middle.numpy() == pytest.approx(held.mean(0), rel=1e-4)
    assert model.calcium.spread.numpy() == pytest.approx(held.std(0, ddof=1), rel=1e-4)
    # What readers saw calcium in is told so.
    presence = model.calcium(torch.as_tensor(features))[:, 1]
    assert presence[300:].min() > presence[:300].max()
