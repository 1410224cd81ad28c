"""What a network trains on must not depend on how many processes draw it."""

from __future__ import annotations

import os

import numpy as np
import pytest

from training.models.drawn_ahead import drawn_ahead


@pytest.mark.parametrize("workers", [0, 2])
def test_each_step_has_its_own_random_numbers_whoever_draws_them(workers: int) -> None:
    drawn = [*drawn_ahead(lambda step, own: (step, own.random(3), os.getpid()), 5, np.random.default_rng(3), workers)]
    seeds = np.random.default_rng(3).integers(2**63, size=5)
    assert [step for step, _, _ in drawn] == [0, 1, 2, 3, 4]
    for (_, numbers, _), seed in zip(drawn, seeds, strict=True):
        assert isinstance(numbers, np.ndarray) and numbers.tolist() == np.random.default_rng(seed).random(3).tolist()
    assert (os.getpid() in {drawer for _, _, drawer in drawn}) == (not workers)
