"""The way in for a CT on disk: a DICOM folder, one of its slices, or an image file."""

from __future__ import annotations

from pathlib import Path

from ..errors import NoduleRiskError
from .dicom_headers import read_header
from .dicom_series import read_series
from .image_file import FILE_TYPES, read_file
from .image_header import lies_in
from .shown import shown
from .volume import Volume


def read(path: str | Path, series_uid: str | None = None, within: Path | None = None) -> Volume:
    """The chest CT in a DICOM folder or an image file.

    Parameters
    ----------
    path : path
        A folder of DICOM slices (its subfolders are not searched), one of its slices, or a ``FILE_TYPES`` file.
    series_uid : str, optional
        SeriesInstanceUID: which series of the folder. Needed if several have enough slices for a CT.
    within : path, optional
        Nothing outside this folder is read, links followed: neither slices nor what an image file's header names.

    Returns
    -------
    Volume
        ``array`` int16 HU, ``[k, j, i]``, rounded and clipped to int16. DICOM slices are sorted along their normal
        and ``ijk_to_ras`` comes from their headers, so it is sheared if the gantry was tilted.
        ``identity`` holds SeriesInstanceUID and StudyInstanceUID, or the file's path; never a patient's name.

    Raises
    ------
    NoduleRiskError
        If there is no whole CT in HU to read; the sentence says why and what to do.
    """
    path = Path(path)
    try:
        return _read(path, series_uid, within)
    except MemoryError as error:
        raise NoduleRiskError(
            f"{path} needs more memory than this computer has free: close other programs, or export only the chest."
        ) from error
    except OSError as error:
        raise NoduleRiskError(
            f"{error.filename or path} cannot be read ({error.strerror or error}): check the disk and your rights."
        ) from error


def _read(path: Path, series_uid: str | None, within: Path | None) -> Volume:
    if within is not None:
        _refuse_outside(path, within)
    if path.is_dir():
        return read_series(path, series_uid)
    if not path.exists():
        raise NoduleRiskError(f"{path} does not exist: check its name and place.")
    header = None if path.name.lower().endswith(FILE_TYPES) else read_header(path)
    if header is not None:
        own_uid = header.text("SeriesInstanceUID")
        if series_uid not in (None, own_uid):
            raise NoduleRiskError(
                f"{path} belongs to series {shown(own_uid)}, not {shown(series_uid)}: leave one of the two away."
            )
        return read_series(path.parent, own_uid)
    if not path.name.lower().endswith(FILE_TYPES):
        raise NoduleRiskError(
            f"{path} cannot be read as a CT: give a folder of DICOM slices or one of {', '.join(FILE_TYPES)}."
        )
    if series_uid is not None:
        raise NoduleRiskError(f"{path} is not DICOM and has no series to choose from: leave the series UID away.")
    return read_file(path, within)


def _refuse_outside(path: Path, within: Path) -> None:
    # A slice is read with those beside it; folders and hidden files are not.
    alone = path.name.lower().endswith(FILE_TYPES) and not path.is_dir()
    beside = () if alone else (path if path.is_dir() else path.parent).iterdir()
    for file in (path, *(one for one in beside if not one.is_dir() and not one.name.startswith("."))):
        if not lies_in(file, within):
            raise NoduleRiskError(
                f"{file.name} is a link that leads out of the folder that is open to you: put the file itself there."
            )
