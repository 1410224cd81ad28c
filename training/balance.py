"""How much each grade's loss counts: the weights of a multitask loss, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from NoduleRiskLib.volume import Array


def dynamic_weight_average(losses: Sequence[Array], temperature: float = 2.0) -> Array:
    """Weights of the tasks in the next epoch: more for those whose loss falls slower.

    Parameters
    ----------
    losses : sequence of ndarray, shape (tasks,)
        Mean loss of each task in every epoch so far.
    temperature : float
        The larger, the more alike the weights.

    Returns
    -------
    ndarray, shape (tasks,)
        Softmax of the ratio of the last two epochs' losses, over the temperature, times the number of tasks;
        all ones in the first two epochs.

    References
    ----------
    Liu, Johns and Davison 2019, "End-to-end multi-task learning with attention", equation 7,
    doi 10.1109/CVPR.2019.00197.
    """
    if len(losses) < 2:
        return np.ones(len(losses[0])) if losses else np.ones(1)
    ratio = np.asarray(losses[-1]) / np.maximum(losses[-2], 1e-8) / temperature
    weights = np.exp(ratio - ratio.max())
    return np.asarray(len(ratio) * weights / weights.sum())
