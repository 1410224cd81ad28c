"""Experiments trained on the same folds at the same schedule, and their scores beside the first one's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from NoduleRiskLib.grades import GRADE_NAMES, MALIGNANT_ABOVE, OTHER_GRADES
from NoduleRiskLib.imaging.volume import Array

from ..checkpoints import read_keyed_table, write_keyed_table
from ..data.crops import FOLDS, Stacks, load, slices_of
from ..data.found_outlines import TRIES, FoundOutlines
from ..evaluation.classes import suspected
from ..evaluation.out_of_fold import out_of_fold
from ..evaluation.report_sections import markdown
from ..evaluation.score_tables import NONE, differences_from_first, grade_table, malignancy_table
from ..models.devices import on
from ..models.grader_settings import GraderSettings
from ..models.graders import cost, grade, grader_key, train_grader
from ..models.targets_and_losses import TARGETS
from .cross_validation import Study, joined, outlines, segmentation_nets
from .two_stages import CLASSIFIERS, features, untrained

Source = Literal["readers", "pipeline"]


@dataclass(frozen=True, eq=False)
class Nodules:
    """What all experiments read: the reference nodules of each fold, and those of one or two readers (may be empty)."""

    reference: dict[int, FoundOutlines]
    weak: dict[int, FoundOutlines]


def from_readers(study: Study) -> Nodules:
    """Nodules at their readers' own outlines (oracle), on crops without lung above and below."""
    stacks = load(study.data, study.cache)
    table = stacks.table
    by_fold = {fold: table.fold == fold for fold in range(FOLDS)}
    reference, kept = table.in_luna16_reference, study.limit or len(table)
    return Nodules(
        {fold: at_readers_outlines(stacks, np.flatnonzero(reference & here)[:kept]) for fold, here in by_fold.items()},
        {fold: at_readers_outlines(stacks, np.flatnonzero(~reference & here)[:kept]) for fold, here in by_fold.items()},
    )


def from_pipeline(study: Study) -> Nodules:
    """Nodules in synthetic lung, at the outlines that the segmentation network finds that never saw the patient.

    Of all folds, whichever are run: each trains on the others.
    """
    return Nodules(outlines(study, segmentation_nets(study, range(FOLDS))), {})


SOURCES: dict[Source, Callable[[Study], Nodules]] = {"readers": from_readers, "pipeline": from_pipeline}
#: For the tables.
SOURCE_WORDS: dict[Source, str] = {
    "readers": "the readers' own outlines (oracle), on crops that end where the nodule ends",
    "pipeline": "the outlines that the pipeline finds itself; the lung around each crop is synthetic",
}


def at_readers_outlines(stacks: Stacks, rows: Array) -> FoundOutlines:
    """Some of the nodules with the mean of their readers' outlines in place of a found one."""
    counts = np.diff(stacks.first)[rows]
    slices = slices_of(stacks.first, rows)
    mean = np.round(stacks.share(slices) * 255).astype(np.uint8)
    return FoundOutlines(
        stacks.table.iloc[rows].reset_index(drop=True),
        stacks.pixels[slices],
        stacks.readers[slices],
        # The same for every try, and in memory once.
        np.broadcast_to(mean[:, None], (len(mean), TRIES, *mean.shape[1:])),
        stacks.offset_mm[slices],
        np.cumsum([0, *counts]),
        f"readers' outlines, {stacks.key}",
    )


def compare(study: Study, experiments: Mapping[str, GraderSettings], source: Source, command: str) -> str:
    """Train what is not trained yet, score all of it, and return the tables (Markdown).

    Parameters
    ----------
    study : Study
    experiments : mapping
        Name -> settings. The others are compared with the first one.
    source : Source
        Whose outlines.
    command : str
        How this was called, for the report's head.
    """
    with on(study.device).rank_zero_first():
        nodules = SOURCES[source](study)
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in experiments}

    # Fold by fold: whoever stops early can compare all experiments on the folds that are done.
    def estimate(here: pd.DataFrame, rest: pd.DataFrame) -> pd.DataFrame:
        fold, parts = int(here.fold.iloc[0]), []
        for name, settings in experiments.items():
            part, spent = fold_estimates(study, nodules, settings, fold, place(study, source, settings) / name)
            parts.append(part.set_index("nodule_id").add_prefix(f"{name} "))
            costs[name].append(spent)
        return here[["nodule_id"]].join(pd.concat(parts, axis=1), on="nodule_id").drop(columns="nodule_id")

    table = joined({fold: nodules.reference[fold] for fold in study.folds})
    table = table.join(out_of_fold(table, estimate, trained_before=True))
    return report(table, experiments, costs, source, command)


def place(study: Study, source: Source, settings: GraderSettings) -> Path:
    """Where the experiments of one schedule keep their states and estimates."""
    schedule = f"{settings.epochs}x{settings.config.layout.pixels}x{settings.batch}"
    return study.out / f"compare-{source}" / (f"{schedule}-{study.limit}" if study.limit else schedule)


def fold_estimates(
    study: Study, nodules: Nodules, settings: GraderSettings, fold: int, folder: Path
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The estimates of a fold's nodules by the grader that never saw them, and its cost; both kept in ``folder``."""
    others = [other for other in range(FOLDS) if other != fold]
    training = [nodules.reference[other].without_sample() for other in others if other in nodules.reference]
    reads_weak = settings.weak_share or settings.pretrained
    weak = [nodules.weak[other].without_sample() for other in others if other in nodules.weak] if reads_weak else []
    part = nodules.reference[fold]
    path, key = folder / f"fold-{fold}.csv", grader_key(fold, training, weak, settings)
    key["estimated"] = part.key
    if kept := read_keyed_table(path, key):
        return kept
    study.console.print(f"{folder.name}: training fold {fold}", highlight=False)
    model = train_grader(fold, training, settings, folder, study.device, study.console, weak, study.workers)
    # Double, so that the file gives back the very same numbers.
    values = grade(model, part, settings, str(model.target_mean.device)).astype(np.float64)
    if "found_diameter" in part.table:
        # Where no outline was found there is no grade.
        values[part.table.found_diameter.isna()] = np.nan
    table = pd.DataFrame(values, columns=list(GRADE_NAMES)).assign(nodule_id=part.table.nodule_id)
    spent = cost(folder, fold) | {"parameters": sum(one.numel() for one in model.parameters())}
    if on(study.device).is_global_zero:
        write_keyed_table(path, table, key, spent)
    return table, spent


def report(
    table: pd.DataFrame,
    experiments: Mapping[str, GraderSettings],
    costs: Mapping[str, list[dict[str, float]]],
    source: Source,
    command: str,
) -> str:
    """All tables of a comparison, Markdown.

    Parameters
    ----------
    table : DataFrame
        One row per nodule; columns ``{experiment} {grade}`` hold the estimates, out of fold.
    experiments, costs : mapping
        Name -> settings, and what each of its folds cost.
    source, command : str
        As ``compare`` takes them.
    """
    first = next(iter(experiments))
    scores = {name: f"{name} malignancy" for name, one in experiments.items() if "malignancy" in one.tasks}
    malignancy = malignancy_table(table, scores).rename_axis("experiment")
    if table.fold.nunique() < 2:
        # A threshold is chosen on the other folds.
        malignancy = malignancy.drop(columns=["accuracy", "sensitivity", "specificity"], errors="ignore")
    grades = list(GRADE_NAMES)
    estimates = {name: table[[f"{name} {grade}" for grade in grades]].set_axis(grades, axis=1) for name in experiments}
    errors = pd.DataFrame({name: (one - table[grades]).abs().mean() for name, one in estimates.items()}).T
    without_error = [name for name, one in experiments.items() if not TARGETS[one.targets].in_grade_units]
    errors.loc[without_error, [name for name in grades if name != "diameter"]] = np.nan
    errors.loc["constant guess"] = grade_table(table, "").constant
    r = pd.DataFrame({name: one.corrwith(table[grades]) for name, one in estimates.items()}).T
    folds = ", ".join(str(fold) for fold in sorted(table.fold.unique()))
    parts = [
        f"`{command}`\n",
        f"Out of fold, {len(table)} nodules of fold {folds}, at {SOURCE_WORDS[source]}. Each experiment changes one "
        f"thing of {first}.\n",
        "### Malignancy as a classification: readers' mean below 2.75 against above 3.25\n",
        _markdown(malignancy),
    ]
    if first in scores and len(scores) > 1:
        parts += [
            f"### Each experiment minus {first}: 95 % intervals, the same resampled patients for both\n",
            _markdown(differences_from_first(table, scores, without_error).rename_axis("experiment")),
        ]
    parts += ["### Pearson r with the readers' means\n", _markdown(r.rename_axis("experiment"))]
    parts += ["### Mean absolute error, grade units (diameter: mm)\n", _markdown(errors.rename_axis("experiment"))]
    staged = second_stage(table, experiments)
    if len(staged):
        parts += [
            "### Two stages: malignancy from the eight other grades that an experiment estimated\n",
            "Classifiers trained on the readers' grades of the other folds.\n",
            _markdown(staged),
        ]
    parts += ["### Settings and cost\n", _markdown(settings_table(experiments, costs), 2)]
    return "\n".join(parts)


def second_stage(table: pd.DataFrame, experiments: Mapping[str, GraderSettings]) -> pd.DataFrame:
    """Malignancy classified from estimated grades, by each classifier; all eight grades are needed.

    Where every grade has an experiment of its own, those together are a first stage, too: the two stages that the paper
    argues against.
    """
    needed = [grade.name for grade in OTHER_GRADES]
    stages = {
        name: {one: f"{name} {one}" for one in needed}
        for name, settings in experiments.items()
        if {*needed} <= {*settings.tasks} and TARGETS[settings.targets].in_grade_units
    }
    if all(f"{one}-alone" in experiments for one in needed):
        stages["each grade alone"] = {one: f"{one}-alone {one}" for one in needed}
    classed = suspected(table)[0].reset_index(drop=True)
    scores = {}
    for stage, columns in stages.items():
        estimated = classed.assign(**{one: classed[column] for one, column in columns.items()})
        for name, classifier in CLASSIFIERS.items():
            score = _second_stage_score(classed, estimated, needed, classifier)
            if len(score):
                label = f"{stage}, {name}"
                scores[label], classed = label, classed.assign(**{label: score.score})
    return malignancy_table(classed, scores).rename_axis("first stage, classifier") if scores else pd.DataFrame()


def _second_stage_score(
    classed: pd.DataFrame, estimated: pd.DataFrame, needed: list[str], classifier: BaseEstimator
) -> pd.DataFrame:
    """Column ``score`` of a classifier that is trained on readers' grades and applied to estimated ones."""

    def estimate(here: pd.DataFrame, rest: pd.DataFrame) -> pd.DataFrame:
        suspicious = rest.malignancy > MALIGNANT_ABOVE
        known = estimated.loc[here.index].dropna(subset=needed)
        if suspicious.nunique() < 2 or known.empty:
            return pd.DataFrame()
        trained = untrained(classifier).fit(features(rest), suspicious)
        return pd.DataFrame({"score": trained.decision_function(features(known))}, index=known.index)

    return out_of_fold(classed, estimate)


def settings_table(
    experiments: Mapping[str, GraderSettings], costs: Mapping[str, list[dict[str, float]]]
) -> pd.DataFrame:
    """The settings of each experiment and what it cost: mean over its folds."""
    rows = {}
    for name, settings in experiments.items():
        spent = pd.DataFrame(costs[name]).mean()
        layout = settings.config.layout
        rows[name] = {
            "backbone": settings.backbone,
            "targets": settings.targets,
            "tasks": len(settings.tasks),
            "weighting": settings.weighting,
            "embedding": settings.config.embedding,
            "outline": "yes" if settings.config.outline else "no",
            "pixels": f"{layout.pixels} of {layout.pixel_mm:.1f} mm",
            "epochs": str(settings.epochs),
            "batch": str(settings.batch),
            "seed": str(settings.seed),
            "parameters, thousands": round(spent.parameters / 1000),
            "minutes per fold": spent.minutes,
            "nodules per second": spent.nodules_per_second,
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("experiment")


def _markdown(frame: pd.DataFrame, digits: int = 3) -> str:
    return markdown(frame.astype(object).where(frame.notna(), NONE), digits)
