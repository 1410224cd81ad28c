"""From the data folder to the model package that ships: all networks, their out-of-fold tables, the export."""

from __future__ import annotations

from pathlib import Path

from NoduleRiskLib.networks.model_package import ModelPackage, Networks

from ..checkpoints import write_table, write_text
from ..evaluation.out_of_fold import with_radiomics
from ..evaluation.tables import tables
from . import cross_validation
from .cross_validation import ALL, Study
from .export import export


def release(study: Study, package: Path, version: str) -> ModelPackage:
    """Train what is not trained yet, write all tables into ``study.out`` and the model package into ``package``."""
    segmentation = cross_validation.segmentation_nets(study)
    nodules = cross_validation.outlines(study, segmentation)
    graders = cross_validation.graders(study, nodules)
    cube_nodules = cross_validation.outlines(study, segmentation, cubes=True)
    crops = cross_validation.estimates(study, nodules, graders)
    cubes = cross_validation.estimates(study, cube_nodules, graders, cubes=True)
    for name, table in (("crops", crops), ("cubes", cubes)):
        write_table(study.out / f"out-of-fold-{name}.csv", table)
    write_text(study.out / "tables.md", tables(study.out))
    shipped = cross_validation.segmentation_nets(study, (ALL,))
    networks = Networks(
        list(graders.values()),
        list(shipped.values()),
        list(cross_validation.false_positive_nets(study, shipped).values()),
    )
    command = "python -m training all --data DATA" + (" --start PACKAGE" if study.grader.start else "")
    return export(package, version, networks, with_radiomics(crops, study.out), cubes, command)
