"""Tables of scores: errors of the grades, malignancy as a classification, differences between scores, outlines."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from NoduleRiskLib.grades import GRADES

from .classes import JUDGED, filled, suspected
from .metrics import (
    Difference,
    auc,
    auc_difference,
    auc_interval,
    best_threshold,
    correlation,
    kappa,
    mean_difference,
    rates,
)
from .out_of_fold import HEAD_DIAMETER, call, fold_rows

#: Where a table has no value.
NONE = "–"


def grade_table(table: pd.DataFrame, predicted: str) -> pd.DataFrame:
    """One row per grade: how far the columns ``{predicted}{grade}`` are from the readers' means.

    Returns
    -------
    DataFrame
        MAE beside that of the constant guess (the median of the other folds' nodules), in grade units (diameter: mm);
        Pearson r; ``within 1``: share of estimates no further off than one step; ``kappa``: quadratic weighted, of the
        rounded values (neither for diameter); number of nodules with an estimate.
    """
    rows = {}
    named = {one.name: (one, f"{predicted}{one.name}") for one in GRADES}
    if (head := f"{predicted}{HEAD_DIAMETER}") in table:
        named["diameter, ninth head"] = named["diameter"][0], head
    for name, (one, column) in named.items():
        truth, estimate = table[one.name].to_numpy(), table[column].to_numpy()
        constant = np.empty(len(table))
        for here in fold_rows(table):
            constant[here] = np.median(truth[~here]) if (~here).any() else np.median(truth)
        ok = np.isfinite(estimate)
        gap = np.abs(truth - estimate)[ok]
        rows[name] = {
            "MAE": gap.mean(),
            "constant": np.abs(truth - constant)[ok].mean(),
            "r": correlation(truth[ok], estimate[ok]),
            "within 1": (gap <= 1).mean() if one in JUDGED else np.nan,
            "kappa": kappa(truth[ok], estimate[ok]) if one in JUDGED else np.nan,
            "nodules": int(ok.sum()),
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def malignancy_table(table: pd.DataFrame, scores: Mapping[str, str]) -> pd.DataFrame:
    """Readers' suspicion as a classification (mean below 2.75 against above 3.25): AUC and accuracy of each score.

    Parameters
    ----------
    table : DataFrame
    scores : dict
        What to call a score -> the column that holds it, the larger the more suspicious. A missing score (no
        nodule found) counts as the lowest.

    Returns
    -------
    DataFrame
        One row per score: AUC with its 95 % interval (patients resampled), accuracy, sensitivity and specificity
        at the threshold that is best on the other folds. AUC is NaN where all nodules are of one kind.
    """
    classed, positive = suspected(table)
    if positive.all() or not positive.any():
        return pd.DataFrame({"score": list(scores)}).set_index("score").assign(AUC=np.nan)
    rows = {}
    for name, column in scores.items():
        score = filled(classed, column)
        called = call(classed, score, positive, best_threshold)
        low, high = auc_interval(classed.patient_id.to_numpy(), positive, score)
        rows[name] = {"AUC": auc(positive, score), "from": low, "to": high, **rates(called, positive)}
    return pd.DataFrame.from_dict(rows, "index").rename_axis("score").drop(columns="balanced")


def auc_differences(table: pd.DataFrame, scores: Mapping[str, str]) -> pd.DataFrame:
    """The first score's AUC minus each other's, with 95 % interval and two-sided p; ``scores`` as above."""
    classed, positive = suspected(table)
    if positive.all() or not positive.any():
        return pd.DataFrame({"score": list(scores)[1:]}).set_index("score").assign(difference=np.nan)
    (_, first), *others = scores.items()
    patients = classed.patient_id.to_numpy()
    rows = {}
    for name, column in others:
        value, low, high, p = auc_difference(patients, positive, filled(classed, first), filled(classed, column))
        rows[name] = {"difference": value, "from": low, "to": high, "p": p}
    return pd.DataFrame.from_dict(rows, "index").rename_axis("score")


def differences_from_first(
    table: pd.DataFrame, scores: Mapping[str, str], without_error: Collection[str] = ()
) -> pd.DataFrame:
    """AUC, accuracy and mean absolute error of malignancy of each score minus the first's, as ``value (from to)``.

    Parameters
    ----------
    table : DataFrame
    scores : dict
        As ``malignancy_table`` takes them.
    without_error : collection of str
        Scores that are no grades, so that they have no error.
    """
    (first, first_column), *others = scores.items()
    classed, positive = suspected(table)
    if positive.all() or not positive.any():
        return pd.DataFrame({"run": [name for name, _ in others]}).set_index("run").assign(AUC=np.nan)
    score = {name: filled(classed, column) for name, column in scores.items()}
    right = {
        name: (call(classed, one, positive, best_threshold) == positive).astype(float) for name, one in score.items()
    }
    patients, all_patients = classed.patient_id.to_numpy(), table.patient_id.to_numpy()
    rows = {}
    for name, column in others:
        row = {
            "AUC": difference_text(auc_difference(patients, positive, score[name], score[first])),
            "accuracy": NONE,
            "MAE": NONE,
        }
        if classed.fold.nunique() > 1:
            row["accuracy"] = difference_text(mean_difference(patients, right[name] - right[first]))
        if not {name, first} & {*without_error}:
            off = (table[column] - table.malignancy).abs() - (table[first_column] - table.malignancy).abs()
            both = off.notna().to_numpy()
            row["MAE"] = difference_text(mean_difference(all_patients[both], off.to_numpy()[both]))
        rows[name] = row
    return pd.DataFrame.from_dict(rows, "index").rename_axis("run")


def difference_text(difference: Difference) -> str:
    """``value (from to)``, as tables show it."""
    return f"{difference.value:+.3f} ({difference.low:+.3f} {difference.high:+.3f})"


def outline_table(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per set of nodules: Dice, ends, diameter and volume of found outlines against the readers' consensus."""
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
                "unsure": table.unsure.mean() if "unsure" in table else np.nan,
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
