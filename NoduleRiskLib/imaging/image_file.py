"""Reading a chest CT from one image file: NRRD, NIfTI or MetaImage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import NoduleRiskError
from .image_header import HeaderError, ImageHeader
from .metaimage_header import read_metaimage
from .nifti_header import read_nifti
from .nrrd_header import read_nrrd
from .volume import Volume, checked_ct
from .voxel_data import read_voxels

HEADERS: dict[str, Callable[[Path, Path | None], ImageHeader]] = {
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
}
FILE_TYPES = tuple(HEADERS)


def read_file(path: Path, within: Path | None = None) -> Volume:
    """The CT in an image file; see ``reading.read``.

    Parameters
    ----------
    path : Path
        Its name ends with one of ``FILE_TYPES``, in small or capital letters.
    within : Path, optional
        See ``reading.read``.

    Raises
    ------
    NoduleRiskError
        If the header promises what the file does not hold, or anything but a CT.
    """
    read_header = next(header for ending, header in HEADERS.items() if path.name.lower().endswith(ending))
    try:
        header = read_header(path, within)
        array = read_voxels(str(path), header)
    except HeaderError as error:
        raise NoduleRiskError(f"{path} cannot be read as a CT, because {error}.") from error
    warnings = header.warnings
    axes = header.ijk_to_ras[:3, :3]
    if np.array_equal(np.abs(axes), np.eye(3)) and not header.ijk_to_ras[:3, 3].any():
        warnings += (
            "The file says that its voxels measure 1 x 1 x 1 mm and begin at the origin, as programs write that do not "
            "know it: if that is not so, diameter, volume and grades are wrong.",
        )
    return checked_ct(Volume(array, header.ijk_to_ras, path.name, {"path": str(path.resolve())}, warnings))
