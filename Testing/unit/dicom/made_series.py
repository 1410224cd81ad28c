"""DICOM series of scans in any orientation, and assessments of the nodules in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import generate_uid

from NoduleRiskLib.imaging.reading import read
from NoduleRiskLib.imaging.volume import LPS_TO_RAS, Array, Volume
from Testing.unit.imaging.made_scans import write_slice

#: A patient whose name needs more than ASCII.
PATIENT = {
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": "Müller^Jürgen",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19601126",
    "PatientSex": "M",
    "PatientAge": "061Y",
    "StudyDate": "20260102",
    "StudyTime": "101112",
    "StudyID": "17",
    "AccessionNumber": "A-99",
    "ReferringPhysicianName": "Arzt^Anna",
    "SeriesNumber": 3,
    "AcquisitionDate": "20260102",
}


def series_of(folder: Path, volume: Volume, reverse: bool = False, **told: Any) -> Volume:
    """Write a scan as a DICOM series and read it again.

    Parameters
    ----------
    folder : Path
    volume : Volume
        HU, in any orientation with i and j at right angles.
    reverse : bool
        Number its images from its last slice down.
    told : elements
        That differ from ``PATIENT`` and a plain chest CT (None leaves one out).
    """
    folder.mkdir(exist_ok=True)
    to_lps = LPS_TO_RAS @ volume.ijk_to_ras
    cosines = (to_lps[:3, :2] / volume.spacing_mm[:2]).T
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    hu = np.rint(volume.array).astype(np.int16)
    for k, one in enumerate(hu):
        number = len(hu) - k if reverse else k + 1
        elements = {
            **uids,
            **PATIENT,
            "PixelSpacing": [f"{x:.8g}" for x in volume.spacing_mm[[1, 0]]],
            "SliceThickness": f"{volume.spacing_mm[2]:.6g}",
            "InstanceNumber": number,
            **told,
        }
        write_slice(folder / f"{number:03}.dcm", one, to_lps[:3, 3] + k * to_lps[:3, 2], cosines, **elements)
    return read(folder)


def lps_of(dataset: Any, frame: int) -> Array:
    """Where the corner of a frame of a multi-frame object lies, LPS mm, shape (3,)."""
    group = dataset.PerFrameFunctionalGroupsSequence[frame]
    return np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
