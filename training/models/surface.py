"""What the surface says of a nodule's shape, fitted to the training folds: readers' means and planted twins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from NoduleRiskLib.networks.surface import AT

from ..data.augmentation import compose
from ..data.found_outlines import FoundOutlines
from ..data.planted_pairs import as_pairs, eligible, plant
from ..data.planting import MOVES

#: Of the ridge regression, on standardised features.
PENALTY = 30.0
#: How much all planted twins count beside all nodules.
TWINS_SHARE = 0.5
#: So many nodules are measured at once.
BATCH = 32


def with_surface(grader: NoduleViT, reference: Sequence[FoundOutlines], twins: int, seed: int) -> NoduleViT:
    """The grader with a ``Surface`` that is fitted to the nodules of its training folds; its own weights stay.

    A ridge regression in closed form: each grade as readers' means say, and, of twins with a planted sign, the
    difference that the sign asks for, so that lobes and what goes with them in real nodules are told apart. What a sign
    leaves free does not count.

    Parameters
    ----------
    grader : NoduleViT
        Trained.
    reference : sequence of FoundOutlines
        The nodules that it was trained on.
    twins : int
        How many twins are planted.
    seed : int
        Of them.
    """
    layout, rng = grader.config.layout, np.random.default_rng([seed, 17])
    rows = [(part, row) for part, one in enumerate(reference) for row in range(len(one.table))]
    some = [rows[begin : begin + BATCH] for begin in range(0, len(rows), BATCH)]
    batches = [compose(reference, at, rng, False, layout)[0] for at in some]
    nodules = torch.cat([batch.surface_features for batch in batches])

    model = NoduleViT(replace(grader.config, surface_features=True))
    model.load_state_dict(grader.state_dict(), strict=False)
    known = nodules[torch.isfinite(nodules).all(1)]
    model.surface.middle.copy_(known.mean(0))
    model.surface.spread.copy_(known.std(0))

    able = eligible(reference, rows) if twins else {}
    planted = [plant(reference, able, rng) for _ in range(twins)]
    # Without twins: no differences.
    differences, moves = [torch.zeros(0, nodules.shape[1])], [torch.zeros(0, len(MOVES))]
    for begin in range(0, twins, BATCH):
        pairs = as_pairs([(one.subject, one.planted) for one in planted[begin : begin + BATCH]], layout)
        before, after = (model.surface.standardised(one.surface_features) for one in (pairs.before, pairs.after))
        differences.append(after - before)
        moves.append(pairs.moves)
    difference, wanted = (np.asarray(torch.cat(one), np.float64) for one in (differences, moves))
    grades = np.concatenate([one.grades for one in reference])
    mean, std = (np.asarray(value.cpu(), np.float64) for value in (grader.target_mean, grader.target_std))
    for row, at in enumerate(AT):
        asked = np.isfinite(wanted[:, at])
        *weight, bias = ridge(
            np.asarray(model.surface.standardised(nodules), np.float64),
            (grades[:, at] - mean[at]) / std[at],
            difference[asked],
            wanted[asked, at] / std[at],
        )
        model.surface.weight[row] = torch.tensor(weight)
        model.surface.bias[row] = bias
    return model.to(grader.target_mean.device).eval().requires_grad_(False)


def ridge(features: Array, values: Array, differences: Array, changes: Array) -> Array:
    """The weights, and last the constant, of a ridge regression of N nodules' values and of twins' changes.

    Parameters
    ----------
    features, values : arrays, shapes (N, F) and (N,)
    differences, changes : arrays, shapes (M, F) and (M,)
        Of the twins, which together count ``TWINS_SHARE`` as much as the nodules.
    """
    share = TWINS_SHARE * len(features) / max(len(differences), 1)
    own = np.hstack([features, np.ones((len(features), 1))])
    planted = np.hstack([differences, np.zeros((len(differences), 1))])
    penalty = np.diag([PENALTY] * features.shape[1] + [0.0])
    return np.asarray(
        np.linalg.solve(
            own.T @ own + share * planted.T @ planted + penalty, own.T @ values + share * planted.T @ changes
        )
    )
