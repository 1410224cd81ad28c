"""Named runs trained on the same folds at the same schedule, and their scores beside the multitask run's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from NoduleRiskLib.grades import BENIGN_BELOW, GRADE_NAMES, MALIGNANT_ABOVE
from NoduleRiskLib.imaging.volume import Array

from ..data.crops import FOLDS, Stacks, load, slices_of
from ..data.found_outlines import TRIES, FoundOutlines
from ..evaluation.metrics import BOOTSTRAPS, auc_difference, best_threshold, grade_table, malignancy_table, markdown
from ..models.devices import on
from ..models.graders import GraderRun, grade, history, train_grader
from ..models.pretraining import MASKED
from ..models.targets_and_losses import ANSWERS
from .cross_validation import Study, outlines, segmentation_nets, without_sample
from .two_stages import CLASSIFIERS, OTHERS, features, untrained

NONE = "–"


@dataclass(frozen=True, eq=False)
class Nodules:
    """What all runs read: the reference nodules of each fold, and those of one or two readers (may be empty)."""

    reference: dict[int, FoundOutlines]
    weak: dict[int, FoundOutlines]


def from_readers(study: Study) -> Nodules:
    """Nodules at their readers' own outlines (oracle), on crops without surroundings."""
    stacks = load(study.data, study.out / "cache")
    table = stacks.table
    by_fold = {fold: table.fold == fold for fold in range(FOLDS)}
    reference, kept = table.in_luna16_reference, study.limit or len(table)
    return Nodules(
        {fold: at_readers_outlines(stacks, np.flatnonzero(reference & here)[:kept]) for fold, here in by_fold.items()},
        {fold: at_readers_outlines(stacks, np.flatnonzero(~reference & here)[:kept]) for fold, here in by_fold.items()},
    )


def from_pipeline(study: Study) -> Nodules:
    """Nodules with surroundings, at the outlines that the locator which never saw the patient finds."""
    return Nodules(outlines(study, segmentation_nets(study)), {})


SOURCES: dict[str, Callable[[Study], Nodules]] = {"readers": from_readers, "pipeline": from_pipeline}
#: For the tables.
SOURCE_WORDS = {
    "readers": "the readers' own outlines (oracle), on crops that end where the nodule ends",
    "pipeline": "the outlines that the pipeline finds itself, with surroundings",
}


def at_readers_outlines(stacks: Stacks, rows: Array) -> FoundOutlines:
    """Some of the nodules with the mean of their readers' outlines where a locator's would stand."""
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
    )


def compare(study: Study, runs: Mapping[str, GraderRun], source: str, command: str) -> str:
    """Train what is not trained yet, score all of it, and return the tables (Markdown).

    Parameters
    ----------
    study : Study
    runs : mapping
        Name -> run. The first one is what the others are compared with.
    source : str
        Key of ``SOURCES``.
    command : str
        How this was called, for the tables' head.
    """
    with on(study.device).rank_zero_first():
        nodules = SOURCES[source](study)
    # Fold by fold: whoever stops early can compare all runs on the folds that are done.
    parts = {
        (name, fold): out_of_fold(study, nodules, run, fold, place(study, source, run) / name)
        for fold in study.folds
        for name, run in runs.items()
    }
    truth = pd.concat([nodules.reference[fold].table for fold in study.folds], ignore_index=True)
    for name in runs:
        told = pd.concat([parts[name, fold][0] for fold in study.folds])
        truth = truth.join(told.set_index("nodule_id").add_prefix(f"{name} "), on="nodule_id")
    return report(truth, runs, {name: [parts[name, fold][1] for fold in study.folds] for name in runs}, source, command)


def place(study: Study, source: str, run: GraderRun) -> Path:
    """Where the runs of one schedule keep their states and estimates."""
    schedule = f"{run.epochs}x{run.config.layout.pixels}x{run.batch}"
    return study.out / f"compare-{source}" / (f"{schedule}-{study.limit}" if study.limit else schedule)


def out_of_fold(
    study: Study, nodules: Nodules, run: GraderRun, fold: int, folder: Path
) -> tuple[pd.DataFrame, dict[str, float]]:
    """What the run's grader that never saw the fold says of it, and how its training went; both kept in ``folder``."""
    estimates, log = folder / f"fold-{fold}.csv", folder / f"fold-{fold}.json"
    if log.is_file():
        kept = json.loads(log.read_text(encoding="utf-8"))
        if kept.pop("run") == repr(run):
            return pd.read_csv(estimates), kept
    others = [other for other in range(FOLDS) if other != fold]
    training = [without_sample(nodules.reference[other]) for other in others if other in nodules.reference]
    reads_weak = run.weak_share or run.start == MASKED
    weak = [without_sample(nodules.weak[other]) for other in others if other in nodules.weak] if reads_weak else []
    study.console.print(f"{folder.name}: training fold {fold}", highlight=False)
    model = train_grader(fold, training, run, folder, study.device, study.console, weak)
    part = nodules.reference[fold]
    values = grade(model, part, run, str(model.target_mean.device))
    if "found_diameter" in part.table:
        # What the locator took for no nodule has no grades.
        values[part.table.found_diameter.isna()] = np.nan
    table = pd.DataFrame(values, columns=list(GRADE_NAMES)).assign(nodule_id=part.table.nodule_id)
    kept = history(folder, fold) | {"parameters": sum(one.numel() for one in model.parameters())}
    if on(study.device).is_global_zero:
        table.to_csv(estimates, index=False)
        log.write_text(json.dumps({"run": repr(run), **kept}, indent=1), encoding="utf-8")
    return table, kept


def report(
    truth: pd.DataFrame,
    runs: Mapping[str, GraderRun],
    logs: Mapping[str, list[dict[str, float]]],
    source: str,
    command: str,
) -> str:
    """All tables of a comparison, Markdown.

    Parameters
    ----------
    truth : DataFrame
        One row a nodule; columns ``{run} {grade}`` hold what each run said out of fold.
    runs, logs : mapping
        Name -> run, and what each of its folds cost.
    source, command : str
        As ``compare`` takes them.
    """
    first = next(iter(runs))
    judges = {name: f"{name} malignancy" for name, run in runs.items() if "malignancy" in run.tasks}
    scores = malignancy_table(truth, judges).rename_axis("run")
    if truth.fold.nunique() < 2:
        # A threshold is chosen on the other folds.
        scores = scores.drop(columns=["accuracy", "sensitivity", "specificity"], errors="ignore")
    grades = list(GRADE_NAMES)
    means = {name: truth[[f"{name} {grade}" for grade in grades]].set_axis(grades, axis=1) for name in runs}
    errors = pd.DataFrame({name: (told - truth[grades]).abs().mean() for name, told in means.items()}).T
    unmeasured = [name for name, run in runs.items() if not ANSWERS[run.answers].in_grade_units]
    errors.loc[unmeasured, [name for name in grades if name != "diameter"]] = np.nan
    errors.loc["constant guess"] = grade_table(truth, "").constant
    r = pd.DataFrame({name: told.corrwith(truth[grades]) for name, told in means.items()}).T
    folds = ", ".join(str(fold) for fold in sorted(truth.fold.unique()))
    parts = [
        f"`{command}`\n",
        f"Out of fold, {len(truth)} nodules of fold {folds}, at {SOURCE_WORDS[source]}. Each run changes one thing of "
        "the first.\n",
        "### Malignancy as a question: readers' mean below 2.75 against above 3.25\n",
        _table(scores),
    ]
    if first in judges and len(judges) > 1:
        parts += [
            f"### Each run minus {first}: 95 % intervals, patients resampled, the same for both\n",
            _table(gaps(truth, judges, first, unmeasured)),
        ]
    parts += ["### Pearson r with the readers' means\n", _table(r.rename_axis("run"))]
    parts += ["### Mean absolute error, grade units (diameter: mm)\n", _table(errors.rename_axis("run"))]
    staged = second_stage(truth, runs)
    if len(staged):
        parts += [
            "### Two stages: malignancy from the eight other grades that a run estimated\n",
            "Classifiers taught on the readers' grades of the other folds.\n",
            _table(staged),
        ]
    parts += ["### Schedules\n", _table(schedules(runs, logs), 2)]
    return "\n".join(parts)


def gaps(truth: pd.DataFrame, judges: dict[str, str], first: str, unmeasured: list[str]) -> pd.DataFrame:
    """Malignancy's AUC, accuracy and MAE of each run minus those of the first, as ``difference (from to)``."""
    asked = truth[(truth.malignancy < BENIGN_BELOW) | (truth.malignancy > MALIGNANT_ABOVE)]
    positive = (asked.malignancy > MALIGNANT_ABOVE).to_numpy()
    if positive.all() or not positive.any():
        return pd.DataFrame({"run": [name for name in judges if name != first]}).set_index("run").assign(AUC=np.nan)
    score = {name: asked[column].fillna(asked[column].min()).to_numpy() for name, column in judges.items()}
    right = {name: (called(asked, one, positive) == positive).astype(float) for name, one in score.items()}
    area = {name: roc_auc_score(positive, one) for name, one in score.items()}
    patients = asked.patient_id.to_numpy()
    rows = {}
    for name in judges:
        if name == first:
            continue
        off = (truth[judges[name]] - truth.malignancy).abs() - (truth[judges[first]] - truth.malignancy).abs()
        both = off.notna().to_numpy()
        low, high = auc_difference(patients, positive, score[name], score[first])
        rows[name] = {
            "AUC": _gap(area[name] - area[first], low, high),
            "accuracy": _gap(*mean_interval(patients, right[name] - right[first]))
            if asked.fold.nunique() > 1
            else NONE,
            "MAE": NONE
            if {name, first} & {*unmeasured}
            else _gap(*mean_interval(truth.patient_id.to_numpy()[both], off.to_numpy()[both])),
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("run")


def called(asked: pd.DataFrame, score: Array, positive: Array) -> Array:
    """Which nodules are called suspicious at the threshold that is best on the other folds (none where that is all)."""
    answer = np.zeros(len(asked), bool)
    for fold in asked.fold.unique():
        here = (asked.fold == fold).to_numpy()
        if (~here).any():
            answer[here] = score[here] > best_threshold(score[~here], positive[~here])
    return answer


def mean_interval(patients: Array, values: Array, seed: int = 0) -> tuple[float, float, float]:
    """Mean of the values and its 95 % bootstrap interval, resampling patients."""
    _, owner = np.unique(patients, return_inverse=True)
    sums, counts = np.bincount(owner, values), np.bincount(owner)
    drawn = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), BOOTSTRAPS)
    low, high = np.percentile((drawn @ sums) / (drawn @ counts), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def second_stage(truth: pd.DataFrame, runs: Mapping[str, GraderRun]) -> pd.DataFrame:
    """Malignancy's question answered from estimated grades, by each classifier; runs without all eight are left out.

    Where every grade has a run of its own, those together are a first stage, too: the two stages that the paper
    argues against.
    """
    needed = [grade.name for grade in OTHERS]
    stages = {
        name: {one: f"{name} {one}" for one in needed}
        for name, run in runs.items()
        if {*needed} <= {*run.tasks} and ANSWERS[run.answers].in_grade_units
    }
    if all(f"{one}-alone" in runs for one in needed):
        stages["each grade alone"] = {one: f"{one}-alone {one}" for one in needed}
    asked = truth[(truth.malignancy < BENIGN_BELOW) | (truth.malignancy > MALIGNANT_ABOVE)].reset_index(drop=True)
    suspect = asked.malignancy > MALIGNANT_ABOVE
    scores = {}
    for stage, columns in stages.items():
        met = asked.assign(**{one: asked[column] for one, column in columns.items()})
        known = met[needed].notna().all(axis=1)
        for name, classifier in CLASSIFIERS.items():
            column = f"{stage}, {name}"
            score = pd.Series(np.nan, asked.index)
            for fold in asked.fold.unique():
                here, rest = (asked.fold == fold) & known, asked.fold != fold
                if here.any() and suspect[rest].nunique() == 2:
                    taught = untrained(classifier).fit(features(asked[rest]), suspect[rest])
                    score[here] = taught.decision_function(features(met[here]))
            if score.notna().any():
                scores[column], asked = column, asked.assign(**{column: score})
    return malignancy_table(asked, scores).rename_axis("first stage, classifier") if scores else pd.DataFrame()


def schedules(runs: Mapping[str, GraderRun], logs: Mapping[str, list[dict[str, float]]]) -> pd.DataFrame:
    """What each run was and cost: mean over its folds."""
    rows = {}
    for name, run in runs.items():
        cost = pd.DataFrame(logs[name]).mean()
        layout = run.config.layout
        rows[name] = {
            "trunk": run.trunk,
            "answers": run.answers,
            "tasks": len(run.tasks),
            "balance": run.balance,
            "embedding": run.config.embedding,
            "outline": "yes" if run.config.outline else "no",
            "pixels": f"{layout.pixels} of {layout.pixel_mm:.1f} mm",
            "epochs": str(run.epochs),
            "batch": str(run.batch),
            "seed": str(run.seed),
            "parameters, thousands": round(cost.parameters / 1000),
            "minutes a fold": cost.minutes,
            "nodules a second": cost.nodules_per_second,
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("run")


def _gap(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} ({low:+.3f} {high:+.3f})"


def _table(frame: pd.DataFrame, digits: int = 3) -> str:
    return markdown(frame.astype(object).where(frame.notna(), NONE), digits)
