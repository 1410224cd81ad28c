"""DICOM objects that are no images of a CT (SEG, RTSTRUCT, SR): which they are, and whether they are the CT's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import NoduleRiskError
from .volume import Volume

#: A larger file is not read, in bytes: no outline and no report is.
LARGEST = 2**30

#: The length of an element that does not say it (PS3.5 7.1).
UNDEFINED = 0xFFFFFFFF


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file says in its first bytes that it is DICOM (PS3.10 7.1)."""
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def modality(path: str | os.PathLike[str]) -> str:
    """The Modality of a DICOM file; "" where there is none to be read.

    Examples
    --------
    >>> modality("nowhere.dcm")
    ''
    """
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"])
        return str(header.get("Modality") or "")
    # A damaged header raises whatever its bytes happen to mean.
    except Exception:
        return ""


def read_object(path: Path) -> Any:
    """The whole DICOM object of a file.

    Raises
    ------
    NoduleRiskError
        If it is none, or too large to be an outline or a report.
    """
    import pydicom

    try:
        if path.stat().st_size > LARGEST:
            raise NoduleRiskError(f"{path} has more than 1 GB: no segmentation and no report is so large.")
        dataset = pydicom.dcmread(path)
        if _is_cut_short(dataset):
            raise NoduleRiskError(f"{path} is cut short: copy it again.")
        # Values are decoded when they are asked for: what every reader asks is damaged here or nowhere.
        for keyword in ("Modality", "PatientID"):
            dataset.get(keyword)
        return dataset
    except NoduleRiskError:
        raise
    except OSError as error:
        raise NoduleRiskError(
            f"{path} cannot be read ({error.strerror or error}): check the disk and your rights."
        ) from (error)
    except Exception as error:
        raise NoduleRiskError(f"{path} is no DICOM file or is damaged: copy it again.") from error


def _is_cut_short(dataset: Any) -> bool:
    """Whether an element of a data set that was just read has fewer bytes than it says: pydicom takes what there is."""
    for tag in dataset.keys():  # noqa: SIM118 - iterating over a data set would decode its elements
        raw = dataset.get_item(tag)
        length, value = getattr(raw, "length", UNDEFINED), raw.value if hasattr(raw, "length") else b""
        if length != UNDEFINED and value is not None and len(value) < length:
            return True
    return False


def refuse_other_patient(name: str, dataset: Any, volume: Volume | None) -> None:
    """Refuse an object of another patient than the CT's; where one of both does not say whose it is, nobody knows.

    Raises
    ------
    NoduleRiskError
    """
    own = volume.dicom.study.get("PatientID", "") if volume and volume.dicom else ""
    other = str(dataset.get("PatientID") or "").strip(" \0")
    if own and other and own != other:
        raise NoduleRiskError(f"{name} is of another patient than the CT: give what was made on this scan.")


def is_in_frame(frame_uid: object, volume: Volume | None) -> bool:
    """Whether places with this frame of reference are the CT's; they are if either does not name one."""
    own = volume.dicom.frame_uid if volume and volume.dicom else ""
    other = str(frame_uid or "").strip(" \0")
    return not own or not other or own == other


def refuse_other_frame(name: str, frame_uid: object, volume: Volume | None) -> None:
    """Refuse an object of another frame of reference than the CT's: its millimetres are those of another scan.

    Raises
    ------
    NoduleRiskError
    """
    if not is_in_frame(frame_uid, volume):
        raise NoduleRiskError(
            f"{name} was made on another scan than this CT (its frame of reference is another one), so its places mean "
            "nothing here: give what was made on this scan."
        )
