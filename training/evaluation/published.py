"""Our out-of-fold estimates scored as published studies score theirs: their nodules, their classes, their measure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from NoduleRiskLib.grades import Grade
from NoduleRiskLib.imaging.volume import Array

from ..data.lidc import REFERENCE_READERS
from .classes import JUDGED, filled, suspected
from .metrics import auc, auc_difference, auc_interval, best_threshold, mean_difference
from .out_of_fold import ORACLE, PIPELINE, call, fold_rows
from .reader_agreement import readings_of
from .report_sections import Section
from .score_tables import difference_text

#: AUC of the Medical Slice Transformer on its own nodules of LIDC-IDRI (Mueller-Franzes et al. 2025,
#: doi 10.1038/s41598-025-09041-8, abstract).
SLICE_TRANSFORMER_AUC = 0.95
#: Shares within one step of cRedAnno+ with all annotations, on its own nodules (Lu et al. 2022, arXiv 2210.16097, and
#: the README of github.com/diku-dk/credanno). Its malignancy is an accuracy of two classes, 0.876, and so not here.
CREDANNO = {
    "subtlety": 0.9632,
    "calcification": 0.9588,
    "sphericity": 0.9723,
    "margin": 0.9623,
    "lobulation": 0.9393,
    "spiculation": 0.9406,
    "texture": 0.9701,
}


def rounded(table: pd.DataFrame) -> tuple[pd.DataFrame, Array]:
    """The nodules whose mean malignancy does not round to 3, and which of them are suspicious, bool (N,).

    As ``scripts/preprocessing/lidc/step3_create_split.py`` of github.com/mueller-franzes/MST does it: the mean over the
    readers, rounded as NumPy rounds (halves to the even step, so 2.5 is a 2 and 3.5 a 4); 3 is left out, above is
    suspicious. It takes every nodule that any reader marked.
    """
    step = np.round(table.malignancy)
    return table[step != 3], (step[step != 3] > 3).to_numpy()


def question_table(reference: pd.DataFrame, few: pd.DataFrame) -> pd.DataFrame:
    """Malignancy as two classes by who asks, one row a question: AUC with 95 % interval, beside what is to beat.

    Parameters
    ----------
    reference, few : DataFrame
        Out-of-fold tables of the reference nodules and of those that only one or two readers marked.

    Returns
    -------
    DataFrame
        *accuracy*: at the threshold that is best on the other folds; *constant guess*: the accuracy of always giving
        the commoner class (its AUC is 0.5); *minus diameter*: difference in AUC, the same patients resampled for both.
    """
    everything = _all(reference, few)
    readers = everything.n_readers
    asked = {
        "the paper's: mean below 2.75 against above 3.25, three readers or more": suspected(reference),
        "Medical Slice Transformer's: mean rounded, 3 left out, one reader or more": rounded(everything),
        "the same, three readers or more": rounded(everything[readers >= REFERENCE_READERS]),
        "the same, two readers": rounded(everything[readers == 2]),
        "the same, one reader": rounded(everything[readers == 1]),
    }
    rows = {name: _answered(*question) for name, question in asked.items()}
    table = pd.DataFrame.from_dict(rows, "index").rename_axis("question")
    return table.assign(reported=[SLICE_TRANSFORMER_AUC if "Transformer" in name else np.nan for name in rows])


def _all(reference: pd.DataFrame, few: pd.DataFrame) -> pd.DataFrame:
    # A table without rows has no types, and would take those of the other away.
    return pd.concat([part for part in (reference, few) if len(part)], ignore_index=True)


def _answered(classed: pd.DataFrame, positive: Array) -> dict[str, object]:
    row: dict[str, object] = {"nodules": len(classed), "suspicious": int(positive.sum())}
    if positive.all() or not positive.any():
        return row
    patients, score = classed.patient_id.to_numpy(), filled(classed, f"{PIPELINE}malignancy")
    size = classed.diameter.to_numpy()
    row["AUC"] = auc(positive, score)
    row["from"], row["to"] = auc_interval(patients, positive, score)
    row["readers' outlines"] = auc(positive, filled(classed, f"{ORACLE}malignancy"))
    row["diameter alone"] = auc(positive, size)
    row["minus diameter"] = difference_text(auc_difference(patients, positive, score, size))
    row["accuracy"] = (call(classed, score, positive, best_threshold) == positive).mean()
    row["constant guess"] = max(positive.mean(), 1 - positive.mean())
    return row


def step_table(table: pd.DataFrame, medians: pd.DataFrame) -> pd.DataFrame:
    """One row per grade: share of rounded estimates within one step of the rounded median of the readers, and on it.

    As cRedAnno+ counts (``playground.py``, ``data_LIDC_IDRI.py`` and ``extract_LIDC_IDRI_nodules.py`` of
    github.com/diku-dk/credanno): nodules of three readers or more whose median malignancy is not 3; the truth is the
    median, rounded as NumPy rounds; right is what is at most one step off.

    Parameters
    ----------
    table : DataFrame
        Out of fold, the nodules of three readers or more.
    medians : DataFrame
        The readers' median of each grade, rows as in ``table``.

    Returns
    -------
    DataFrame
        *constant*: the step that does best by the same measure on the other folds, given to every nodule; *gain*: ours
        minus that, 95 % interval (patients resampled).
    """
    kept = (medians.malignancy != 3).to_numpy()
    table, medians = table[kept], np.round(medians[kept])
    rows = {}
    for grade in JUDGED:
        known = table[f"{PIPELINE}{grade.name}"].notna()
        own, truth = table[known], medians[grade.name][known].to_numpy()
        row: dict[str, object] = {"nodules": len(own)}
        for name, reach in (("within one", 1), ("same step", 0)):
            right = np.abs(np.round(own[f"{PIPELINE}{grade.name}"].to_numpy()) - truth) <= reach
            guess = np.abs(best_constant(own, truth, grade, reach) - truth) <= reach
            gain = mean_difference(own.patient_id.to_numpy(), right.astype(float) - guess)
            row |= {name: right.mean(), f"constant, {name}": guess.mean(), f"gain, {name}": difference_text(gain)}
            if reach:
                row["cRedAnno+"] = CREDANNO.get(grade.name, np.nan)
        rows[grade.name] = row
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def best_constant(table: pd.DataFrame, truth: Array, grade: Grade, reach: int) -> Array:
    """For each nodule the step of the grade that is within ``reach`` of most nodules of the *other* folds, int (N,)."""
    steps = np.arange(int(grade.low), int(grade.high) + 1)
    near = np.abs(truth[:, None] - steps) <= reach
    guess = np.empty(len(table), int)
    for here in fold_rows(table):
        guess[here] = steps[near[here if here.all() else ~here].sum(0).argmax()]
    return guess


def diagnosis_table(table: pd.DataFrame) -> pd.DataFrame:
    """AUC for the diagnosis of each score, with 95 % interval (patients resampled); one row a set of nodules.

    Parameters
    ----------
    table : DataFrame
        Out of fold, with ``malignant`` and ``stable`` of ``data.diagnoses``.
    """
    scores = {
        "NoduleRisk": f"{PIPELINE}malignancy",
        "NoduleRisk, readers' outlines": f"{ORACLE}malignancy",
        "readers' malignancy": "malignancy",
        "readers' diameter": "diameter",
    }
    reference = table.n_readers >= REFERENCE_READERS
    sets = {
        "reference nodules": table[reference],
        "reference nodules, biopsy, surgery or progression": table[reference & ~table.stable],
        "all, also of one or two readers": table,
        "all, biopsy, surgery or progression": table[~table.stable],
    }
    rows = {}
    for name, part in sets.items():
        malignant, patients = part.malignant.to_numpy(bool), part.patient_id.to_numpy()
        row: dict[str, object] = {"malignant": int(malignant.sum()), "benign": int((~malignant).sum())}
        if malignant.any() and not malignant.all():
            values = {label: filled(part, column) for label, column in scores.items()}
            for label, value in values.items():
                low, high = auc_interval(patients, malignant, value)
                row[label] = f"{auc(malignant, value):.3f} ({low:.3f} {high:.3f})"
            gap = auc_difference(patients, malignant, values["NoduleRisk"], values["readers' malignancy"])
            row["NoduleRisk minus readers"] = difference_text(gap)
        rows[name] = row
    return pd.DataFrame.from_dict(rows, "index").rename_axis("nodules")


def sections(reference: pd.DataFrame, few: pd.DataFrame, diagnosed: pd.DataFrame | None) -> Iterator[Section]:
    """The tables of what others ask.

    Parameters
    ----------
    reference, few : DataFrame
        As ``question_table`` takes them.
    diagnosed : DataFrame or None
        As ``data.diagnoses.diagnoses`` gives them.
    """
    everything = _all(reference, few)
    text = (
        "AUC from the outlines that the pipeline finds, with 95 % interval (patients resampled); *readers' outlines*: "
        "AUC from those; diameters are the readers'. *Accuracy* at the threshold that is best on the other folds; "
        "*constant guess*: accuracy of always giving the commoner class (its AUC is 0.5). *Reported* by "
        "Mueller-Franzes et al. 2025 for their own choice of the same collection, folds by patient as here. Means are "
        "rounded as they do it, halves to the even step: 2.5 is a 2, 3.5 a 4. No grader was trained on nodules of one "
        "or two readers, and one reader's opinion is less sure than the mean of four. Rounding leaves out more of the "
        "middle, so this question is the easier one where the same readers answer it."
    )
    asked = question_table(reference, few)
    yield Section("published-malignancy", "Malignancy by the questions that others ask", len(everything), text, asked)

    medians = readings_of(reference).groupby("nodule").median().loc[reference.index]
    shares = step_table(reference, medians)
    text = (
        "cRedAnno+'s measure: estimate and readers' median both rounded; right is what is at most one step off; "
        "nodules of three readers or more, those with a median malignancy of 3 left out. *Constant*: one step for all "
        "nodules, the best by the same measure on the other folds; *gain*: ours minus that, 95 % interval (patients "
        "resampled). *Same step*: no step off. *cRedAnno+* is of another choice of nodules, split by nodule, not by "
        "patient. Grades are skewed, so that a constant, too, is mostly within one step. Our estimates are of "
        "the mean over readers, not the median; calcification is a code, not a scale."
    )
    yield Section(
        "published-within-one", "Grades within one step of the readers", int(shares.nodules.max()), text, shares
    )
    if diagnosed is not None:
        yield _of_diagnoses(everything.merge(diagnosed, on="nodule_id"))


def _of_diagnoses(known: pd.DataFrame) -> Section:
    benign = known[(known.n_readers >= REFERENCE_READERS) & ~known.malignant]
    text = (
        f"**Confounded.** {int(benign.stable.sum())} of the {len(benign)} benign reference nodules are benign because "
        "they were stable for two years, and no malignant one was called so: who was watched and who was operated on "
        "is what this table mostly tells. Diagnoses are the patient's, mapped to a nodule where that is unambiguous; "
        "no network was trained on them. AUC for malignant (primary cancer or metastasis) against benign, 95 % "
        "interval (patients resampled), out of fold. NoduleRisk estimates readers' suspicion, nothing else; where the "
        "readers' own malignancy says little about the diagnosis, no more can be expected of it."
    )
    table = diagnosis_table(known)
    return Section("published-diagnoses", "Against the collection's diagnoses", len(known), text, table)
