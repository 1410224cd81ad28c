"""What a scene keeps of the user's answers to the guidelines' questions.

The results table has them as JSON in attributes: one for the patient, one for each control point ID.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from ..errors import NoduleRiskError
from ..guidelines.about import About
from ..guidelines.questions import QUESTIONS, answered
from .inputs import Node
from .results import ABOUT


def answers_of(table: Node, point_id: str) -> dict[str, Any]:
    """The answers that hold for a nodule: the patient's, and above them its own."""
    return {**_read(table, ""), **_read(table, point_id)}


def give(table: Node, point_id: str, name: str, value: Any) -> None:
    """Keep an answer (``None`` takes it back): with the patient or with the nodule, as its question says.

    Raises
    ------
    NoduleRiskError
        If it is no answer.
    """
    owner = "" if QUESTIONS[name].patient else point_id
    kept = _read(table, owner)
    kept.pop(name, None)
    if value is not None:
        kept[name] = answered(name, value)
    if kept:
        table.SetAttribute(ABOUT + owner, json.dumps(About(kept).to_dict()))
    else:
        table.RemoveAttribute(ABOUT + owner)


def _read(table: Node, owner: str) -> dict[str, Any]:
    """The answers under an attribute; what is damaged is left out, with a line in the log."""
    text = table.GetAttribute(ABOUT + owner) if table else None
    if not text:
        return {}
    found = {}
    try:
        for name, value in json.loads(text).items():
            found[name] = answered(name, value)
    except (NoduleRiskError, ValueError, AttributeError, RecursionError) as error:
        logging.warning("NoduleRisk: %s", error)
    return found
