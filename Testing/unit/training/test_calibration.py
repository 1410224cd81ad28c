"""What a reader of intervals and probabilities would lose if they promised more than they hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from NoduleRiskLib.grades import GRADES
from training.evaluation import calibration


def estimated(nodules: int, spread: float = 0.4, large_spread: float | None = None) -> pd.DataFrame:
    """Nodules whose readers' means are the estimate and chance; half of them are large."""
    rng = np.random.default_rng(0)
    large = np.arange(nodules) % 2 == 1
    frame = pd.DataFrame({"fold": np.arange(nodules) // 2 % 5})
    for grade in GRADES:
        middle = np.where(large, 20.0, 5.0) if grade.logarithmic else 3.0
        off = rng.normal(0, np.where(large, spread if large_spread is None else large_spread, spread), nodules)
        frame[grade.name] = middle * 2**off if grade.logarithmic else middle + off
        frame[f"said_{grade.name}"] = middle
    return frame


def test_intervals_cover_what_they_promise() -> None:
    frame = estimated(2000)
    low, high = calibration.residual_interval(frame, "said_")["margin"][0]
    assert (low, high) == (pytest.approx(-0.4 * 1.2816, abs=0.06), pytest.approx(0.4 * 1.2816, abs=0.06))
    assert calibration.coverage(frame, "said_").between(0.76, 0.84).all()


def test_large_nodules_get_intervals_of_their_own() -> None:
    # Sizes as estimated, so that the strata hold what they say; diameter itself is then certain.
    frame = estimated(2000, 0.1, 0.8).assign(diameter=lambda table: table.said_diameter)
    table = calibration.coverage_table(frame, "said_").drop("diameter")
    assert table["< 6 mm"].between(0.75, 0.85).all() and table["> 15 mm"].between(0.75, 0.85).all()
    assert table["6 to 10 mm"].isna().all()
    small, _, _, large = calibration.residual_interval(estimated(2000, 0.1, 0.8), "said_")["texture"]
    assert large[1] > 4 * small[1]


def test_a_stratum_of_few_nodules_takes_the_interval_of_all() -> None:
    pairs = calibration.residual_interval(estimated(2 * calibration.FEWEST - 2, 0.1, 0.8), "said_")["margin"]
    assert len(set(pairs)) == 1


def test_a_nodule_that_was_not_found_has_no_interval() -> None:
    frame = estimated(200)
    frame.loc[:9, [f"said_{grade.name}" for grade in GRADES]] = np.nan
    held = calibration.inside(frame, "said_")
    assert held.loc[:9].isna().all().all() and held.loc[10:].notna().all().all()


def test_a_true_probability_passes_and_a_bold_one_does_not() -> None:
    rng = np.random.default_rng(1)
    true = rng.beta(0.6, 1.2, 3000)
    event = (rng.random(3000) < true).astype(float)
    fair = calibration.calibration(pd.DataFrame({"chance": true, "constant": event.mean(), "suspicious": event}))
    row = fair.loc["ECE, 10 bins"]
    assert row["from"] <= row.ours <= row["to"]
    assert fair.ours["slope"] == pytest.approx(1, abs=0.1) and fair.ours["intercept"] == pytest.approx(0, abs=0.1)
    assert fair.ours["Brier score"] < fair["to compare"]["Brier score"]
    bold = 1 / (1 + np.exp(-3 * np.log(true / (1 - true))))
    boast = calibration.calibration(pd.DataFrame({"chance": bold, "constant": event.mean(), "suspicious": event}))
    assert boast.ours["slope"] == pytest.approx(1 / 3, abs=0.05)
    assert boast.ours["ECE, 10 bins"] > boast["to"]["ECE, 10 bins"]


def test_the_suspicion_probability_is_never_fitted_on_the_nodule_that_it_is_told_of() -> None:
    frame = estimated(100).assign(said_malignancy=np.linspace(1, 5, 100))
    frame["suspicious"] = (frame.said_malignancy + np.random.default_rng(0).normal(0, 0.5, 100) > 3).astype(float)
    told = calibration.chances(frame, "said_").chance
    changed = frame.assign(suspicious=frame.suspicious.where(frame.fold != 2, 1 - frame.suspicious))
    again = calibration.chances(changed, "said_").chance
    here = frame.index[frame.fold == 2]
    assert np.allclose(told[here], again[here])
    assert not np.allclose(told.drop(here), again.drop(here))


def test_one_fold_alone_has_no_doubt_to_tell() -> None:
    one = estimated(20).assign(fold=0, suspicious=0.0)
    assert calibration.chances(one, "said_").empty and calibration.coverage(one, "said_").empty
