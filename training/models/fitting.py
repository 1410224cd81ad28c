"""What is fitted once a grader is trained: what measures say, and what evidence adds to two of the grades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.nodule_vit import NoduleViT

from ..data.augmentation import as_in_use
from ..data.found_outlines import FoundOutlines
from ..data.planted_pairs import Pairs, Twin, as_pairs, eligible, plant, subject_of
from ..data.planted_signs import calcium
from .evidence_fit import fit_evidence
from .measured import fit_calcium, fit_surface

#: So many pairs are looked at at once.
BATCH = 32


def fitted(grader: NoduleViT, reference: Sequence[FoundOutlines], twins: int, seed: int) -> NoduleViT:
    """The grader with ``surface`` and ``calcium`` (``measured``) and, where twins are planted, fitted evidence.

    Parameters
    ----------
    grader : NoduleViT
        Trained; it stays as it is.
    reference : sequence of FoundOutlines
        The nodules that it was trained on.
    twins : int
        How many twins are planted, and how many with calcium.
    seed : int
        Of them.
    """
    rng = np.random.default_rng([seed, 17])
    rows = [(part, row) for part, one in enumerate(reference) for row in range(len(one.table))]
    layout = grader.config.layout
    able = eligible(reference, rows) if twins else {}
    pairs = _pairs([plant(reference, able, rng) for _ in range(twins)], layout)
    calcified = _pairs([_with_calcium(reference, able, rng) for _ in range(twins)], layout)

    model = NoduleViT(replace(grader.config, surface_features=True, calcium_features=True))
    model.load_state_dict(grader.state_dict(), strict=False)
    batches = list(as_in_use(reference, rows, layout))
    grades, table = _grades(model, reference), pd.concat([one.table for one in reference])
    fit_surface(model, batches, grades, pairs)
    fit_calcium(model, batches, grades, table, calcified)
    if pairs and grader.config.evidence:
        fit_evidence(model, batches, torch.as_tensor(grades, dtype=torch.float32), pairs, seed)
    return model.to(grader.target_mean.device).eval().requires_grad_(False)


def _with_calcium(
    reference: Sequence[FoundOutlines], able: Mapping[str, Sequence[tuple[int, int]]], rng: np.random.Generator
) -> Twin:
    """Calcium of any pattern in some nodule."""
    while True:
        at = able["calcium"][int(rng.integers(len(able["calcium"])))]
        if (subject := subject_of(reference[at[0]], at[1])) is not None:
            return Twin(subject, calcium(subject, rng), at)


def _pairs(twins: Sequence[Twin], layout: Layout) -> list[Pairs]:
    own = [(one.subject, one.planted) for one in twins]
    return [as_pairs(own[begin : begin + BATCH], layout) for begin in range(0, len(own), BATCH)]


def _grades(model: NoduleViT, reference: Sequence[FoundOutlines]) -> Array:
    """Readers' means (N, 9), standardised as the model's outputs are; not the diameter's, which are in mm."""
    middle, spread = (np.asarray(one, np.float64) for one in (model.target_mean, model.target_std))
    return (np.concatenate([one.grades for one in reference]) - middle) / spread
