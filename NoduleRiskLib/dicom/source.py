"""The CT that objects are written for: what they refer to and copy of it, and why a CT can have none."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from ..imaging.dicom_facts import OF_STUDY, DicomFacts
from ..imaging.volume import LPS_TO_RAS, Array, Volume

#: Ours, for UIDs that are the same whenever they are made of the same: RFC 9562, version 5.
NAMESPACE = uuid.UUID("5d2f8c1e-6c1b-4f0e-9a52-0b7c3f5a6e19")
#: Of patient and study, what is no name, number or date of theirs.
PLAIN = ("PatientSex", "PatientAge")
#: Why a CT has no DICOM objects.
NO_DICOM = "{name} was not read from DICOM, so it has no study, series and images that DICOM objects could refer to"
#: A slice lies where its header says if its corner is no further off than this, in slice distances.
OFF = 0.3


def uid_of(*parts: str) -> str:
    """A UID that is the same for the same parts (PS3.5 B.2: a UUID under the root 2.25)."""
    return f"2.25.{uuid.uuid5(NAMESPACE, chr(0).join(parts)).int}"


@dataclass(frozen=True, eq=False)
class Source:
    """A CT whose DICOM headers are known.

    Attributes
    ----------
    volume : Volume
    facts : DicomFacts
    anonymous : bool
        Whether names, numbers and dates of patient and study are left out of what is written.
    """

    volume: Volume
    facts: DicomFacts
    anonymous: bool = False

    def images(self, slices: Iterable[int]) -> list[Any]:
        """The headers of some slices as pydicom data sets, without pixels."""
        return [self._image(k) for k in slices]

    def image_at(self, ras: Array) -> Any:
        """The header of the slice nearest to a place, RAS mm."""
        return self._image(self.slice_of(ras))

    def slice_of(self, ras: Array) -> int:
        """Index k of the slice nearest to a place, RAS mm."""
        return int(np.clip(np.round(self.volume.to_ijk(np.asarray(ras))[2]), 0, len(self.volume.array) - 1))

    def _image(self, k: int) -> Any:
        from pydicom import Dataset

        image = Dataset()
        for element in self._common:
            image.add(element)
        image.SOPInstanceUID = self.facts.slice_at(k).sop_uid
        image.ImagePositionPatient = self.facts.slice_at(k).position.split("\\")
        number = self.facts.slice_at(k).number
        image.InstanceNumber = "" if number is None else number
        return image

    @cached_property
    def _common(self) -> Any:
        """What the headers of all slices have in common."""
        from pydicom import Dataset

        facts, common = self.facts, Dataset()
        # Whatever the CT's own character set, text was decoded: this one holds it all.
        common.SpecificCharacterSet = "ISO_IR 192"
        for keyword in OF_STUDY:
            left_out = self.anonymous and keyword not in PLAIN
            setattr(common, keyword, "" if left_out else facts.study.get(keyword, ""))
        # What says nothing is left out where it may be missing.
        for keyword in ("IssuerOfPatientID", "PatientAge", "StudyDescription"):
            if not getattr(common, keyword):
                delattr(common, keyword)
        if common.PatientSex not in ("M", "F", "O"):
            common.PatientSex = ""
        common.Modality = "CT"
        common.SOPClassUID = facts.class_uid
        common.StudyInstanceUID, common.SeriesInstanceUID = facts.study_uid, facts.series_uid
        common.FrameOfReferenceUID, common.PositionReferenceIndicator = facts.frame_uid, ""
        common.ImageOrientationPatient = facts.orientation.split("\\")
        common.PixelSpacing = facts.pixel_spacing.split("\\")
        common.SliceThickness = f"{facts.thickness_mm or self.volume.spacing_mm[2]:.6g}"
        common.Rows, common.Columns = self.volume.array.shape[1:]
        return common


def source_of(volume: Volume, anonymous: bool = False) -> Source:
    """The CT as objects refer to it.

    Parameters
    ----------
    volume : Volume
    anonymous : bool
        Leave out names, numbers and dates of patient and study; sex, age and all UIDs stay.

    Raises
    ------
    NoduleRiskError
        If it is not from DICOM, its headers lack what every reference needs, or it was moved since it was read.
    """
    name, facts = volume.name or "The CT", volume.dicom
    if facts is None or not facts.slices:
        raise NoduleRiskError(f"{NO_DICOM.format(name=name)}: give the CT's DICOM folder.")
    lacking = [
        keyword
        for keyword, value in (
            ("SOPClassUID", facts.class_uid),
            ("StudyInstanceUID", facts.study_uid),
            ("SeriesInstanceUID", facts.series_uid),
            ("FrameOfReferenceUID", facts.frame_uid),
            ("ImageOrientationPatient", facts.orientation),
            ("PixelSpacing", facts.pixel_spacing),
        )
        if not value
    ]
    each = [facts.slice_at(k) for k in range(len(volume.array))]
    lacking += [] if all(one.sop_uid for one in each) else ["SOPInstanceUID of each slice"]
    lacking += [] if all(one.position for one in each) else ["ImagePositionPatient of each slice"]
    if lacking:
        raise NoduleRiskError(
            f"The DICOM headers of {name} lack {', '.join(lacking)}, so no DICOM object can refer to it: export the CT "
            "from its archive again."
        )
    if len({one.sop_uid for one in each}) < len(each):
        raise NoduleRiskError(
            f"Slices of {name} share one SOPInstanceUID, so no DICOM object can refer to them: export the CT from its "
            "archive again."
        )
    _refuse_moved(name, volume, facts)
    return Source(volume, facts, anonymous)


def _refuse_moved(name: str, volume: Volume, facts: DicomFacts) -> None:
    """Refuse a volume that lies elsewhere than its headers say: a reference would point beside the nodule."""
    count = len(volume.array)
    places = np.array([facts.slice_at(k).position.split("\\") for k in range(count)], float)
    cosines = np.array(facts.orientation.split("\\"), float).reshape(2, 3)
    # DICOM names the distance between rows first.
    steps = cosines * np.array(facts.pixel_spacing.split("\\")[::-1], float)[:, None]
    ijk_to_lps = LPS_TO_RAS @ volume.ijk_to_ras
    corners = ijk_to_lps[:3, 3] + np.arange(count)[:, None] * ijk_to_lps[:3, 2]
    width = np.array(volume.array.shape[:0:-1])[:, None]
    off_mm = max(
        float(np.linalg.norm(places - corners, axis=1).max()),
        float(np.linalg.norm((ijk_to_lps[:3, :2].T - steps) * width, axis=1).max()),
    )
    if off_mm > OFF * float(volume.spacing_mm[2]):
        raise NoduleRiskError(
            f"{name} lies up to {off_mm:.1f} mm away from where its DICOM headers say (was it moved or resampled?), so "
            "outlines would not lie on its images: take the CT as it was read."
        )
