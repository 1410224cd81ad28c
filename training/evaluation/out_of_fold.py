"""The out-of-fold table: each nodule with what models that never saw its patient estimate. All scores are of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.imaging.volume import Array

from ..checkpoints import read_table

#: What the columns of estimates begin with: at the outline that the pipeline found, and at the readers' own outlines.
PIPELINE, ORACLE = "pipeline_", "oracle_"
#: After a prefix: the diameter that the ninth head gives; the grade that is shown is the measured one.
HEAD_DIAMETER = "head_diameter"
#: Gradient boosting on radiomics features, of the crop alone and of the crop in synthetic lung.
RADIOMICS: dict[Literal["crop", "context"], str] = {"crop": "radiomics_", "context": "radiomics_context_"}
#: The file in ``out`` that holds the columns of ``RADIOMICS``.
RADIOMICS_FILE = "radiomics.csv"
#: How tables name the estimates of a prefix.
ESTIMATES = {
    "NoduleRisk": PIPELINE,
    "NoduleRisk, oracle": ORACLE,
    "radiomics": RADIOMICS["crop"],
    "radiomics with synthetic lung": RADIOMICS["context"],
}
#: (the nodules of a fold, those of the other folds) -> estimates of the first: their index, a column per estimate.
Estimator = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]


def fold_rows(table: pd.DataFrame) -> Iterator[Array]:
    """For each fold in turn which rows are its, bool (N,)."""
    for fold in np.unique(table.fold):
        yield (table.fold == fold).to_numpy()


def out_of_fold(table: pd.DataFrame, estimate: Estimator, trained_before: bool = False) -> pd.DataFrame:
    """What is estimated of the nodules of each fold from those of the others, one fold after the other.

    Parameters
    ----------
    table : DataFrame
        One row per nodule; ``fold`` is one of its columns.
    estimate : callable
    trained_before : bool
        Whether a fold can be estimated without other folds in the table; otherwise it has no row.
    """
    parts = [estimate(table[here], table[~here]) for here in fold_rows(table) if trained_before or not here.all()]
    filled = [part for part in parts if len(part)]
    return pd.concat(filled) if filled else pd.DataFrame(index=table.index[:0])


def call(table: pd.DataFrame, score: Array, kind: Array, threshold: Callable[[Array, Array], float]) -> Array:
    """Which rows lie above the threshold that ``threshold(score, kind)`` finds on the other folds, bool (N,)."""
    called = np.zeros(len(table), bool)
    for here in fold_rows(table):
        if not here.all():
            called[here] = score[here] > threshold(score[~here], kind[~here])
    return called


def read(path: Path) -> pd.DataFrame:
    """An out-of-fold table; raises ``NoduleRiskError`` if it is not there or not whole."""
    if not path.is_file():
        raise NoduleRiskError(f"There is no {path}: run 'python -m training all' with the same --out first.")
    table = read_table(path, dtype={"annotation_ids": str})
    missing = {"fold", "patient_id", *(f"{PIPELINE}{one.name}" for one in GRADES)} - set(table)
    if missing:
        raise NoduleRiskError(f"{path} lacks {', '.join(sorted(missing))}: run 'python -m training all' again.")
    return table


def with_radiomics(table: pd.DataFrame, out: Path) -> pd.DataFrame:
    """The out-of-fold table with the estimates from radiomics features, where ``out`` has them."""
    path = out / RADIOMICS_FILE
    return table.merge(read_table(path), on="nodule_id", how="left") if path.is_file() else table
