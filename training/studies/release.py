"""From the data folder to the model package that ships: all networks, their out-of-fold tables, the export."""

from __future__ import annotations

from pathlib import Path

from NoduleRiskLib.networks.model_package import ModelPackage, Networks, save

from ..checkpoints import write_text
from ..data.real_lungs import lung_cts
from ..evaluation.tables import OutOfFold, tables
from ..models.fold_networks import FoldNetworks, write_fold_networks
from . import cross_validation
from .cross_validation import ALL, Study
from .export import TRAINED_ON, calibrate, export
from .published_study import grade_few_readers, published
from .repeatability_study import repeated_measurements

#: The folder in ``out`` of packages whose networks never saw a patient, by the patient's name.
PACKAGES = "packages"
#: The file in ``out`` of the folds' segmentation and false-positive networks.
FOLD_NETWORKS = "fold-networks.safetensors"


def release(study: Study, package: Path, version: str) -> ModelPackage:
    """Train what is not trained yet, write all tables into ``study.out`` and the model package into ``package``."""
    segmentation = cross_validation.segmentation_nets(study)
    nodules = cross_validation.outlines(study, segmentation)
    graders = cross_validation.graders(study, nodules)
    cube_nodules = cross_validation.outlines(study, segmentation, cubes=True)
    false_positive = cross_validation.false_positive_nets(study, segmentation)
    OutOfFold(
        crops=cross_validation.estimates(study, nodules, graders),
        cubes=cross_validation.estimates(study, cube_nodules, graders, cubes=True),
        places=cross_validation.nodule_probabilities(study, segmentation, false_positive),
        repeated=repeated_measurements(study, segmentation),
    ).write(study.out)
    write_text(study.out / "tables.md", tables(study.out))
    grade_few_readers(study, segmentation, graders)
    write_text(study.out / "published.md", published(study.data, study.out))
    found = OutOfFold.read(study.out)
    for ct in lung_cts(study.data):
        if ct.fold in study.folds:
            unseen = Networks([graders[ct.fold]], [segmentation[ct.fold]], [false_positive[ct.fold]])
            path = study.out / PACKAGES / ct.patient_id
            save(path, path.name, version, unseen, calibrate(found), TRAINED_ON, f"Never saw {ct.patient_id}.")
    shipped = cross_validation.segmentation_nets(study, (ALL,))
    shipped_too = cross_validation.false_positive_nets(study, shipped)
    write_fold_networks(study.out / FOLD_NETWORKS, FoldNetworks(segmentation | shipped, false_positive | shipped_too))
    networks = Networks(list(graders.values()), list(shipped.values()), list(shipped_too.values()))
    command = "python -m training all --data DATA" + (" --start PACKAGE" if study.grader.start else "")
    return export(package, version, networks, found, command)
