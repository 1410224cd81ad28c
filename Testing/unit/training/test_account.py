"""What a user would be told wrongly if the account of the suspicion were not the model's, or of its own nodules."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from NoduleRiskLib.grades import GRADES, OTHER_GRADES
from NoduleRiskLib.networks.manifest import Calibration
from NoduleRiskLib.results.estimates import account as account_of
from NoduleRiskLib.results.estimates import estimates
from NoduleRiskLib.results.nodule import Calcification
from training.evaluation import account, metrics


def estimated(nodules: int = 600) -> pd.DataFrame:
    """Nodules whose malignancy head says: large and spiculated is suspicious, calcified is not. Readers follow it."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"fold": np.arange(nodules) // 2 % 5, "patient_id": [f"p{n // 2}" for n in range(nodules)]})
    for grade in GRADES:
        values = 2 ** rng.normal(3, 0.7, nodules) if grade.logarithmic else rng.uniform(1.5, 4.5, nodules)
        table[f"said_{grade.name}"] = values
    table["said_calcified"] = rng.beta(0.3, 2, nodules)
    table["said_malignancy"] = (
        1.8
        + 0.6 * (np.log2(table.said_diameter) - 3)
        + 0.5 * (table.said_spiculation - 2)
        - 2 * table.said_calcified
        + rng.normal(0, 0.05, nodules)
    ).clip(1, 5)
    table["suspicious"] = (rng.random(nodules) < expit(3 * (table.said_malignancy - 2))).astype(float)
    return table.assign(malignancy=table.said_malignancy + rng.normal(0, 0.3, nodules))


def test_terms_have_the_signs_of_what_the_head_says_and_nothing_for_the_rest() -> None:
    fit = account.account(estimated(), "said_")
    assert fit is not None and list(fit.terms) == [grade.name for grade in OTHER_GRADES]
    coefficients = {name: term.coefficient for name, term in fit.terms.items()}
    assert coefficients["diameter"] > 0.5 and coefficients["spiculation"] > 0.5 and coefficients["calcification"] < -0.5
    told = {"diameter", "spiculation", "calcification"}
    assert all(abs(value) < 0.15 for name, value in coefficients.items() if name not in told)


def test_what_is_fitted_is_what_a_nodule_is_told() -> None:
    """Training and library each turn what is shown into terms: the same ones."""
    table = estimated().assign(said_subtlety=7.0)
    fit = account.account(table, "said_")
    assert fit is not None
    row = table.iloc[17]
    levels = {grade.name: (grade.low, grade.high) for grade in GRADES}
    package = Calibration({name: ((-1.0, 1.0),) for name in levels}, levels, (0.0, 1.0), account=fit)
    told = estimates(package, [row[f"said_{grade.name}"] for grade in GRADES], row.said_diameter)
    one = account_of(package, told, Calcification(row.said_calcified, "central", 0.5))
    assert one is not None
    assert one.probability == pytest.approx(expit(account.log_odds(fit, table, "said_")[17]))


def test_no_nodule_is_in_its_own_account() -> None:
    table = estimated()
    told = account.accounted(table, "said_")
    changed = table.copy()
    here = table.fold == 2
    changed.loc[here, "suspicious"] = 1 - changed.suspicious[here]
    changed.loc[here, "said_malignancy"] = changed.said_malignancy[here].to_numpy()[::-1]
    again = account.accounted(changed, "said_")
    assert np.allclose(told.account[here], again.account[here])
    assert not np.allclose(told.account[~here], again.account[~here])


def test_account_and_direct_head_stand_side_by_side_and_how_often_they_disagree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "BOOTSTRAPS", 50)
    table = estimated()
    rows = account.account_table(account.accounted(table, "said_"))
    assert len(rows) == 2 and (rows.difference.abs() < 0.02).all() and (rows["from"] <= rows["to"]).all()
    assert (rows.apart < 0.05).all()
    # A head that answers to something else than the grades has no account in them.
    deaf = table.assign(said_malignancy=table.said_malignancy.sample(frac=1, random_state=1).to_numpy())
    deaf["suspicious"] = (deaf.said_malignancy > 2).astype(float)
    rows = account.account_table(account.accounted(deaf, "said_"))
    assert rows.apart.iloc[0] > 0.3 and rows.to.iloc[0] < -0.2


def test_nodules_without_an_estimate_are_left_out_and_one_answer_alone_has_no_account() -> None:
    table = estimated(200)
    table.loc[:9, ["said_malignancy", "said_diameter"]] = np.nan
    fit = account.account(table, "said_")
    assert fit is not None and np.isfinite(fit.intercept)
    assert account.accounted(table, "said_").index.min() == 10
    same = table.assign(suspicious=1.0)
    assert account.account(same, "said_") is None and account.accounted(same, "said_").empty
    assert account.account_table(account.accounted(same, "said_")).empty


def test_a_grade_that_never_varies_can_be_written() -> None:
    fit = account.account(estimated().assign(said_texture=5.0), "said_")
    assert fit is not None and fit.terms["texture"].deviation == account.LEAST_DEVIATION
    assert abs(fit.terms["texture"].coefficient) < 1e-6
