"""What hand-made measures add to the heads: heads alone, measures alone, and both, out of fold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import CALCIFICATION_PATTERNS, GRADE_NAMES
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.measured import CALCIUM_AT, SURFACE_AT
from NoduleRiskLib.networks.model_package import ModelPackage
from NoduleRiskLib.networks.nodule_vit import PATTERNS_FROM, NoduleViT

from ..data.augmentation import as_in_use
from ..data.found_outlines import FoundOutlines
from ..evaluation.metrics import correlation, mean_difference, r_difference
from ..evaluation.report_sections import markdown

#: Grades by what is said of them, in the order of the outputs, then calcification's presence.
OUTPUTS = (*GRADE_NAMES, "presence")
MEASURED_AT = (*SURFACE_AT, *CALCIUM_AT)
WAYS = ("heads", "measures", "both")


def measures(package: ModelPackage, nodules: Mapping[int, FoundOutlines]) -> str:
    """Two tables (Markdown): of each grade that measures speak for, r of heads, of measures, of both; patterns.

    Parameters
    ----------
    package : ModelPackage
        One grader with surface and calcium features for each of the five folds.
    nodules : dict of int to FoundOutlines
        By fold, at the outlines that its segmentation network found.

    Raises
    ------
    NoduleRiskError
        If the package's graders do not read the measures.
    """
    if not (package.config.surface_features and package.config.calcium_features):
        raise NoduleRiskError(f"{package.path} does not read all measures: give a package of version 0.7.0 or later.")
    graders, own = package.networks().graders, {fold: part.without_sample() for fold, part in nodules.items()}
    parts = [said(graders[fold], part) for fold, part in own.items()]
    values = {way: np.concatenate([part[way] for part in parts]) for way in WAYS}
    table = pd.concat([part.table for part in own.values()], ignore_index=True)
    about = f"{package.model_id}, {len(table):,} nodules, out of fold at the pipeline's outlines; heads with evidence"
    return (
        f"{about}; 95 % intervals by bootstrap over patients; presence: share of readers who saw calcification.\n\n"
        f"{markdown(_agreement(table, values))}\n\n### Patterns\n\n{_patterns(table, values)}\n"
    )


def _agreement(table: pd.DataFrame, values: Mapping[str, Array]) -> pd.DataFrame:
    rows, patients = {}, table.patient_id.to_numpy()
    for at in MEASURED_AT:
        name = OUTPUTS[at]
        truth = table["calcified" if name == "presence" else name].to_numpy()
        here = {way: value[:, at] for way, value in values.items()}
        added = r_difference(patients, truth, here["both"], here["heads"])
        off = {way: np.abs(value - truth) for way, value in here.items()}
        nearer = mean_difference(patients, off["both"] - off["heads"])
        rows[name] = {
            **{f"r, {way}": correlation(truth, value) for way, value in here.items()},
            "both - heads": f"{added.value:+.3f} ({added.low:+.3f} to {added.high:+.3f})",
            "error, both - heads": f"{nearer.value:+.3f} ({nearer.low:+.3f} to {nearer.high:+.3f})",
        }
    return pd.DataFrame(rows).T


def _patterns(table: pd.DataFrame, values: Mapping[str, Array]) -> str:
    """Of nodules that half of the readers or more called calcified: what share of them say the likeliest pattern."""
    votes = table[[f"pattern_{code + 1}" for code in range(len(CALCIFICATION_PATTERNS))]].to_numpy()
    seen = (table.calcified >= 0.5).to_numpy()
    agree = {way: votes[seen, values[way][seen, PATTERNS_FROM:].argmax(1)].mean() for way in ("heads", "measures")} | {
        f"always {CALCIFICATION_PATTERNS[int(votes[seen].mean(0).argmax())]}": votes[seen].mean(0).max()
    }
    shares = pd.DataFrame(agree, ["readers who say the same"])
    return f"{int(seen.sum())} nodules that half of their readers or more called calcified.\n\n{markdown(shares)}"


@torch.inference_mode()
def said(grader: NoduleViT, nodules: FoundOutlines) -> dict[str, Array]:
    """By ``WAYS`` what heads (with evidence), measures, and both say of the nodules: (N, 9 + 6).

    Grades in grade units, presence as a probability, patterns as logits; of what is not measured, measures say 0.
    """
    found: dict[str, list[Array]] = {way: [] for way in WAYS}
    for batch in as_in_use([nodules], [(0, row) for row in range(len(nodules.table))], grader.config.layout):
        tokens = grader.tokens(batch)
        both, calcium = grader.raw(tokens, batch), grader.calcium(batch.calcium_features)
        measured = torch.zeros_like(both)
        measured[:, list(SURFACE_AT)] = grader.surface(batch.surface_features)
        measured[:, [*CALCIUM_AT, *range(PATTERNS_FROM, both.shape[1])]] = calcium
        heads = grader.by_heads(tokens, batch) + grader.terms(tokens, batch)
        for way, raw in zip(WAYS, (heads, measured, both), strict=True):
            grades = raw[:, : len(GRADE_NAMES)] * grader.target_std + grader.target_mean
            presence = raw[:, len(GRADE_NAMES) : PATTERNS_FROM].sigmoid()
            found[way].append(np.asarray(torch.cat([grades, presence, raw[:, PATTERNS_FROM:]], 1)))
    return {way: np.concatenate(some) for way, some in found.items()}
