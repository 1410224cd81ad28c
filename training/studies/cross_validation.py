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
from NoduleRiskLib.networks.false_positive_reduction import FalsePositiveNet
from NoduleRiskLib.networks.nodule_vit import NoduleViT, collate
from NoduleRiskLib.networks.segmentation import SegmentationUNet, segment

from ..data.context_synthesis import by_themselves, extend, surrounded
from ..data.crops import FOLDS, SAMPLE_PATIENT, WIDE, load, nodule_table, read_nodule, slices_of
from ..data.found_outlines import Finder, FoundOutlines, find, oracle_stack, pipeline_stack
from ..models import classical_segmentation
from ..models.false_positive_reduction import FalsePositiveRun, second_opinions, train_false_positive
from ..models.graders import GraderRun, train_grader
from ..models.segmentation import SegmentationRun, train_segmentation, without

#: No fold is held out: what ships.
ALL = -1
Network = TypeVar("Network", SegmentationUNet, FalsePositiveNet)


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
    segmentation_net: SegmentationRun = field(default_factory=SegmentationRun)
    false_positive_net: FalsePositiveRun = field(default_factory=FalsePositiveRun)
    grader: GraderRun = field(default_factory=GraderRun)
    device: str = "cpu"
    folds: tuple[int, ...] = tuple(range(FOLDS))
    limit: int | None = None
    console: Console = field(default_factory=Console)


def segmentation_nets(study: Study) -> dict[int, SegmentationUNet]:
    """One locator a fold, trained on the patients of the others."""
    return _each_fold(study, study.folds, partial(train_segmentation, run=study.segmentation_net))


def shipped_segmentation(study: Study) -> SegmentationUNet:
    """The locator that ships: trained like the folds' own, on all of them but the sample's patient."""
    return _each_fold(study, (ALL,), partial(train_segmentation, run=study.segmentation_net))[ALL]


def false_positive_nets(study: Study) -> dict[int, FalsePositiveNet]:
    """One recogniser a fold, trained on the patients of the others."""
    return _each_fold(study, study.folds, partial(train_false_positive, run=study.false_positive_net))


def shipped_false_positive(study: Study) -> FalsePositiveNet:
    """The recogniser that ships: trained like the folds' own, on all of them but the sample's patient."""
    return _each_fold(study, (ALL,), partial(train_false_positive, run=study.false_positive_net))[ALL]


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


def outlines(study: Study, found_by: dict[int, SegmentationUNet], cubes: bool = False) -> dict[int, FoundOutlines]:
    """The reference nodules of each fold as that fold's locator, which never saw them, finds them."""
    return _found(study, {fold: partial(segment, networks=[one]) for fold, one in found_by.items()}, "", cubes)


def classical_outlines(study: Study, cubes: bool = False) -> dict[int, FoundOutlines]:
    """The same nodules from the same points, found without learning."""
    return _found(study, dict.fromkeys(study.folds, classical_segmentation.segment), "classical-", cubes)


def _found(study: Study, finders: Mapping[int, Finder], name: str, cubes: bool) -> dict[int, FoundOutlines]:
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


def opinions(found_outlines: dict[int, FoundOutlines], told_by: dict[int, FalsePositiveNet]) -> pd.DataFrame:
    """What each fold's recogniser says of that fold's nodules and of places beside them: ``second_opinions``."""
    return pd.concat([second_opinions(found_outlines[fold], one) for fold, one in told_by.items()], ignore_index=True)


def joined(found_outlines: dict[int, FoundOutlines]) -> pd.DataFrame:
    """The tables of all folds under each other."""
    return pd.concat([part.table for part in found_outlines.values()], ignore_index=True)


def graders(study: Study, found_outlines: dict[int, FoundOutlines]) -> dict[int, NoduleViT]:
    """One grader a fold, trained on the others' nodules, the sample's patient left out of all of them."""
    kept = {fold: without_sample(part) for fold, part in found_outlines.items()}
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
    study: Study, found_outlines: dict[int, FoundOutlines], trained: dict[int, NoduleViT], cubes: bool = False
) -> pd.DataFrame:
    """What each fold's grader says of that fold's nodules.

    Columns ``pipeline_{grade}``: at the extent that the pipeline found (NaN where it found no nodule), with
    surroundings; ``oracle_{grade}``: at the readers' own outlines; ``count_mm``: slices times spacing of the crop.
    """
    tables = []
    for fold, grader in trained.items():
        part = found_outlines[fold]
        stacks: dict[str, list[SliceStack | None]] = {"pipeline": [], "oracle": []}
        for index, row in enumerate(track(list(part.table.itertuples()), f"Cutting fold {fold}", transient=True)):
            nodule = read_nodule(study.data, row.nodule_id, cubes)
            # The same surroundings as the locator saw: the same seed makes them.
            rng = np.random.default_rng([0, *row.nodule_id.encode()])
            volume = nodule.volume if cubes else extend(nodule, rng)
            stack = cut(volume, np.zeros(3), WIDE)
            found = np.zeros(stack.pixels.shape, np.float32)
            here = slice(int(part.first[index]), int(part.first[index + 1]))
            found[stack.valid] = part.found_outlines[here, 0] / np.float32(255)
            outline = measure(stack, found)
            layout = grader.config.layout
            stacks["pipeline"].append(pipeline_stack(volume, outline, layout) if outline else None)
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


def without_sample(found_outlines: FoundOutlines) -> FoundOutlines:
    """Without the sample's patient: its nodules' slices stay in the arrays, no row points to them."""
    keep = np.flatnonzero((found_outlines.table.patient_id != SAMPLE_PATIENT).to_numpy())
    if len(keep) == len(found_outlines.table):
        return found_outlines
    counts = np.diff(found_outlines.first)
    slices = slices_of(found_outlines.first, keep)
    return FoundOutlines(
        found_outlines.table.iloc[keep].reset_index(drop=True),
        found_outlines.pixels[slices],
        found_outlines.share[slices],
        found_outlines.found_outlines[slices],
        found_outlines.offset_mm[slices],
        np.cumsum([0, *counts[keep]]),
    )
