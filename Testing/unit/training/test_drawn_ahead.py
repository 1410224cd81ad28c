"""What a network trains on must not depend on how many processes draw it."""

from __future__ import annotations

import os

import numpy as np
import pytest

from training.models.drawn_ahead import DrawnAhead


@pytest.mark.parametrize("workers", [0, 2])
def test_each_one_has_its_own_random_numbers_whoever_draws_it(workers: int) -> None:
    drawing = DrawnAhead(lambda wanted, own: (wanted, own.random(3), os.getpid()), workers)
    drawers = set()
    for epoch, wanted in enumerate(("abcde", "fgh")):
        drawn = [*drawing.each(wanted, np.random.default_rng(epoch))]
        assert [name for name, _, _ in drawn] == list(wanted)
        seeds = np.random.default_rng(epoch).integers(2**63, size=len(wanted))
        for (_, numbers, drawer), seed in zip(drawn, seeds, strict=True):
            assert isinstance(numbers, np.ndarray)
            assert numbers.tolist() == np.random.default_rng(seed).random(3).tolist()
            drawers.add(drawer)
    assert drawers == {os.getpid()} if not workers else os.getpid() not in drawers and len(drawers) <= workers
