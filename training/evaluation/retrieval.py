"""Nodules found by likeness: how far the readers' grades of the five nearest are from those of the nodule itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from NoduleRiskLib.grades import GRADE_NAMES, OTHER_GRADES
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.similar.reference_set import COUNT, ReferenceSet, SimilarNodule, compared

from .metrics import mean_difference
from .out_of_fold import PIPELINE
from .score_tables import difference_text

MALIGNANCY = GRADE_NAMES.index("malignancy")
OTHERS = [GRADE_NAMES.index(grade.name) for grade in OTHER_GRADES]
#: Rows of the tables that others are compared with.
RANDOM, SIZE = "random", "size alone"
#: What a shape feature counts against a grade, where both are compared.
SHAPE_WEIGHT = 0.25


@dataclass(frozen=True, eq=False)
class Measured:
    """What nodules can be compared by, rows as in the out-of-fold table; all by networks that never saw the patient.

    Attributes
    ----------
    found_shape, readers_shape : array, shape (N, 6)
        ``SHAPE_FEATURES`` of the outline that was found and of the readers' own.
    summary : array, shape (N, D)
        ``NoduleViT.summary`` by the grader of the nodule's fold.
    """

    found_shape: Array
    readers_shape: Array
    summary: Array


def readers_grades(table: pd.DataFrame) -> Array:
    """The readers' means, (N, 9) in the order of ``GRADES``: calcification as share of readers, diameter as log2 mm."""
    return _in_columns(table, "")


def nearest(query: Array, reference: Array, patients: Array, allowed: Array | None = None) -> Array:
    """The ``COUNT`` nearest rows of ``reference`` to each row of ``query``, (N, 5); none of the same patient.

    Parameters
    ----------
    query, reference : array, shape (N, F)
        Row n of both is nodule n.
    patients : array, shape (N,)
    allowed : bool array, shape (N, N), optional
        Which rows may be found for which.
    """
    away = np.square(query[:, None] - reference[None]).sum(-1)
    away[patients[:, None] == patients[None]] = np.inf
    if allowed is not None:
        away[~allowed] = np.inf
    return np.argsort(away, 1, kind="stable")[:, :COUNT]


def retrieval_table(table: pd.DataFrame, measured: Measured, shown: Array) -> pd.DataFrame:
    """One row per way of comparing, all nodules of other patients to be found.

    Parameters
    ----------
    table : DataFrame
        Out of fold.
    measured : Measured
    shown : bool array, shape (N,)
        The nodules of the reference set that ships.

    Returns
    -------
    DataFrame
        Means over all nodules. *malignancy*: difference of the readers' malignancy to that of each of the five;
        *minus size*: that minus the row of size alone, 95 % interval (patients resampled); *of their mean*: difference
        to the mean of the five; *other grades*: of the eight others, in standard deviations; then each of them in grade
        units (diameter: log2 mm; calcification: share of readers).
    """
    readers, estimates = readers_grades(table), _in_columns(table, PIPELINE)
    found_shape, readers_shape = (_on_scale(one, measured.readers_shape) for one in _shapes(measured))
    scaled, scaled_readers = (_on_scale(one, readers) for one in (estimates, readers))
    own = _on_scale(estimates, estimates)
    size = [GRADE_NAMES.index("diameter")]
    half = np.sqrt(SHAPE_WEIGHT)
    eight = scaled[:, OTHERS], scaled_readers[:, OTHERS]
    ways = {
        RANDOM: _random(len(table)),
        SIZE: (scaled[:, size], scaled_readers[:, size]),
        "shape features, readers' outlines": (found_shape, readers_shape),
        "eight grades, estimates": (own[:, OTHERS],) * 2,
        "nine grades, estimates": (own,) * 2,
        "eight grades, readers' (used)": eight,
        "nine grades, readers'": (scaled, scaled_readers),
        "eight grades and shape, readers'": (
            np.hstack([eight[0], half * found_shape]),
            np.hstack([eight[1], half * readers_shape]),
        ),
    }
    patients = table.patient_id.to_numpy()
    rows = {name: nearest(*way, patients) for name, way in ways.items()}
    rows["the same, nodules with pictures"] = nearest(*eight, patients, np.tile(shown, (len(table), 1)))
    rows["not for use: readers' on both sides"] = nearest(eight[1], eight[1], patients)
    return _scored(table, readers, rows)


def summary_table(table: pd.DataFrame, measured: Measured) -> pd.DataFrame:
    """The same with the network's summary, nodules of the same fold to be found: summaries of two graders differ."""
    readers, estimates = readers_grades(table), _in_columns(table, PIPELINE)
    scaled, scaled_readers, own = (
        _on_scale(*pair) for pair in ((estimates, readers), (readers,) * 2, (estimates,) * 2)
    )
    size = [GRADE_NAMES.index("diameter")]
    # As much as the eight grades together.
    summary = _on_scale(measured.summary, measured.summary) * np.sqrt(len(OTHERS) / measured.summary.shape[1])
    ways = {
        RANDOM: _random(len(table)),
        SIZE: (scaled[:, size], scaled_readers[:, size]),
        "network's summary": (summary,) * 2,
        "eight grades, estimates": (own[:, OTHERS],) * 2,
        "network's summary and eight grades, estimates": (np.hstack([summary, own[:, OTHERS]]),) * 2,
        "eight grades, readers' (used)": (scaled[:, OTHERS], scaled_readers[:, OTHERS]),
    }
    patients, folds = table.patient_id.to_numpy(), table.fold.to_numpy()
    same_fold = folds[:, None] == folds[None]
    return _scored(table, readers, {name: nearest(*way, patients, same_fold) for name, way in ways.items()})


def nearest_as_shipped(table: pd.DataFrame, reference: ReferenceSet) -> list[tuple[SimilarNodule, ...]]:
    """What ``reference`` finds for each nodule's out-of-fold estimates, nodules of its patient left out."""
    rows = zip(_in_columns(table, PIPELINE)[:, OTHERS], table.patient_id, strict=True)
    return [reference.nearest(values, without=patient) for values, patient in rows]


def _shapes(measured: Measured) -> tuple[Array, Array]:
    return measured.found_shape, measured.readers_shape


def _in_columns(table: pd.DataFrame, prefix: str) -> Array:
    """Grades (N, 9) of the columns with that prefix, as ``similar.compared`` scales them, malignancy last."""
    rows = []
    for row in table.to_dict("records"):
        grades = {name: row[f"{prefix}{name}"] for name in GRADE_NAMES}
        rows.append([*compared(grades, row[f"{prefix}calcified"]), grades["malignancy"]])
    return np.array(rows)


def _on_scale(values: Array, of: Array) -> Array:
    return (values - of.mean(0)) / of.std(0)


def _random(count: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.random((count, 1)), rng.random((count, 1))


def _scored(table: pd.DataFrame, readers: Array, found: Mapping[str, Array]) -> pd.DataFrame:
    patients = table.patient_id.to_numpy()
    apart = {name: np.abs(readers[:, None] - readers[rows]).mean(1) for name, rows in found.items()}
    scored = {}
    for name, rows in found.items():
        differences = apart[name]
        gain = mean_difference(patients, (differences - apart[SIZE])[:, MALIGNANCY])
        of_mean = np.abs(readers[:, MALIGNANCY] - readers[rows, MALIGNANCY].mean(1))
        scored[name] = {
            "malignancy": differences[:, MALIGNANCY].mean(),
            "minus size": "-" if name == SIZE else difference_text(gain),
            "of their mean": of_mean.mean(),
            "other grades": (differences / readers.std(0))[:, OTHERS].mean(),
            **{grade.name: differences[:, n].mean() for grade, n in zip(OTHER_GRADES, OTHERS, strict=True)},
        }
    return pd.DataFrame.from_dict(scored, "index").rename_axis("compared by")
