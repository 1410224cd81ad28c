"""Which nodule of one examination is which of the other: places and sizes, no pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..imaging.volume import Array

#: Nodules further apart than this once the lungs are aligned (mm) are two: breathing is no affine movement, and moves
#: what lies near the diaphragm by a centimetre more or less than the rest.
FURTHEST_MM = 15.0
#: What a millimetre of distance and a factor of volume cost: a nodule is rather 5 mm off than grown sevenfold.
SPREAD_MM, SPREAD_LOG = 5.0, math.log(7.0)
#: Up to here a match needs no second look: distance (mm) and factor of volume.
SURE_MM, SURE_TIMES = 6.0, 6.0
#: So much cheaper than the next best a match has to be.
MARGIN = 1.0


@dataclass(frozen=True)
class Match:
    """A nodule of the earlier examination and the same one in the later, by their numbers from 0.

    Attributes
    ----------
    prior, current : int
    distance_mm : float
        Between both once the lungs are aligned.
    doubt : str
        Why it should be looked at, in a few words; empty if it is sure.
    """

    prior: int
    current: int
    distance_mm: float
    doubt: str = ""


def match(
    prior_ras: Array,
    current_ras: Array,
    prior_mm3: Sequence[float],
    current_mm3: Sequence[float],
    given: Mapping[int, int | None] | None = None,
) -> list[Match]:
    """The cheapest way to pair nodules, leaving alone those that have no partner near enough.

    Parameters
    ----------
    prior_ras : array, shape (N, 3)
        Middles of the earlier examination's nodules, moved to where they lie in the later one (RAS mm).
    current_ras : array, shape (M, 3)
        Middles of the later examination's nodules.
    prior_mm3, current_mm3 : sequence of float
        Their volumes.
    given : mapping of int to int or None, optional
        What the user says: of a nodule of the later examination its earlier one, or that it has none.

    Returns
    -------
    list of Match
        In the order of the later examination's nodules; what the user gave has no doubt.
    """
    from scipy.optimize import linear_sum_assignment

    given = dict(given or {})
    before, after = np.reshape(prior_ras, (-1, 3)), np.reshape(current_ras, (-1, 3))
    distance = np.linalg.norm(before[:, None] - after[None], axis=-1)
    ratio = np.log(np.reshape(current_mm3, (1, -1))) - np.log(np.reshape(prior_mm3, (-1, 1)))
    cost = (distance / SPREAD_MM) ** 2 + (ratio / SPREAD_LOG) ** 2
    cost[distance > FURTHEST_MM] = np.inf
    cost[[one for one in given.values() if one is not None]] = np.inf
    cost[:, list(given)] = np.inf
    count_before, count_after = cost.shape
    # A partner of its own that stands for having none, at the price of the furthest match that is allowed.
    alone = (FURTHEST_MM / SPREAD_MM) ** 2
    padded = np.full((count_before + count_after, count_before + count_after), 1e6)
    padded[:count_before, :count_after] = np.where(np.isinf(cost), 1e6, cost)
    padded[range(count_before), range(count_after, count_after + count_before)] = alone
    padded[range(count_before, count_before + count_after), range(count_after)] = alone
    padded[count_before:, count_after:] = 0
    rows, columns = linear_sum_assignment(padded)
    found = [
        Match(int(i), int(j), float(distance[i, j]), _doubt(cost, distance, ratio, i, j))
        for i, j in zip(rows, columns, strict=True)
        if i < count_before and j < count_after and np.isfinite(cost[i, j])
    ]
    found += [Match(i, j, float(distance[i, j])) for j, i in given.items() if i is not None]
    return sorted(found, key=lambda one: one.current)


def _doubt(cost: Array, distance: Array, ratio: Array, prior: int, current: int) -> str:
    others = np.concatenate([np.delete(cost[prior], current), np.delete(cost[:, current], prior)])
    if len(others) and others.min() < cost[prior, current] + MARGIN:
        return "another nodule is as near"
    if distance[prior, current] > SURE_MM:
        return f"{distance[prior, current]:.0f} mm apart"
    if abs(ratio[prior, current]) > math.log(SURE_TIMES):
        return "very different size"
    return ""
