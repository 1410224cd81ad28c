"""What a DICOM series says beside its voxels: what reports tell of it, and what objects written for it refer to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

#: The elements that ``facts`` reads of any slice, by their DICOM keywords.
OF_SERIES = (
    "AcquisitionDate",
    "SeriesDate",
    "StudyDate",
    "PatientAge",
    "PatientBirthDate",
    "PatientSex",
    "SeriesNumber",
    "SliceThickness",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "SOPClassUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "ImageOrientationPatient",
    "PixelSpacing",
)
OF_SLICE = ("InstanceNumber", "SOPInstanceUID", "ImagePositionPatient")
#: When a CT was made: the first of these that says so.
DATES = ("AcquisitionDate", "SeriesDate", "StudyDate")
UIDS = ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
UID = r"[0-9.]{1,64}"
#: So many decimal numbers, as DICOM writes them in text.
NUMBERS = r"(?:(?:^|(?<!^)\\) *[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)? *){{{}}}"
#: Of patient and study, what objects written for a series copy as it is (PS3.3 C.7.1.1, C.7.2.1 and C.7.2.2).
OF_STUDY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)


@dataclass(frozen=True)
class DicomSlice:
    """How DICOM names one slice.

    Attributes
    ----------
    number : int or None
        Its image number (InstanceNumber).
    sop_uid : str
        SOPInstanceUID, or "".
    position : str
        ImagePositionPatient as it is written: LPS mm, ``x\\y\\z``; or "".
    """

    number: int | None = None
    sop_uid: str = ""
    position: str = ""


@dataclass(frozen=True)
class ImageReference:
    """One image of a series, as a DICOM viewer and an archive find it; "" and ``None`` where a header does not say."""

    series_uid: str = ""
    series_number: str = ""
    number: int | None = None
    sop_uid: str = ""


@dataclass(frozen=True)
class DicomFacts:
    """What is kept of a series' headers; empty or ``None`` where they do not say it.

    Attributes
    ----------
    age_years : float or None
        Whole years at the time of the study.
    sex : str
        "female", "male" or "".
    study_date : str
        YYYYMMDD.
    series_number : str
    thickness_mm : float or None
    kernel, contrast : str
        The reconstruction's kernel, and the contrast medium.
    slices : mapping of int to DicomSlice
        By the volume's index k.
    acquired : date or None
        The day on which the patient was scanned.
    class_uid, study_uid, series_uid, frame_uid : str
        SOPClassUID of its images, and the UIDs of study, series and frame of reference.
    orientation, pixel_spacing : str
        ImageOrientationPatient and PixelSpacing as they are written.
    study : mapping of str to str
        ``OF_STUDY`` by keyword: who the patient is. Kept for the objects that are written for this series and to tell
        two patients apart; no display and no table reads it.
    """

    age_years: float | None = None
    sex: Literal["female", "male", ""] = ""
    study_date: str = ""
    series_number: str = ""
    thickness_mm: float | None = None
    kernel: str = ""
    contrast: str = ""
    slices: Mapping[int, DicomSlice] | None = None
    acquired: date | None = None
    class_uid: str = ""
    study_uid: str = ""
    series_uid: str = ""
    frame_uid: str = ""
    orientation: str = ""
    pixel_spacing: str = ""
    study: Mapping[str, str] = field(default_factory=dict, repr=False)

    def slice_at(self, k: float) -> DicomSlice:
        """The slice nearest to a continuous index k; an empty one if it is not known."""
        return (self.slices or {}).get(round(k), DicomSlice())

    def image_at(self, k: float) -> ImageReference:
        """How the slice nearest to a continuous index k is found."""
        one = self.slice_at(k)
        return ImageReference(self.series_uid, self.series_number, one.number, one.sop_uid)


def facts(
    header: Mapping[str, Any],
    slices: Sequence[Mapping[str, Any]] | Mapping[int, Mapping[str, Any]] = (),
    study: Mapping[str, str] | None = None,
) -> DicomFacts:
    """What headers say, as text or numbers by DICOM keyword; a pydicom ``Dataset`` is such a mapping.

    Parameters
    ----------
    header : mapping
        ``OF_SERIES``, of any slice.
    slices : sequence or mapping of int to mapping
        ``OF_SLICE`` of each slice, by index k.
    study : mapping, optional
        ``OF_STUDY``, in the header's own character set.
    """
    each = slices.items() if isinstance(slices, Mapping) else enumerate(slices)
    thickness = re.fullmatch(r"\d+\.?\d*", _text(header, "SliceThickness"))
    sex: dict[str, Literal["female", "male"]] = {"F": "female", "M": "male"}
    class_uid, study_uid, series_uid, frame_uid = (_found(UID, header, keyword) for keyword in UIDS)
    return DicomFacts(
        age_years=_age(header),
        sex=sex.get(_text(header, "PatientSex").upper(), ""),
        study_date=_found(r"\d{8}", header, "StudyDate"),
        series_number=_found(r"\d{1,10}", header, "SeriesNumber"),
        thickness_mm=float(thickness[0]) if thickness else None,
        kernel=_text(header, "ConvolutionKernel")[:64],
        contrast=_text(header, "ContrastBolusAgent")[:64],
        slices={k: _slice(one) for k, one in each},
        acquired=acquired(_text(header, keyword) for keyword in DATES),
        class_uid=class_uid,
        study_uid=study_uid,
        series_uid=series_uid,
        frame_uid=frame_uid,
        orientation=_found(NUMBERS.format(6), header, "ImageOrientationPatient"),
        pixel_spacing=_found(NUMBERS.format(2), header, "PixelSpacing"),
        study=dict(study or {}),
    )


def acquired(written: Iterable[str]) -> date | None:
    """The first of several dates that is one, as DICOM writes them."""
    for text in written:
        # Before 1993 dates were written with points.
        digits = text.replace(".", "")
        if len(digits) == 8 and digits.isascii() and digits.isdigit():
            with suppress(ValueError):
                return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    return None


def _slice(header: Mapping[str, Any]) -> DicomSlice:
    number = _found(r"\d{1,9}", header, "InstanceNumber")
    position = _found(NUMBERS.format(3), header, "ImagePositionPatient")
    return DicomSlice(int(number) if number else None, _found(UID, header, "SOPInstanceUID"), position)


def _age(header: Mapping[str, Any]) -> float | None:
    """Whole years; ``None`` where the header does not tell them."""
    written = re.fullmatch(r"(\d{1,3})Y", _text(header, "PatientAge"))
    if written:
        return float(written[1]) or None
    try:
        born, studied = (datetime.strptime(_text(header, name), "%Y%m%d") for name in ("PatientBirthDate", "StudyDate"))
    except ValueError:
        return None
    years = studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day))
    return float(years) if 0 < years < 120 else None


def _found(pattern: str, header: Mapping[str, Any], keyword: str) -> str:
    """The value if it is wholly as the pattern says; what is not is damaged, and nobody needs it."""
    text = _text(header, keyword)
    return text if re.fullmatch(pattern, text, re.ASCII) else ""


def _text(header: Mapping[str, Any], keyword: str) -> str:
    value = header.get(keyword)
    several = isinstance(value, Sequence) and not isinstance(value, str)
    text = "" if value is None else "\\".join(map(str, value)) if several else str(value)
    text = text.strip(" \0")
    return "".join(sign if sign.isprintable() else "?" for sign in text)
