"""The report of a cross-validation: all tables of the out-of-fold estimates beside what they have to beat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from NoduleRiskLib.results.account_lines import APART

from ..checkpoints import read_table, write_table
from ..data.crops import FOLDS, load
from ..data.places import CROPS, CUBES, NODULE, WHOLE
from .account import account, account_table, accounted, terms_table
from .calibration import calibration, chances, coverage_table, plot_reliability
from .classes import suspected
from .classification_tables import binary, by_size, every_grade, operating_points, ternary
from .false_positive_tables import limit, place_table
from .out_of_fold import ESTIMATES, ORACLE, PIPELINE, RADIOMICS, read, with_radiomics
from .reader_agreement import reader_agreement, readings_of
from .repeatability import NOISE_HU, limits_of_agreement
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


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """All that networks said of patients that they never saw.

    Attributes
    ----------
    crops, cubes : DataFrame
        ``cross_validation.estimates``; ``crops`` perhaps with the columns of ``RADIOMICS``.
    places : DataFrame
        ``cross_validation.nodule_probabilities``.
    repeated : DataFrame
        ``repeatability_study.repeated_measurements``.
    """

    crops: pd.DataFrame
    cubes: pd.DataFrame
    places: pd.DataFrame
    repeated: pd.DataFrame

    def write(self, out: Path) -> None:
        """Keep the tables in ``out``."""
        for name, table in vars(self).items():
            write_table(out / _file(name), table)

    @classmethod
    def read(cls, out: Path) -> OutOfFold:
        """What ``write`` kept, with the estimates from radiomics features where ``out`` has them."""
        crops, cubes = (read(out / _file(name)) for name in ("crops", "cubes"))
        places, repeated = (read_table(out / _file(name)) for name in ("places", "repeated"))
        return cls(with_radiomics(crops, out), cubes, places, repeated)


def _file(name: str) -> str:
    return f"out-of-fold-{name}.csv"


def tables(out: Path) -> str:
    """``sections`` of what ``training all`` and ``training baselines`` left in ``out``; files in ``out / tables``."""
    return write(sections(OutOfFold.read(out)), out / "tables", COMMAND)


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


def sections(found: OutOfFold) -> Iterator[Section]:
    """All tables of a cross-validation."""
    crops, cubes = found.crops, found.cubes
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
    yield from _of_account(crops)
    text = (
        "Share of readers' means inside the 80 % intervals, fitted on the other folds for each stratum of the "
        "*measured* diameter; columns: strata of the readers' diameter."
    )
    yield Section("coverage", "Calibration: coverage of the intervals", n, text, coverage_table(crops, PIPELINE))

    yield Section(
        "outlines",
        "Outlines against the readers' consensus, each by a segmentation network not trained on the patient",
        n,
        "",
        outline_table({"crops with synthetic lung around them": crops, "cubes": cubes}),
    )
    yield from _of_places(found.places)
    pairs = len(found.repeated)
    text = (
        "The same nodule measured again from another point, on another grid, on every second slice or with noise of "
        f"{NOISE_HU:.0f} HU added: mean difference and 95 % limits of agreement by the mean of both diameters. Crops "
        "in synthetic lung, and cubes."
    )
    agreed = limits_of_agreement(found.repeated)
    yield Section("repeatability", "Repeatability of diameter and volume", pairs, text, agreed)
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
    on_cubes["cube / crop"] = on_cubes["cube, segmentation network"] / on_cubes["crop, segmentation network"]
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


def _of_account(crops: pd.DataFrame) -> Iterator[Section]:
    told, fit = accounted(crops, PIPELINE), account(crops, PIPELINE)
    if fit is None or told.empty:
        return
    text = (
        "Two stages, the second a logistic regression of the eight other grades as they are shown, taught the direct "
        "head's probability on the other folds: its terms are the account of the suspicion. Difference in AUC with "
        "95 % interval and p, paired bootstrap over patients. *Apart*: share of nodules whose two probabilities differ "
        f"by {APART:g} or more."
    )
    yield Section(
        "account", "Why this suspicion: the account beside the direct head", len(told), text, account_table(told)
    )
    text = (
        "What one standard deviation more adds to the log-odds. Diameter: log2 mm; calcification: share of readers "
        f"expected to see any. LIDC's average nodule has log-odds of {fit.intercept:.2f}. Grades that go together, "
        "lobulation and spiculation above all, share what they say: it cannot be told apart which of them says it."
    )
    yield Section("account-terms", "Why this suspicion: the terms", len(told), text, terms_table(fit))


def _of_places(places: pd.DataFrame) -> Iterator[Section]:
    below = limit(places)
    text = (
        f"*Warned about*: nodule probability below {below:.3f}, the limit below which one in twenty nodules of three "
        "readers or more lies. *Non_nodule* and *nodule_lt_3mm*: what LIDC's readers looked at and did not call a "
        "nodule of 3 mm or more, four points at each mark."
    )
    for source in (CROPS, CUBES, WHOLE):
        part = places[places.source == source]
        if (part.kind == NODULE).any():
            title = f"Nodule probability by place: {source}"
            yield Section(f"places-{source.split()[0]}", title, len(part), text, place_table(part, below))
            text = ""


def compared(table: pd.DataFrame, predicted: str, agreement: pd.DataFrame) -> pd.DataFrame:
    """``grade_table`` beside MAE and r from radiomics features, and one reader's MAE and kappa."""
    ours = grade_table(table, predicted)
    for name, prefix in ESTIMATES.items():
        if prefix in RADIOMICS.values() and prefix != predicted and f"{prefix}malignancy" in table:
            theirs = grade_table(table, prefix)
            ours[f"{name} MAE"], ours[f"{name} r"] = theirs.MAE, theirs.r
    ours["reader MAE"], ours["reader kappa"] = agreement.MAE, agreement["weighted kappa"]
    return ours
