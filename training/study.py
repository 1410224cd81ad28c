"""What the labels say before any image is looked at: which grades go with malignancy, how far readers agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import StratifiedGroupKFold

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import BENIGN_BELOW, GRADES, MALIGNANT_ABOVE, Grade
from NoduleRiskLib.volume import Array

from .crops import FOLDS
from .evaluate import grade_table, markdown
from .lidc import SIZES, nodule_table
from .two_stages import OTHERS, REPEATS, from_grades, noise, plot_noise

COMMAND = "python -m training study"
#: Nodules of LUNA16's protocol, their scans and patients, and the nodules of all 1,018 scans: what pylidc's rule gives.
GOLDEN = (1186, 602, 601, 2651)
#: The mean code of calcification below which at least one reader of two saw some.
CALCIFIED_BELOW = 5.5
#: The grades that readers give in steps.
JUDGED = tuple(grade for grade in GRADES if grade.words)


@dataclass(frozen=True)
class Part:
    """One table of the study with what it says and on how many nodules."""

    name: str
    title: str
    nodules: int
    text: str
    table: pd.DataFrame

    def markdown(self) -> str:
        """Title, text, table and where it comes from."""
        source = f"*n = {self.nodules:,} nodules; `{COMMAND}`; {self.name}.csv*"
        filled = self.table.astype(object).where(self.table.notna(), "-")
        return f"## {self.title}\n\n{self.text}\n\n{markdown(filled)}\n{source}\n"


def study(readings: pd.DataFrame, out: Path, luna16_mm: pd.Series | None = None) -> str:
    """Write all tables (CSV) and plots (PNG) under ``out`` / study; all of it as Markdown is returned.

    Parameters
    ----------
    readings : DataFrame
        As ``lidc.readings`` gives them.
    out : Path
    luna16_mm : Series, optional
        LUNA16's own diameters (mm) by ``annotation_ids``.

    Raises
    ------
    NoduleRiskError
        If the database does not give ``GOLDEN``: then every figure below would be about other nodules.
    """
    found = nodule_table(readings)
    table = found[found.reference].copy()
    counts = (len(table), table.series_uid.nunique(), table.patient_id.nunique(), len(found))
    if counts != GOLDEN:
        raise NoduleRiskError(f"The annotations give {counts} nodules, scans, patients and clusters, not {GOLDEN}.")
    table["fold"] = folds(table)
    folder = out / "study"
    folder.mkdir(parents=True, exist_ok=True)
    head = "{:,} nodules with at least three readers in {} scans of {} patients; {:,} nodules in all scans".format
    chapters = ["# What the labels say\n", head(*counts) + f" ({COMMAND}).\n"]
    for part in parts(table, readings[readings.nodule.isin(table.index)], luna16_mm):
        part.table.to_csv(folder / f"{part.name}.csv")
        chapters.append(part.markdown())
        if part.name in PLOTS:
            figure = PLOTS[part.name](part.table)
            figure.savefig(folder / f"{part.name}.png", dpi=150, bbox_inches="tight")
            chapters.append(f"![{part.title}](study/{part.name}.png)\n")
    return "\n".join(chapters)


def parts(table: pd.DataFrame, readings: pd.DataFrame, luna16_mm: pd.Series | None = None) -> Iterator[Part]:
    """The study's tables, one after the other."""
    n, asked = len(table), table[question("malignancy", table.malignancy).notna()]

    similar = cosines(table)
    inner = similar.loc["internal structure"]
    varied = int((table.internal_structure != 1).sum())
    text = (
        "Equation 1's cosine of each characteristic with malignancy (the paper's figure 2), the same with malignancy "
        "shuffled over the nodules (its expected value), and the cosine of what is left when the means are taken away "
        "(Pearson; Spearman: of the ranks). Grades are positive and vary little beside their mean, so the raw cosine "
        f"is high for whatever is asked, shuffled malignancy included. Internal structure has {inner.cosine:.2f}, no "
        "less than the others: that it is left out cannot follow from these cosines. What speaks for it is that it "
        f"hardly varies (mean other than 1 in {varied} of {n:,} nodules) and that its r is {inner['Pearson r']:.2f}."
    )
    yield Part("cosines", "Characteristics and malignancy", n, text, similar)

    scored = from_grades(asked)
    text = (
        f"Malignancy as a question ({BENIGN_BELOW} / {MALIGNANT_ABOVE}) answered from the readers' own means of the "
        f"other grades, out of fold ({FOLDS} folds by patient), without any image; the paper has .93. AUC with 95 % "
        "interval (patients resampled); accuracy at the threshold that is best on the other folds."
    )
    yield Part("from_grades", "Grades to malignancy", len(asked), text, scored)

    noisy = noise(asked)
    line = noisy["spread, logistic regression, taught clean"]
    text = (
        "The same classifiers when the grades of the unseen nodules are off. *spread*: every grade is moved at random, "
        "with a standard deviation of that share of its scale (diameter: of itself); *replaced*: that share of the "
        "grades is another nodule's. Taught on the readers' own grades, or on grades as noisy as those it meets. "
        f"Accuracy, mean of {REPEATS} draws and {FOLDS} folds. The paper holds that 20 to 30 % undo the second stage: "
        f"spread takes the logistic regression from {line[0.0]:.3f} to {line[0.2]:.3f} and {line[0.3]:.3f}, where the "
        f"undisturbed diameter alone has {scored.accuracy['diameter alone']:.3f} and the commoner answer "
        f"{noisy.attrs['constant']:.3f}. In the same unit one reader is off the mean of the others by "
        f"{reader_noise(readings):.0%} (root mean square over the judged grades but malignancy)."
    )
    yield Part("noise", "Noise on the grades", len(asked), text, noisy)

    middle = thresholds(table, readings)
    row = middle.loc["malignancy"]
    text = (
        f"What lies on either side of the thresholds. The ternary middle is not *readers unsure*: of the {row['= 3']} "
        f"nodules with mean malignancy 3, all readers said 3 in {row['all said 3']} ({row['all four said 3']} of them "
        "with four readers or more); in the rest they disagree."
    )
    yield Part("thresholds", "Behind the thresholds", n, text, middle)

    text = (
        "Calcification is a code (1 to 5 patterns, 6 absent). Read like the other grades it has next to no negatives; "
        f"read as absent or present (mean under {CALCIFIED_BELOW}) it is a question."
    )
    yield Part("calcification", "Calcification as a question", n, text, calcification(table, readings))

    text = (
        "Every reader against the mean of the nodule's other readers: AUC for the others' question (< 2.75 against "
        "> 3.25; calcification: mean under 5.5; *calcification seen*: by most of the others), quadratic weighted kappa "
        "with the others' mean rounded, mean absolute error. "
        "Calcification's kappa and error treat codes as a scale and say little."
    )
    yield Part("readers", "One reader against the others", n, text, reader_agreement(readings))

    text = (
        "What a score has to beat. Constant: the median of the other folds (AUC .5). Diameter alone: mean absolute "
        "error of a median regression on log2 diameter, out of fold; AUC of the diameter itself at each grade's "
        "question, small or large being the positive as fits better. Diameter is that of the readers' outlines."
    )
    yield Part("baselines", "Constant guess and diameter alone", n, text, baselines(table))

    text = "Sizes from the readers' outlines, averaged over readers; r and bias against LUNA16's own where it has one."
    yield Part("sizes", "Diameters", n, text, sizes(table, luna16_mm))


def folds(table: pd.DataFrame) -> Array:
    """A fold of ``FOLDS`` for every nodule, none of which shares a patient with another fold."""
    suspect = table.malignancy > MALIGNANT_ABOVE
    fold = np.empty(len(table), int)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for number, (_, rows) in enumerate(splitter.split(table, suspect, table.patient_id)):
        fold[rows] = number
    return fold


def question(name: str, mean: pd.Series) -> pd.Series:
    """A grade's means as a question: 1 above, 0 below the middle, NaN within; for calcification 1 where present."""
    if name == "calcification":
        return (mean < CALCIFIED_BELOW).astype(float).where(mean.notna())
    return (mean > MALIGNANT_ABOVE).astype(float).where((mean > MALIGNANT_ABOVE) | (mean < BENIGN_BELOW))


def cosines(table: pd.DataFrame) -> pd.DataFrame:
    """Cosine similarity (the paper's equation 1) of each characteristic with malignancy, and its centred versions."""
    rows = {}
    for name in [*(grade.name for grade in OTHERS), "internal_structure"]:
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


def others(readings: pd.DataFrame, name: str) -> pd.Series:
    """For every reading the mean that the nodule's other readers gave; NaN where there is no other."""
    group = readings.groupby("nodule")[name]
    own, count = readings[name], group.transform("count") - readings[name].notna()
    return (group.transform("sum") - own.fillna(0)) / count.where(count > 0)


def reader_agreement(readings: pd.DataFrame) -> pd.DataFrame:
    """One row a grade: AUC, quadratic weighted kappa and MAE of one reader against the others' mean."""
    rows = {}
    for name in [*(grade.name for grade in GRADES), "calcified"]:
        pair = pd.DataFrame({"own": readings[name], "rest": others(readings, name)})
        pair = pair.dropna()
        row: dict[str, float] = {"readings": len(pair)}
        stepped = name != "diameter"
        if stepped:
            asks = (pair.rest > 0.5).astype(float) if name == "calcified" else question(name, pair.rest)
            answered = pair[asks.notna()]
            score = -answered.own if name == "calcification" else answered.own
            row["AUC"] = roc_auc_score(asks.dropna(), score)
            rounded = np.floor(pair.rest + 0.5).astype(int)
            row["weighted kappa"] = cohen_kappa_score(pair.own.astype(int), rounded, weights="quadratic")
        row["MAE"] = (pair.own - pair.rest).abs().mean()
        rows["calcification seen" if name == "calcified" else name] = row
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def thresholds(table: pd.DataFrame, readings: pd.DataFrame) -> pd.DataFrame:
    """One row a judged grade: nodules on either side of the binary and the ternary thresholds."""
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
    """One row a grade: errors of the constant and of diameter, and diameter's AUC at the grade's question."""
    size = np.log2(table[["diameter"]].to_numpy())
    guess = {"diameter_diameter": table.diameter}
    for grade in JUDGED:
        guess[f"diameter_{grade.name}"] = np.empty(len(table))
        for fold in range(FOLDS):
            here = (table.fold == fold).to_numpy()
            line = QuantileRegressor(alpha=0).fit(size[~here], table[grade.name][~here])
            guess[f"diameter_{grade.name}"][here] = line.predict(size[here])
    errors = grade_table(table.assign(**guess), "diameter_")
    rows = {}
    for grade in GRADES:
        rows[grade.name] = {"constant MAE": errors.constant[grade.name], "diameter MAE": errors.MAE[grade.name]}
        if grade in JUDGED:
            rows[grade.name] |= diameter_area(table, grade)
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def diameter_area(table: pd.DataFrame, grade: Grade) -> dict[str, float]:
    """AUC of diameter at a grade's question, the small nodules as positives where that fits better."""
    asks = question(grade.name, table[grade.name]).dropna()
    area = roc_auc_score(asks, table.diameter[asks.index])
    return {"AUC": max(area, 1 - area), "positive": int((asks == 1).sum()), "negative": int((asks == 0).sum())}


def sizes(table: pd.DataFrame, luna16_mm: pd.Series | None) -> pd.DataFrame:
    """One row a measure of size: mean, median, correlation with the Fleischner diameter and with LUNA16's."""
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


PLOTS = {"cosines": plot_cosines, "noise": plot_noise}
