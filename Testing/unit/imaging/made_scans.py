"""Scans that tests and fuzzing make: noise that runs from air to bone, a small chest, and DICOM series of either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.reading import read
from NoduleRiskLib.imaging.volume import Array

SHAPE = (8, 6, 5)
STUDY = generate_uid()
AXIAL = np.array([[1.0, 0, 0], [0, 1, 0]])
LPS_TO_RAS = np.array((-1.0, -1.0, 1.0))
ORIGIN, PIXEL_MM, STEP_MM = np.array((-100.0, -80.0, -300.0)), (0.8, 0.7), 2.0


def scan(seed: int = 0) -> Array:
    """int16 HU (slice, row, column) from air to bone; too few voxels to be judged by their histogram."""
    return np.random.default_rng(seed).integers(-1000, 900, SHAPE).astype(np.int16)


def chest(slices: int = 20, side: int = 48, noise_hu: float = 20, shift: float = 0.0) -> Array:
    """int16 HU of a chest in small: a body in air, two lungs that widen from slice to slice, ribs, vessels.

    Parameters
    ----------
    slices, side : int
        Its shape is (slices, side, side).
    noise_hu : float
    shift : float
        So many slices higher up in the patient.
    """
    k, j, i = np.meshgrid(np.arange(slices) + shift, *[np.linspace(-1, 1, side)] * 2, indexing="ij")
    hu = np.where((i / 0.95) ** 2 + (j / 0.75) ** 2 < 1, 40.0, -1000.0)
    width = 0.2 + 0.15 * np.minimum(k / 20, 1)
    for middle in (-0.45, 0.45):
        lung = ((i - middle) / width) ** 2 + (j / 0.55) ** 2 < 1
        # Vessels run obliquely, so that neighbouring slices differ.
        vessel = np.sin(12 * i + 0.5 * k) * np.sin(11 * j - 0.4 * k) > 0.9
        hu = np.where(lung, np.where(vessel, 0.0, -850.0), hu)
    hu = np.where(np.hypot(i, (j - 0.6) / 0.8) < 0.1, 400.0, hu)
    return np.rint(hu + np.random.default_rng(0).normal(0, noise_hu, hu.shape)).astype(np.int16)


def write_slice(file: Path, hu: Array, position: Array, cosines: Array = AXIAL, **told: Any) -> None:
    """One DICOM slice; ``told`` are elements that differ from a plain chest CT's (None leaves one out)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    slope, intercept = float(told.get("RescaleSlope") or 1) or 1.0, float(told.get("RescaleIntercept", -1024) or 0)
    elements = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": "1.2.3",
        "SeriesDescription": "Chest 2.0",
        "PatientName": "Doe^Jane",
        "Modality": "CT",
        "Rows": hu.shape[0],
        "Columns": hu.shape[1],
        # DICOM: row spacing first.
        "PixelSpacing": list(PIXEL_MM[::-1]),
        "SliceThickness": "2.0",
        "ImagePositionPatient": [f"{x:.6f}" for x in position],
        "ImageOrientationPatient": [f"{x:.8f}" for x in cosines.ravel()],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": "1",
        "RescaleIntercept": "-1024",
        "PixelData": np.rint((hu - intercept) / slope).astype("<i2").tobytes(),
    } | told
    image = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in elements.items():
        if value is not None:
            setattr(image, name, value)
    image.save_as(str(file))


def write_series(
    folder: Path,
    hu: Array | None = None,
    cosines: Array = AXIAL,
    step: Array | None = None,
    places: Array | None = None,
    prefix: str = "",
    **told: Any,
) -> Path:
    """A DICOM series whose file names run against its positions."""
    folder.mkdir(exist_ok=True)
    hu = scan() if hu is None else hu
    if places is None:
        step = np.cross(*cosines) * STEP_MM if step is None else step
        places = ORIGIN + np.arange(len(hu))[:, None] * step
    for k, (one, position) in enumerate(zip(hu, places, strict=True)):
        write_slice(folder / f"{prefix}{len(hu) - k:03}.dcm", one, position, cosines, **told)
    return folder


def positions(*along_mm: float) -> Array:
    """Places of axial slices, LPS mm, shape (n, 3)."""
    return ORIGIN + np.array(along_mm)[:, None] * (0, 0, 1)


def rotation(degrees: float, axis: int) -> Array:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = np.array([[c, -s], [s, c]])
    matrix = np.eye(3)
    a, b = [x for x in range(3) if x != axis]
    matrix[np.ix_((a, b), (a, b))] = turned
    return matrix


def refusal(path: Path, series_uid: str | None = None) -> str:
    with pytest.raises(NoduleRiskError) as refused:
        read(path, series_uid)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def change_slice(file: Path, **told: Any) -> None:
    """Give a slice other elements (None takes one out); bytes are written as they are, whatever pydicom thinks."""
    image = pydicom.dcmread(file)
    for name, value in told.items():
        if value is None:
            delattr(image, name)
        elif isinstance(value, bytes) and name != "PixelData":
            tag = pydicom.tag.Tag(name)
            vr = pydicom.datadict.dictionary_VR(tag)
            image[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(value), value, 0, False, True)
        else:
            setattr(image, name, value)
    image.save_as(file)
