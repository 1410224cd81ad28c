"""Folds become the model package that ships: networks, calibration and a card with every score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from NoduleRiskLib.grades import DISCLAIMER, GRADES
from NoduleRiskLib.package import Calibration, ModelPackage, Networks, save

from .evaluate import (
    auc_gaps,
    brier,
    coverage,
    grade_table,
    malignancy_table,
    markdown,
    outline_table,
    residual_interval,
    suspicion,
)

TRAINED_ON = "LIDC-IDRI (CC BY 3.0), LUNA16 reference nodules, five folds by patient; patient LIDC-IDRI-0001 in none"

#: Scores of malignancy: what to call each, and its column in the out-of-fold table.
SCORES = {
    "NoduleRisk, extent found by the pipeline": "pipeline_malignancy",
    "NoduleRisk, readers' extent (oracle)": "oracle_malignancy",
    "diameter alone, readers' outlines": "diameter",
    "diameter alone, the pipeline's outline": "found_diameter",
    "slices x spacing of the crop": "count_mm",
}


def calibrate(table: pd.DataFrame) -> Calibration:
    """Intervals, reference percentiles and suspicion probability from the out-of-fold table."""
    levels = np.linspace(0, 100, 101)
    return Calibration(
        interval=residual_interval(table, "pipeline_"),
        reference={g.name: tuple(float(v) for v in np.percentile(table[g.name], levels).round(4)) for g in GRADES},
        suspicion=suspicion(table, "pipeline_"),
    )


def tables(crops: pd.DataFrame, cubes: pd.DataFrame) -> str:
    """All tables of a cross-validation as Markdown.

    Parameters
    ----------
    crops, cubes : DataFrame
        As ``crossval.out_of_fold`` gives them.
    """
    ours, base = brier(crops, "pipeline_")
    same = crops[crops.nodule_id.isin(cubes.nodule_id)]
    on_cubes = pd.DataFrame(
        {
            "crop, readers' extent": grade_table(same, "oracle_").MAE,
            "crop, pipeline": grade_table(same, "pipeline_").MAE,
            "cube, readers' extent": grade_table(cubes, "oracle_").MAE,
            "cube, pipeline": grade_table(cubes, "pipeline_").MAE,
            "constant": grade_table(same, "pipeline_").constant,
        }
    )
    return "\n".join(
        [
            f"### Grades of {len(crops)} nodules, out of fold, at the extent that the pipeline finds itself\n",
            markdown(grade_table(crops, "pipeline_")),
            "### The same at the readers' own extent (oracle)\n",
            markdown(grade_table(crops, "oracle_")),
            "### Malignancy as a question: readers' mean below 2.75 against above 3.25\n",
            markdown(malignancy_table(crops, SCORES)),
            "The first score's AUC minus each other's, 95 % interval on the same resampled patients:\n",
            markdown(auc_gaps(crops, SCORES)),
            "### The same, nodules of 6 to 10 mm\n",
            markdown(malignancy_table(crops[crops.diameter.between(6, 10)], SCORES)),
            "### Doubt\n",
            f"Suspicion probability (at least half of the readers give 4 or 5): Brier score {ours:.3f}; the constant's "
            f"{base:.3f}. Share of readers' means inside the 80 % intervals, fitted on the other folds:\n",
            markdown(coverage(crops, "pipeline_").to_frame("coverage").rename_axis("grade")),
            "### Outlines against the readers' consensus, each by the locator that never saw the patient\n",
            markdown(outline_table({"crops with surroundings": crops, "cubes": cubes})),
            f"### Mean absolute error on the {len(cubes)} cubes beside the same nodules' crops\n",
            markdown(on_cubes),
            markdown(malignancy_table(cubes, SCORES)),
        ]
    )


def export(
    path: Path,
    version: str,
    networks: Networks,
    crops: pd.DataFrame,
    cubes: pd.DataFrame,
) -> ModelPackage:
    """Write the package; its card holds ``tables``."""
    return save(path, path.name, version, networks, calibrate(crops), TRAINED_ON, card(path.name, crops, cubes))


def card(name: str, crops: pd.DataFrame, cubes: pd.DataFrame) -> str:
    """The model card, Markdown."""
    return f"""# {name}

{DISCLAIMER}

**What it does.** From a point on a lung nodule of a chest CT: the nodule's outline, nine LIDC grades with 80 %
intervals, and the chance that at least half of four LIDC readers would give malignancy 4 or 5. That is readers'
suspicion; nothing here was compared with pathology.

**How.** Five locators (2-D U-Nets, slice by slice) and five NoduleViTs (one token a slice, four transformer blocks,
nine heads), one of each a fold; their outputs are averaged. Trained from scratch by `python -m training all`.

**Data.** {TRAINED_ON}. Armato et al. 2011, The Cancer Imaging Archive, doi 10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0.
Grades are means over the readers who marked the nodule (three or four). 218 of the 1,143 nodules have slices whose HU
were recovered from 8-bit images.

**Limits.** One collection, slices of up to 3 mm; nodules of 3 to 40 mm that at least three of four radiologists marked.
A point that is on no nodule is not always told so, and vessels that run on from a nodule stretch its outline.
Estimates of rare grades lean towards the mean. Calcification's pattern is the least certain answer: few nodules have
one. Intervals and suspicion probability are fitted on the estimates of single folds; the package averages five.

**Scores.** All out of fold: patients are never shared between the folds that train and the one that is scored; the
epoch is chosen by a tenth of the training patients. The package averages five networks where each score below is
of one. Command: `python -m training all --data DATA`.

{tables(crops, cubes)}
"""
