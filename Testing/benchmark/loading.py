"""Reading a DICOM series: ours, which checks every header, against SimpleITK's plain reader."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from NoduleRiskLib.imaging import reading
from NoduleRiskLib.imaging.volume import LPS_TO_RAS, Array, Volume

from .samples import long_chest
from .timing import Part, in_turns, race

SLICES = 300
OURS = "NoduleRiskLib.imaging.reading"


def parts() -> Iterator[Part]:
    """A series of 300 uncompressed slices, in the system's file cache from the second round on."""
    volume, _ = long_chest(SLICES)
    with tempfile.TemporaryDirectory(prefix="nodulerisk-benchmark-") as folder:
        write(Path(folder), volume)

        def plain() -> Array:
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
            return sitk.GetArrayFromImage(reader.Execute())

        assert np.array_equal(plain(), volume.array), "the series does not hold what was written"
        assert np.array_equal(reading.read(folder).array, volume.array), "the series is read as something else"
        ways = {OURS: lambda: reading.read(folder), "SimpleITK's ImageSeriesReader": plain}
        yield Part(f"Read a DICOM series of {SLICES} slices", race(ways, in_turns(ways, seconds=15), OURS))


def write(folder: Path, volume: Volume) -> None:
    """The volume as one uncompressed CT series, an axial slice a file."""
    lps = LPS_TO_RAS @ volume.ijk_to_ras
    study, series = generate_uid(), generate_uid()
    for k, hu in enumerate(volume.array):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        image = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality = study, series, "CT"
        image.InstanceNumber = k + 1
        image.ImagePositionPatient = [f"{x:.4f}" for x in lps[:3, 3] + k * lps[:3, 2]]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.PixelSpacing = [lps[1, 1], lps[0, 0]]
        image.SliceThickness = lps[2, 2]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.Rows, image.Columns = hu.shape
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.RescaleSlope, image.RescaleIntercept = 1, -1024
        image.PixelData = (hu + 1024).astype("<i2").tobytes()
        image.save_as(folder / f"{k:04}.dcm")
