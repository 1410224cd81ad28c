"""How well the false-positive network tells nodules from vessels, chest wall, lung and readers' non-nodule marks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.false_positive_reduction import SIDE, FalsePositiveNet

from ..data.places import KEPT_SIDE, KINDS, LONE, NODULE, Places

#: Nodules that at least three readers marked: what the others call one is no more sure than what they do not.
CERTAIN = 1.0
#: The share of nodules that may be warned about.
WARNED_NODULES = 0.05
#: In the order of the tables.
ORDER = (NODULE, LONE, *KINDS, "non_nodule", "nodule_lt_3mm")


@torch.inference_mode()
def place_probabilities(places: Places, network: FalsePositiveNet, batch: int = 64) -> pd.DataFrame:
    """``places.table`` with the nodule probability of each place; the network must not have seen these patients."""
    inner = slice((KEPT_SIDE - SIDE) // 2, (KEPT_SIDE + SIDE) // 2)
    found = [np.zeros(0, np.float32)]
    for begin in range(0, len(places.table), batch):
        here = slice(begin, begin + batch)
        parts = places.hu[here, inner, inner, inner], places.outline[here, inner, inner, inner] / np.float32(255)
        x = torch.as_tensor(np.stack([part.astype(np.float32) for part in parts], 1))
        found.append(network(x).sigmoid().numpy())
    return places.table.assign(probability=np.concatenate(found))


def limit(places: pd.DataFrame, share: float = WARNED_NODULES) -> float:
    """The probability below which ``share`` of the nodules of three readers or more lie."""
    return float(np.quantile(_certain(places), share))


def place_table(places: pd.DataFrame, limit: float) -> pd.DataFrame:
    """For each kind of place: how many there are, the share warned about (below ``limit``), the AUC against nodules.

    ``places`` as ``place_probabilities`` gives them.
    """
    nodules = _certain(places)
    rows = {}
    for kind, of_kind in places.groupby("kind"):
        probability = nodules if kind == NODULE else of_kind.probability.to_numpy()
        rows[kind] = {"places": len(probability), "warned about": (probability < limit).mean()}
        if kind != NODULE:
            is_nodule = np.repeat([1, 0], [len(nodules), len(probability)])
            rows[kind]["AUC"] = roc_auc_score(is_nodule, [*nodules, *probability])
    order = [kind for kind in ORDER if kind in rows]
    return pd.DataFrame(rows).T.loc[order].astype({"places": int}).rename_axis("place")


def _certain(places: pd.DataFrame) -> Array:
    return places.probability[(places.kind == NODULE) & (places.target == CERTAIN)].to_numpy()
