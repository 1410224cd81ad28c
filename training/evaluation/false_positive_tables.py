"""How well the false-positive network tells nodules from vessels, chest wall and lung, out of fold."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from NoduleRiskLib.imaging.input_checks import LIKELY
from NoduleRiskLib.imaging.outline import INSIDE
from NoduleRiskLib.networks.false_positive_reduction import FalsePositiveNet, nodule_probability

from ..data.found_outlines import FoundOutlines
from ..models.false_positive_reduction import KINDS, beside, wide_volume

#: Places beside each nodule that a fold's network is scored on.
PLACES = 20


def place_probabilities(nodules: FoundOutlines, network: FalsePositiveNet) -> pd.DataFrame:
    """The nodule probability of every found nodule and of places beside it, by a network that never saw the patients.

    Returns
    -------
    DataFrame
        One row per place: ``kind`` ("nodule" or a key of ``KINDS``), ``patient_id``, ``probability``.
    """
    rows = []
    for index, row in enumerate(nodules.table.itertuples()):
        here = slice(int(nodules.first[index]), int(nodules.first[index + 1]))
        inside = np.argwhere(nodules.found[here, 0] > 255 * INSIDE)
        if not len(inside) or here.stop - here.start < 2:
            continue
        rng = np.random.default_rng([0, *row.nodule_id.encode()])
        pixels = nodules.pixels[here]
        volume = wide_volume(pixels, nodules.offset_mm[here])
        places = [("nodule", inside.mean(0)), *beside(pixels, nodules.share[here].max(1), PLACES, rng)]
        centres_ras = np.stack([volume.to_ras(voxel[::-1]) for _, voxel in places])
        probabilities = nodule_probability(volume, centres_ras, [network])
        rows += [(kind, row.patient_id, one) for (kind, _), one in zip(places, probabilities, strict=True)]
    return pd.DataFrame(rows, columns=["kind", "patient_id", "probability"])


def place_table(places: pd.DataFrame) -> pd.DataFrame:
    """For each kind of place: how many there are, the share warned about, the AUC against nodules.

    ``places`` as ``place_probabilities`` gives them.
    """
    nodules = places.probability[places.kind == "nodule"]
    rows = {}
    for kind, probability in places.groupby("kind").probability:
        rows[kind] = {"places": len(probability), "warned about": (probability < LIKELY).mean()}
        if kind != "nodule":
            is_nodule = np.repeat([1, 0], [len(nodules), len(probability)])
            rows[kind]["AUC"] = roc_auc_score(is_nodule, [*nodules, *probability])
    order = [kind for kind in ("nodule", *KINDS) if kind in rows]
    return pd.DataFrame(rows).T.loc[order].astype({"places": int}).rename_axis("place")
