"""What the header of any image file promises: sizes, number type, place in the patient, and where its voxels lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .shown import shown

Array = NDArray[Any]

#: No header is longer.
HEADER_BYTES = 1 << 20
#: ITK and DICOM speak LPS: R and A change their signs.
LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)
_PATTERN = re.compile(r"([^%]*)%(0?\d{0,2})d([^%]*?)\s+(\d{1,6})\s+(\d{1,6})(?:\s+(\d{1,6}))?(?:\s+\d)?", re.ASCII)


#: What to do about most files that cannot be read.
DAMAGED = "it is damaged, incomplete, skewed or not what its name says; copy it again, or export the CT as NRRD"
ALONE = "export the CT alone, without colour or time"
NO_SIZE = "export it again with the size of its voxels in mm"


class HeaderError(ValueError):
    """What is wrong with an image file ("it has ..."), and what to do about it, in words that a sentence can hold."""

    def __init__(self, what: str, advice: str = DAMAGED) -> None:
        super().__init__(f"{what}: {advice}")


@dataclass(frozen=True)
class Part:
    """Where some of an image's slices lie.

    Attributes
    ----------
    file : Path
    offset : int
        Bytes before the data; -1 if the data are the last bytes of the file.
    encoding : str
        "raw", "gzip", "zlib" (gzip's format or zlib's, whichever it is), "text" or "hex".
    skip : int
        Bytes before the voxels in what a compressed file unpacks to.
    """

    file: Path
    offset: int = 0
    encoding: str = "raw"
    skip: int = 0


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """What an image file promises.

    Attributes
    ----------
    size : tuple of int
        Voxels along i, j and k.
    dtype : dtype
        Number type with its byte order.
    ijk_to_ras : ndarray, shape (4, 4)
    parts : tuple of Part
        Each holds equally many slices, in their order.
    slope, intercept : float
        What takes stored values to HU.
    warnings : tuple of str
        What is doubtful, one sentence each.
    """

    size: tuple[int, int, int]
    dtype: np.dtype[Any]
    ijk_to_ras: Array
    parts: tuple[Part, ...]
    slope: float = 1.0
    intercept: float = 0.0
    warnings: tuple[str, ...] = ()


def size_of(lengths: tuple[float, ...], values: float = 1) -> tuple[int, int, int]:
    """The three lengths of a CT's axes.

    Raises
    ------
    HeaderError
        If they are not three positive whole numbers, or a voxel has more values than one.
    """
    if len(lengths) != 3 or values != 1:
        raise HeaderError(
            f"it has {len(lengths)} dimensions and {values:g} values a voxel, not the 3 and 1 of a CT",
            ALONE,
        )
    if not all(n == int(n) and 0 < n < 2**31 for n in lengths):
        raise HeaderError(f"it has {' x '.join(f'{n:g}' for n in lengths)} voxels")
    return int(lengths[0]), int(lengths[1]), int(lengths[2])


def numbers(name: str, text: str, count: int | None = None) -> tuple[float, ...]:
    """The numbers of a header's field, separated by blanks or commas.

    Raises
    ------
    HeaderError
        If they are no numbers, or not ``count``.
    """
    parts = text.replace(",", " ").split()
    found = tuple(float(part) if _NUMBER.fullmatch(part) else np.inf for part in parts)
    if not np.isfinite(found).all() or len(found) != (len(found) if count is None else count):
        raise HeaderError(f"its {name} is {shown(text)!r}")
    return found


def whole(name: str, text: str) -> int:
    """The whole number of a header's field."""
    (value,) = numbers(name, text, 1)
    if value != int(value) or abs(value) >= 2**53:
        raise HeaderError(f"its {name} is {shown(text)!r}")
    return int(value)


def is_there(file: Path) -> bool:
    """Whether there is a file of a name that a header gives, however strange the name is."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False


def lies_in(file: Path, folder: Path) -> bool:
    """Whether a file, links followed, lies in a folder; a loop of links and a name that cannot be one do not."""
    try:
        # As a loop is told by older and newer Pythons.
        return file.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def named(path: Path, name: str, within: Path | None) -> Path:
    """The file that a header at ``path`` names, if it lies in the folder ``within`` (``None``: wherever it lies).

    Raises
    ------
    HeaderError
        If it lies elsewhere, links followed; whether it is there is then not said.
    """
    file = path.parent / name
    if within is not None and not lies_in(file, within):
        raise HeaderError(f"its voxels should lie in {shown(name)!r}, outside the folder that is open to you", ALONE)
    return file


def not_there(file: Path) -> HeaderError:
    """What is wrong if the file that a header names is not there."""
    return HeaderError(f"its voxels should lie in {shown(file.name)!r}, which is not there")


def numbered_names(word: str) -> list[str]:
    """File names by a pattern such as ``slice%03d.raw 1 20 1``."""
    found = _PATTERN.fullmatch(word)
    if found is None or int(found[6] or 1) < 1:
        raise HeaderError(f"it names its files {shown(word)!r}")
    return [
        f"{found[1]}{number:{found[2] or '0'}d}{found[3]}"
        for number in range(int(found[4]), int(found[5]) + 1, int(found[6] or 1))
    ]


def place_unknown(lacking: str) -> str:
    """The warning about a file that does not say where its voxels lie: it lacks ``lacking``."""
    return (
        f"The file does not say where its voxels lie (it has no {lacking}): left and right, or head and feet, may be "
        "swapped, and only points that were placed on this very file fit."
    )
