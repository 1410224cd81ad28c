"""Write a package's calibration and scores again, from the out-of-fold tables of its own networks: weights unchanged.

``python -m training.studies.recalibrate PACKAGE OUT``, where OUT is what ``python -m training all`` left when it made
the package. So a package gets what is fitted to the same estimates since, such as the account of the suspicion.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.explain import heatmap_faithfulness
from NoduleRiskLib.networks.model_package import ModelPackage, load, with_card

from ..evaluation.heatmap_tables import on_card
from ..evaluation.tables import OutOfFold
from .export import calibrate, card, contents


def recalibrate(path: Path, out: Path) -> ModelPackage:
    """Write the package at ``path`` again in its place; its identity changes, its grades do not.

    Raises
    ------
    NoduleRiskError
        If its card does not say what it was trained by, or the tables in ``out`` are other networks'.
    """
    old, found = load(path), OutOfFold.read(out)
    trained = re.search("Trained by `(.+?)`", " ".join(old.card.split()))
    if trained is None:
        raise NoduleRiskError(
            f"The model card of {path} is not one that `training all` wrote: train the package again."
        )
    fitted = calibrate(found)
    if not np.allclose(fitted.suspicion, old.calibration.suspicion):
        raise NoduleRiskError(
            f"The tables in {out} are not of the networks of {path}: name the folder that it came from."
        )
    inside = contents(old.networks(), len(found.crops), int((~found.crops.hu_exact).sum()))
    told = card(old.name, inside, found, trained[1])
    measured = old.manifest.heatmap_faithfulness
    if measured:
        told = on_card(told, heatmap_faithfulness.summary(measured))
    return with_card(old, told, calibration=fitted)


if __name__ == "__main__":
    print(recalibrate(Path(sys.argv[1]), Path(sys.argv[2])).model_id)
