"""What hand-made measures say of a nodule, fitted to the training folds: readers' answers and planted twins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from NoduleRiskLib.grades import CALCIFICATION_PATTERNS
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.measured import CALCIUM_AT, SURFACE_AT, Measured
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT

from ..data.planted_pairs import Pairs
from ..data.planting import MOVES

#: Of the ridge regressions, on standardised features; of the logistic ones, where less is stronger.
PENALTY, LOGISTIC_PENALTY = 30.0, 1.0
#: How much all planted twins count beside all nodules.
TWINS_SHARE = 0.5
#: How much all votes for patterns count beside all planted patterns: five in six are for one of them.
VOTES_SHARE = 0.5
#: How much all planted calcium counts as seen by readers beside all nodules: more, and presence would follow them less.
SEEN_SHARE = 0.1
#: A nodule is calcified if so many of its readers say so.
CALCIFIED = 0.5
#: The logit of what nobody ever saw.
NEVER = -20.0


def fit_surface(model: NoduleViT, batches: Sequence[Batch], grades: Array, pairs: Sequence[Pairs]) -> None:
    """Fit what the surface says, in place: ridge regressions in closed form.

    As readers' means say, and, of pairs with a planted sign, by the difference that the sign asks for, so that lobes
    and what goes with them in real nodules are told apart. What a sign leaves free does not count.

    Parameters
    ----------
    model : NoduleViT
    batches : sequence of Batch
        The nodules of the training folds.
    grades : array, shape (N, 9)
        What the readers said of them, standardised.
    pairs : sequence of Pairs
        Of the same nodules.
    """
    own = [one.surface_features for one in batches]
    nodules, before, after = _standardise(
        model.surface,
        torch.cat(own),
        own,
        [one.before.surface_features for one in pairs],
        [one.after.surface_features for one in pairs],
    )
    moves = _joined([one.moves for one in pairs], len(MOVES))
    for row, at in enumerate(SURFACE_AT):
        asked = np.isfinite(moves[:, at])
        changes = moves[asked, at] / float(model.target_std[at])
        _set(model.surface, row, ridge(nodules, grades[:, at], (after - before)[asked], changes))


def fit_calcium(
    model: NoduleViT, batches: Sequence[Batch], grades: Array, table: pd.DataFrame, planted: Sequence[Pairs]
) -> None:
    """Fit what the calcium says, in place; as ``fit_surface``, with ``planted`` pairs of which each has calcium.

    The mean code is a ridge regression of readers' means, presence a logistic one of their answers (``table``, a row a
    nodule), patterns one of their votes and of planted calcium, of whose pattern nobody doubts.
    """
    saw = table.calcified.to_numpy(np.float64)
    own = [one.calcium_features for one in batches]
    # Most nodules hold no calcium: beside their spread, patterns would look alike.
    some = torch.as_tensor(saw >= CALCIFIED)
    nodules, twins = _standardise(
        model.calcium,
        torch.cat(own)[some] if some.sum() > 1 else torch.cat(own),
        own,
        [one.after.calcium_features for one in planted],
    )
    pattern = _joined([one.pattern for one in planted]).astype(int)
    votes = table[[f"pattern_{code + 1}" for code in range(len(CALCIFICATION_PATTERNS))]].to_numpy() * saw[:, None]
    # Planted calcium would pull the mean code off what readers mean by it; it teaches presence, a little, and pattern.
    code = ridge(nodules, grades[:, CALCIUM_AT[0]], twins[:0], np.zeros(0))
    seen = np.stack([1 - saw, saw], 1)
    absent, present = logistic(nodules, seen, twins, np.ones_like(pattern), SEEN_SHARE * len(saw))
    patterns = logistic(nodules, votes, twins, pattern, votes.sum() / VOTES_SHARE)
    for row, weights in enumerate((code, present - absent, *patterns)):
        _set(model.calcium, row, weights)


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


def logistic(features: Array, votes: Array, planted: Array, classes: Array, share: float) -> Array:
    """For each of C classes the weights, and last the constant, of a logistic regression, (C, F + 1).

    A class that nobody is in is told never.

    Parameters
    ----------
    features, votes : arrays, shapes (N, F) and (N, C)
        Of nodules: how many votes, or shares of them, each has for each class.
    planted, classes : arrays, shapes (M, F) and (M,)
        Of twins, whose class is known.
    share : float
        How many votes all twins together count as.
    """
    count = votes.shape[1]
    rows = np.concatenate([*[features] * count, planted])
    classes = np.concatenate([*(np.full(len(features), one) for one in range(count)), classes])
    weights = np.append(votes.T.ravel(), np.full(len(planted), share / max(len(planted), 1)))
    present = np.unique(classes[weights > 0])
    found = np.zeros((count, features.shape[1] + 1))
    found[:, -1] = NEVER
    found[present] = 0
    if len(present) > 1:
        fitted = LogisticRegression(C=LOGISTIC_PENALTY, max_iter=5000)
        fitted.fit(rows[weights > 0], classes[weights > 0], sample_weight=weights[weights > 0])
        # Of two classes it has one set, which tells the second from the first.
        at = present[1:] if len(present) == 2 else present
        found[at] = np.hstack([fitted.coef_, fitted.intercept_[:, None]])
    return found


def _joined(parts: Sequence[Tensor], *width: int) -> Array:
    """All parts (n, *width) under each other, float64; none of them where there are no twins."""
    return _array(torch.cat([torch.zeros(0, *width), *parts]))


def _array(values: Tensor) -> Array:
    return values.cpu().numpy().astype(np.float64)


def _standardise(measured: Measured, typical: Tensor, *parts: Sequence[Tensor]) -> list[Array]:
    """Fit ``measured``'s middle and spread to the typical features (N, F), and give each part's, standardised."""
    known = typical[torch.isfinite(typical).all(1)]
    measured.middle.copy_(known.mean(0))
    measured.spread.copy_(known.std(0))
    return [_joined([measured.standardised(one) for one in some], known.shape[1]) for some in parts]


def _set(measured: Measured, row: int, weights: Array) -> None:
    """What ``ridge`` or ``logistic`` found, as what one output is told by."""
    measured.weight[row] = torch.as_tensor(weights[:-1])
    measured.bias[row] = float(weights[-1])
