"""How well diameter and volume can be measured again, out of fold: only points, grids, slices and noise change."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from rich.progress import track

from NoduleRiskLib.networks.segmentation import SegmentationUNet, segment

from ..checkpoints import digest, read_keyed_table, write_keyed_table
from ..data.context_synthesis import extend
from ..data.crops import load, read_nodule
from ..data.found_outlines import missed_point
from ..evaluation.repeatability import CHANGES, NOISE_HU, measurements
from .cross_validation import Study


def repeated_measurements(study: Study, networks: Mapping[int, SegmentationUNet]) -> pd.DataFrame:
    """``measurements`` of the reference nodules (crops and cubes), each by its fold's network; kept in ``out``."""
    return pd.concat(
        [_of_fold(study, fold, network, cubes) for cubes in (False, True) for fold, network in networks.items()],
        ignore_index=True,
    )


def _of_fold(study: Study, fold: int, network: SegmentationUNet, cubes: bool) -> pd.DataFrame:
    table = load(study.data, study.cache, cubes).table
    own = table[table.in_luna16_reference & (table.fold == fold)].head(study.limit or len(table))
    source = "cubes" if cubes else "crops"
    path = study.out / "repeated" / f"{source}-{fold}.csv"
    key = {
        "nodules": digest(*own.nodule_id),
        "outlined by": digest(network),
        "changes": ", ".join(CHANGES),
        "noise_hu": str(NOISE_HU),
    }
    if kept := read_keyed_table(path, key):
        return kept[0]
    rows: list[dict[str, object]] = []
    for row in track(list(own.itertuples()), f"Measuring again, {path.stem}", transient=True):
        rng = np.random.default_rng([7, *row.nodule_id.encode()])
        nodule = read_nodule(study.data, row.nodule_id, cubes)
        volume = nodule.volume if cubes else extend(nodule, rng)
        points = np.stack([missed_point(row.diameter, rng) for _ in range(2)])
        again = measurements(volume, points, partial(segment, networks=[network]), rng)
        same = {"nodule_id": row.nodule_id, "source": source}
        # A cube has voxels of 1 mm already.
        rows += [same | one for one in again if not (cubes and one["change"] == "resampled to 1 mm")]
    found = pd.DataFrame(rows)
    write_keyed_table(path, found, key)
    return found
