"""Five folds by patient: locators, outlines, graders and what each says of the nodules it never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import track

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.outline import measure
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.networks.false_positive_reduction import Recogniser
from NoduleRiskLib.networks.nodule_vit import NoduleViT, collate
from NoduleRiskLib.networks.segmentation import Locator, locate

from ..data.context_synthesis import by_themselves, extend, surrounded
from ..data.crops import FOLDS, SAMPLE_PATIENT, WIDE, load, nodule_table, read_nodule, slices_of
from ..data.found_outlines import Finder, Located, find, oracle_stack, pipeline_stack
from ..models import classical_segmentation
from ..models.false_positive_reduction import RecogniserRun, second_opinions, train_recogniser
from ..models.graders import GraderRun, train_grader
from ..models.segmentation import LocatorRun, train_locator, without

#: No fold is held out: what ships.
ALL = -1
Network = TypeVar("Network", Locator, Recogniser)


@dataclass(frozen=True)
class Study:
    """Where a cross-validation reads and writes, and how it trains.

    Attributes
    ----------
    data : Path
        Holds ``lidc/``.
    out : Path
        Caches, states of training and tables; a second run goes on from what is there.
    device : str
        A torch device, for the graders; locators train on the CPU.
    folds : tuple of int
        Which of the five to run.
    limit : int or None
        Only so many nodules of each fold: for tests.
    """

    data: Path
    out: Path
    locator: LocatorRun = field(default_factory=LocatorRun)
    recogniser: RecogniserRun = field(default_factory=RecogniserRun)
    grader: GraderRun = field(default_factory=GraderRun)
    device: str = "cpu"
    folds: tuple[int, ...] = tuple(range(FOLDS))
    limit: int | None = None
    console: Console = field(default_factory=Console)


def locators(study: Study) -> dict[int, Locator]:
    """One locator a fold, trained on the patients of the others."""
    return _each_fold(study, study.folds, partial(train_locator, run=study.locator))


def shipped_locator(study: Study) -> Locator:
    """The locator that ships: trained like the folds' own, on all of them but the sample's patient."""
    return _each_fold(study, (ALL,), partial(train_locator, run=study.locator))[ALL]


def recognisers(study: Study) -> dict[int, Recogniser]:
    """One recogniser a fold, trained on the patients of the others."""
    return _each_fold(study, study.folds, partial(train_recogniser, run=study.recogniser))


def shipped_recogniser(study: Study) -> Recogniser:
    """The recogniser that ships: trained like the folds' own, on all of them but the sample's patient."""
    return _each_fold(study, (ALL,), partial(train_recogniser, run=study.recogniser))[ALL]


def _each_fold(study: Study, folds: Sequence[int], train: Callable[..., Network]) -> dict[int, Network]:
    """What ``train`` makes of the nodules of two readers or more, for each fold without its patients."""
    cache = study.out / "cache"
    table = nodule_table(study.data)
    # A nodule that one reader alone saw is more often no nodule, and its outline is one hand's.
    table = table[table.n_readers >= 2].reset_index(drop=True)
    crops = [
        surrounded(table, study.data, cache / f"surrounded-{kind}", kind == "cubic", seed)
        for seed, kind in enumerate(("native", "cubic"), start=1)
    ]
    cubes = by_themselves(load(study.data, cache, cubes=True))
    return {
        fold: train(
            "all" if fold == ALL else str(fold),
            [without(one, fold) for one in crops],
            without(cubes, fold),
            folder=study.out / "extent",
            console=study.console,
        )
        for fold in folds
    }


def outlines(study: Study, found_by: dict[int, Locator], cubes: bool = False) -> dict[int, Located]:
    """The reference nodules of each fold as that fold's locator, which never saw them, finds them."""
    return _found(study, {fold: partial(locate, locators=[one]) for fold, one in found_by.items()}, "", cubes)


def classical_outlines(study: Study, cubes: bool = False) -> dict[int, Located]:
    """The same nodules from the same points, found without learning."""
    return _found(study, dict.fromkeys(study.folds, classical_segmentation.locate), "classical-", cubes)


def _found(study: Study, finders: Mapping[int, Finder], name: str, cubes: bool) -> dict[int, Located]:
    table = load(study.data, study.out / "cache", cubes).table
    table = table[table.in_luna16_reference]
    return {
        fold: find(
            table[table.fold == fold].head(study.limit or len(table)).reset_index(drop=True),
            study.data,
            finder,
            study.out / "outlines" / f"{name}{'cubes' if cubes else 'crops'}-{fold}",
            cubes,
        )
        for fold, finder in finders.items()
    }


def opinions(located: dict[int, Located], told_by: dict[int, Recogniser]) -> pd.DataFrame:
    """What each fold's recogniser says of that fold's nodules and of places beside them: ``second_opinions``."""
    return pd.concat([second_opinions(located[fold], one) for fold, one in told_by.items()], ignore_index=True)


def joined(located: dict[int, Located]) -> pd.DataFrame:
    """The tables of all folds under each other."""
    return pd.concat([part.table for part in located.values()], ignore_index=True)


def graders(study: Study, located: dict[int, Located]) -> dict[int, NoduleViT]:
    """One grader a fold, trained on the others' nodules, the sample's patient left out of all of them."""
    kept = {fold: without_sample(part) for fold, part in located.items()}
    return {
        fold: train_grader(
            fold,
            [part for other, part in kept.items() if other != fold],
            study.grader,
            study.out / "grades",
            study.device,
            study.console,
        )
        for fold in study.folds
    }


def out_of_fold(
    study: Study, located: dict[int, Located], trained: dict[int, NoduleViT], cubes: bool = False
) -> pd.DataFrame:
    """What each fold's grader says of that fold's nodules.

    Columns ``pipeline_{grade}``: at the extent that the pipeline found (NaN where it found no nodule), with
    surroundings; ``oracle_{grade}``: at the readers' own outlines; ``count_mm``: slices times spacing of the crop.
    """
    tables = []
    for fold, grader in trained.items():
        part = located[fold]
        stacks: dict[str, list[SliceStack | None]] = {"pipeline": [], "oracle": []}
        for index, row in enumerate(track(list(part.table.itertuples()), f"Cutting fold {fold}", transient=True)):
            nodule = read_nodule(study.data, row.nodule_id, cubes)
            # The same surroundings as the locator saw: the same seed makes them.
            rng = np.random.default_rng([0, *row.nodule_id.encode()])
            volume = nodule.volume if cubes else extend(nodule, rng)
            stack = cut(volume, np.zeros(3), WIDE)
            found = np.zeros(stack.pixels.shape, np.float32)
            here = slice(int(part.first[index]), int(part.first[index + 1]))
            found[stack.valid] = part.located[here, 0] / np.float32(255)
            extent = measure(stack, found)
            layout = grader.config.layout
            stacks["pipeline"].append(pipeline_stack(volume, extent, layout) if extent else None)
            stacks["oracle"].append(oracle_stack(nodule, layout))
        table = part.table.assign(count_mm=part.table.slices * part.table.slice_spacing_mm)
        for name, kind in stacks.items():
            values = grade_stacks(grader, kind)
            table = table.assign(**{f"{name}_{grade}": values[:, g] for g, grade in enumerate(GRADE_NAMES)})
            table[f"{name}_calcified"] = values[:, len(GRADE_NAMES)]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


@torch.inference_mode()
def grade_stacks(grader: NoduleViT, stacks: list[SliceStack | None], batch: int = 32) -> np.ndarray:
    """The nine grades (grade units) and calcification's presence of each stack, (N, 10); NaN where there is none."""
    values = np.full((len(stacks), len(GRADE_NAMES) + 1), np.nan)
    device = grader.target_mean.device
    known = [i for i, stack in enumerate(stacks) if stack is not None]
    for begin in range(0, len(known), batch):
        rows = known[begin : begin + batch]
        prediction = grader(collate([stack for i in rows if (stack := stacks[i]) is not None]).to(device))
        values[rows] = torch.cat([prediction.grades, prediction.calcified[:, None]], 1).cpu().numpy()
    return values


def without_sample(located: Located) -> Located:
    """Without the sample's patient: its nodules' slices stay in the arrays, no row points to them."""
    keep = np.flatnonzero((located.table.patient_id != SAMPLE_PATIENT).to_numpy())
    if len(keep) == len(located.table):
        return located
    counts = np.diff(located.first)
    slices = slices_of(located.first, keep)
    return Located(
        located.table.iloc[keep].reset_index(drop=True),
        located.pixels[slices],
        located.share[slices],
        located.located[slices],
        located.offset_mm[slices],
        np.cumsum([0, *counts[keep]]),
    )
