"""What hand-made measures say of a nodule, fitted to the training folds: readers' answers and planted twins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from NoduleRiskLib.grades import CALCIFICATION_PATTERNS
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.measured import CALCIUM_AT, SURFACE_AT, Measured
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT

from ..data.augmentation import compose
from ..data.found_outlines import FoundOutlines
from ..data.planted_pairs import Pairs, Twin, as_pairs, eligible, plant, subject_of
from ..data.planted_signs import calcium
from ..data.planting import MOVES

T = TypeVar("T")
#: Of the ridge regressions, on standardised features; of the logistic ones, where less is stronger.
PENALTY, LOGISTIC_PENALTY = 30.0, 1.0
#: How much all planted twins count beside all nodules.
TWINS_SHARE = 0.5
#: How much all votes for patterns count beside all planted patterns: five in six are for one of them.
VOTES_SHARE = 0.5
#: How much all planted calcium counts as seen by readers beside all nodules: more, and presence would follow them less.
SEEN_SHARE = 0.1
#: So many nodules are measured at once.
BATCH = 32
#: The logit of what nobody ever saw.
NEVER = -20.0


def with_measures(grader: NoduleViT, reference: Sequence[FoundOutlines], twins: int, seed: int) -> NoduleViT:
    """The grader with ``surface`` and ``calcium`` fitted to the nodules of its training folds; its own weights stay.

    Grades are ridge regressions in closed form: as readers' means say, and, of twins with a planted sign, by the
    difference that the sign asks for, so that lobes and what goes with them in real nodules are told apart. What a sign
    leaves free does not count. Calcium's presence is a logistic regression of readers' answers, its pattern one of
    their votes and of planted calcium, of whose pattern nobody doubts.

    Parameters
    ----------
    grader : NoduleViT
        Trained.
    reference : sequence of FoundOutlines
        The nodules that it was trained on.
    twins : int
        How many twins are planted, and how many with calcium.
    seed : int
        Of them.
    """
    rng = np.random.default_rng([seed, 17])
    rows = [(part, row) for part, one in enumerate(reference) for row in range(len(one.table))]
    layout = grader.config.layout
    batches = [compose(reference, some, rng, False, layout)[0] for some in _batched(rows)]
    able = eligible(reference, rows) if twins else {}
    pairs = _pairs([plant(reference, able, rng) for _ in range(twins)], layout)
    calcified = _pairs([_with_calcium(reference, able, rng) for _ in range(twins)], layout)

    model = NoduleViT(replace(grader.config, surface_features=True, calcium_features=True))
    model.load_state_dict(grader.state_dict(), strict=False)
    _fit_surface(model, reference, batches, pairs)
    _fit_calcium(model, reference, batches, calcified)
    return model.to(grader.target_mean.device).eval().requires_grad_(False)


def _fit_surface(
    model: NoduleViT, reference: Sequence[FoundOutlines], batches: Sequence[Batch], pairs: Sequence[Pairs]
) -> None:
    nodules, before, after = _standardise(
        model.surface,
        [one.surface_features for one in batches],
        [one.before.surface_features for one in pairs],
        [one.after.surface_features for one in pairs],
    )
    grades, moves = _grades(model, reference), _joined([one.moves for one in pairs], len(MOVES))
    for row, at in enumerate(SURFACE_AT):
        asked = np.isfinite(moves[:, at])
        changes = moves[asked, at] / float(model.target_std[at])
        _set(model.surface, row, ridge(nodules, grades[:, at], (after - before)[asked], changes))


def _fit_calcium(
    model: NoduleViT, reference: Sequence[FoundOutlines], batches: Sequence[Batch], planted: Sequence[Pairs]
) -> None:
    nodules, twins = _standardise(
        model.calcium,
        [one.calcium_features for one in batches],
        [one.after.calcium_features for one in planted],
    )
    pattern = _joined([one.pattern for one in planted]).astype(int)
    table = pd.concat([one.table for one in reference])
    saw = table.calcified.to_numpy(np.float64)
    votes = table[[f"pattern_{code + 1}" for code in range(len(CALCIFICATION_PATTERNS))]].to_numpy() * saw[:, None]
    # Planted calcium would pull the mean code off what readers mean by it; it teaches presence, a little, and pattern.
    code = ridge(nodules, _grades(model, reference)[:, CALCIUM_AT[0]], twins[:0], np.zeros(0))
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


def _with_calcium(
    reference: Sequence[FoundOutlines], able: Mapping[str, Sequence[tuple[int, int]]], rng: np.random.Generator
) -> Twin:
    """Calcium of any pattern in some nodule."""
    while True:
        at = able["calcium"][int(rng.integers(len(able["calcium"])))]
        if (subject := subject_of(reference[at[0]], at[1])) is not None:
            return Twin(subject, calcium(subject, rng), at)


def _batched(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[begin : begin + BATCH] for begin in range(0, len(rows), BATCH))


def _pairs(twins: Sequence[Twin], layout: Layout) -> list[Pairs]:
    return [as_pairs([(one.subject, one.planted) for one in some], layout) for some in _batched(twins)]


def _joined(parts: Sequence[Tensor], *width: int) -> Array:
    """All parts (n, *width) under each other, float64; none of them where there are no twins."""
    return _array(torch.cat([torch.zeros(0, *width), *parts]))


def _array(values: Tensor) -> Array:
    return values.cpu().numpy().astype(np.float64)


def _standardise(measured: Measured, nodules: Sequence[Tensor], *others: Sequence[Tensor]) -> list[Array]:
    """Fit ``measured``'s middle and spread to the nodules, and give their features and others', standardised."""
    known = torch.cat(list(nodules))
    known = known[torch.isfinite(known).all(1)]
    measured.middle.copy_(known.mean(0))
    measured.spread.copy_(known.std(0))
    return [_joined([measured.standardised(one) for one in some], known.shape[1]) for some in (nodules, *others)]


def _grades(model: NoduleViT, reference: Sequence[FoundOutlines]) -> Array:
    """Readers' means (N, 9), standardised as the model's outputs are; not the diameter's, which are in mm."""
    return (np.concatenate([one.grades for one in reference]) - _array(model.target_mean)) / _array(model.target_std)


def _set(measured: Measured, row: int, weights: Array) -> None:
    """What ``ridge`` or ``logistic`` found, as what one output is told by."""
    measured.weight[row] = torch.as_tensor(weights[:-1])
    measured.bias[row] = float(weights[-1])
