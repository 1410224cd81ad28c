"""Folds become the model package that ships: networks, calibration and a card with every score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from NoduleRiskLib.grades import DISCLAIMER, GRADES
from NoduleRiskLib.networks.model_package import Calibration, ModelPackage, Networks, save

from ..evaluation.calibration import STRATA_MM, residual_interval, suspicion
from ..evaluation.out_of_fold import PIPELINE
from ..evaluation.tables import sections

TRAINED_ON = "LIDC-IDRI (CC BY 3.0), LUNA16 reference nodules, five folds by patient; patient LIDC-IDRI-0001 in none"


def calibrate(table: pd.DataFrame) -> Calibration:
    """Intervals, reference percentiles and suspicion probability from the out-of-fold table."""
    levels = np.linspace(0, 100, 101)
    return Calibration(
        interval=residual_interval(table, PIPELINE),
        reference={g.name: tuple(float(v) for v in np.percentile(table[g.name], levels).round(4)) for g in GRADES},
        suspicion=suspicion(table, PIPELINE),
        strata_mm=STRATA_MM,
    )


def export(
    path: Path,
    version: str,
    networks: Networks,
    crops: pd.DataFrame,
    cubes: pd.DataFrame,
    command: str,
) -> ModelPackage:
    """Write the package, made by ``command``; its card holds all ``tables.sections``."""
    told = card(path.name, crops, cubes, command)
    return save(path, path.name, version, networks, calibrate(crops), TRAINED_ON, told)


def card(name: str, crops: pd.DataFrame, cubes: pd.DataFrame, command: str) -> str:
    """The model card, Markdown."""
    return prose(name, command) + "\n".join(section.markdown(command) for section in sections(crops, cubes)) + "\n"


def prose(name: str, command: str) -> str:
    """The card before its scores."""
    return f"""# {name}

{DISCLAIMER}

**What it does.** From a point on a lung nodule of a chest CT: the nodule's outline, nine LIDC grades with 80 %
intervals, and the chance that at least half of four LIDC readers would give malignancy 4 or 5. That is readers'
suspicion; nothing here was compared with pathology.

**How.** A segmentation network (2-D U-Net, slice by slice, that also sees the neighbouring slices) outlines the nodule,
a false-positive reduction network (3-D CNN, a 32 mm cube around the nodule's centre) warns of vessels and chest wall,
and five NoduleViTs (one token per slice, four transformer blocks, nine heads that also read six shape features of the
outline), one per fold, grade it; their outputs are averaged. Trained by `{command}`.

**Files.** `model.json` holds the SHA-256 of the weights and of this card. It proves that the package is complete and
unchanged, not where it comes from: take packages from sources that you trust.

**Data.** {TRAINED_ON}. Armato et al. 2011, The Cancer Imaging Archive, doi 10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0.
Grades are means over the readers who marked the nodule (three or four). 218 of the 1,143 nodules have slices whose HU
were recovered from 8-bit images.

**Limits.** One collection, slices of up to 3 mm; nodules of 3 to 40 mm that at least three of four radiologists marked.
A point that is not on a nodule does not always bring a warning, and some nodules bring one; faint nodules are missed
most often, and a few large ones are outlined only in part.
Estimates of rare grades lean towards the mean. The pattern of calcification is the least certain result, because few
nodules are calcified. Intervals and suspicion probability are fitted to the estimates of single graders; the package
averages five.

**Scores.** All are out of fold: no grader was trained on patients whose nodules it is scored on; the epoch is chosen on
a tenth of the training patients. Each nodule is outlined by a segmentation network that was trained on the other folds
with the same settings; the one in this package was trained on all patients but the sample's. The package averages five
graders; each score below is of one. Intervals are fitted for each stratum of the estimated diameter, on the other
folds.

"""
