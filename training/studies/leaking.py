"""What leaking is worth: the same network with folds by nodule, so that a patient's nodules train and are scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from NoduleRiskLib.grades import GRADE_NAMES

from ..checkpoints import digest
from ..data.crops import FOLDS
from ..data.found_outlines import FoundOutlines
from ..evaluation.classes import suspected
from ..evaluation.metrics import auc, auc_difference, correlation, mean_difference
from ..evaluation.out_of_fold import PIPELINE
from ..evaluation.report_sections import Section, write
from ..evaluation.score_tables import difference_text, malignancy_table
from ..models.grader_settings import GraderSettings
from .compare import Nodules, fold_estimates, from_pipeline, place
from .cross_validation import Study, joined

SPLITS = ("patient", "nodule")
SEED = 0


def leaking(study: Study, name: str, settings: GraderSettings, command: str) -> str:
    """Train the network with folds by patient and by nodule, and return the tables (Markdown); files in ``out``.

    The outlines of both are those that the segmentation networks of the folds by *patient* find. What is trained is
    kept; ``compare`` with the same outlines, settings and name shares the folds by patient.

    Parameters
    ----------
    study : Study
        Its ``folds`` are run, of each split.
    name : str
        Of the experiment, for its folder.
    settings : GraderSettings
    command : str
        How this was called.
    """
    by_patient = from_pipeline(study)
    folder = place(study, "pipeline", settings)
    estimated = {"patient": _estimates(study, by_patient, settings, folder / name)}
    by_nodule = Nodules(folds_by_nodule(by_patient.reference), {})
    estimated["nodule"] = _estimates(study, by_nodule, settings, folder / f"{name}-by-nodule")
    return write(sections(estimated), study.out / "leaking", command)


def folds_by_nodule(parts: Mapping[int, FoundOutlines]) -> dict[int, FoundOutlines]:
    """The same nodules in ``FOLDS`` folds drawn at random whatever their patient, as equal in size as can be."""
    sizes = [len(part.table) for part in parts.values()]
    drawn = np.random.default_rng(SEED).permutation(np.arange(sum(sizes)) % FOLDS)
    own = dict(zip(parts, np.split(drawn, np.cumsum(sizes)[:-1]), strict=True))
    return {
        fold: _joined([part.chosen(np.flatnonzero(own[name] == fold)) for name, part in parts.items()], fold)
        for fold in range(FOLDS)
    }


def _joined(pieces: list[FoundOutlines], fold: int) -> FoundOutlines:
    table = pd.concat([piece.table for piece in pieces], ignore_index=True).assign(fold=fold)
    arrays = {
        name: np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("pixels", "share", "found", "offset_mm")
    }
    counts = np.concatenate([np.diff(piece.first) for piece in pieces])
    key = digest(*(piece.key for piece in pieces), *table.nodule_id)
    return FoundOutlines(table, **arrays, first=np.cumsum([0, *counts]), key=key)


def _estimates(study: Study, nodules: Nodules, settings: GraderSettings, folder: Path) -> pd.DataFrame:
    parts = [fold_estimates(study, nodules, settings, fold, folder)[0] for fold in study.folds]
    values = pd.concat(parts).set_index("nodule_id").add_prefix(PIPELINE)
    table = joined({fold: nodules.reference[fold] for fold in study.folds})
    of_patient = joined(nodules.reference).patient_id.value_counts()
    return table.assign(several=table.patient_id.map(of_patient) > 1).join(values, on="nodule_id")


def sections(estimated: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    """The tables of both splits.

    Parameters
    ----------
    estimated : mapping
        By split an out-of-fold table whose ``fold`` is the split's own; ``several``: whether the nodule's patient has
        others in any fold.
    """
    both = together(estimated)
    text = (
        "The same nodules, network and schedule; *folds by nodule*: a nodule's patient may have other nodules among "
        "those that trained, seen by the same readers. The outlines are the same, by segmentation networks that never "
        "saw the patient, so only the graders leak. AUC with 95 % interval (patients resampled), accuracy at the "
        "threshold that is best on the other folds."
    )
    scores = pd.concat(
        {
            f"folds by {split}": malignancy_table(table, {"": f"{PIPELINE}malignancy"}).iloc[0]
            for split, table in estimated.items()
        },
        axis=1,
    ).T.rename_axis("split")
    if min(table.fold.nunique() for table in estimated.values()) < 2:
        # A threshold is chosen on the other folds.
        scores = scores.drop(columns=["accuracy", "sensitivity", "specificity"], errors="ignore")
    nodules = len(estimated["patient"])
    yield Section("malignancy", "Malignancy below 2.75 against above 3.25, by split", nodules, text, scores)
    text = (
        "Folds by nodule minus folds by patient on the nodules that both scored, 95 % interval (patients resampled): "
        "AUC and mean absolute error of malignancy. Only nodules whose patient has others can gain by leaking; what "
        "the rest shows is chance."
    )
    yield Section("differences", "Folds by nodule minus folds by patient", len(both), text, difference_table(both))
    r = pd.DataFrame(
        {
            f"folds by {split}": {
                name: correlation(known[name].to_numpy(), known[f"{PIPELINE}{name}"].to_numpy())
                for name in GRADE_NAMES
                for known in [table.dropna(subset=[f"{PIPELINE}{name}"])]
            }
            for split, table in estimated.items()
        }
    ).rename_axis("grade")
    yield Section("grades", "Pearson r with the readers' means", nodules, "", r)


def together(estimated: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The nodules that both splits scored: columns ``patient`` and ``nodule`` hold malignancy as each split has it."""
    column = f"{PIPELINE}malignancy"
    table, other = (estimated[split].set_index("nodule_id") for split in SPLITS)
    both = table.assign(patient=table[column]).join(other[column].rename("nodule"), how="inner")
    return both.dropna(subset=list(SPLITS)).reset_index()


def difference_table(both: pd.DataFrame) -> pd.DataFrame:
    """Folds by nodule minus folds by patient, of all nodules and by whether the patient has several."""
    sets = {
        "all": both,
        "patient has several nodules": both[both.several],
        "patient has this nodule only": both[~both.several],
    }
    rows = {}
    for name, part in sets.items():
        row: dict[str, object] = {"nodules": len(part)}
        classed, positive = suspected(part)
        row["in a class"] = len(classed)
        if positive.any() and not positive.all():
            patients = classed.patient_id.to_numpy()
            by_patient, by_nodule = (classed[split].to_numpy() for split in SPLITS)
            row["AUC by patient"], row["AUC by nodule"] = auc(positive, by_patient), auc(positive, by_nodule)
            row["AUC"] = difference_text(auc_difference(patients, positive, by_nodule, by_patient))
        if len(part):
            error = (part.nodule - part.malignancy).abs() - (part.patient - part.malignancy).abs()
            row["MAE"] = difference_text(mean_difference(part.patient_id.to_numpy(), error.to_numpy()))
        rows[name] = row
    return pd.DataFrame.from_dict(rows, "index").rename_axis("nodules of")
