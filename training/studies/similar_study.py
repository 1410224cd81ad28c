"""Similar nodules: what they are best found by, out of fold, and the file of reference nodules that ships."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.progress import track

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.shape_features import SHAPE_FEATURES
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.networks.model_package import ModelPackage
from NoduleRiskLib.networks.nodule_vit import NoduleViT, collate
from NoduleRiskLib.similar import pictures
from NoduleRiskLib.similar.reference_set import ReferenceSet, SimilarNodule, read_reference_set, write_reference_set

from ..checkpoints import digest, read_keyed_table, write_keyed_table
from ..data.crops import SAMPLE_PATIENT, read_nodule
from ..data.found_outlines import FoundOutlines
from ..data.lidc import reader_grades
from ..evaluation.out_of_fold import ORACLE, PIPELINE
from ..evaluation.report_sections import Section, write
from ..evaluation.retrieval import Measured, nearest_as_shipped, retrieval_table, summary_table
from .cross_validation import Study, stacks

COMMAND = "python -m training similar"
#: How far a nodule's centre is moved to ask whether its picture is still recognised, mm.
MOVED_MM = 2.0
#: Of how many nodules one is asked for: each takes a second.
EVERY = 3
SUMMARY = "summary_"


def shown(table: pd.DataFrame) -> pd.Series:
    """Which nodules of the out-of-fold table have a picture: exact HU throughout, and not the sample scan's."""
    exact: pd.Series = table.hu_exact & (table.patient_id != SAMPLE_PATIENT)
    return exact


def similar(
    study: Study, nodules: Mapping[int, FoundOutlines], package: ModelPackage, table: pd.DataFrame, file: Path
) -> str:
    """Write the reference file, and all tables into ``study.out / similar``; returns them as Markdown.

    Parameters
    ----------
    study : Study
    nodules : dict of int to FoundOutlines
        By fold, at the outlines that its segmentation network found.
    package : ModelPackage
        Its graders, the first of which never saw fold 0, and so on.
    table : DataFrame
        The out-of-fold estimates of the same nodules.
    file : Path
        Where the reference nodules go.
    """
    reference = write_file(study.data, table[shown(table)], file)
    measured = measure(study, nodules, package, table)
    means = (
        "Means over all nodules of |readers' grade of the nodule - readers' grade of a nodule found|. Each nodule is "
        "known by estimates of networks that never saw its patient; nodules of its patient are never found. "
        "*estimates*: the nodules to be found are compared by such estimates, too; *readers'*: by what their readers "
        "gave. *minus size*: 95 % interval, patients resampled."
    )
    parts = [
        Section(
            "retrieval",
            "Five most similar nodules",
            len(table),
            means,
            retrieval_table(table, measured, shown(table).to_numpy()),
        ),
        Section(
            "summary",
            "The same with the network's summary",
            len(table),
            "Found among nodules of the same fold alone, since summaries of two graders cannot be compared.",
            summary_table(table, measured),
        ),
        Section(
            "pictures",
            "Is the same nodule recognised by its picture?",
            len(reference.nodules[::EVERY]),
            f"Share of pictures that correlate by {pictures.SAME} or more with the stored one.",
            picture_table(study.data, table, reference),
        ),
    ]
    return write(parts, study.out / "similar", COMMAND)


def write_file(data: Path, table: pd.DataFrame, file: Path) -> ReferenceSet:
    """Write the nodules of ``table`` (out of fold, or labels alone) as the file that ships, and read it."""
    given = reader_grades()
    nodules, images = [], {}
    for row in track(table.to_dict("records"), "Pictures", transient=True):
        readings = given.loc[[int(one) for one in row["annotation_ids"].split(";")]].malignancy
        name = row["nodule_id"]
        one = SimilarNodule(
            name,
            {grade: round(float(row[grade]), 3) for grade in GRADE_NAMES},
            round(float(row["calcified"]), 3),
            tuple(sorted(int(value) for value in readings)),
        )
        nodules.append((one, row["series_uid"]))
        images[name] = pictures.encoded(pictures.small_picture(read_nodule(data, name).volume, np.zeros(3)))
    write_reference_set(file, nodules, images)
    return read_reference_set(file)


def measure(study: Study, nodules: Mapping[int, FoundOutlines], package: ModelPackage, table: pd.DataFrame) -> Measured:
    """Shapes and summaries of the table's nodules; the first call takes minutes and keeps them in ``out``."""
    path = study.out / "similar" / "measured.csv"
    key = {"package": package.model_id, "nodules": digest(*(f"{fold} {one.key}" for fold, one in nodules.items()))}
    if not read_keyed_table(path, key):
        parts = [_measured(study, own, package.networks().graders[fold]) for fold, own in nodules.items()]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_keyed_table(path, pd.concat(parts, ignore_index=True), key)
    kept = read_keyed_table(path, key)
    assert kept
    rows = kept[0].set_index("nodule_id").loc[table.nodule_id]
    found, readers = (rows[[f"{prefix}{name}" for name in SHAPE_FEATURES]] for prefix in (PIPELINE, ORACLE))
    summary = rows[[name for name in rows if name.startswith(SUMMARY)]]
    return Measured(found.to_numpy(), readers.to_numpy(), summary.to_numpy())


@torch.inference_mode()
def _measured(study: Study, nodules: FoundOutlines, grader: NoduleViT) -> pd.DataFrame:
    columns: dict[str, list[float]] = {}

    def put(names: list[str], values: torch.Tensor) -> None:
        for name, value in zip(names, values[0].tolist(), strict=True):
            columns.setdefault(name, []).append(value)

    cut = stacks(study, nodules, grader.config.layout, cubes=False)
    for prefix, own in cut.items():
        for stack in own:
            batch = collate([_there(stack)])
            put([f"{prefix}{name}" for name in SHAPE_FEATURES], batch.shape_features)
            if prefix == PIPELINE:
                summary = grader.summary(grader.tokens(batch), batch)
                put([f"{SUMMARY}{n}" for n in range(summary.shape[1])], summary)
    return pd.concat([nodules.table[["nodule_id"]], pd.DataFrame(columns)], axis=1)


def _there(stack: SliceStack | None) -> SliceStack:
    # Every point has an outline, and three readers agree on some voxel of every reference nodule.
    assert stack is not None
    return stack


def picture_table(data: Path, table: pd.DataFrame, reference: ReferenceSet) -> pd.DataFrame:
    """How often a nodule is taken for the one in the reference set: itself, and the five that are found for it."""
    found = nearest_as_shipped(table, reference)
    rng = np.random.default_rng(0)
    own, others = [], []
    known = {one.name: one for one in reference.nodules}
    asked = [(name, theirs) for name, theirs in zip(table.nodule_id, found, strict=True) if name in known][::EVERY]
    for name, theirs in track(asked, "Comparing", transient=True):
        volume = read_nodule(data, name).volume
        away = rng.normal(size=3)
        centre = away / np.linalg.norm(away) * MOVED_MM * rng.random() ** (1 / 3)
        told = pictures.recognised(volume, centre, [known[name], *theirs], reference)
        own.append(told[0].same)
        others += [one.same for one in told[1:]]
    rows = {
        f"the same nodule, centred up to {MOVED_MM:g} mm beside": (len(own), np.mean(own)),
        "the five that are found for it, of other patients": (len(others), np.mean(others)),
    }
    return pd.DataFrame.from_dict(rows, "index", columns=["pictures", "taken for the same"]).rename_axis("compared")
