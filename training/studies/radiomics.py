"""How much of each grade radiomics features tell: gradient boosting on them, out of fold, without any network.

The crop's own depth, which is that of the readers' outlines, is a feature of the first of two versions only
(``depth_mm``); in the second the crop lies in synthetic lung, as the pipeline meets it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from rich.progress import track
from sklearn.ensemble import HistGradientBoostingRegressor

from NoduleRiskLib.grades import GRADES

from ..checkpoints import digest, read_keyed_table, write_keyed_table
from ..data.context_synthesis import extend
from ..data.crops import data_key, load, read_nodule
from ..data.radiomics import describe
from ..evaluation.out_of_fold import RADIOMICS, RADIOMICS_FILE, out_of_fold

Version = Literal["crop", "context"]


def estimates(data: Path, out: Path) -> pd.DataFrame:
    """The out-of-fold estimates of gradient boosting for the reference nodules.

    The first call measures (ten minutes; kept in ``out / cache``), trains and writes ``out / radiomics.csv``; later
    ones read it.

    Returns
    -------
    DataFrame
        ``nodule_id`` and, for each prefix of ``RADIOMICS``, a column for each grade (grade units, mm) and ``calcified``
        (share of readers who see calcification).
    """
    table = load(data, out / "cache").table
    table = table[table.in_luna16_reference].reset_index(drop=True)
    key = data_key(data) | {"nodules": digest(*table.nodule_id)}
    if kept := read_keyed_table(out / RADIOMICS_FILE, key):
        return kept[0]
    result = table[["nodule_id"]].copy()
    for version, prefix in RADIOMICS.items():
        path = out / "cache" / f"radiomics-{version}.csv"
        if not read_keyed_table(path, key):
            write_keyed_table(path, measure(table, data, version), key)
        kept = read_keyed_table(path, key)
        assert kept
        result = result.join(boosted(table, kept[0]).add_prefix(prefix))
    write_keyed_table(out / RADIOMICS_FILE, result, key)
    return result


def measure(table: pd.DataFrame, data: Path, version: Version) -> pd.DataFrame:
    """``describe`` of every nodule of the table, one row each."""
    rows = []
    for name in track(table.nodule_id.tolist(), f"Measuring ({version})", transient=True):
        nodule = read_nodule(data, name)
        if version == "crop":
            volume, depth = nodule.volume, {"depth_mm": len(nodule.volume.array) * nodule.volume.spacing_mm[2]}
        else:
            volume, depth = extend(nodule, np.random.default_rng([0, *name.encode()])), {}
        rows.append(describe(volume) | depth)
    return pd.DataFrame(rows, index=table.index)


def boosted(table: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Each grade and the share of readers who see calcification, out of fold; both tables have the same index."""
    logarithmic = {grade.name for grade in GRADES if grade.logarithmic}

    def estimate(here: pd.DataFrame, rest: pd.DataFrame) -> pd.DataFrame:
        columns = {}
        for name in [*(grade.name for grade in GRADES), "calcified"]:
            model = HistGradientBoostingRegressor(
                learning_rate=0.05, max_iter=150, max_leaf_nodes=8, l2_regularization=1.0, random_state=0
            )
            model.fit(features.loc[rest.index], np.log2(rest[name]) if name in logarithmic else rest[name])
            value = model.predict(features.loc[here.index])
            columns[name] = 2**value if name in logarithmic else value
        return pd.DataFrame(columns, index=here.index)

    return out_of_fold(table, estimate).reindex(table.index)
