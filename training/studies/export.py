"""Folds become the model package that ships: networks, calibration and a card with every score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np

from NoduleRiskLib.grades import DISCLAIMER, GRADES
from NoduleRiskLib.imaging.calcium_features import CALCIUM_FEATURES
from NoduleRiskLib.imaging.shape_features import SHAPE_FEATURES
from NoduleRiskLib.imaging.surface_features import SURFACE_FEATURES
from NoduleRiskLib.networks.measured import SURFACE_GRADES
from NoduleRiskLib.networks.model_package import Calibration, ModelPackage, Networks, save

from ..data.crops import FOLDS, SAMPLE_PATIENT
from ..evaluation.account import account
from ..evaluation.calibration import STRATA_MM, residual_interval, suspicion
from ..evaluation.false_positive_tables import limit
from ..evaluation.out_of_fold import PIPELINE
from ..evaluation.repeatability import repeatability
from ..evaluation.tables import OutOfFold, sections

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def spelled(number: int) -> str:
    """A number as prose writes it: "five", "24"."""
    return NUMBERS[number] if number < len(NUMBERS) else f"{number:,}"


def counted(number: int, noun: str) -> str:
    """A number and its noun: "five graders", "one grader"."""
    return f"{spelled(number)} {noun}" + "s" * (number != 1)


TRAINED_ON = (
    f"LIDC-IDRI (CC BY 3.0), LUNA16 reference nodules, {counted(FOLDS, 'fold')} by patient; "
    f"patient {SAMPLE_PATIENT} in none"
)


@dataclass(frozen=True)
class Contents:
    """What the model card says of a package's networks and of the nodules that they were trained on.

    Attributes
    ----------
    graders : int
    blocks : int
        Transformer blocks of each grader.
    shape_features : bool
        Whether the heads read the outline's shape features.
    surface_features : bool
        Whether two grades are half what the nodule's surface says.
    calcium_features : bool
        Whether calcification is half what the nodule's calcium says.
    nodules : int
    recovered : int
        How many of the nodules have slices whose HU were recovered from 8-bit images.
    """

    graders: int
    blocks: int
    shape_features: bool
    surface_features: bool
    calcium_features: bool
    nodules: int
    recovered: int


def contents(networks: Networks, nodules: int, recovered: int) -> Contents:
    """What the networks themselves and the nodules' counts say."""
    grader = networks.graders[0]
    config = grader.config
    features = config.shape_features, config.surface_features, config.calcium_features
    return Contents(len(networks.graders), len(grader.vit.blocks), *features, nodules, recovered)


def calibrate(found: OutOfFold) -> Calibration:
    """What the out-of-fold tables say of intervals, percentiles, suspicion (and why), vessels and repeatability."""
    table = found.crops
    levels = np.linspace(0, 100, 101)
    return Calibration(
        interval=residual_interval(table, PIPELINE),
        reference={g.name: tuple(float(v) for v in np.percentile(table[g.name], levels).round(4)) for g in GRADES},
        suspicion=suspicion(table, PIPELINE),
        strata_mm=STRATA_MM,
        likely=limit(found.places),
        repeatability=tuple(repeatability(found.repeated)),
        account=account(table, PIPELINE),
    )


def export(
    path: Path,
    version: str,
    networks: Networks,
    found: OutOfFold,
    command: str,
) -> ModelPackage:
    """Write the package, made by ``command``; its card holds all ``tables.sections``."""
    inside = contents(networks, len(found.crops), int((~found.crops.hu_exact).sum()))
    told = card(path.name, inside, found, command)
    return save(path, path.name, version, networks, calibrate(found), TRAINED_ON, told)


def card(name: str, inside: Contents, found: OutOfFold, command: str) -> str:
    """The model card, Markdown."""
    return prose(name, inside, command) + "\n".join(section.markdown(command) for section in sections(found)) + "\n"


def prose(name: str, inside: Contents, command: str) -> str:
    """The card before its scores."""
    shape = f" that also read {counted(len(SHAPE_FEATURES), 'shape feature')} of the outline" * inside.shape_features
    architecture = (
        f"{counted(inside.graders, 'NoduleViT')} (one token per slice, {counted(inside.blocks, 'transformer block')}, "
        f"{counted(len(GRADES), 'head')}{shape})"
    )
    if inside.graders > 1:
        architecture += ", one per fold, grade it; their outputs are averaged."
        fitted = f"; the package averages {spelled(inside.graders)}."
        scored = f" The package averages {counted(inside.graders, 'grader')}; each score below is of one."
    else:
        architecture += " grades it."
        fitted = scored = ""
    if inside.surface_features:
        halves = " and ".join(SURFACE_GRADES).capitalize()
        architecture += (
            f" {halves} are the mean of what the head says and of a ridge regression of {len(SURFACE_FEATURES)} "
            "measures of the nodule's surface."
        )
    if inside.calcium_features:
        architecture += (
            " Calcification and the share of readers who would see it are such means, too, with "
            f"{len(CALCIUM_FEATURES)} measures of the calcium; its pattern is told by these alone."
        )
    paragraphs = (
        DISCLAIMER,
        f"**What it does.** From a point on a lung nodule of a chest CT: the nodule's outline, "
        f"{counted(len(GRADES), 'LIDC grade')} with 80 % intervals, and the chance that at least half of four LIDC "
        "readers would give malignancy 4 or 5. That is readers' suspicion, not pathology: "
        "training/RESULTS.md has the few nodules with a diagnosis.",
        "**How.** A segmentation network (2-D U-Net, slice by slice, that also sees the neighbouring slices) outlines "
        "the nodule under every point, a false-positive reduction network (3-D CNN, a 32 mm cube around the outline, "
        f"which it reads, too) warns of vessels and chest wall, and {architecture} Trained by `{command}`.",
        "**Files.** `model.json` holds the SHA-256 of the weights and of this card. It proves that the package is "
        "complete and unchanged, not where it comes from: take packages from sources that you trust.",
        f"**Data.** {TRAINED_ON}. Armato et al. 2011, The Cancer Imaging Archive, doi 10.7937/K9/TCIA.2015.LO9QL9SX, "
        "CC BY 3.0. Grades are means over the readers who marked the nodule (three or four). "
        f"{inside.recovered:,} of the {inside.nodules:,} nodules have slices whose HU were recovered from 8-bit "
        "images.",
        "**Limits.** One collection, slices of up to 3 mm; nodules of 3 to 40 mm that at least three of four "
        "radiologists marked. A point that is not on a nodule does not always bring a warning, and some nodules bring "
        "one; large nodules of ground glass are sometimes outlined only in part. Estimates of rare "
        "grades lean towards the mean. The pattern of calcification is the least certain result, because few nodules "
        "are calcified. Slices that were interpolated from thicker ones pass for a blurred margin and ground glass; "
        "where that is recognised, only some of them are graded. Intervals and suspicion probability are fitted to the "
        "estimates of single graders"
        f"{fitted or '.'}",
        "**Scores.** All are out of fold: no grader was trained on patients whose nodules it is scored on; the epoch "
        "is chosen on a tenth of the training patients. Each nodule is outlined by a segmentation network that was "
        "trained on the other folds with the same settings; the one in this package was trained on all patients but "
        f"the sample's.{scored} "
        "Intervals are fitted for each stratum of the measured diameter, on the other folds.",
    )
    wrapped = (fill(one, 120, break_long_words=False, break_on_hyphens=False) for one in paragraphs)
    return "\n\n".join([f"# {name}", *wrapped, ""])
