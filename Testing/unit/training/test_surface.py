"""How the surface is fitted: readers' means and the changes that planted signs ask for."""

from __future__ import annotations

import numpy as np
import pytest

from training.models import surface
from training.models.surface import ridge

RNG = np.random.default_rng(3)
FEATURES = RNG.normal(size=(400, 3))
#: Two features that go together in nodules, as lobes and spicules do; readers' grade follows both.
FEATURES[:, 1] = FEATURES[:, 0] + 0.1 * RNG.normal(size=400)
VALUES = FEATURES[:, 0] + 2.0


def test_without_twins_it_is_a_plain_ridge_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "PENALTY", 1e-6)
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
