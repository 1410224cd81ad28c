"""Reading a chest CT from disk: files and DICOM headers, and what can be wrong with them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from .volume import Array, Volume, checked_ct, itk_ijk_to_ras

FILE_TYPES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")


def read_file(path: Path) -> Volume:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with _readable(path):
        reader.ReadImageInformation()
        if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
            raise NoduleRiskError(
                f"{path} has {reader.GetDimension()} dimensions and {reader.GetNumberOfComponents()} values a voxel, "
                "not the 3 and 1 of a CT: export the CT alone, without colour or time."
            )
        image = reader.Execute()
    ijk_to_ras = itk_ijk_to_ras(image)
    if path.name.lower().endswith((".nii", ".nii.gz")):
        _refuse_doubtful_nifti(path, reader, ijk_to_ras)
    array = sitk.GetArrayFromImage(image)
    return checked_ct(Volume(array, ijk_to_ras, path.name, {"path": str(path.resolve())}))


def _refuse_doubtful_nifti(path: Path, reader: Any, ijk_to_ras: Array) -> None:
    """Refuse what ITK does not: it fills a file that ends early with zeros and straightens skewed axes in silence."""
    size = reader.GetSize()
    bytes_needed = (
        int(float(reader.GetMetaData("vox_offset"))) + int(np.prod(size)) * int(reader.GetMetaData("bitpix")) // 8
    )
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rb") as file:
            file.seek(bytes_needed - 1)
            whole = len(file.read(1)) == 1
    except (EOFError, OSError, zlib.error):
        whole = False
    if not whole:
        raise NoduleRiskError(f"{path} ends before its last voxel: copy or export it again.")
    if int(reader.GetMetaData("sform_code")) > 0:
        rows = [reader.GetMetaData(f"srow_{row}").split() for row in "xyz"]
        corners = np.stack(np.meshgrid(*((0, n - 1) for n in size), (1,))).reshape(4, -1)
        off_mm = np.abs(np.array(rows, float) @ corners - ijk_to_ras[:3] @ corners).max()
        if off_mm > 0.1:
            raise NoduleRiskError(
                f"{path} does not say clearly where its voxels lie (sform and qform differ by {off_mm:.1f} mm, or the "
                "axes are skewed): read the DICOM series itself, or export it as NRRD."
            )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise NoduleRiskError(
            f"{path} cannot be read: it is damaged, incomplete, skewed or not what its name says; copy it again, or "
            "export the CT as NRRD."
        ) from error
