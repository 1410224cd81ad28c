"""What others ask of nodules and how they score: the nodules of one or two readers graded, too, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.networks.model_package import load
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from NoduleRiskLib.networks.segmentation import SegmentationUNet

from ..checkpoints import write_table
from ..data.crops import FOLDS
from ..data.diagnoses import diagnoses
from ..evaluation.out_of_fold import read
from ..evaluation.published import sections
from ..evaluation.report_sections import write
from . import cross_validation
from .cross_validation import Study

COMMAND = "python -m training published"
#: In ``out``: the out-of-fold estimates of the reference nodules, and of those that one or two readers marked.
REFERENCE_FILE, FEW_FILE = "out-of-fold-crops.csv", "out-of-fold-few-readers.csv"


def grade_few_readers(
    study: Study, segmentation: Mapping[int, SegmentationUNet], graders: Mapping[int, NoduleViT]
) -> None:
    """Keep the out-of-fold estimates of the nodules that one or two readers marked, by the networks of their fold."""
    nodules = cross_validation.few_reader_outlines(study, segmentation)
    own = {fold: graders[fold] for fold in nodules}
    # A data set may hold none.
    table = cross_validation.estimates(study, nodules, own) if nodules else read(study.out / REFERENCE_FILE).head(0)
    write_table(study.out / FEW_FILE, table)


def grade_with_package(study: Study, package: Path) -> None:
    """``grade_few_readers`` by the graders of a package, the first of which never saw fold 0, and so on."""
    loaded = load(package)
    count = loaded.manifest.networks.graders
    if count != FOLDS:
        raise NoduleRiskError(f"{package} has {count} graders: give a package with one for each of {FOLDS} folds.")
    graders = dict(enumerate(loaded.networks().graders))
    grade_few_readers(study, cross_validation.segmentation_nets(study, tuple(graders)), graders)


def published(data: Path, out: Path) -> str:
    """All tables of ``evaluation.published`` (Markdown) of the estimates in ``out``; files in ``out / published``."""
    if not (out / FEW_FILE).is_file():
        raise NoduleRiskError(
            f"There is no {out / FEW_FILE}: run 'python -m training all' with the same --out, or name with --package "
            f"the package whose graders made {out / REFERENCE_FILE}."
        )
    few: pd.DataFrame = read(out / FEW_FILE)
    return write(sections(read(out / REFERENCE_FILE), few, diagnoses(data)), out / "published", COMMAND)
