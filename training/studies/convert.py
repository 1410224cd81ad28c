"""Write a model package of an older format again in today's: the same weights under today's names.

``python -m training.studies.convert PACKAGE`` made ``lidc-native`` of format 5 from that of format 4. What was measured
of the package's heatmaps goes into its manifest. Its identity changes, its grades do not.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.explain import heatmap_faithfulness
from NoduleRiskLib.networks.model_package import ModelPackage, load, with_card

from ..evaluation.heatmap_tables import on_card
from .export import prose

#: What the captions of older scores say, each with what it says now.
CAPTIONS = (
    ("at the extent that the pipeline finds itself", "from the outlines of the segmentation network"),
    ("The same at the readers' own extent (oracle)", "The same from the readers' own outlines (oracle)"),
    ("extent found by the pipeline", "outlines of the segmentation network"),
    ("readers' extent", "readers' outlines"),
    ("the pipeline's outline", "outlines of the segmentation network"),
    ("pipeline's diameter", "diameter from the segmentation network"),
    (", pipeline |", ", segmentation network |"),
    ("hand-made features, crop as it is cut", "radiomics, the crop as it is"),
    ("hand-made features, crop with surroundings", "radiomics, the crop with synthetic lung around it"),
    ("hand-made, surroundings |", "radiomics with synthetic lung |"),
    ("hand-made, surroundings", "radiomics with synthetic lung,"),
    ("hand-made", "radiomics"),
    ("crops with surroundings", "crops with synthetic lung around them"),
    ("as a question", "as a classification"),
    ("| question |", "| grade |"),
    ("| diameter | asked |", "| diameter | nodules |"),
    ("The first score's AUC minus each other's", "Difference in AUC: the first score minus each other"),
    ("Doubt: ", "Calibration: "),
    ("always giving the commoner answer", "always giving the more frequent class"),
    ("*Commoner*", "*Majority*"),
    ("| commoner |", "| majority |"),
    ("each by the locator that never saw the patient", "each by a segmentation network not trained on the patient"),
)


def convert(path: Path) -> ModelPackage:
    """Write the package at ``path`` again in its place; its card says what ``export`` writes, with the old scores."""
    old = load(path)
    trained = re.search("Trained by `(.+?)`", old.card)
    if trained is None:
        raise NoduleRiskError(
            f"The model card of {path} is not one that `training all` wrote: convert it with `with_card`."
        )
    scores = old.card[old.card.index("### ") :]
    for before, now in CAPTIONS:
        scores = scores.replace(before, now)
    card = prose(old.name, trained[1]) + scores
    found = heatmap_faithfulness.measured(old.model_id)
    return with_card(old, on_card(card, heatmap_faithfulness.summary(found)) if found else card, found)


if __name__ == "__main__":
    print(convert(Path(sys.argv[1])).model_id)
