"""What the nodule's surface adds to the shape grades: heads alone, surface alone, and both, out of fold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.model_package import ModelPackage
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from NoduleRiskLib.networks.surface import AT, SURFACE_GRADES

from ..data.augmentation import compose
from ..data.found_outlines import FoundOutlines
from ..evaluation.metrics import correlation, mean_difference, r_difference
from ..evaluation.report_sections import markdown

BATCH = 32


def surface(package: ModelPackage, nodules: Mapping[int, FoundOutlines]) -> str:
    """A table (Markdown): of each grade that the surface speaks for, r of heads, of surface and of their mean.

    Parameters
    ----------
    package : ModelPackage
        One grader with surface features for each of the five folds.
    nodules : dict of int to FoundOutlines
        By fold, at the outlines that its segmentation network found.

    Raises
    ------
    NoduleRiskError
        If the package's graders read no surface features.
    """
    if not package.config.surface_features:
        raise NoduleRiskError(f"{package.path} reads no surface features: give a package of version 0.6.0 or later.")
    graders, own = package.networks().graders, {fold: part.without_sample() for fold, part in nodules.items()}
    heads, alone, both = (
        np.concatenate(parts) for parts in zip(*(_said(graders[fold], part) for fold, part in own.items()), strict=True)
    )
    table = pd.concat([part.table for part in own.values()], ignore_index=True)
    rows = {}
    for column, name in enumerate(SURFACE_GRADES):
        truth, patients = table[name].to_numpy(), table.patient_id.to_numpy()
        values = {"heads": heads[:, column], "surface": alone[:, column], "both": both[:, column]}
        added = r_difference(patients, truth, values["both"], values["heads"])
        off = {who: np.abs(value - truth) for who, value in values.items()}
        nearer = mean_difference(patients, off["both"] - off["heads"])
        rows[name] = {
            **{f"r, {who}": correlation(truth, value) for who, value in values.items()},
            "both - heads": f"{added.value:+.3f} ({added.low:+.3f} to {added.high:+.3f})",
            "error, both - heads": f"{nearer.value:+.3f} ({nearer.low:+.3f} to {nearer.high:+.3f})",
        }
    return (
        f"{package.model_id}, {len(table):,} nodules, out of fold at the pipeline's outlines; heads with evidence; "
        f"95 % intervals by bootstrap over patients.\n\n{markdown(pd.DataFrame(rows).T)}\n"
    )


@torch.inference_mode()
def _said(grader: NoduleViT, nodules: FoundOutlines) -> tuple[Array, Array, Array]:
    """What heads (with evidence), surface, and both say of the nodules, each (N, 2), in grade units."""
    at = list(AT)
    found: list[list[Array]] = [[], [], []]
    for begin in range(0, len(nodules.table), BATCH):
        rows = [(0, row) for row in range(begin, min(begin + BATCH, len(nodules.table)))]
        batch, _ = compose([nodules], rows, np.random.default_rng(0), False, grader.config.layout)
        tokens = grader.tokens(batch)
        both, surface = grader.raw(tokens, batch)[:, at], grader.surface(batch.surface_features)
        # Evidence counts whole, so only the heads' half is to be taken from the mean.
        heads = 2 * both - surface - grader.terms(tokens, batch)[:, at]
        for some, value in zip(found, (heads, surface, both), strict=True):
            some.append(np.asarray(value * grader.target_std[at] + grader.target_mean[at]))
    said = [np.concatenate(some) for some in found]
    return said[0], said[1], said[2]
