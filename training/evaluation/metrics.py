"""How good the estimates are: questions and their scores, errors, thresholds; every interval resamples patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from NoduleRiskLib.grades import BENIGN_BELOW, GRADES, MALIGNANT_ABOVE
from NoduleRiskLib.imaging.volume import Array

from ..data.crops import FOLDS

BOOTSTRAPS = 1000
#: The mean code of calcification below which at least one reader of two saw some.
CALCIFIED_BELOW = 5.5
#: The Fleischner Society's steps of size (MacMahon et al. 2017, doi 10.1148/radiol.2017161659): below, between, above.
SMALL_MM, LARGE_MM = 6.0, 8.0
#: Strata of the readers' diameter, mm.
STRATA = {"< 6 mm": (0.0, 6.0), "6 to 10 mm": (6.0, 10.0), "10 to 15 mm": (10.0, 15.0), "> 15 mm": (15.0, np.inf)}
#: The grades that readers give in steps.
JUDGED = tuple(one for one in GRADES if one.words)


def question(name: str, mean: pd.Series) -> pd.Series:
    """A grade's means as a question: 1 above, 0 below the middle, NaN within; for calcification 1 where present."""
    if name == "calcification":
        return (mean < CALCIFIED_BELOW).astype(float).where(mean.notna())
    return _sides(mean, *((SMALL_MM, LARGE_MM) if name == "diameter" else (BENIGN_BELOW, MALIGNANT_ABOVE)))


def _sides(mean: pd.Series, low: float, high: float) -> pd.Series:
    return (mean > high).astype(float).where((mean > high) | (mean < low))


def thirds(name: str, mean: pd.Series) -> Array:
    """The paper's ternary classes 0 (< 3), 1 (= 3), 2 (> 3), int; diameter: below, within, above Fleischner's steps."""
    low, high = (SMALL_MM, LARGE_MM) if name == "diameter" else (3.0, 3.0)
    return np.where(mean < low, 0, np.where(mean > high, 2, 1))


def grade_table(table: pd.DataFrame, predicted: str) -> pd.DataFrame:
    """One row a grade: how far the columns ``{predicted}{grade}`` are from the readers' means.

    Returns
    -------
    DataFrame
        MAE beside that of the constant guess (the median of the other folds' nodules), in grade units (diameter: mm);
        Pearson r; ``within 1``: share of estimates no further off than one step; ``kappa``: quadratic weighted, of the
        rounded values (neither for diameter); number of nodules with an estimate.
    """
    rows = {}
    for one in GRADES:
        truth, estimate = table[one.name].to_numpy(), table[f"{predicted}{one.name}"].to_numpy()
        constant = np.empty(len(table))
        for fold in range(FOLDS):
            here = (table.fold == fold).to_numpy()
            constant[here] = np.median(truth[~here]) if (~here).any() else np.median(truth)
        ok = np.isfinite(estimate)
        gap = np.abs(truth - estimate)[ok]
        rows[one.name] = {
            "MAE": gap.mean(),
            "constant": np.abs(truth - constant)[ok].mean(),
            "r": correlation(truth[ok], estimate[ok]),
            "within 1": (gap <= 1).mean() if one in JUDGED else np.nan,
            "kappa": kappa(truth[ok], estimate[ok]) if one in JUDGED else np.nan,
            "nodules": int(ok.sum()),
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


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


def malignancy_table(table: pd.DataFrame, scores: Mapping[str, str]) -> pd.DataFrame:
    """Readers' suspicion as a question (mean below 2.75 against above 3.25): AUC and accuracy of each score.

    Parameters
    ----------
    table : DataFrame
    scores : dict
        What to call a score -> the column that holds it, the larger the more suspicious. A missing score (no
        nodule found) counts as the lowest.

    Returns
    -------
    DataFrame
        One row a score: AUC with its 95 % interval (patients resampled), accuracy, sensitivity and specificity
        at the threshold that is best on the other folds. AUC is NaN where all nodules are of one kind.
    """
    asked, positive = suspected(table)
    if positive.all() or not positive.any():
        return pd.DataFrame({"score": list(scores)}).set_index("score").assign(AUC=np.nan)
    rows = {}
    for name, column in scores.items():
        score = filled(asked, column)
        called = call(asked, score, positive, best_threshold)
        low, high = auc_interval(asked.patient_id.to_numpy(), positive, score)
        rows[name] = {"AUC": auc(positive, score), "from": low, "to": high, **rates(called, positive)}
    return pd.DataFrame.from_dict(rows, "index").rename_axis("score").drop(columns="balanced")


def auc_gaps(table: pd.DataFrame, scores: Mapping[str, str]) -> pd.DataFrame:
    """The first score's AUC minus each other's, on the same resampled patients; ``scores`` as above.

    ``p`` is two-sided: twice the smaller share of samples in which the gap has the one or the other sign.
    """
    asked, positive = suspected(table)
    if positive.all() or not positive.any():
        return pd.DataFrame({"score": list(scores)[1:]}).set_index("score").assign(difference=np.nan)
    (_, first), *others = scores.items()
    rows = {}
    for name, column in others:
        both = filled(asked, first), filled(asked, column)
        ours, theirs = auc_samples(asked.patient_id.to_numpy(), positive, *both).T
        low, high = np.percentile(ours - theirs, [2.5, 97.5])
        # Of 1,000 samples none may have the other sign: that does not make p zero.
        p = 2 * (1 + min((ours <= theirs).sum(), (ours >= theirs).sum())) / (1 + len(ours))
        gap = auc(positive, both[0]) - auc(positive, both[1])
        rows[name] = {"difference": gap, "from": low, "to": high, "p": min(p, 1.0)}
    return pd.DataFrame.from_dict(rows, "index").rename_axis("score")


def suspected(table: pd.DataFrame) -> tuple[pd.DataFrame, Array]:
    """The nodules outside the middle that the question leaves out, and which of them are the suspicious ones."""
    answer = question("malignancy", table.malignancy)
    return table[answer.notna()], (answer.dropna() == 1).to_numpy()


def filled(asked: pd.DataFrame, column: str) -> Array:
    """A score, the lowest of all where there is none (no nodule was found)."""
    return asked[column].fillna(asked[column].min()).to_numpy()


def call(table: pd.DataFrame, score: Array, kind: Array, threshold: Callable[[Array, Array], float]) -> Array:
    """Which rows lie above the threshold that ``threshold(score, kind)`` finds on the other folds, bool (N,)."""
    called = np.zeros(len(table), bool)
    for fold in range(FOLDS):
        here = (table.fold == fold).to_numpy()
        if here.any() and (~here).any():
            called[here] = score[here] > threshold(score[~here], kind[~here])
    return called


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
    # Right with the low threshold here and the high one there: what each adds can be told apart.
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


def auc_difference(patients: Array, positive: Array, score: Array, other: Array, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the AUC of ``score`` minus that of ``other``, on the same resampled patients."""
    ours, theirs = auc_samples(patients, positive, score, other, seed=seed).T
    low, high = np.percentile(ours - theirs, [2.5, 97.5])
    return float(low), float(high)


def resampled(patients: Array, seed: int = 0) -> Array:
    """How often each row is in each of ``BOOTSTRAPS`` samples of patients, drawn with replacement, (samples, N)."""
    names, owner = np.unique(patients, return_inverse=True)
    drawn = np.random.default_rng(seed).integers(len(names), size=(BOOTSTRAPS, len(names)))
    drawn += len(names) * np.arange(BOOTSTRAPS)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)[:, owner]


def _areas(positive: Array, score: Array, weights: Array) -> Array:
    """AUC for each row of weights (samples, N): how much of the negatives lies below each positive, ties half."""
    levels, level = np.unique(score, return_inverse=True)
    order = np.argsort(level, kind="stable")
    begins = np.searchsorted(level[order], np.arange(len(levels)))
    sure, not_sure = (np.add.reduceat((weights * kind)[:, order], begins, axis=1) for kind in (positive, ~positive))
    below = np.cumsum(not_sure, 1) - not_sure / 2
    with np.errstate(invalid="ignore"):
        return np.asarray((sure * below).sum(1) / (sure.sum(1) * not_sure.sum(1)))


def markdown(frame: pd.DataFrame, digits: int = 3) -> str:
    """A Markdown table of a frame, its index first; ``-`` where there is no value."""
    head = [frame.index.name or "", *map(str, frame.columns)]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for name, *row in frame.itertuples():
        lines.append("| " + " | ".join([str(name), *(_cell(value, digits) for value in row)]) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float):
        if np.isnan(value):
            return "-"
        return f"{value:.0f}" if value.is_integer() and abs(value) >= 10 else f"{value:.{digits}f}"
    return str(value)


def outline_table(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a set of nodules: Dice, ends, diameter and volume of located outlines against the readers' consensus."""
    rows = []
    for name, table in parts.items():
        found = table[table.found_diameter.notna() & table.true_diameter.notna()]
        ends = found[["low_error_mm", "high_error_mm"]].to_numpy().ravel()
        gap = (found.found_diameter - found.true_diameter).abs()
        large = found.true_diameter > 10
        rows.append(
            {
                "nodules": name,
                "n": len(table),
                "found": table.found_diameter.notna().mean(),
                "median Dice": table.dice.median(),
                "Dice, another point": table.dice_between.mean(),
                "ends off, mm": ends.mean(),
                "ends > 3 mm off": (ends > 3 + 1e-6).mean(),
                "diameter MAE, mm": gap.mean(),
                "diameter MAE > 10 mm, %": 100 * (gap / found.true_diameter)[large].mean(),
                "against readers' mean, mm": (found.found_diameter - found.diameter).abs().mean(),
                "r": np.corrcoef(found.found_diameter, found.diameter)[0, 1] if len(found) > 2 else np.nan,
            }
        )
    return pd.DataFrame(rows).set_index("nodules")
