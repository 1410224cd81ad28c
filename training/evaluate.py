"""How good the estimates are: every score beside the constant guess, diameter alone and counting slices."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from NoduleRiskLib.grades import BENIGN_BELOW, GRADES, MALIGNANT_ABOVE
from NoduleRiskLib.volume import Array

from .crops import FOLDS

BOOTSTRAPS = 1000


def grade_table(table: pd.DataFrame, predicted: str) -> pd.DataFrame:
    """One row a grade: MAE of the columns ``{predicted}{grade}`` beside the constant guess, and Pearson r.

    The constant is the median of the other folds' nodules; diameter's errors are in mm.
    """
    rows = []
    for grade in GRADES:
        truth, estimate = table[grade.name].to_numpy(), table[f"{predicted}{grade.name}"].to_numpy()
        constant = np.empty(len(table))
        for fold in range(FOLDS):
            here = (table.fold == fold).to_numpy()
            constant[here] = np.median(truth[~here]) if (~here).any() else np.median(truth)
        ok = np.isfinite(estimate)
        rows.append(
            {
                "grade": grade.name,
                "MAE": np.abs(truth - estimate)[ok].mean(),
                "constant": np.abs(truth - constant)[ok].mean(),
                "r": np.corrcoef(truth[ok], estimate[ok])[0, 1],
                "nodules": int(ok.sum()),
            }
        )
    return pd.DataFrame(rows).set_index("grade")


def malignancy_table(table: pd.DataFrame, scores: dict[str, str]) -> pd.DataFrame:
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
    asked, positive = _asked(table)
    if positive.all() or not positive.any():
        return pd.DataFrame({"score": list(scores)}).set_index("score").assign(AUC=np.nan)
    rows = []
    for name, column in scores.items():
        score = _filled(asked, column)
        called = np.zeros(len(asked), bool)
        for fold in range(FOLDS):
            here = (asked.fold == fold).to_numpy()
            if here.any() and (~here).any():
                called[here] = score[here] > best_threshold(score[~here], positive[~here])
        low, high = auc_interval(asked.patient_id.to_numpy(), positive, score)
        rows.append(
            {
                "score": name,
                "AUC": roc_auc_score(positive, score),
                "from": low,
                "to": high,
                "accuracy": (called == positive).mean(),
                "sensitivity": called[positive].mean(),
                "specificity": (~called[~positive]).mean(),
            }
        )
    return pd.DataFrame(rows).set_index("score")


def auc_gaps(table: pd.DataFrame, scores: dict[str, str]) -> pd.DataFrame:
    """The first score's AUC minus each other's, with the interval of ``auc_difference``; ``scores`` as above."""
    asked, positive = _asked(table)
    (_, first), *others = scores.items()
    rows = []
    for name, column in others:
        ours, theirs = _filled(asked, first), _filled(asked, column)
        low, high = auc_difference(asked.patient_id.to_numpy(), positive, ours, theirs)
        gap = roc_auc_score(positive, ours) - roc_auc_score(positive, theirs)
        rows.append({"score": name, "difference": gap, "from": low, "to": high})
    return pd.DataFrame(rows).set_index("score")


def _asked(table: pd.DataFrame) -> tuple[pd.DataFrame, Array]:
    """The nodules outside the middle that the question leaves out, and which of them are the suspicious ones."""
    asked = table[(table.malignancy < BENIGN_BELOW) | (table.malignancy > MALIGNANT_ABOVE)]
    return asked, (asked.malignancy > MALIGNANT_ABOVE).to_numpy()


def _filled(asked: pd.DataFrame, column: str) -> Array:
    return asked[column].fillna(asked[column].min()).to_numpy()


def best_threshold(score: Array, positive: Array) -> float:
    """The threshold with the highest accuracy; of several, the middle one."""
    levels = np.unique(score)
    between = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2])
    right = np.array([((score > level) == positive).mean() for level in between])
    best = np.flatnonzero(right == right.max())
    return float(between[best[len(best) // 2]])


def auc_interval(patients: Array, positive: Array, score: Array, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the AUC, resampling patients."""
    areas = [roc_auc_score(positive[rows], score[rows]) for rows in resampled(patients, positive, seed)]
    low, high = np.percentile(areas, [2.5, 97.5])
    return float(low), float(high)


def auc_difference(patients: Array, positive: Array, score: Array, other: Array, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the AUC of ``score`` minus that of ``other``, on the same resampled patients."""
    gaps = [
        roc_auc_score(positive[rows], score[rows]) - roc_auc_score(positive[rows], other[rows])
        for rows in resampled(patients, positive, seed)
    ]
    low, high = np.percentile(gaps, [2.5, 97.5])
    return float(low), float(high)


def resampled(patients: Array, positive: Array, seed: int) -> list[Array]:
    """Rows of ``BOOTSTRAPS`` samples of patients, drawn with replacement; those without both classes left out."""
    rng = np.random.default_rng(seed)
    names, owner = np.unique(patients, return_inverse=True)
    rows_of = [np.flatnonzero(owner == n) for n in range(len(names))]
    samples = [
        np.concatenate([rows_of[n] for n in rng.integers(len(names), size=len(names))]) for _ in range(BOOTSTRAPS)
    ]
    return [rows for rows in samples if positive[rows].any() and not positive[rows].all()]


def residual_interval(table: pd.DataFrame, predicted: str, level: float = 0.8) -> dict[str, tuple[float, float]]:
    """For each grade what to add to an estimate for the ends of its interval (diameter: log2 mm).

    Split conformal on out-of-fold residuals: their outer quantiles, with the finite-sample correction of Lei et
    al. 2018 (doi 10.1080/01621459.2017.1307116).
    """
    interval = {}
    for grade in GRADES:
        truth, estimate = table[grade.name].to_numpy(), table[f"{predicted}{grade.name}"].to_numpy()
        ok = np.isfinite(estimate)
        truth, estimate = truth[ok], estimate[ok]
        gap = np.log2(truth / estimate) if grade.logarithmic else truth - estimate
        tail = min(1.0, (1 - (1 - level) / 2) * (len(gap) + 1) / len(gap))
        interval[grade.name] = (float(-np.quantile(-gap, tail)), float(np.quantile(gap, tail)))
    return interval


def coverage(table: pd.DataFrame, predicted: str, level: float = 0.8) -> pd.Series:
    """Share of nodules whose readers' mean lies in an interval fitted on the other folds, by grade."""
    hits: dict[str, list[float]] = {grade.name: [] for grade in GRADES}
    for fold in range(FOLDS):
        here = table[table.fold == fold]
        rest = table[table.fold != fold]
        if not len(here) or not len(rest):
            continue
        for name, (low, high) in residual_interval(rest, predicted, level).items():
            grade = next(g for g in GRADES if g.name == name)
            value = here[f"{predicted}{name}"].dropna().clip(grade.low, grade.high)
            truth = here[name].loc[value.index]
            ends = (value * 2**low, value * 2**high) if grade.logarithmic else (value + low, value + high)
            inside = (truth >= ends[0].clip(grade.low, grade.high) - 1e-6) & (
                truth <= ends[1].clip(grade.low, grade.high) + 1e-6
            )
            hits[name] += inside.astype(float).tolist()
    return pd.Series({name: float(np.mean(values)) for name, values in hits.items() if values})


def suspicion(table: pd.DataFrame, predicted: str) -> tuple[float, float]:
    """Intercept and slope of the chance that at least half of the readers give malignancy 4 or 5."""
    known = table[np.isfinite(table[f"{predicted}malignancy"])]
    model = LogisticRegression(C=1e6).fit(known[[f"{predicted}malignancy"]].to_numpy(), known.suspicious)
    return float(model.intercept_[0]), float(model.coef_[0, 0])


def brier(table: pd.DataFrame, predicted: str) -> tuple[float, float]:
    """Brier score of the suspicion probability fitted on the other folds, and that of their base rate."""
    ours, constant = [], []
    for fold in range(FOLDS):
        here, rest = table[table.fold == fold].dropna(subset=[f"{predicted}malignancy"]), table[table.fold != fold]
        if not len(here) or rest.suspicious.nunique() < 2:
            continue
        intercept, slope = suspicion(rest, predicted)
        chance = 1 / (1 + np.exp(-intercept - slope * here[f"{predicted}malignancy"]))
        ours += ((chance - here.suspicious) ** 2).tolist()
        constant += ((rest.suspicious.mean() - here.suspicious) ** 2).tolist()
    return float(np.mean(ours)), float(np.mean(constant))


def markdown(frame: pd.DataFrame, digits: int = 3) -> str:
    """A Markdown table of a frame, its index first."""
    head = [frame.index.name or "", *map(str, frame.columns)]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for name, row in frame.iterrows():
        lines.append("| " + " | ".join([str(name), *(_cell(value, digits) for value in row)]) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float):
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
