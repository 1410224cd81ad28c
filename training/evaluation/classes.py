"""Every grade as a classification with two or three classes: which nodules are above, below and in the middle."""

from __future__ import annotations

import numpy as np
import pandas as pd

from NoduleRiskLib.grades import BENIGN_BELOW, GRADES, MALIGNANT_ABOVE
from NoduleRiskLib.imaging.volume import Array

#: The mean code of calcification below which at least one reader of two saw some.
CALCIFIED_BELOW = 5.5
#: The Fleischner Society's steps of size (MacMahon et al. 2017, doi 10.1148/radiol.2017161659): below, between, above.
SMALL_MM, LARGE_MM = 6.0, 8.0
#: Strata of the readers' diameter, mm.
STRATA = {"< 6 mm": (0.0, 6.0), "6 to 10 mm": (6.0, 10.0), "10 to 15 mm": (10.0, 15.0), "> 15 mm": (15.0, np.inf)}
#: The grades that readers give in steps.
JUDGED = tuple(one for one in GRADES if one.words)


def two_classes(name: str, mean: pd.Series) -> pd.Series:
    """A grade's means in two classes: 1 above, 0 below the middle, NaN within; for calcification 1 where present."""
    if name == "calcification":
        return (mean < CALCIFIED_BELOW).astype(float).where(mean.notna())
    low, high = (SMALL_MM, LARGE_MM) if name == "diameter" else (BENIGN_BELOW, MALIGNANT_ABOVE)
    return (mean > high).astype(float).where((mean > high) | (mean < low))


def three_classes(name: str, mean: pd.Series) -> Array:
    """The paper's ternary classes 0 (< 3), 1 (= 3), 2 (> 3), int; diameter: below, within, above Fleischner's steps."""
    low, high = (SMALL_MM, LARGE_MM) if name == "diameter" else (3.0, 3.0)
    return np.where(mean < low, 0, np.where(mean > high, 2, 1))


def suspected(table: pd.DataFrame) -> tuple[pd.DataFrame, Array]:
    """The nodules outside the middle, which malignancy's two classes leave out, and which of them are suspicious."""
    answer = two_classes("malignancy", table.malignancy)
    return table[answer.notna()], (answer.dropna() == 1).to_numpy()


def filled(classed: pd.DataFrame, column: str) -> Array:
    """A score, the lowest of all where there is none (no nodule was found)."""
    return classed[column].fillna(classed[column].min()).to_numpy()
