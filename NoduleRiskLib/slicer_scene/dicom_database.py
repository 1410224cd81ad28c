"""What Slicer's DICOM database says of an instance: the one place that asks it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import slicer

from ..imaging.dicom_facts import OF_SERIES, OF_SLICE, DicomFacts, facts
from ..imaging.dicom_headers import TAGS, read_study


def facts_of(ct: Any, slices: Iterable[int] = ()) -> DicomFacts | None:
    """What the DICOM database knows of a CT that came from it; ``None`` of any other.

    Parameters
    ----------
    ct : vtkMRMLScalarVolumeNode
    slices : iterable of int
        The indices k of the slices whose image numbers and positions are wanted: each is read from its file. Of the
        others only the SOP instance is told, which the node itself knows.
    """
    uids = (ct.GetAttribute("DICOM.instanceUIDs") or "").split() if ct else []
    if not uids or not getattr(slicer, "dicomDatabase", None):
        return None
    header = {keyword: header_text(uids[0], keyword) for keyword in OF_SERIES}
    # Slicer's reader names one instance a slice, in their order; of others it is not known which is which.
    alike = bool(ct.GetImageData()) and len(uids) == ct.GetImageData().GetDimensions()[2]
    each = {k: {"SOPInstanceUID": uid} for k, uid in enumerate(uids)} if alike else {}
    each |= {k: {keyword: header_text(uids[k], keyword) for keyword in OF_SLICE} for k in slices if k in each}
    # Which patient it is tells whether two CTs are of one.
    return facts(header, each, {"PatientID": header_text(uids[0], "PatientID")})


def whole_facts(ct: Any) -> DicomFacts | None:
    """All that objects written for a CT refer to and copy, read from the database's own file; ``None`` without one.

    Parameters
    ----------
    ct : vtkMRMLScalarVolumeNode
    """
    found = facts_of(ct, range(ct.GetImageData().GetDimensions()[2]) if ct and ct.GetImageData() else ())
    if found is None:
        return None
    file = _database().fileForInstance(ct.GetAttribute("DICOM.instanceUIDs").split()[0])
    return replace(found, study=read_study(Path(file)) if file else {})


def insert(files: Sequence[Path]) -> None:
    """Put DICOM files into the database, where the DICOM module shows, exports and sends them."""
    for file in files:
        _database().insert(str(file))


def header_text(uid: str, keyword: str) -> str:
    """A header's value as text, by SOP instance UID and DICOM keyword; empty where the database has none.

    Where no database is open, there is none to ask.
    """
    # Without one nothing is kept: it may be opened later.
    return _value(uid, keyword) if _database() else ""


@lru_cache(maxsize=4096)
def _value(uid: str, keyword: str) -> str:
    tag = TAGS[keyword]
    return str(_database().instanceValue(uid, f"{tag >> 16:04x},{tag & 0xFFFF:04x}"))


def _database() -> Any:
    """Slicer makes it while it starts, and the module's own names do not list it; ``None`` without one."""
    return getattr(slicer, "dicomDatabase", None)
