"""Why this suspicion: the direct malignancy head told again as a sum over the eight other grades that are shown.

A logistic regression is taught the suspicion probability that the direct head gives, not the readers' answers: it is an
account of the model. On LIDC's reference nodules, out of fold, it tells suspicious nodules as well as the direct head
does and nearly always says the same; taught the readers' answers it does neither as well.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from NoduleRiskLib.grades import OTHER_GRADES
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.manifest import AccountFit, TermFit
from NoduleRiskLib.results.account_lines import APART

from .calibration import suspicion
from .classes import suspected
from .metrics import auc, auc_difference
from .out_of_fold import out_of_fold

#: scikit-learn's inverse strength of the penalty. The estimates of lobulation and spiculation go together (r .96), so
#: do those of margin and texture (.86). A weaker penalty sets one against the other: a sharp margin would then raise
#: the suspicion, and a solid texture lower it all the more. This one lets them share what they say.
PENALTY = 0.1
#: A grade that varies less than that, in its unit, is taken as if it varied so much.
LEAST_DEVIATION = 0.01


def shown(table: pd.DataFrame, predicted: str) -> Array:
    """The eight other grades as users see them, float (N, 8), in the order of ``OTHER_GRADES``.

    Clipped to their scales; diameter: log2 of the measured mm; calcification: the share of readers expected to see any,
    since its codes are names.
    """
    columns = []
    for grade in OTHER_GRADES:
        if grade.name == "calcification":
            columns.append(table[f"{predicted}calcified"])
        elif grade.logarithmic:
            columns.append(np.log2(table[f"{predicted}{grade.name}"]))
        else:
            columns.append(table[f"{predicted}{grade.name}"].clip(grade.low, grade.high))
    return np.column_stack(columns)


def account(table: pd.DataFrame, predicted: str) -> AccountFit | None:
    """The account, fitted to an out-of-fold table; ``None`` where readers gave all its nodules the same answer."""
    known = _known(table, predicted)
    if known.suspicious.nunique() < 2:
        return None
    values = shown(known, predicted)
    mean, deviation = values.mean(0), np.maximum(values.std(0), LEAST_DEVIATION)
    intercept, slope = suspicion(known, predicted)
    direct = expit(intercept + slope * known[f"{predicted}malignancy"].to_numpy())
    # A nodule of 70 % is 0.7 of one that is suspicious and 0.3 of one that is not.
    model = LogisticRegression(C=PENALTY, max_iter=1000).fit(
        np.tile((values - mean) / deviation, (2, 1)),
        np.repeat([1, 0], len(values)),
        np.concatenate([direct, 1 - direct]),
    )
    terms = zip(OTHER_GRADES, mean, deviation, model.coef_[0], strict=True)
    return AccountFit(float(model.intercept_[0]), {one.name: TermFit(*map(float, numbers)) for one, *numbers in terms})


def log_odds(fit: AccountFit, table: pd.DataFrame, predicted: str) -> Array:
    """What an account's terms add up to for each nodule, float (N,)."""
    mean, deviation, coefficient = np.array(
        [[one.mean, one.deviation, one.coefficient] for one in (fit.terms[grade.name] for grade in OTHER_GRADES)]
    ).T
    return np.asarray(fit.intercept + (shown(table, predicted) - mean) / deviation @ coefficient)


def accounted(table: pd.DataFrame, predicted: str) -> pd.DataFrame:
    """Account and direct head of each nodule with an estimate, both fitted on the other folds.

    Columns: those of ``table``, ``account`` and ``direct`` (probabilities).
    """

    def both(here: pd.DataFrame, rest: pd.DataFrame) -> pd.DataFrame:
        fit = account(rest, predicted)
        if fit is None:
            return pd.DataFrame()
        intercept, slope = suspicion(rest, predicted)
        direct = expit(intercept + slope * here[f"{predicted}malignancy"])
        return here.assign(account=expit(log_odds(fit, here, predicted)), direct=direct)

    return out_of_fold(_known(table, predicted), both).reindex(columns=[*table, "account", "direct"])


def account_table(told: pd.DataFrame) -> pd.DataFrame:
    """The account beside the direct head, one row per question; ``told`` as ``accounted`` gives it.

    Columns: AUC of both, their difference with 95 % interval and two-sided p (paired bootstrap over patients), the
    share of nodules whose two probabilities lie ``APART`` or more from each other, and the number of nodules.
    """
    classed, positive = suspected(told)
    questions = {
        "at least half of the readers give 4 or 5": (told, told.suspicious.to_numpy() > 0),
        "mean below 2.75 against above 3.25": (classed, positive),
    }
    rows = {}
    for name, (nodules, suspect) in questions.items():
        if suspect.all() or not suspect.any():
            continue
        ours, direct = nodules.account.to_numpy(), nodules.direct.to_numpy()
        value, low, high, p = auc_difference(nodules.patient_id.to_numpy(), suspect, ours, direct)
        rows[name] = {
            "AUC, account": auc(suspect, ours),
            "AUC, direct": auc(suspect, direct),
            "difference": value,
            "from": low,
            "to": high,
            "p": p,
            "apart": (np.abs(ours - direct) >= APART).mean(),
            "nodules": len(nodules),
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("question")


def terms_table(fit: AccountFit) -> pd.DataFrame:
    """One row per grade: its mean and deviation over the reference nodules, and its coefficient."""
    rows = {name: vars(one) for name, one in fit.terms.items()}
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def _known(table: pd.DataFrame, predicted: str) -> pd.DataFrame:
    """The nodules with an estimate."""
    needed = [f"{predicted}{name}" for name in ("malignancy", "diameter", "calcified")]
    return table.dropna(subset=needed)
