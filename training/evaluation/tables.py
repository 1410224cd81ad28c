"""The report of a cross-validation: all tables of the out-of-fold estimates beside what they have to beat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ..data.crops import FOLDS, load
from .calibration import calibration, chances, coverage_table, plot_reliability
from .classes import suspected
from .classification_tables import binary, by_size, every_grade, operating_points, ternary
from .out_of_fold import ESTIMATES, ORACLE, PIPELINE, RADIOMICS, read, with_radiomics
from .reader_agreement import reader_agreement, readings_of
from .report_sections import Section, write
from .score_tables import auc_differences, grade_table, malignancy_table, outline_table

COMMAND = "python -m training tables"
#: Scores of malignancy: what to call each, and its column in the out-of-fold table.
SCORES = {
    "NoduleRisk, outlines of the segmentation network": f"{PIPELINE}malignancy",
    "NoduleRisk, readers' outlines (oracle)": f"{ORACLE}malignancy",
    "radiomics, the crop as it is": f"{RADIOMICS['crop']}malignancy",
    "radiomics, the crop with synthetic lung around it": f"{RADIOMICS['context']}malignancy",
    "diameter alone, readers' outlines": "diameter",
    "diameter alone, outlines of the segmentation network": "found_diameter",
    "slices x spacing of the crop": "count_mm",
}


def tables(out: Path) -> str:
    """``sections`` of what ``training all`` and ``training baselines`` left in ``out``; files in ``out / tables``."""
    crops, cubes = (read(out / f"out-of-fold-{kind}.csv") for kind in ("crops", "cubes"))
    return write(sections(with_radiomics(crops, out), cubes), out / "tables", COMMAND)


def baselines(data: Path, out: Path) -> str:
    """What needs images but no network, on the reference nodules that have them, written to ``out / baselines``."""
    table = load(data, out / "cache").table
    table = with_radiomics(table[table.in_luna16_reference].reset_index(drop=True), out)
    table["count_mm"] = table.slices * table.slice_spacing_mm
    agreement, n = reader_agreement(readings_of(table)), len(table)
    known = {name: column for name, column in SCORES.items() if column in table}
    parts = [
        Section(
            "grades",
            f"Grades of {n} nodules with images from radiomics features of the crop",
            n,
            "Fifty features of HU, size, shape and edge, gradient boosting; out of fold, official folds in pairs.",
            compared(table, RADIOMICS["crop"], agreement),
        ),
        Section("classification", "Every grade as a classification: AUC", n, "", every_grade(table, agreement)),
        Section("malignancy", "Malignancy as a classification", n, "", malignancy_table(table, known)),
    ]
    return write(parts, out / "baselines", "python -m training baselines")


def sections(crops: pd.DataFrame, cubes: pd.DataFrame) -> Iterator[Section]:
    """All tables of a cross-validation.

    Parameters
    ----------
    crops, cubes : DataFrame
        Out-of-fold tables; ``crops`` perhaps with the columns of ``RADIOMICS``.
    """
    n = len(crops)
    scores = {name: column for name, column in SCORES.items() if column in crops}
    classed = len(suspected(crops)[1])
    agreement = reader_agreement(readings_of(crops))

    text = (
        "Mean absolute error beside that of the constant guess (median of the other folds), Pearson r, share within "
        "one step, quadratic weighted kappa. *Reader*: one reader against the mean of the others."
    )
    yield Section(
        "grades",
        f"Grades of {n} nodules, out of fold, from the outlines of the segmentation network",
        n,
        text,
        compared(crops, PIPELINE, agreement),
    )
    yield Section(
        "grades-oracle", "The same from the readers' own outlines (oracle)", n, "", compared(crops, ORACLE, agreement)
    )

    text = "AUC with 95 % interval (patients resampled); accuracy at the threshold that is best on the other folds."
    yield Section(
        "malignancy",
        "Malignancy as a classification: readers' mean below 2.75 against above 3.25",
        classed,
        text,
        malignancy_table(crops, scores),
    )
    yield Section(
        "differences",
        "Difference in AUC: the first score minus each other",
        classed,
        "95 % interval and two-sided p, paired bootstrap over the same resampled patients.",
        auc_differences(crops, scores),
    )
    text = (
        "*3.0*: the estimate itself against 3; otherwise the threshold is set on the other folds, by accuracy or so "
        "that sensitivity equals specificity. What others report is of other nodules."
    )
    yield Section("thresholds", "Malignancy at one threshold", classed, text, operating_points(crops))
    middle = crops[crops.diameter.between(6, 10)]
    yield Section(
        "malignancy-6-10",
        "Malignancy as a classification, nodules of 6 to 10 mm",
        len(suspected(middle)[1]),
        "",
        malignancy_table(middle, scores),
    )
    yield Section("strata", "AUC of malignancy by the readers' diameter", classed, "", by_size(crops, scores))

    text = (
        "Each grade as a classification: mean below 2.75 against above 3.25; calcification: most readers saw some. "
        "Diameter from the readers' outlines, with the small or the large nodules as positives, whichever gives the "
        "larger AUC; one reader against the mean of the others."
    )
    yield Section("classification", "Every grade as a classification: AUC", n, text, every_grade(crops, agreement))
    text = (
        f"The paper's binary task for all nine grades: mean and standard deviation over {FOLDS} folds, estimates "
        "against 3 (diameter: below 6 mm against above 8 mm, the estimate against 7 mm). *Majority*: the accuracy of "
        "always giving the more frequent class; *balanced*: mean of sensitivity and specificity, of all folds together."
    )
    yield Section("paper-binary", "As in the paper's tables: two classes", n, text, binary(crops, PIPELINE))
    text = (
        f"Below, at and above 3 (diameter: below 6, up to 8, above 8 mm), {FOLDS} folds, both thresholds set on the "
        "other folds. *Balanced*: mean of the three classes' recalls, of all folds together."
    )
    yield Section("paper-ternary", "As in the paper's tables: three classes", n, text, ternary(crops, PIPELINE))

    known = chances(crops, PIPELINE)
    text = (
        "Suspicion probability: that at least half of the readers give malignancy 4 or 5; all nodules, the middle "
        "included; fitted on the other folds. *To compare*: the Brier score of the base rate; for the expected "
        "calibration error the mean and 95 % range of a perfectly calibrated probability on as many nodules."
    )
    if len(known):
        yield Section(
            "suspicion",
            "Calibration: suspicion probability",
            len(known),
            text,
            calibration(known),
            plot_reliability(known),
        )
    text = (
        "Share of readers' means inside the 80 % intervals, fitted on the other folds for each stratum of the "
        "*estimated* diameter; columns: strata of the readers' diameter."
    )
    yield Section("coverage", "Calibration: coverage of the intervals", n, text, coverage_table(crops, PIPELINE))

    yield Section(
        "outlines",
        "Outlines against the readers' consensus, each by a segmentation network not trained on the patient",
        n,
        "",
        outline_table({"crops with synthetic lung around them": crops, "cubes": cubes}),
    )
    same = crops[crops.nodule_id.isin(cubes.nodule_id)]
    on_cubes = pd.DataFrame(
        {
            "crop, readers' outlines": grade_table(same, ORACLE).MAE,
            "crop, segmentation network": grade_table(same, PIPELINE).MAE,
            "cube, readers' outlines": grade_table(cubes, ORACLE).MAE,
            "cube, segmentation network": grade_table(cubes, PIPELINE).MAE,
            "constant": grade_table(same, PIPELINE).constant,
        }
    )
    yield Section(
        "cubes",
        f"Mean absolute error on the {len(cubes)} cubes beside the same nodules' crops",
        len(cubes),
        "",
        on_cubes,
    )
    scores = {name: column for name, column in SCORES.items() if column in cubes}
    yield Section(
        "cubes-malignancy",
        "Malignancy as a classification, cubes",
        len(suspected(cubes)[1]),
        "",
        malignancy_table(cubes, scores),
    )


def compared(table: pd.DataFrame, predicted: str, agreement: pd.DataFrame) -> pd.DataFrame:
    """``grade_table`` beside MAE and r from radiomics features, and one reader's MAE and kappa."""
    ours = grade_table(table, predicted)
    for name, prefix in ESTIMATES.items():
        if prefix in RADIOMICS.values() and prefix != predicted and f"{prefix}malignancy" in table:
            theirs = grade_table(table, prefix)
            ours[f"{name} MAE"], ours[f"{name} r"] = theirs.MAE, theirs.r
    ours["reader MAE"], ours["reader kappa"] = agreement.MAE, agreement["weighted kappa"]
    return ours
