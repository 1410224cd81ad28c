"""What every table would lose if an AUC, an interval or a threshold were not what its definition says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from training.evaluation import classes, metrics, score_tables
from training.evaluation.out_of_fold import call
from training.evaluation.report_sections import markdown


def scored(n: int = 300) -> pd.DataFrame:
    """Nodules with malignancy, a good score, a poor one with ties, two to a patient."""
    rng = np.random.default_rng(0)
    malignancy = rng.uniform(1, 5, n)
    return pd.DataFrame(
        {
            "malignancy": malignancy,
            "good": malignancy + rng.normal(0, 0.5, n),
            "poor": np.round(malignancy + rng.normal(0, 3, n)),
            "patient_id": np.arange(n) // 2,
            "fold": np.arange(n) // 2 % 5,
        }
    )


def test_an_area_is_that_of_scikit_learn_ties_and_weights_included() -> None:
    table = scored()
    positive = (table.malignancy > 3).to_numpy()
    for name in ("good", "poor"):
        score = table[name].to_numpy()
        assert metrics.auc(positive, score) == pytest.approx(roc_auc_score(positive, score))
        weights = metrics.resampled(table.patient_id.to_numpy())[:20]
        theirs = [roc_auc_score(positive, score, sample_weight=one) for one in weights]
        assert metrics.auc_samples(table.patient_id.to_numpy(), positive, score)[:20, 0] == pytest.approx(theirs)


def test_whole_patients_are_drawn_as_many_as_there_are() -> None:
    weights = metrics.resampled(np.array(["a", "b", "a", "c"]))
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()
    assert weights.mean() == pytest.approx(1, abs=0.1) and weights.max() == 3


def test_samples_of_one_kind_have_no_area() -> None:
    positive = np.array([True, False, False])
    areas = metrics.auc_samples(np.arange(3), positive, np.array([3.0, 1, 2]))
    assert 0.5 * metrics.BOOTSTRAPS < len(areas) < metrics.BOOTSTRAPS
    assert (areas == 1).all()


def test_a_better_score_is_told_from_a_poorer_one_and_not_from_itself() -> None:
    table = scored().assign(same=lambda t: t.good)
    gaps = score_tables.auc_differences(table, {"good": "good", "poor": "poor", "same": "same"})
    assert gaps["from"]["poor"] > 0 and gaps.p["poor"] < 0.01
    assert gaps.difference["same"] == 0 and gaps.p["same"] == 1


def test_thresholds_are_the_best_that_there_are() -> None:
    rng = np.random.default_rng(1)
    score = np.round(rng.normal(size=80), 1)
    positive = score + rng.normal(0, 1, 80) > 0.3
    levels = np.unique(np.concatenate([score - 0.05, score + 0.05]))
    right = [((score > level) == positive).mean() for level in levels]
    assert ((score > metrics.best_threshold(score, positive)) == positive).mean() == max(right)

    def apart(level: float) -> float:
        rates = metrics.rates(score > level, positive)
        return abs(rates["sensitivity"] - rates["specificity"])

    assert apart(metrics.even_threshold(score, positive)) == pytest.approx(min(map(apart, levels)))
    kind = np.digitize(score + rng.normal(0, 0.5, 80), (-0.4, 0.4))
    best = max((np.digitize(score, (a, b)) == kind).mean() for a in levels for b in levels if a <= b)
    low, high = metrics.third_thresholds(score, kind)
    assert low <= high
    assert ((score > low).astype(int) + (score > high) == kind).mean() == best


def test_a_threshold_never_sees_the_fold_that_it_divides() -> None:
    table = scored()
    positive = (table.malignancy > 3).to_numpy()
    seen = []
    call(table, table.good.to_numpy(), positive, lambda score, kind: seen.append(len(score)) or 3.0)
    assert seen == [len(table) - (table.fold == fold).sum() for fold in range(5)]


def test_kappa_rounds_halves_upwards_and_equals_scikit_learn() -> None:
    truth, said = np.array([1.0, 2.5, 3.0, 4.6]), np.array([1.2, 2.9, 3.5, 4.4])
    assert metrics.kappa(truth, said) == cohen_kappa_score([1, 3, 3, 5], [1, 3, 4, 4], weights="quadratic")
    assert np.isnan(metrics.kappa(truth, np.ones(4)))


def test_diameter_is_asked_about_in_millimetres_and_the_others_in_steps() -> None:
    assert classes.two_classes("diameter", pd.Series([5.9, 7.0, 8.1])).tolist()[::2] == [0, 1]
    assert classes.two_classes("margin", pd.Series([2.7, 3.0, 3.3])).isna().tolist() == [False, True, False]
    assert classes.three_classes("diameter", pd.Series([5.9, 6, 8, 8.1])).tolist() == [0, 1, 1, 2]
    assert classes.three_classes("margin", pd.Series([2.9, 3, 3.1])).tolist() == [0, 1, 2]


def test_a_table_shows_whole_numbers_whole_and_gaps_as_gaps() -> None:
    text = markdown(pd.DataFrame({"n": [3, 12], "x": [0.5, np.nan]}, index=["a", "b"]).rename_axis("row"))
    assert text.splitlines()[2:] == ["| a | 3 | 0.500 |", "| b | 12 | - |"]


def test_intervals_of_means_resample_patients() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(100), 4)
    values = np.repeat(rng.normal(size=100), 4)
    mean, low, high, _ = metrics.mean_difference(patients, values)
    assert low < mean < high
    # Four copies of a hundred values are a hundred values: 2 x 1.96 / sqrt(100).
    assert high - low == pytest.approx(0.392, abs=0.06)


def test_a_difference_of_r_is_that_of_the_resampled_nodules_themselves() -> None:
    table = scored(60)
    truth, good, poor, patients = (table[name].to_numpy() for name in ("malignancy", "good", "poor", "patient_id"))
    found = metrics.r_difference(patients, truth, good, poor)
    assert found.value == pytest.approx(metrics.correlation(truth, good) - metrics.correlation(truth, poor))
    drawn = [np.repeat(np.arange(60), often) for often in metrics.resampled(patients)]
    samples = [np.corrcoef(truth[at], good[at])[0, 1] - np.corrcoef(truth[at], poor[at])[0, 1] for at in drawn]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(samples, [2.5, 97.5])))
    same = metrics.r_difference(patients, truth, good, good)
    assert same.low == same.value == same.high == 0
