"""Which nodules a fold's grader learns from, and which of them choose its epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.volume import Array

from ..data.found_outlines import FoundOutlines
from .grader_settings import GraderSettings
from .targets_and_losses import Labels, read_labels


@dataclass(frozen=True, eq=False)
class TrainingNodules:
    """The nodules that a fold's grader may learn from, N of them.

    Attributes
    ----------
    parts : list of FoundOutlines
    at : list of (int, int)
        Of each nodule: which of ``parts``, which row.
    labels : Labels
        Standardised by ``mean`` and ``std`` (10,), those of the nodules that train.
    mean, std : Tensor
    training, validation, weak : int array
        Which nodules train, which choose the epoch, and which have only one or two readers.
    """

    parts: list[FoundOutlines]
    at: list[tuple[int, int]]
    labels: Labels
    mean: Tensor
    std: Tensor
    training: Array
    validation: Array
    weak: Array


def training_nodules(
    fold: int, reference: Sequence[FoundOutlines], weak: Sequence[FoundOutlines], settings: GraderSettings
) -> TrainingNodules:
    """The nodules of ``train_grader``, split by patient; raises ``NoduleRiskError`` if they are too few."""
    parts = [*reference, *weak]
    at = [(part, index) for part, outlines in enumerate(parts) for index in range(len(outlines.table))]
    table = pd.concat([outlines.table for outlines in parts], ignore_index=True) if parts else pd.DataFrame()
    is_reference = np.arange(len(table)) < sum(len(outlines.table) for outlines in reference)
    chooses = _validation_patients(table[is_reference], settings, fold) if is_reference.any() else is_reference
    validation, training = np.flatnonzero(chooses), np.flatnonzero(~chooses)
    if len(training) < settings.batch:
        raise NoduleRiskError(
            f"Fold {fold} leaves {len(training)} nodules to train on, fewer than a batch of {settings.batch}: give "
            "more folds or nodules."
        )
    # Validation patients are excluded from training, their nodules of one or two readers included.
    excluded = table.patient_id.isin(table.patient_id[validation]).to_numpy()
    weak_rows = np.flatnonzero(~is_reference & ~excluded)
    if settings.weak_share and not len(weak_rows):
        raise NoduleRiskError("This run trains on nodules of one or two readers, and there are none: see the data set.")
    labels = read_labels(table)
    # Grades that are the same for all have no spread to divide by.
    mean, std = labels.grades[training].mean(0), labels.grades[training].std(0).clamp(min=1e-3)
    return TrainingNodules(parts, at, labels.standardised(mean, std), mean, std, training, validation, weak_rows)


def _validation_patients(table: pd.DataFrame, settings: GraderSettings, fold: int) -> Array:
    """Which rows choose the epoch: all nodules of a share of the patients."""
    patients = np.sort(table.patient_id.unique())
    rng = np.random.default_rng([settings.seed, fold, 7])
    chosen = rng.choice(patients, max(1, round(settings.validation_share * len(patients))), replace=False)
    return table.patient_id.isin(chosen).to_numpy()
