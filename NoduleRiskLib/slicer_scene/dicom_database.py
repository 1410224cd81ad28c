"""What Slicer's DICOM database says of an instance: the one place that asks it."""

from __future__ import annotations

from functools import lru_cache

import slicer

from ..imaging.dicom_headers import TAGS


def header_text(uid: str, keyword: str) -> str:
    """A header's value as text, by SOP instance UID and DICOM keyword; empty where the database has none.

    Where no database is open, there is none to ask.
    """
    # Without one nothing is kept: it may be opened later.
    return _value(uid, keyword) if getattr(slicer, "dicomDatabase", None) else ""


@lru_cache(maxsize=4096)
def _value(uid: str, keyword: str) -> str:
    tag = TAGS[keyword]
    # Slicer makes it while it starts: the module's own names do not list it.
    database = getattr(slicer, "dicomDatabase", None)
    return str(database.instanceValue(uid, f"{tag >> 16:04x},{tag & 0xFFFF:04x}")) if database else ""
