"""Five folds by patient: the networks of each fold, trained on the others, and their estimates of its nodules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import track

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.outline import measure
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout, SliceStack
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.false_positive_reduction import FalsePositiveNet
from NoduleRiskLib.networks.nodule_vit import NoduleViT, collate
from NoduleRiskLib.networks.segmentation import SegmentationUNet, segment

from ..checkpoints import digest
from ..data.context_synthesis import extend
from ..data.crops import FOLDS, WIDE, load, read_nodule
from ..data.found_outlines import Finder, FoundOutlines, find, oracle_stack, pipeline_stack
from ..data.places import Places, places
from ..data.surroundings import Surroundings, surroundings
from ..evaluation.false_positive_tables import place_probabilities
from ..evaluation.out_of_fold import HEAD_DIAMETER, ORACLE, PIPELINE, out_of_fold
from ..models import classical_segmentation
from ..models.false_positive_reduction import FalsePositiveSettings, train_false_positive
from ..models.fitting import fitted
from ..models.fold_networks import read_fold_networks
from ..models.grader_settings import GraderSettings
from ..models.graders import train_grader
from ..models.segmentation import SegmentationSettings, train_segmentation

#: No fold is left out: what ships.
ALL = -1


@dataclass(frozen=True)
class Study:
    """Where a cross-validation reads and writes, and how it trains.

    Attributes
    ----------
    data : Path
        Holds ``lidc/``.
    out : Path
        Caches, states of training and tables; a second run goes on from what is there.
    segmentation, false_positive, grader
        Settings of the networks.
    device : str
        A torch device, for the graders; the other networks train on the CPU.
    workers : int
        Processes that draw a grader's nodules while it trains.
    folds : tuple of int
        Which of the five to run.
    fold_networks : Path or None
        The segmentation and false-positive networks of an earlier run (``write_fold_networks``), instead of training.
    limit : int or None
        Only so many nodules of each fold: for tests.
    console : Console
    """

    data: Path
    out: Path
    segmentation: SegmentationSettings = field(default_factory=SegmentationSettings)
    false_positive: FalsePositiveSettings = field(default_factory=FalsePositiveSettings)
    grader: GraderSettings = field(default_factory=GraderSettings)
    device: str = "cpu"
    workers: int = 0
    folds: tuple[int, ...] = tuple(range(FOLDS))
    fold_networks: Path | None = None
    limit: int | None = None
    console: Console = field(default_factory=Console)

    @property
    def cache(self) -> Path:
        """Where arrays made from the data set are kept."""
        return self.out / "cache"

    @property
    def networks(self) -> Path:
        """Where the states of training are kept."""
        return self.out / "networks"


def segmentation_nets(study: Study, folds: Sequence[int] | None = None) -> dict[int, SegmentationUNet]:
    """One segmentation network per fold, trained on the patients of the others; ``ALL`` is the one that ships."""
    wanted = study.folds if folds is None else folds
    if study.fold_networks:
        kept = read_fold_networks(study.fold_networks).segmentation
        return {fold: kept[fold] for fold in wanted}
    nodules = surroundings(study.data, study.cache)
    return {
        fold: train_segmentation(_name(fold), nodules.without(fold), study.segmentation, study.networks, study.console)
        for fold in wanted
    }


def false_positive_nets(study: Study, segmentation: Mapping[int, SegmentationUNet]) -> dict[int, FalsePositiveNet]:
    """One false-positive network per segmentation network, trained on what that outlines of the same patients."""
    if study.fold_networks:
        kept = read_fold_networks(study.fold_networks).false_positive
        return {fold: kept[fold] for fold in segmentation}
    trained = {}
    for fold, network in segmentation.items():
        own = surroundings(study.data, study.cache).without(fold)
        made_by = {"nodules": own.key, "outlined by": digest(network)}
        seen = _places(study, own, network, _name(fold), fold + 1)
        trained[fold] = train_false_positive(
            _name(fold), seen, made_by, study.false_positive, study.networks, study.console
        )
    return trained


def nodule_probabilities(
    study: Study, segmentation: Mapping[int, SegmentationUNet], false_positive: Mapping[int, FalsePositiveNet]
) -> pd.DataFrame:
    """The probabilities of each fold's nodules and of places beside them, by networks that never saw them."""
    nodules = surroundings(study.data, study.cache)
    return pd.concat(
        [
            place_probabilities(
                _places(study, nodules.of_fold(fold), segmentation[fold], f"held-out-{fold}", 100 + fold), network
            )
            for fold, network in false_positive.items()
        ],
        ignore_index=True,
    )


def _places(study: Study, nodules: Surroundings, network: SegmentationUNet, name: str, seed: int) -> Places:
    key = {"nodules": nodules.key, "outlined by": digest(network)}
    return places(nodules, study.data, partial(segment, networks=[network]), key, study.out / "places" / name, seed)


def _name(fold: int) -> str:
    return "all" if fold == ALL else str(fold)


def outlines(study: Study, networks: Mapping[int, SegmentationUNet], cubes: bool = False) -> dict[int, FoundOutlines]:
    """The reference nodules of each fold as that fold's segmentation network, which never saw them, finds them."""
    return _found(study, _finders(networks), "", cubes)


def few_reader_outlines(study: Study, networks: Mapping[int, SegmentationUNet]) -> dict[int, FoundOutlines]:
    """The same of the nodules that only one or two readers marked, or in a scan outside LUNA16; no fold without any."""
    return _found(study, _finders(networks), "few-readers-", reference=False)


def classical_outlines(study: Study, cubes: bool = False) -> dict[int, FoundOutlines]:
    """The same nodules from the same points, found without learning."""
    classical = (classical_segmentation.segment, "threshold and morphology")
    return _found(study, dict.fromkeys(study.folds, classical), "classical-", cubes)


def _finders(networks: Mapping[int, SegmentationUNet]) -> dict[int, tuple[Finder, str]]:
    return {fold: (partial(segment, networks=[one]), digest(one)) for fold, one in networks.items()}


def _found(
    study: Study,
    finders: Mapping[int, tuple[Finder, str]],
    name: str,
    cubes: bool = False,
    reference: bool = True,
) -> dict[int, FoundOutlines]:
    table = load(study.data, study.cache, cubes).table
    table = table[table.in_luna16_reference == reference]
    return {
        fold: find(
            table[table.fold == fold].head(study.limit or len(table)).reset_index(drop=True),
            study.data,
            finder,
            made_by,
            study.out / "outlines" / f"{name}{'cubes' if cubes else 'crops'}-{fold}",
            cubes,
        )
        for fold, (finder, made_by) in finders.items()
        if (table.fold == fold).any()
    }


def joined(nodules: Mapping[int, FoundOutlines]) -> pd.DataFrame:
    """The tables of all folds under each other."""
    return pd.concat([part.table for part in nodules.values()], ignore_index=True)


def graders(study: Study, nodules: Mapping[int, FoundOutlines]) -> dict[int, NoduleViT]:
    """One grader per fold, trained on and fitted to the others' nodules; the sample's patient is in none."""
    kept = {fold: part.without_sample() for fold, part in nodules.items()}
    trained = {}
    for fold in study.folds:
        reference = [part for other, part in kept.items() if other != fold]
        grader = train_grader(
            fold, reference, study.grader, study.networks, study.device, study.console, workers=study.workers
        )
        # A fifth as many as its grader learns from.
        twins = study.grader.twins // 5 if study.grader.planting else 0
        study.console.print(f"grader {fold}: fitting measures and evidence")
        trained[fold] = fitted(grader, reference, twins, fold)
    return trained


def estimates(
    study: Study, nodules: Mapping[int, FoundOutlines], trained: Mapping[int, NoduleViT], cubes: bool = False
) -> pd.DataFrame:
    """The out-of-fold table: what each fold's grader, which never saw them, estimates of that fold's nodules.

    Columns ``pipeline_{grade}``: at the outline that the pipeline found (NaN where it found none), in (synthetic) lung;
    ``oracle_{grade}``: at the readers' own outlines. The diameter is the outline's, as users see it; what the grader
    gives is ``{prefix}head_diameter``. ``count_mm``: slices times spacing of the crop.
    """

    def estimate(here: pd.DataFrame, rest: pd.DataFrame) -> pd.DataFrame:
        fold = int(here.fold.iloc[0])
        own = stacks(study, nodules[fold], trained[fold].config.layout, cubes)
        values = {
            f"{prefix}{name}": column
            for prefix, cut_there in own.items()
            for name, column in zip((*GRADE_NAMES, "calcified"), grade_stacks(trained[fold], cut_there).T, strict=True)
        }
        for prefix, measured in ((PIPELINE, "found_diameter"), (ORACLE, "true_diameter")):
            values[f"{prefix}{HEAD_DIAMETER}"] = values[f"{prefix}diameter"]
            values[f"{prefix}diameter"] = here[measured].to_numpy()
        return pd.DataFrame(values, index=here.index)

    table = joined({fold: nodules[fold] for fold in trained})
    table = table.assign(count_mm=table.slices * table.slice_spacing_mm)
    return table.join(out_of_fold(table, estimate, trained_before=True))


def stacks(study: Study, nodules: FoundOutlines, layout: Layout, cubes: bool) -> dict[str, list[SliceStack | None]]:
    """What is graded of each nodule, by prefix: at the found and at the readers' outline; ``None`` without one."""
    found_and_readers: dict[str, list[SliceStack | None]] = {PIPELINE: [], ORACLE: []}
    for index, row in enumerate(track(list(nodules.table.itertuples()), "Cutting", transient=True)):
        nodule = read_nodule(study.data, row.nodule_id, cubes)
        # The same lung as the segmentation network saw: the same seed makes it.
        rng = np.random.default_rng([0, *row.nodule_id.encode()])
        volume = nodule.volume if cubes else extend(nodule, rng)
        stack = cut(volume, np.zeros(3), WIDE)
        found = np.zeros(stack.pixels.shape, np.float32)
        here = slice(int(nodules.first[index]), int(nodules.first[index + 1]))
        found[stack.valid] = nodules.found[here, 0] / np.float32(255)
        # On this grid the smallest outlines may nowhere reach one half.
        outline = measure(stack, found) or measure(stack, found / max(found.max(), np.float32(1e-6)))
        found_and_readers[PIPELINE].append(pipeline_stack(volume, outline, layout) if outline else None)
        found_and_readers[ORACLE].append(oracle_stack(nodule, layout))
    return found_and_readers


@torch.inference_mode()
def grade_stacks(grader: NoduleViT, stacks: Sequence[SliceStack | None], batch: int = 32) -> Array:
    """The nine grades (grade units) and calcification's presence of each stack, (N, 10); NaN where there is none."""
    values = np.full((len(stacks), len(GRADE_NAMES) + 1), np.nan)
    device = grader.target_mean.device
    known = [i for i, stack in enumerate(stacks) if stack is not None]
    for begin in range(0, len(known), batch):
        rows = known[begin : begin + batch]
        there = [stack for i in rows if (stack := stacks[i]) is not None]
        prediction = grader(collate(there, grader.config).to(device))
        values[rows] = torch.cat([prediction.grades, prediction.calcified[:, None]], 1).cpu().numpy()
    return values
