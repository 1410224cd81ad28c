"""The DICOM files of the opened CT, asked as Slicer's DICOM database is: the session has no database of its own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import NoduleRiskError
from ..imaging.dicom_headers import TAGS, read_header, read_study
from ..imaging.volume import Volume

#: Keyword of a tag as ``slicer_scene.dicom_database`` asks for it: "0020,000e".
KEYWORDS = {f"{tag >> 16:04x},{tag & 0xFFFF:04x}": keyword for keyword, tag in TAGS.items()}


class DicomFiles:
    """What ``slicer.dicomDatabase`` is asked for, of the files that were opened.

    Its three methods have Slicer's own names. What is written for the CT goes to the user's browser, not in here.
    """

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}
        # The guidelines ask whenever the page is brought up to date.
        self._header, self._study = lru_cache(maxsize=4096)(read_header), lru_cache(maxsize=16)(read_study)

    def add(self, files: dict[str, Path]) -> None:
        """Take up files by their SOP instance UIDs."""
        self._files |= files

    def fileForInstance(self, uid: str) -> str:  # noqa: N802 - Slicer's name
        """Path of the file that holds an instance; empty where none does."""
        return str(self._files.get(uid, ""))

    def instanceValue(self, uid: str, tag: str) -> str:  # noqa: N802 - Slicer's name
        """A header's value as text; empty where it has none."""
        file, keyword = self._files.get(uid), KEYWORDS.get(tag)
        if file is None or keyword is None:
            return ""
        if keyword in ("PatientID", "PatientBirthDate", "PatientSex", "PatientAge"):
            return str(self._study(file).get(keyword, ""))
        header: Any = self._header(file)
        return str(header.text(keyword)) if header else ""

    def insert(self, file: str) -> None:
        """What we wrote is not put anywhere."""


def files_of(volume: Volume, place: Path) -> dict[str, Path]:
    """The files of a CT that was read from a folder of DICOM slices (or one of them), by SOP instance UID."""
    if volume.dicom is None:
        return {}
    wanted = {one.sop_uid for one in (volume.dicom.slices or {}).values()}
    found = {}
    for file in sorted(place.iterdir() if place.is_dir() else place.parent.iterdir()):
        try:
            # As ``dicom_series`` does: hidden files are none of its slices.
            header = read_header(file) if file.is_file() and not file.name.startswith(".") else None
        except (NoduleRiskError, OSError):
            continue
        uid = header.text("SOPInstanceUID") if header else ""
        if uid in wanted:
            found[uid] = file
    return found


def instance_uids(volume: Volume) -> str:
    """SOP instance UIDs in the order of the slices, as Slicer writes them to a volume node; empty where one lacks."""
    slices = volume.dicom.slices if volume.dicom else None
    uids = [slices[k].sop_uid if k in slices else "" for k in range(len(volume.array))] if slices else []
    return " ".join(uids) if all(uids) else ""
