"""Calibration: intervals of the estimates and the suspicion probability, fitted on other folds than they are scored on.

A table here is an out-of-fold table; no nodule is in its own calibration.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from NoduleRiskLib.grades import GRADE_NAMES, GRADES
from NoduleRiskLib.imaging.volume import Array

from .classes import STRATA
from .out_of_fold import out_of_fold

LEVEL = 0.8
#: Strata of the measured diameter, mm: below, between and above these.
STRATA_MM = (6.0, 10.0, 15.0)
FEWEST = 30
BINS = 10
SIMULATIONS = 1000


def residual_interval(
    table: pd.DataFrame, predicted: str, level: float = LEVEL
) -> dict[str, tuple[tuple[float, float], ...]]:
    """For each grade and stratum what to add to an estimate for the ends of its interval (diameter: log2 mm).

    Split conformal on out-of-fold residuals: their outer quantiles, with the finite-sample correction of Lei et
    al. 2018 (doi 10.1080/01621459.2017.1307116), for each stratum of the *measured* diameter on its own (Mondrian:
    Vovk et al. 2005, doi 10.1007/b106715), as a large nodule's spiculation is less sure than a small one's. A stratum
    of fewer than ``FEWEST`` nodules takes the quantiles of all.
    """
    stratum = _strata(table, predicted)
    interval = {}
    for grade in GRADES:
        truth, estimate = table[grade.name], table[f"{predicted}{grade.name}"]
        gap = (np.log2(truth / estimate) if grade.logarithmic else truth - estimate).dropna()
        parts = [gap[stratum[gap.index] == one] for one in range(len(STRATA_MM) + 1)]
        interval[grade.name] = tuple(_ends(part if len(part) >= FEWEST else gap, level) for part in parts)
    return interval


def _ends(gap: pd.Series, level: float) -> tuple[float, float]:
    tail = min(1.0, (1 - (1 - level) / 2) * (len(gap) + 1) / len(gap))
    return float(-np.quantile(-gap, tail)), float(np.quantile(gap, tail))


def _strata(table: pd.DataFrame, predicted: str) -> pd.Series:
    """The stratum of each measured diameter, 0 and up; without an estimate the last one."""
    return pd.Series(np.digitize(table[f"{predicted}diameter"], STRATA_MM), table.index)


def inside(table: pd.DataFrame, predicted: str, level: float = LEVEL) -> pd.DataFrame:
    """Whether each nodule's readers' mean lies in the interval fitted on the other folds; NaN without an estimate.

    One row per nodule (index as in ``table``), one column per grade, 0 or 1. Ends are clipped to the scale, as the
    assessor does.
    """

    def held(here: pd.DataFrame, rest: pd.DataFrame) -> pd.DataFrame:
        interval, stratum = residual_interval(rest, predicted, level), _strata(here, predicted)
        hits = {}
        for grade in GRADES:
            value = here[f"{predicted}{grade.name}"].clip(grade.low, grade.high)
            low, high = np.array(interval[grade.name])[stratum].T
            ends = (value * 2**low, value * 2**high) if grade.logarithmic else (value + low, value + high)
            low_end, high_end = (end.clip(grade.low, grade.high) for end in ends)
            covered = here[grade.name].between(low_end - 1e-6, high_end + 1e-6)
            hits[grade.name] = covered.astype(float).where(value.notna())
        return pd.DataFrame(hits)

    return out_of_fold(table, held).reindex(columns=list(GRADE_NAMES)).sort_index()


def coverage(table: pd.DataFrame, predicted: str, level: float = LEVEL) -> pd.Series:
    """Share of nodules whose readers' mean lies in an interval fitted on the other folds, by grade."""
    return inside(table, predicted, level).mean().dropna()


def coverage_table(table: pd.DataFrame, predicted: str, level: float = LEVEL) -> pd.DataFrame:
    """``coverage`` by grade (rows) of all nodules and of each stratum of the readers' diameter."""
    held = inside(table, predicted, level)
    size = table.diameter[held.index]
    columns = {"all": held.mean()}
    for name, (low, high) in STRATA.items():
        columns[name] = held[(size >= low) & (size < high)].mean()
    return pd.DataFrame(columns).rename_axis("grade")


def suspicion(table: pd.DataFrame, predicted: str) -> tuple[float, float]:
    """Intercept and slope of the chance that at least half of the readers give malignancy 4 or 5."""
    known = table[np.isfinite(table[f"{predicted}malignancy"])]
    model = LogisticRegression(C=1e6).fit(known[[f"{predicted}malignancy"]].to_numpy(), known.suspicious)
    return float(model.intercept_[0]), float(model.coef_[0, 0])


def chances(table: pd.DataFrame, predicted: str) -> pd.DataFrame:
    """The suspicion probability of each nodule with an estimate, fitted on the other folds.

    Columns: ``chance``, ``constant`` (the base rate of the other folds) and ``suspicious`` (what the readers gave).
    """
    columns = ["suspicious", "chance", "constant"]

    def chance(here: pd.DataFrame, rest: pd.DataFrame) -> pd.DataFrame:
        if rest.suspicious.nunique() < 2:
            return pd.DataFrame(columns=columns, dtype=float)
        intercept, slope = suspicion(rest, predicted)
        value = expit(intercept + slope * here[f"{predicted}malignancy"])
        return here[["suspicious"]].assign(chance=value, constant=rest.suspicious.mean())

    return out_of_fold(table.dropna(subset=[f"{predicted}malignancy"]), chance).reindex(columns=columns)


def calibration(probabilities: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How well calibrated the suspicion probability is, one row per measure; ``probabilities`` as ``chances`` gives it.

    Columns: ours, that of a perfect one (Brier: of the constant base rate), and for the expected calibration error the
    range (95 %) that a perfectly calibrated probability shows on as many nodules, by simulation: even then the share
    of events in a bin is not its probability.
    """
    chance, event = probabilities.chance.to_numpy(float), probabilities.suspicious.to_numpy(float)
    rng = np.random.default_rng(seed)
    by_luck = [ece(chance, (rng.random(len(chance)) < chance).astype(float)) for _ in range(SIMULATIONS)]
    low, high = np.percentile(by_luck, [2.5, 97.5])
    line = LogisticRegression(C=1e6).fit(logit(np.clip(chance, 1e-6, 1 - 1e-6))[:, None], event)
    rows = {
        "Brier score": (np.mean((chance - event) ** 2), np.mean((probabilities.constant - event) ** 2), np.nan, np.nan),
        "slope": (line.coef_[0, 0], 1.0, np.nan, np.nan),
        "intercept": (line.intercept_[0], 0.0, np.nan, np.nan),
        f"ECE, {BINS} bins": (ece(chance, event), np.mean(by_luck), low, high),
    }
    columns = ["ours", "to compare", "from", "to"]
    return pd.DataFrame.from_dict(rows, "index", columns=columns).rename_axis("measure").astype(float)


def ece(chance: Array, event: Array) -> float:
    """Expected calibration error: mean gap between chance and share of events over ``BINS`` bins of equal width."""
    rows = reliability(chance, event)
    return float((rows.nodules * (rows.chance - rows.events).abs()).sum() / rows.nodules.sum())


def reliability(chance: Array, event: Array) -> pd.DataFrame:
    """One row per bin of equal width: mean ``chance``, share of ``events``, number of ``nodules``."""
    number = np.minimum((np.asarray(chance) * BINS).astype(int), BINS - 1)
    bins = pd.DataFrame({"chance": chance, "events": event, "bin": number}).groupby("bin")
    return bins.mean().assign(nodules=bins.size())


def plot_reliability(probabilities: pd.DataFrame) -> Figure:
    """Share of suspicious nodules by suspicion probability, with the 95 % range of chance for each bin."""
    rows = reliability(probabilities.chance, probabilities.suspicious)
    spread = 1.96 * np.sqrt(rows.chance * (1 - rows.chance) / rows.nodules)
    figure = Figure(figsize=(5, 5))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.fill_between(rows.chance, rows.chance - spread, rows.chance + spread, color="grey", alpha=0.2)
    axes.plot(rows.chance, rows.events, marker="o")
    for row in rows.itertuples():
        axes.annotate(f"{row.nodules:.0f}", (row.chance, row.events), xytext=(4, -12), textcoords="offset points")
    label = "at least half of the readers give 4 or 5"
    axes.set(xlabel="suspicion probability", ylabel=f"share of nodules: {label}", xlim=(0, 1), ylim=(0, 1))
    return figure
