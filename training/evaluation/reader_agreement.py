"""How well readers agree: one reader against the mean of the others, as a bar for the estimates."""

from __future__ import annotations

import pandas as pd

from NoduleRiskLib.grades import CALCIFICATION_ABSENT, GRADES

from ..data.lidc import reader_grades
from .classes import two_classes
from .metrics import auc, kappa


def reader_agreement(readings: pd.DataFrame) -> pd.DataFrame:
    """One row per grade: AUC, quadratic weighted kappa and MAE of one reader against the others' mean."""
    rows = {}
    for name in [name for name in (*(grade.name for grade in GRADES), "calcified") if name in readings]:
        pair = pd.DataFrame({"own": readings[name], "rest": others(readings, name)})
        pair = pair.dropna()
        row: dict[str, float] = {"readings": len(pair)}
        if name != "diameter":
            asks = (pair.rest > 0.5).astype(float) if name == "calcified" else two_classes(name, pair.rest)
            answered = pair[asks.notna()]
            score = -answered.own if name == "calcification" else answered.own
            row["AUC"] = auc((asks.dropna() == 1).to_numpy(), score.to_numpy())
            row["weighted kappa"] = kappa(pair.rest, pair.own)
        row["MAE"] = (pair.own - pair.rest).abs().mean()
        rows["calcification seen" if name == "calcified" else name] = row
    return pd.DataFrame.from_dict(rows, "index").rename_axis("grade")


def others(readings: pd.DataFrame, name: str) -> pd.Series:
    """For every reading the mean that the nodule's other readers gave; NaN where there is no other."""
    group = readings.groupby("nodule")[name]
    own, count = readings[name], group.transform("count") - readings[name].notna()
    return (group.transform("sum") - own.fillna(0)) / count.where(count > 0)


def readings_of(table: pd.DataFrame, readings: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every reader's grades and ``calcified`` of the nodules of a table; ``nodule`` is their row in it.

    ``readings`` (``lidc.readings``) has more columns; without it only the grades are read.
    """
    if readings is None:
        readings = reader_grades()
        readings["calcified"] = (readings.calcification < CALCIFICATION_ABSENT).astype(float)
    ids = table.annotation_ids.str.split(";").explode().astype(int)
    return readings.loc[ids].assign(nodule=ids.index)
