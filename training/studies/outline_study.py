"""How good outlines and nodule probabilities are, on crops and cubes of patients that the networks never saw."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from NoduleRiskLib.networks.false_positive_reduction import FalsePositiveNet

from ..data.found_outlines import FoundOutlines
from ..evaluation.false_positive_tables import place_probabilities, place_table
from ..evaluation.report_sections import markdown
from ..evaluation.score_tables import outline_table
from .cross_validation import Study, classical_outlines, false_positive_nets, joined, outlines, segmentation_nets


def study_outlines(study: Study) -> str:
    """Train the segmentation and the false-positive networks of all folds and score them (Markdown)."""
    segmentation, false_positive = segmentation_nets(study), false_positive_nets(study)
    tables, probability_parts = {}, []
    for name, cubes in (("crops with synthetic lung around them", False), ("cubes", True)):
        nodules = outlines(study, segmentation, cubes)
        tables[name] = joined(nodules)
        tables[f"{name}, without learning"] = joined(classical_outlines(study, cubes))
        probability_parts += [
            f"### Nodule probability by place: {name}\n",
            markdown(place_table(probabilities(nodules, false_positive))),
        ]
    return "\n".join(
        ["### Outlines against the readers' consensus\n", markdown(outline_table(tables)), *probability_parts]
    )


def probabilities(nodules: Mapping[int, FoundOutlines], networks: Mapping[int, FalsePositiveNet]) -> pd.DataFrame:
    """Nodule probabilities of each fold's nodules and of places beside them: ``place_probabilities``."""
    return pd.concat([place_probabilities(nodules[fold], one) for fold, one in networks.items()], ignore_index=True)
