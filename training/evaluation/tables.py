"""The tables of a cross-validation: what the model says, beside all that it has to beat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import CALCIFICATION_ABSENT, GRADES

from ..data.crops import FOLDS, load
from ..data.lidc import reader_grades
from ..studies.label_study import reader_agreement, with_images
from ..studies.radiomics import VERSIONS
from .calibration import calibration, chances, coverage_table, plot_reliability
from .classification_tables import ESTIMATES, binary, by_size, operating_points, questions, ternary
from .metrics import auc_gaps, grade_table, malignancy_table, outline_table, suspected
from .report_sections import Chapter, write

COMMAND = "python -m training tables"
#: Scores of malignancy: what to call each, and its column in the out-of-fold table.
SCORES = {
    "NoduleRisk, extent found by the pipeline": "pipeline_malignancy",
    "NoduleRisk, readers' extent (oracle)": "oracle_malignancy",
    "hand-made features, crop as it is cut": f"{VERSIONS['crop']}malignancy",
    "hand-made features, crop with surroundings": f"{VERSIONS['surroundings']}malignancy",
    "diameter alone, readers' outlines": "diameter",
    "diameter alone, the pipeline's outline": "found_diameter",
    "slices x spacing of the crop": "count_mm",
}


def tables(out: Path) -> str:
    """``chapters`` of what ``training all`` and ``training baselines`` left in ``out``; files in ``out / tables``."""
    crops, cubes = (read(out / f"out-of-fold-{kind}.csv") for kind in ("crops", "cubes"))
    return write(chapters(beside(crops, out), cubes), out / "tables", COMMAND)


def baselines(data: Path, out: Path) -> str:
    """What needs images but no network, on the reference nodules that have them, written to ``out / baselines``."""
    table = load(data, out / "cache").table
    table = beside(table[table.in_luna16_reference].reset_index(drop=True), out)
    table["count_mm"] = table.slices * table.slice_spacing_mm
    heard, n = reader_agreement(readings(table)), len(table)
    known = {name: column for name, column in SCORES.items() if column in table}
    told = [
        Chapter(
            "grades",
            f"Grades of {n} nodules with images from hand-made features of the crop",
            n,
            "Fifty measures of HU, size, shape and edge, gradient boosting; out of fold, official folds in pairs.",
            compared(table, VERSIONS["crop"], heard),
        ),
        Chapter("questions", "Every grade as a question: AUC", n, "", questions(table, heard)),
        Chapter("malignancy", "Malignancy as a question", n, "", malignancy_table(table, known)),
    ]
    return write(told, out / "baselines", "python -m training baselines")


def read(path: Path) -> pd.DataFrame:
    """An out-of-fold table; raises ``NoduleRiskError`` if it is not there or not whole."""
    if not path.is_file():
        raise NoduleRiskError(f"There is no {path}: run 'python -m training all' with the same --out first.")
    table = pd.read_csv(path, dtype={"annotation_ids": str})
    missing = {"fold", "patient_id", *(f"pipeline_{one.name}" for one in GRADES)} - set(table)
    if missing:
        raise NoduleRiskError(f"{path} lacks {', '.join(sorted(missing))}: run 'python -m training all' again.")
    return table


def beside(crops: pd.DataFrame, out: Path) -> pd.DataFrame:
    """The out-of-fold table with the hand-made features' estimates, where ``out / handmade.csv`` has them."""
    path = out / "handmade.csv"
    return crops.merge(pd.read_csv(path), on="nodule_id", how="left") if path.is_file() else crops


def chapters(crops: pd.DataFrame, cubes: pd.DataFrame) -> Iterator[Chapter]:
    """All tables of a cross-validation.

    Parameters
    ----------
    crops, cubes : DataFrame
        As ``crossval.out_of_fold`` gives them; ``crops`` perhaps with the columns of ``handmade.out_of_fold``.
    """
    n = len(crops)
    scores = {name: column for name, column in SCORES.items() if column in crops}
    asked = len(suspected(crops)[1])
    heard = reader_agreement(readings(crops))

    text = (
        "Mean absolute error beside the constant guess's (median of the other folds), Pearson r, share within one "
        "step, quadratic weighted kappa. *Reader*: one reader against the mean of the others."
    )
    yield Chapter(
        "grades",
        f"Grades of {n} nodules, out of fold, at the extent that the pipeline finds itself",
        n,
        text,
        compared(crops, "pipeline_", heard),
    )
    yield Chapter(
        "grades-oracle", "The same at the readers' own extent (oracle)", n, "", compared(crops, "oracle_", heard)
    )

    text = "AUC with 95 % interval (patients resampled); accuracy at the threshold that is best on the other folds."
    yield Chapter(
        "malignancy",
        "Malignancy as a question: readers' mean below 2.75 against above 3.25",
        asked,
        text,
        malignancy_table(crops, scores),
    )
    yield Chapter(
        "differences",
        "The first score's AUC minus each other's",
        asked,
        "95 % interval and two-sided p, paired bootstrap over the same resampled patients.",
        auc_gaps(crops, scores),
    )
    text = (
        "*3.0*: the estimate itself against 3; otherwise the threshold is set on the other folds, by accuracy or so "
        "that sensitivity equals specificity. What others report is of other nodules."
    )
    yield Chapter("thresholds", "Malignancy at one threshold", asked, text, operating_points(crops))
    middle = crops[crops.diameter.between(6, 10)]
    yield Chapter(
        "malignancy-6-10",
        "Malignancy as a question, nodules of 6 to 10 mm",
        len(suspected(middle)[1]),
        "",
        malignancy_table(middle, scores),
    )
    yield Chapter("strata", "AUC of malignancy by the readers' diameter", asked, "", by_size(crops, scores))

    text = (
        "Each grade as a question: mean below 2.75 against above 3.25; calcification: most readers saw some. Diameter, "
        "small or large as fits better, from the readers' outlines; one reader against the mean of the others."
    )
    yield Chapter("questions", "Every grade as a question: AUC", n, text, questions(crops, heard))
    text = (
        f"The paper's binary task for all nine grades: mean and standard deviation over {FOLDS} folds, estimates "
        "against 3 (diameter: below 6 mm against above 8 mm, the estimate against 7 mm). *Commoner*: the accuracy of "
        "always giving the commoner answer; *balanced*: mean of sensitivity and specificity, of all folds together."
    )
    yield Chapter("paper-binary", "As the paper's tables: two classes", n, text, binary(crops, "pipeline_"))
    text = (
        f"Below, at and above 3 (diameter: below 6, up to 8, above 8 mm), {FOLDS} folds, both thresholds set on the "
        "other folds. *Balanced*: mean of the three classes' recalls, of all folds together."
    )
    yield Chapter("paper-ternary", "As the paper's tables: three classes", n, text, ternary(crops, "pipeline_"))

    told = chances(crops, "pipeline_")
    text = (
        "Suspicion probability: that at least half of the readers give malignancy 4 or 5; all nodules, the middle "
        "included; fitted on the other folds. To compare: the Brier score of the base rate; for the expected "
        "calibration error the mean and 95 % range of a perfectly calibrated probability on as many nodules."
    )
    if len(told):
        yield Chapter(
            "suspicion", "Doubt: suspicion probability", len(told), text, calibration(told), plot_reliability(told)
        )
    text = (
        "Share of readers' means inside the 80 % intervals, fitted on the other folds for each stratum of the "
        "*estimated* diameter; columns: strata of the readers' diameter."
    )
    yield Chapter("coverage", "Doubt: coverage of the intervals", n, text, coverage_table(crops, "pipeline_"))

    yield Chapter(
        "outlines",
        "Outlines against the readers' consensus, each by the locator that never saw the patient",
        n,
        "",
        outline_table({"crops with surroundings": crops, "cubes": cubes}),
    )
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
    yield Chapter(
        "cubes",
        f"Mean absolute error on the {len(cubes)} cubes beside the same nodules' crops",
        len(cubes),
        "",
        on_cubes,
    )
    scores = {name: column for name, column in SCORES.items() if column in cubes}
    yield Chapter(
        "cubes-malignancy",
        "Malignancy as a question, cubes",
        len(suspected(cubes)[1]),
        "",
        malignancy_table(cubes, scores),
    )


def readings(table: pd.DataFrame) -> pd.DataFrame:
    """Every reader's grades (and ``calcified``) of the table's nodules; ``nodule`` numbers them."""
    own = reader_grades()
    own["calcified"] = (own.calcification < CALCIFICATION_ABSENT).astype(float)
    return with_images(own, table.assign(in_luna16_reference=True))


def compared(table: pd.DataFrame, predicted: str, heard: pd.DataFrame) -> pd.DataFrame:
    """``evaluate.grade_table`` beside hand-made features' MAE and r, and one reader's MAE and kappa."""
    ours = grade_table(table, predicted)
    for name, prefix in ESTIMATES.items():
        if prefix in VERSIONS.values() and prefix != predicted and f"{prefix}malignancy" in table:
            theirs = grade_table(table, prefix)
            ours[f"{name} MAE"], ours[f"{name} r"] = theirs.MAE, theirs.r
    ours["reader MAE"], ours["reader kappa"] = heard.MAE, heard["weighted kappa"]
    return ours
