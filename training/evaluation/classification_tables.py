"""Tables of every grade as a classification with two or three classes: AUC, accuracy and what others report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.imaging.volume import Array

from .classes import JUDGED, STRATA, filled, suspected, three_classes, two_classes
from .metrics import auc, auc_interval, best_threshold, even_threshold, kappa, rates, third_thresholds
from .out_of_fold import ESTIMATES, PIPELINE, call, fold_rows

#: Accuracy, sensitivity and specificity at 2.75 / 3.25 as others report them: on other nodules, in looser splits.
REPORTED = {
    "the paper (other nodules)": (0.873, 0.872, 0.875),
    "Local-Global (nodules of one patient in several folds)": (0.885, 0.887, 0.883),
}
#: What the paper has of its tables 1 and 2 that is known here: its accuracy for malignancy.
PAPER_ACCURACY = {"malignancy": 0.873}


def operating_points(table: pd.DataFrame, column: str = f"{PIPELINE}malignancy") -> pd.DataFrame:
    """Accuracy, sensitivity and specificity of malignancy by how the threshold is set, and what others report."""
    classed, positive = suspected(table)
    score = filled(classed, column)
    rows = {
        "3.0": rates(score > 3, positive),
        "best accuracy on the other folds": rates(call(classed, score, positive, best_threshold), positive),
        "sensitivity = specificity on the other folds": rates(call(classed, score, positive, even_threshold), positive),
    }
    for name, values in REPORTED.items():
        rows[name] = dict(zip(("accuracy", "sensitivity", "specificity"), values, strict=True))
    return pd.DataFrame.from_dict(rows, "index").rename_axis("threshold")


def by_size(table: pd.DataFrame, scores: dict[str, str]) -> pd.DataFrame:
    """AUC of every score in each stratum of the readers' diameter, and how many nodules have a class."""
    rows = {}
    for name, (low, high) in STRATA.items():
        part = table[(table.diameter >= low) & (table.diameter < high)]
        classed, positive = suspected(part)
        both = 0 < positive.sum() < len(classed)
        rows[name] = {"nodules": len(classed), "suspicious": int(positive.sum())} | {
            score: auc(positive, filled(classed, column)) if both else np.nan for score, column in scores.items()
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("diameter")


def every_grade(table: pd.DataFrame, agreement: pd.DataFrame) -> pd.DataFrame:
    """One row per grade: AUC of all ``ESTIMATES`` that the table has, of diameter alone and of one reader.

    The interval (95 %, patients resampled) is the first estimate's; ``agreement`` as ``reader_agreement`` gives it.
    """
    known = {name: prefix for name, prefix in ESTIMATES.items() if f"{prefix}malignancy" in table}
    classes = {
        one.name: (two_classes(one.name, table[one.name]), one.name) for one in JUDGED if one.name != "calcification"
    }
    classes["calcification seen"] = ((table.calcified > 0.5).astype(float), "calcified")
    rows = {}
    for name, (answer, column) in classes.items():
        classed, positive = table[answer.notna()], (answer.dropna() == 1).to_numpy()
        if positive.all() or not positive.any():
            continue
        row: dict[str, float] = {"positive": int(positive.sum()), "negative": int((~positive).sum())}
        for label, prefix in known.items():
            score = filled(classed, f"{prefix}{column}")
            row[label] = auc(positive, score)
            if len(row) == 3:
                row["from"], row["to"] = auc_interval(classed.patient_id.to_numpy(), positive, score)
        for label, size in (
            ("readers' diameter", "diameter"),
            ("diameter from the segmentation network", "found_diameter"),
        ):
            if size in table:
                area = auc(positive, filled(classed, size))
                row[label] = max(area, 1 - area)
        row["one reader"] = agreement.AUC.get(name, np.nan)
        rows[name] = row
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def binary(table: pd.DataFrame, predicted: str) -> pd.DataFrame:
    """One row per grade: accuracy, sensitivity and specificity of the estimates at 3, over folds."""
    rows = {}
    for one in GRADES:
        # As the paper reads it: calcification's code, too, is split at 3.
        truth = table[one.name]
        answer = two_classes("malignancy" if one.words else one.name, truth).dropna()
        known = answer[table.loc[answer.index, f"{predicted}{one.name}"].notna()]
        positive = (known == 1).to_numpy()
        called = (table.loc[known.index, f"{predicted}{one.name}"] > (3 if one.words else 7)).to_numpy()
        each = pd.DataFrame([rates(called[f], positive[f]) for f in fold_rows(table.loc[known.index])])
        row: dict[str, float] = {"nodules": len(known), "positive": int(positive.sum())}
        for name in ("accuracy", "sensitivity", "specificity"):
            row |= {name: each[name].mean(), f"{name} sd": each[name].std()}
        row["balanced"] = rates(called, positive)["balanced"]
        row["majority"] = max(positive.mean(), 1 - positive.mean()) if len(known) else np.nan
        row["the paper's accuracy"] = PAPER_ACCURACY.get(one.name, np.nan)
        rows[one.name] = row
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def ternary(table: pd.DataFrame, predicted: str) -> pd.DataFrame:
    """One row per grade: accuracy over folds of the three classes, its thresholds set on the other folds."""
    rows = {}
    for one in GRADES:
        known = table[table[f"{predicted}{one.name}"].notna()]
        score, kind = known[f"{predicted}{one.name}"].to_numpy(), three_classes(one.name, known[one.name])
        above_low, above_high = (call(known, score, kind, threshold) for threshold in (_low, _high))
        called = above_low.astype(int) + above_high
        each = pd.Series([(called == kind)[f].mean() for f in fold_rows(known)])
        counts = np.bincount(kind, minlength=3)
        rows[one.name] = {
            **dict(zip(("below", "middle", "above"), counts.tolist(), strict=True)),
            "accuracy": each.mean(),
            "accuracy sd": each.std(),
            "balanced": np.mean([(called[kind == k] == k).mean() for k in range(3) if counts[k]]),
            "majority": counts.max() / counts.sum(),
            "kappa": kappa(kind, called),
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def _low(score: Array, kind: Array) -> float:
    return third_thresholds(score, kind)[0]


def _high(score: Array, kind: Array) -> float:
    return third_thresholds(score, kind)[1]
