"""What multitask training would lose if a weighting of the losses were not what its paper says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from training.models.loss_weighting import WEIGHTINGS, GradNorm, recall


def test_gradients_are_balanced_where_tasks_learn_equally_fast() -> None:
    """Two tasks that pull at the shared layer in different directions, one of them 99 times as hard."""
    shared = nn.Parameter(torch.ones(2))
    weighting = GradNorm(2, shared, rate=0.01)
    for _ in range(400):
        # Losses stay what they were, so both learn at the same pace and only the pulls differ.
        weighting(torch.stack([shared[0] + 1, 99 * shared[1] + 1]))
    # Pulls 1 and 99 are even where the weights are 99 to 1, and their sum is 2.
    assert weighting.weights.tolist() == pytest.approx([1.98, 0.02], abs=0.01)


def test_gradient_balance_favours_the_slower_task() -> None:
    shared = nn.Parameter(torch.ones(2))
    weighting = GradNorm(2, shared, alpha=1.0, rate=0.01)
    weighting(shared + 1)
    for _ in range(400):
        # The pulls stay 1 and 1; the first task's loss fell to a quarter of the other's.
        weighting(shared + torch.tensor([-0.5, 1.0]))
    # Speeds are .25 and 1, so the weights are as 1 to 4, and their sum is 2.
    assert weighting.weights.tolist() == pytest.approx([0.4, 1.6], abs=0.02)


def test_the_task_that_goes_worst_has_priority() -> None:
    weighting = WEIGHTINGS["dtp"](2, nn.Parameter(torch.ones(1)))
    losses = torch.tensor([0.1, 0.7])
    assert weighting(losses).item() == pytest.approx(0.8)
    recall(weighting, [np.array([9.0, 9.0]), np.array([np.log(10 / 9), np.log(2)])])
    # Performances .9 and .5: -(1 - .9) log .9 = .01054 and -(1 - .5) log .5 = .34657, scaled to a sum of two.
    assert weighting(losses).item() == pytest.approx(0.1 * 0.05901 + 0.7 * 1.94099, abs=1e-4)


def test_tasks_that_learn_slower_count_more() -> None:
    weighting = WEIGHTINGS["dwa"](2, nn.Parameter(torch.ones(1)))
    recall(weighting, [np.ones(2), np.array([1.0, 0.5])])
    # exp(1/2) and exp(1/4) over their sum, times two.
    assert weighting(torch.tensor([1.0, 0.0])).item() == pytest.approx(1.1244, abs=1e-4)
    assert weighting(torch.tensor([0.0, 1.0])).item() == pytest.approx(0.8756, abs=1e-4)


def test_uncertainty_finds_the_variance_of_each_task() -> None:
    weighting = WEIGHTINGS["uncertainty"](2, nn.Parameter(torch.ones(1)))
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        weighting(torch.tensor([0.25, 4.0])).backward()
        optimizer.step()
    (found,) = weighting.parameters()
    # exp(-s) L / 2 + s / 2 is least where s = log L.
    assert found.tolist() == pytest.approx(np.log([0.25, 4.0]).tolist(), abs=0.02)


def test_equal_weights_are_equal() -> None:
    assert WEIGHTINGS["equal"](3, nn.Parameter(torch.ones(1)))(torch.tensor([1.0, 2.0, 4.0])).item() == 7
