"""What a reader would be told wrongly of how alike similar nodules are, and of which nodules are shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.similar.reference_set import ReferenceSet, SimilarNodule
from training.evaluation.out_of_fold import PIPELINE
from training.evaluation.retrieval import (
    RANDOM,
    SIZE,
    Measured,
    nearest,
    nearest_as_shipped,
    readers_grades,
    retrieval_table,
    summary_table,
)
from training.studies import similar_study

USED = "eight grades, readers' (used)"


def nodules(count: int = 120) -> tuple[pd.DataFrame, Measured]:
    """Nodules of four kinds, two a patient; grades and summary tell the kind, shape features tell nothing."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 4, count)
    table = pd.DataFrame(
        {
            "nodule_id": [f"P{n // 2}_{n % 2}" for n in range(count)],
            "patient_id": [f"P{n // 2}" for n in range(count)],
            "fold": np.arange(count) // 2 % 3,
            "hu_exact": np.arange(count) % 4 > 0,
        }
    )
    for grade in GRADES:
        means = rng.permutation(np.linspace(1, 5, 4))[kinds]
        for prefix, noise in (("", 0.1), (PIPELINE, 0.2)):
            values = means + rng.normal(0, noise, count)
            table[f"{prefix}{grade.name}"] = 2**values if grade.logarithmic else values
    table["calcified"] = table[f"{PIPELINE}calcified"] = kinds / 4
    shapes = rng.normal(size=(count, 6))
    return table, Measured(shapes, shapes, np.eye(4)[kinds] + rng.normal(0, 0.05, (count, 4)))


def test_no_nodule_of_the_same_patient_is_found() -> None:
    table, _ = nodules()
    values, patients = readers_grades(table), table.patient_id.to_numpy()
    found = nearest(values, values, patients)
    assert found.shape == (len(table), 5) and not (patients[found] == patients[:, None]).any()
    allowed = np.tile(np.arange(len(table)) < 40, (len(table), 1))
    assert nearest(values, values, patients, allowed).max() < 40


def test_what_knows_the_kind_finds_it_and_what_knows_nothing_is_chance() -> None:
    table, measured = nodules()
    scored = retrieval_table(table, measured, table.hu_exact.to_numpy())
    chance = scored.loc[RANDOM, "malignancy"]
    assert scored.loc[USED, "malignancy"] < 0.3 * chance
    assert scored.loc["shape features, readers' outlines", "malignancy"] == pytest.approx(chance, rel=0.2)
    assert scored.loc[SIZE, "minus size"] == "-"
    assert (scored["of their mean"] <= scored.malignancy + 1e-9).all()
    within = summary_table(table, measured)
    assert within.loc["network's summary", "malignancy"] < 0.3 * within.loc[RANDOM, "malignancy"]


def test_the_study_asks_what_the_library_answers() -> None:
    """The table's row and the nodules that users see come from two functions: they must find the same."""
    table, _ = nodules()
    records = [
        (SimilarNodule(row["nodule_id"], {g.name: row[g.name] for g in GRADES}, row["calcified"], (3,)), "")
        for row in table.to_dict("records")
    ]
    theirs = nearest_as_shipped(table, ReferenceSet(records))
    readers = readers_grades(table)[:, :8]
    estimates = readers_grades(table.assign(**{g.name: table[f"{PIPELINE}{g.name}"] for g in GRADES}))[:, :8]
    ours = nearest(estimates / readers.std(0), readers / readers.std(0), table.patient_id.to_numpy())
    for rows, found in zip(ours, theirs, strict=True):
        assert [table.nodule_id[row] for row in rows] == [one.name for one in found]


def test_nodules_that_are_shown_have_exact_pixels_and_are_not_the_samples() -> None:
    table, _ = nodules()
    table.loc[1:2, "patient_id"] = similar_study.SAMPLE_PATIENT
    assert table.hu_exact[1] and table.hu_exact[2]
    assert similar_study.shown(table).tolist() == [n % 4 > 0 and n not in (1, 2) for n in range(len(table))]
