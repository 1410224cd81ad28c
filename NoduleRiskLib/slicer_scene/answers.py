"""What a scene keeps of the user's answers to the guidelines' questions, and what Slicer's DICOM database adds.

The results table has them as JSON in attributes: one for the patient, one for each control point ID.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import slicer

from ..errors import NoduleRiskError
from ..guidelines.about import About
from ..guidelines.questions import QUESTIONS, answered
from ..imaging.dicom_facts import OF_SERIES, OF_SLICE, DicomFacts, facts
from .dicom_database import header_text
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


def facts_of(ct: Node, slices: Iterable[int] = ()) -> DicomFacts | None:
    """What the DICOM database knows of a CT that came from it; ``None`` of any other.

    Parameters
    ----------
    ct : vtkMRMLScalarVolumeNode
    slices : iterable of int
        The indices k of the slices whose image numbers are wanted: each is read from its file.
    """
    uids = (ct.GetAttribute("DICOM.instanceUIDs") or "").split() if ct else []
    if not uids or not getattr(slicer, "dicomDatabase", None):
        return None
    header = {keyword: header_text(uids[0], keyword) for keyword in OF_SERIES}
    # Slicer's reader names one instance a slice, in their order; of others it is not known which is which.
    alike = ct.GetImageData() and len(uids) == ct.GetImageData().GetDimensions()[2]
    wanted = [k for k in slices if alike and 0 <= k < len(uids)]
    return facts(header, {k: {keyword: header_text(uids[k], keyword) for keyword in OF_SLICE} for k in wanted})


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
