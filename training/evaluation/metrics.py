"""Numbers that score estimates: areas, agreement, thresholds; every interval resamples patients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.metrics import cohen_kappa_score

from NoduleRiskLib.imaging.volume import Array

#: Samples of patients behind every interval.
BOOTSTRAPS = 1000


class Difference(NamedTuple):
    """A difference with its 95 % interval and two-sided p (NaN where it was not asked for)."""

    value: float
    low: float
    high: float
    p: float = float("nan")


def correlation(truth: Array, estimate: Array) -> float:
    """Pearson r; NaN where one of the two does not vary."""
    if len(truth) < 2 or min(np.ptp(truth), np.ptp(estimate)) == 0:
        return float("nan")
    return float(np.corrcoef(truth, estimate)[0, 1])


def kappa(truth: Array, estimate: Array) -> float:
    """Quadratic weighted kappa of two series of grades, each rounded to the nearest step (halves upwards)."""
    steps = [np.floor(np.asarray(values) + 0.5).astype(int) for values in (truth, estimate)]
    if min(map(np.ptp, steps)) == 0:
        return float("nan")
    return float(cohen_kappa_score(*steps, weights="quadratic"))


def rates(called: Array, positive: Array) -> dict[str, float]:
    """Accuracy, sensitivity, specificity and the mean of these two; NaN where a kind is absent."""
    sensitivity = called[positive].mean() if positive.any() else np.nan
    specificity = (~called[~positive]).mean() if (~positive).any() else np.nan
    return {
        "accuracy": (called == positive).mean(),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "balanced": (sensitivity + specificity) / 2,
    }


def best_threshold(score: Array, positive: Array) -> float:
    """The threshold with the highest accuracy; of several, the middle one."""
    between, missed, false = _between(score, positive)
    best = np.flatnonzero(missed + false == (missed + false).min())
    return float(between[best[len(best) // 2]])


def even_threshold(score: Array, positive: Array) -> float:
    """The threshold at which sensitivity and specificity are nearest to each other; of several, the middle one."""
    between, missed, false = _between(score, positive)
    apart = np.abs(missed / max(positive.sum(), 1) - false / max((~positive).sum(), 1))
    best = np.flatnonzero(apart == apart.min())
    return float(between[best[len(best) // 2]])


def third_thresholds(score: Array, kind: Array) -> tuple[float, float]:
    """The two thresholds, low first, that tell classes 0, 1 and 2 apart with the highest accuracy."""
    between, *_ = _between(score, kind > 1)
    between = np.append(between, score.max() + 1)
    below = [np.searchsorted(np.sort(score[kind == one]), between) for one in range(3)]
    # The accuracy of a pair is a sum: what the low threshold adds, and what the high one adds.
    gain, rest = below[0] - below[1], below[1] - below[2]
    best_low = np.maximum.accumulate(gain)
    high = int(np.argmax(best_low + rest))
    return float(between[np.argmax(gain[: high + 1])]), float(between[high])


def _between(score: Array, positive: Array) -> tuple[Array, Array, Array]:
    """Thresholds below and between the scores' levels, rising; positives missed and negatives called at each."""
    levels, level = np.unique(score, return_inverse=True)
    between = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2])
    kinds = [np.bincount(level[kind], minlength=len(levels)) for kind in (positive, ~positive)]
    below = [np.concatenate([[0], np.cumsum(kind)[:-1]]) for kind in kinds]
    return between, below[0], kinds[1].sum() - below[1]


def auc(positive: Array, score: Array) -> float:
    """Area under the ROC curve; ties count half."""
    return float(_areas(positive, score, np.ones((1, len(score))))[0])


def auc_samples(patients: Array, positive: Array, *scores: Array, seed: int = 0) -> Array:
    """AUC of each score on resampled patients, (samples, scores); samples without both kinds are left out."""
    weights = resampled(patients, seed)
    areas = np.column_stack([_areas(positive, score, weights) for score in scores])
    return areas[np.isfinite(areas).all(1)]


def auc_interval(patients: Array, positive: Array, score: Array, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the AUC, resampling patients."""
    low, high = np.percentile(auc_samples(patients, positive, score, seed=seed), [2.5, 97.5])
    return float(low), float(high)


def auc_difference(patients: Array, positive: Array, score: Array, other: Array, seed: int = 0) -> Difference:
    """The AUC of ``score`` minus that of ``other``, on the same resampled patients.

    ``p`` is twice the smaller share of samples in which the difference has the one or the other sign.
    """
    ours, theirs = auc_samples(patients, positive, score, other, seed=seed).T
    low, high = np.percentile(ours - theirs, [2.5, 97.5])
    # Of 1,000 samples none may have the other sign: that does not make p zero.
    p = 2 * (1 + min((ours <= theirs).sum(), (ours >= theirs).sum())) / (1 + len(ours))
    return Difference(auc(positive, score) - auc(positive, other), float(low), float(high), min(float(p), 1.0))


def r_difference(patients: Array, truth: Array, estimate: Array, other: Array, seed: int = 0) -> Difference:
    """Pearson r of ``estimate`` minus that of ``other``, on the same resampled patients."""
    weights = resampled(patients, seed)
    ours, theirs = (_correlations(truth, one, weights) for one in (estimate, other))
    low, high = np.percentile(ours - theirs, [2.5, 97.5])
    return Difference(correlation(truth, estimate) - correlation(truth, other), float(low), float(high))


def mean_difference(patients: Array, values: Array, seed: int = 0) -> Difference:
    """The mean of differences, one per nodule, on resampled patients."""
    weights = resampled(patients, seed)
    low, high = np.percentile((weights @ values) / weights.sum(1), [2.5, 97.5])
    return Difference(float(values.mean()), float(low), float(high))


def resampled(patients: Array, seed: int = 0) -> Array:
    """How often each row is in each of ``BOOTSTRAPS`` samples of patients, drawn with replacement, (samples, N)."""
    names, owner = np.unique(patients, return_inverse=True)
    drawn = np.random.default_rng(seed).integers(len(names), size=(BOOTSTRAPS, len(names)))
    drawn += len(names) * np.arange(BOOTSTRAPS)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)[:, owner]


def _correlations(truth: Array, estimate: Array, weights: Array) -> Array:
    """Pearson r for each row of weights (samples, N)."""
    total = weights.sum(1)

    def mean(values: Array) -> Array:
        return np.asarray(weights @ values / total)

    own, other = mean(truth), mean(estimate)
    together = mean(truth * estimate) - own * other
    return np.asarray(together / np.sqrt((mean(truth**2) - own**2) * (mean(estimate**2) - other**2)))


def _areas(positive: Array, score: Array, weights: Array) -> Array:
    """AUC for each row of weights (samples, N): how much of the negatives lies below each positive, ties half."""
    levels, level = np.unique(score, return_inverse=True)
    order = np.argsort(level, kind="stable")
    begins = np.searchsorted(level[order], np.arange(len(levels)))
    sure, not_sure = (np.add.reduceat((weights * kind)[:, order], begins, axis=1) for kind in (positive, ~positive))
    below = np.cumsum(not_sure, 1) - not_sure / 2
    with np.errstate(invalid="ignore"):
        return np.asarray((sure * below).sum(1) / (sure.sum(1) * not_sure.sum(1)))
