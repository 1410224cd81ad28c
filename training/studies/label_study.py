"""The labels alone, without any image: similarity of grades, grades to malignancy, agreement, baselines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import StratifiedGroupKFold

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import BENIGN_BELOW, GRADES, MALIGNANT_ABOVE, OTHER_GRADES, Grade
from NoduleRiskLib.imaging.volume import Array

from ..data.crops import FOLDS
from ..data.lidc import LUNA16_DIFFERS, SIZES, nodules_of
from ..evaluation.classes import CALCIFIED_BELOW, JUDGED, two_classes
from ..evaluation.metrics import auc
from ..evaluation.out_of_fold import out_of_fold
from ..evaluation.reader_agreement import others, reader_agreement, readings_of
from ..evaluation.report_sections import Section, write
from ..evaluation.score_tables import grade_table
from .two_stages import REPEATS, from_grades, noise, plot_noise

COMMAND = "python -m training study"
#: Nodules of LUNA16's protocol, their scans and patients, and the nodules of all 1,018 scans: what pylidc's rule gives.
GOLDEN = (1186, 602, 601, 2651)


def study(readings: pd.DataFrame, out: Path, images: pd.DataFrame | None = None) -> str:
    """Write all tables (CSV) and plots (PNG) under ``out`` / study; all of it as Markdown is returned.

    Parameters
    ----------
    readings : DataFrame
        As ``lidc.readings`` gives them.
    out : Path
    images : DataFrame, optional
        As ``crops.nodule_table`` gives it: which nodules have images, and LUNA16's own diameters.

    Raises
    ------
    NoduleRiskError
        If the database does not give ``GOLDEN``: then every figure below would be about other nodules.
    """
    found = nodules_of(readings)
    table = found[found.reference].copy()
    counts = (len(table), table.series_uid.nunique(), table.patient_id.nunique(), len(found))
    if counts != GOLDEN:
        raise NoduleRiskError(f"The annotations give {counts} nodules, scans, patients and clusters, not {GOLDEN}.")
    table["fold"] = folds(table)
    head = "{:,} nodules with at least three readers in {} scans of {} patients; {:,} nodules in all scans".format
    text = write(sections(table, readings, images), out / "study", COMMAND)
    return f"# The labels alone\n\n{head(*counts)} (`{COMMAND}`).\n\n{text}"


def sections(table: pd.DataFrame, everything: pd.DataFrame, images: pd.DataFrame | None = None) -> Iterator[Section]:
    """The study's tables, one after the other."""
    n, asked = len(table), table[two_classes("malignancy", table.malignancy).notna()]
    readings = everything[everything.nodule.isin(table.index)]

    text = (
        "Where pylidc's rule and LUNA16's own list differ: as many nodules in all, but not in four scans. In the first "
        "and the last one reader's large outline joins two places, so that three readers come together; in the other "
        "two the annotations of several nodules touch and cannot be split. All other scans have as many in both."
    )
    yield Section("luna16", "Nodules that LUNA16 counts differently", n, text, luna16_differences(table))

    similar = cosines(table)
    inner = similar.loc["internal structure"]
    varied = int((table.internal_structure != 1).sum())
    text = (
        "Equation 1's cosine of each characteristic with malignancy (the paper's figure 2), the same with malignancy "
        "shuffled over the nodules (its expected value), and the cosine of what is left when the means are taken away "
        "(Pearson; Spearman: of the ranks). Grades are positive and vary little beside their mean, so the raw cosine "
        f"is high for any characteristic, and even for shuffled malignancy. Internal structure has {inner.cosine:.2f}, "
        "no less than the others, so these cosines are no reason to leave it out. Reasons are that it hardly varies "
        f"(mean other than 1 in {varied} of {n:,} nodules) and that its r is {inner['Pearson r']:.2f}."
    )
    yield Section("cosines", "Characteristics and malignancy", n, text, similar, plot_cosines(similar))

    scored = from_grades(asked)
    text = (
        f"Malignancy ({BENIGN_BELOW} / {MALIGNANT_ABOVE}) classified from the readers' own means of the "
        f"other grades, out of fold ({FOLDS} folds by patient), without any image; the paper has 0.93. AUC with 95 % "
        "interval (patients resampled); accuracy at the threshold that is best on the other folds."
    )
    yield Section("from_grades", "Grades to malignancy", len(asked), text, scored)

    noisy = noise(asked)
    clean, used = (noisy[f"spread, logistic regression, {how}"] for how in ("taught clean", "taught noisy"))
    text = (
        "The same classifiers when the grades of the unseen nodules are wrong. *spread*: every grade is moved at "
        "random, with a standard deviation of that share of its scale (diameter: of itself); *replaced*: that share of "
        "the grades is another nodule's. Taught on the readers' own grades, or on grades as noisy as those it meets. "
        f"Accuracy, mean of {REPEATS} draws and {FOLDS} folds. The paper says that 20 to 30 % of noise makes the "
        f"second stage useless. Here spread takes the logistic regression from {clean[0.0]:.3f} without noise to "
        f"{clean[0.2]:.3f} at 20 % and {clean[0.3]:.3f} at 30 % ({used[0.2]:.3f} and {used[0.3]:.3f} when it is taught "
        f"on grades as noisy); diameter alone, without noise, has {scored.accuracy['diameter alone']:.3f}, always "
        f"giving the commoner answer {noisy.attrs['constant']:.3f}. In the same unit one reader differs from the mean "
        f"of the others by {reader_noise(readings):.0%} (root mean square over the judged grades but malignancy)."
    )
    yield Section("noise", "Noise on the grades", len(asked), text, noisy, plot_noise(noisy))

    middle = thresholds(table, readings)
    row = middle.loc["malignancy"]
    if images is not None:
        shown = readings_of(images[images.in_luna16_reference], everything)
        middle.loc[f"malignancy, {shown.nodule.nunique():,} nodules with images"] = thresholds(
            shown.groupby("nodule").mean(numeric_only=True), shown
        ).loc["malignancy"]
    text = (
        f"What lies on either side of the thresholds. The ternary middle is not *readers unsure*: of the {row['= 3']} "
        f"nodules with mean malignancy 3, all readers said 3 in {row['all said 3']} ({row['all four said 3']} of them "
        "with four readers or more); in the rest they disagree."
    )
    yield Section("thresholds", "Behind the thresholds", n, text, middle)

    text = (
        "Calcification is a code (1 to 5 patterns, 6 absent). Read like the other grades it has next to no negatives; "
        f"read as absent or present (mean under {CALCIFIED_BELOW}) it is a classification."
    )
    yield Section("calcification", "Calcification as a classification", n, text, calcification(table, readings))

    text = (
        "Every reader against the mean of the nodule's other readers: AUC for the others' classes (< 2.75 against "
        "> 3.25; calcification: mean under 5.5; *calcification seen*: by most of the others), quadratic weighted kappa "
        "with the others' mean rounded, mean absolute error. "
        "Calcification's kappa and error treat codes as a scale and say little."
    )
    yield Section("readers", "One reader against the others", n, text, reader_agreement(readings))

    text = (
        "What a score has to beat. Constant: the median of the other folds (AUC 0.5). Diameter alone: mean absolute "
        "error of a median regression on log2 diameter, out of fold; AUC of the diameter itself at each grade's "
        "two classes, with the small or the large nodules as positives, whichever gives the larger AUC. Diameters are "
        "those of the readers' outlines."
    )
    yield Section("baselines", "Constant guess and diameter alone", n, text, baselines(table))

    text = "Sizes from the readers' outlines, averaged over readers; r and bias against LUNA16's own where it has one."
    luna16_mm = None if images is None else images.set_index("annotation_ids").luna16_diameter_mm
    yield Section("sizes", "Diameters", n, text, sizes(table, luna16_mm))


def folds(table: pd.DataFrame) -> Array:
    """A fold of ``FOLDS`` for every nodule, none of which shares a patient with another fold."""
    suspect = table.malignancy > MALIGNANT_ABOVE
    fold = np.empty(len(table), int)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for number, (_, rows) in enumerate(splitter.split(table, suspect, table.patient_id)):
        fold[rows] = number
    return fold


def luna16_differences(table: pd.DataFrame) -> pd.DataFrame:
    """The scans in which LUNA16 counts other nodules than ``table`` holds, by patient."""
    rows = {
        patient: {"nodules here": int((table.patient_id == patient).sum()), "in LUNA16's list": theirs}
        for patient, theirs in LUNA16_DIFFERS.items()
    }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("scan of")


def cosines(table: pd.DataFrame) -> pd.DataFrame:
    """Cosine similarity (the paper's equation 1) of each characteristic with malignancy, and its centred versions."""
    rows = {}
    for name in [*(grade.name for grade in OTHER_GRADES), "internal_structure"]:
        pair = table[[name, "malignancy"]]
        rows[name.replace("_", " ")] = {
            "cosine": cosine_similarity(pair.T)[0, 1],
            "cosine, shuffled": (pair.mean() / np.sqrt((pair**2).mean())).prod(),
            "Pearson r": pair.corr().iloc[0, 1],
            "Spearman r": pair.corr("spearman").iloc[0, 1],
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def reader_noise(readings: pd.DataFrame) -> float:
    """How far one reader is from the mean of the others: root mean square, as a share of the scale."""
    gaps = [(readings[g.name] - others(readings, g.name)) / (g.high - g.low) for g in JUDGED if g.name != "malignancy"]
    return float(np.sqrt(np.nanmean(np.square(gaps))))


def thresholds(table: pd.DataFrame, readings: pd.DataFrame) -> pd.DataFrame:
    """One row per grade that is given in steps: nodules on either side of the binary and the ternary thresholds."""
    rows = {}
    for grade in JUDGED:
        mean, given = table[grade.name], readings.groupby("nodule")[grade.name]
        agreed = (given.min() == 3) & (given.max() == 3)
        rows[grade.name] = {
            f"< {BENIGN_BELOW}": (mean < BENIGN_BELOW).sum(),
            "between": mean.between(BENIGN_BELOW, MALIGNANT_ABOVE).sum(),
            f"> {MALIGNANT_ABOVE}": (mean > MALIGNANT_ABOVE).sum(),
            "< 3": (mean < 3).sum(),
            "= 3": (mean == 3).sum(),
            "> 3": (mean > 3).sum(),
            "all said 3": agreed.sum(),
            "all four said 3": (agreed & (given.size() > 3)).sum(),
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def calcification(table: pd.DataFrame, readings: pd.DataFrame) -> pd.DataFrame:
    """How many nodules each way of reading calcification calls what."""
    mean, seen = table.calcification, table.calcified
    given = readings.groupby("nodule").calcification.agg(set)
    unheard = [code not in codes for code, codes in zip(np.floor(mean + 0.5), given[mean.index], strict=True)]
    present = mean < CALCIFIED_BELOW
    rows = {
        f"mean under {BENIGN_BELOW}: the negatives of the scale": mean < BENIGN_BELOW,
        f"mean over {MALIGNANT_ABOVE}: its positives": mean > MALIGNANT_ABOVE,
        f"mean under {CALCIFIED_BELOW}: present": present,
        "of these seen by one reader only": present & (seen * table.n_readers < 1.5),
        "seen by any reader": seen > 0,
        "seen by most readers": seen > 0.5,
        "mean rounds to a code that no reader gave": unheard,
    }
    return pd.DataFrame({"nodules": {name: int(np.sum(one)) for name, one in rows.items()}}).rename_axis("reading")


def baselines(table: pd.DataFrame) -> pd.DataFrame:
    """One row per grade: errors of the constant and of diameter, and diameter's AUC for the grade's two classes."""

    def from_diameter(here: pd.DataFrame, rest: pd.DataFrame) -> pd.DataFrame:
        size, own_size = (np.log2(part[["diameter"]].to_numpy()) for part in (rest, here))
        lines = {grade.name: QuantileRegressor(alpha=0).fit(size, rest[grade.name]) for grade in JUDGED}
        return pd.DataFrame({name: line.predict(own_size) for name, line in lines.items()}, index=here.index)

    guess = out_of_fold(table, from_diameter).assign(diameter=table.diameter).add_prefix("diameter_")
    errors = grade_table(table.join(guess), "diameter_")
    rows = {}
    for grade in GRADES:
        rows[grade.name] = {"constant MAE": errors.constant[grade.name], "diameter MAE": errors.MAE[grade.name]}
        if grade in JUDGED:
            rows[grade.name] |= diameter_area(table, grade)
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def diameter_area(table: pd.DataFrame, grade: Grade) -> dict[str, float]:
    """AUC of diameter for a grade's two classes, the small nodules as positives where that gives the larger AUC."""
    asks = two_classes(grade.name, table[grade.name]).dropna()
    area = auc((asks == 1).to_numpy(), table.diameter[asks.index].to_numpy())
    return {"AUC": max(area, 1 - area), "positive": int((asks == 1).sum()), "negative": int((asks == 0).sum())}


def sizes(table: pd.DataFrame, luna16_mm: pd.Series | None) -> pd.DataFrame:
    """One row per measure of size: mean, median, correlation with the Fleischner diameter and with LUNA16's."""
    frame = table[list(SIZES)].describe().T[["mean", "50%", "min", "max"]].rename(columns={"50%": "median"})
    frame["r with diameter"] = table[list(SIZES)].corr().diameter
    if luna16_mm is not None:
        theirs = table.annotation_ids.map(luna16_mm)
        known = theirs.notna()
        frame["r with LUNA16"] = [table[name].corr(theirs) for name in SIZES]
        frame["median of it - LUNA16"] = [(table[name] - theirs)[known].median() for name in SIZES]
        frame["nodules in both"] = int(known.sum())
        frame.loc["volume_mm3", "median of it - LUNA16"] = np.nan
    return frame.rename_axis("size")


def plot_cosines(table: pd.DataFrame) -> Figure:
    """The paper's figure 2 with its centred versions beside it."""
    figure = Figure(figsize=(9, 4))
    axes = table.plot.barh(ax=figure.subplots(), width=0.8)
    axes.invert_yaxis()
    axes.set(xlabel="similarity with malignancy", ylabel="")
    axes.legend(loc="lower left", bbox_to_anchor=(1, 0))
    return figure
