"""What a DICOM series says beside its voxels that a report needs; never who the patient is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

#: The elements that ``facts`` reads, by their DICOM keywords.
OF_SERIES = (
    "PatientAge",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "SeriesNumber",
    "SliceThickness",
    "ConvolutionKernel",
    "ContrastBolusAgent",
)
OF_SLICE = ("InstanceNumber", "SOPInstanceUID")


@dataclass(frozen=True)
class DicomSlice:
    """How a DICOM viewer names one slice: its image number (``None`` if it has none) and its SOPInstanceUID."""

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
    """

    age_years: float | None = None
    sex: Literal["female", "male", ""] = ""
    study_date: str = ""
    series_number: str = ""
    thickness_mm: float | None = None
    kernel: str = ""
    contrast: str = ""
    slices: Mapping[int, DicomSlice] | None = None

    def slice_at(self, k: float) -> DicomSlice:
        """The slice nearest to a continuous index k; an empty one if it is not known."""
        return (self.slices or {}).get(round(k), DicomSlice())


def facts(
    header: Mapping[str, Any], slices: Sequence[Mapping[str, Any]] | Mapping[int, Mapping[str, Any]] = ()
) -> DicomFacts:
    """What headers say, as text or numbers by DICOM keyword; a pydicom ``Dataset`` is such a mapping.

    Parameters
    ----------
    header : mapping
        ``OF_SERIES``, of any slice.
    slices : sequence or mapping of int to mapping
        ``OF_SLICE`` of each slice, by index k.
    """
    each = slices.items() if isinstance(slices, Mapping) else enumerate(slices)
    thickness = re.fullmatch(r"\d+\.?\d*", _text(header, "SliceThickness"))
    sex: dict[str, Literal["female", "male"]] = {"F": "female", "M": "male"}
    return DicomFacts(
        _age(header),
        sex.get(_text(header, "PatientSex").upper(), ""),
        _found(r"\d{8}", header, "StudyDate"),
        _found(r"\d{1,10}", header, "SeriesNumber"),
        float(thickness[0]) if thickness else None,
        _text(header, "ConvolutionKernel")[:64],
        _text(header, "ContrastBolusAgent")[:64],
        {k: _slice(one) for k, one in each},
    )


def _slice(header: Mapping[str, Any]) -> DicomSlice:
    number = _found(r"\d{1,9}", header, "InstanceNumber")
    return DicomSlice(int(number) if number else None, _found(r"[0-9.]{1,64}", header, "SOPInstanceUID"))


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
    text = "" if value is None else str(value).strip(" \0")
    return "".join(sign if sign.isprintable() else "?" for sign in text)
