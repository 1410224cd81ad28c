"""Grades first, malignancy from them: how well the second stage does, and what errors of the first do to it.

All tables here hold the nodules that malignancy's question leaves (mean below 2.75 or above 3.25), with their ``fold``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.base import ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from NoduleRiskLib.grades import MALIGNANT_ABOVE, OTHER_GRADES
from NoduleRiskLib.imaging.volume import Array

from ..evaluation.score_tables import malignancy_table

#: Settings only: ``untrained`` copies them, and nothing is ever fitted in place.
CLASSIFIERS = {"support vector machine": SVC(), "logistic regression": LogisticRegression()}
NOISE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
REPEATS = 3


def from_grades(asked: pd.DataFrame) -> pd.DataFrame:
    """``evaluate.malignancy_table`` of each classifier, with and without diameter, and of diameter alone."""
    asked = asked.copy()
    scores = {}
    for name, classifier in CLASSIFIERS.items():
        for diameter in (True, False):
            label = f"{name}, {'eight grades' if diameter else 'seven, without diameter'}"
            scores[label] = label
            asked[label] = cross_val_predict(
                untrained(classifier),
                features(asked, diameter),
                asked.malignancy > MALIGNANT_ABOVE,
                cv=PredefinedSplit(asked.fold),
                method="decision_function",
            )
    return malignancy_table(asked, scores | {"diameter alone": "diameter"})


def noise(asked: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the classifiers by the share of noise on the grades that they meet, and that they were taught on.

    Index: the share; columns: how the noise comes about, classifier, what it was taught on. ``attrs["constant"]`` is
    the accuracy of the commoner answer.
    """
    suspect = (asked.malignancy > MALIGNANT_ABOVE).to_numpy()
    splits = list(PredefinedSplit(asked.fold).split())
    taught = {
        name: [untrained(model).fit(features(asked.iloc[a]), suspect[a]) for a, _ in splits]
        for name, model in CLASSIFIERS.items()
    }
    rng = np.random.default_rng(0)
    rows = []
    for share in NOISE:
        for kind in ("spread", "replaced"):
            # Without noise every draw is the same.
            for _ in range(REPEATS if share else 1):
                met = features(noisy(asked, share, kind, rng))
                for name, model in CLASSIFIERS.items():
                    for (a, b), clean in zip(splits, taught[name], strict=True):
                        used = untrained(model).fit(met[a], suspect[a])
                        for how, one in (("taught clean", clean), ("taught noisy", used)):
                            right = float((one.predict(met[b]) == suspect[b]).mean())
                            rows.append({"noise": share, "how": f"{kind}, {name}, {how}", "accuracy": right})
    result = pd.DataFrame(rows).pivot_table(index="noise", columns="how", values="accuracy")
    result.attrs["constant"] = max(suspect.mean(), 1 - suspect.mean())
    return result.rename_axis(columns=None)


def untrained(classifier: ClassifierMixin) -> Pipeline:
    """A pipeline of its own around a copy of the classifier: ``make_pipeline`` alone would share the classifier."""
    return make_pipeline(StandardScaler(), clone(classifier))


def noisy(asked: pd.DataFrame, share: float, kind: str, rng: np.random.Generator) -> pd.DataFrame:
    """The table with noise on every grade but malignancy.

    Parameters
    ----------
    share : float
        0 to 1.
    kind : str
        "spread": Gaussian with a standard deviation of that share of the scale (diameter: of itself), clipped to the
        scale; "replaced": that share of the values is another nodule's.
    """
    changed = {}
    for grade in OTHER_GRADES:
        value = asked[grade.name].to_numpy()
        if kind == "replaced":
            changed[grade.name] = np.where(rng.random(len(value)) < share, rng.permutation(value), value)
        else:
            step = value if grade.logarithmic else grade.high - grade.low
            changed[grade.name] = np.clip(value + rng.normal(0, share, len(value)) * step, grade.low, grade.high)
    return asked.assign(**changed)


def features(table: pd.DataFrame, diameter: bool = True) -> Array:
    """The eight other grades (or the seven without diameter), float (N, 8); diameter as log2 mm."""
    return np.column_stack(
        [
            np.log2(table[g.name]) if g.logarithmic else table[g.name]
            for g in OTHER_GRADES
            if diameter or g.name != "diameter"
        ]
    )


def plot_noise(table: pd.DataFrame) -> Figure:
    """Accuracy by noise, one panel for each way that noise comes about."""
    figure = Figure(figsize=(11, 4))
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), ("spread", "replaced"), strict=True):
        chosen = table.filter(like=f"{kind}, ").rename(columns=lambda name: name.split(", ", 1)[1])
        chosen.plot(ax=axes, marker="o", markersize=3)
        axes.axhline(table.attrs["constant"], color="grey", linestyle=":")
        axes.set(title=kind, xlabel="noise on the readers' grades", ylabel="accuracy (dotted: no grades at all)")
    return figure
