"""How good outlines and nodule probabilities are, on crops and cubes of patients that the networks never saw."""

from __future__ import annotations

from ..data.places import CROPS, CUBES, WHOLE
from ..evaluation.false_positive_tables import limit, place_table
from ..evaluation.report_sections import markdown
from ..evaluation.score_tables import outline_table
from .cross_validation import (
    Study,
    classical_outlines,
    false_positive_nets,
    joined,
    nodule_probabilities,
    outlines,
    segmentation_nets,
)


def study_outlines(study: Study) -> str:
    """Train the segmentation and the false-positive networks of all folds and score them (Markdown)."""
    segmentation = segmentation_nets(study)
    tables = {}
    for name, cubes in (("crops with synthetic lung around them", False), ("cubes", True)):
        tables[name] = joined(outlines(study, segmentation, cubes))
        tables[f"{name}, without learning"] = joined(classical_outlines(study, cubes))
    places = nodule_probabilities(study, segmentation, false_positive_nets(study, segmentation))
    below = limit(places)
    parts = ["### Outlines against the readers' consensus\n", markdown(outline_table(tables))]
    for source in (CROPS, CUBES, WHOLE):
        of_source = place_table(places[places.source == source], below)
        parts += [f"### Nodule probability by place: {source}\n", markdown(of_source)]
    return "\n".join([*parts, f"*Warned about*: probability below {below:.3f}, so that one in twenty nodules is.\n"])
