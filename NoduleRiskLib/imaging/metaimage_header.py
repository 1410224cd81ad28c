"""What the header of a MetaImage file says (.mha, .mhd): sizes, number type, place in the patient, files of voxels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .image_header import (
    ALONE,
    HEADER_BYTES,
    LPS_TO_RAS,
    NO_SIZE,
    HeaderError,
    ImageHeader,
    Part,
    named,
    numbered_names,
    numbers,
    place_unknown,
    size_of,
    whole,
)
from .shown import shown

Array = NDArray[Any]

#: Element types (itk.org/Wiki/ITK/MetaIO/Documentation); MET_LONG has four bytes there.
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
#: Different names of one field.
OFFSET, MATRIX = ("Offset", "Position", "Origin"), ("TransformMatrix", "Rotation", "Orientation")
SPACING, BIG_ENDIAN = ("ElementSpacing", "ElementSize"), ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_LINE = re.compile(r"\s*([A-Za-z]\w*)\s*[=:]\s*(.*?)\s*$", re.ASCII)


def read_metaimage(path: Path, within: Path | None = None) -> ImageHeader:
    """The header of a ``.mha`` or ``.mhd`` file; the files that it names must lie in ``within``, if that is given.

    Raises
    ------
    HeaderError
        If it is no such header, or does not say clearly what and where its voxels are.
    """
    with path.open("rb") as stream:
        start = stream.read(HEADER_BYTES)
    fields, end = _fields(start)
    if "NDims" not in fields:
        raise HeaderError("it has no NDims")
    dimensions = whole("NDims", fields["NDims"])
    if dimensions != 3:
        raise HeaderError(f"it has {dimensions} dimensions and not the 3 of a CT", ALONE)
    channels = whole("ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"))
    size = size_of(numbers("DimSize", fields.get("DimSize", ""), dimensions), channels)
    kind = fields.get("ElementType", "")
    if kind not in TYPES:
        raise HeaderError(f"its ElementType is {shown(kind)!r}")
    for name, plain in (("ElementToIntensityFunctionSlope", 1), ("ElementToIntensityFunctionOffset", 0)):
        if numbers(name, fields.get(name, str(plain)), 1) != (plain,):
            raise HeaderError(f"it rescales its values by {name}", "export the CT as NRRD, in HU")
    if fields.get("DistanceUnits", "mm") not in ("mm", "?", ""):
        raise HeaderError(f"its lengths are in {shown(fields['DistanceUnits'])!r} and not in mm", NO_SIZE)
    if not _flag("BinaryData", fields, True):
        raise HeaderError("its voxels are written as text", "write it again in binary")
    big_endian = any(_flag(name, fields, False) for name in BIG_ENDIAN)
    matrix, warnings = _place(fields)
    parts = _parts(path, fields, start[end:], end, size[2], within)
    return ImageHeader(size, np.dtype((">" if big_endian else "<") + TYPES[kind]), matrix, parts, warnings=warnings)


def _fields(start: bytes) -> tuple[dict[str, str], int]:
    """The fields up to ElementDataFile, which is always the last one, and where its line ends."""
    fields: dict[str, str] = {}
    at = 0
    while "ElementDataFile" not in fields:
        end = start.find(b"\n", at)
        line = start[at : end if end >= 0 else len(start)]
        found = _LINE.match(line.decode("latin-1"))
        if found is None or at >= len(start):
            raise HeaderError(f"line {len(fields) + 1} of its header is no field and value")
        if found[1] in fields:
            raise HeaderError(f"its header says {shown(found[1])} twice")
        fields[found[1]] = found[2]
        at = end + 1 if end >= 0 else len(start)
    return fields, at


def _flag(name: str, fields: dict[str, str], default: bool) -> bool:
    text = fields.get(name, str(default)).lower()
    if text not in ("true", "false", "t", "f", "1", "0"):
        raise HeaderError(f"its {name} is {shown(text)!r} and not True or False")
    return text in ("true", "t", "1")


def _place(fields: dict[str, str]) -> tuple[Array, tuple[str, ...]]:
    """``ijk_to_ras`` and what is doubtful about it."""

    def found(names: tuple[str, ...], count: int) -> tuple[float, ...] | None:
        return next((numbers(name, fields[name], count) for name in names if name in fields), None)

    spacing, axes, offset = found(SPACING, 3), found(MATRIX, 9), found(OFFSET, 3)
    if spacing is None or min(spacing) <= 0:
        raise HeaderError("it does not say how large its voxels are (ElementSpacing)", NO_SIZE)
    lps = np.eye(4)
    # The first three numbers are the first axis.
    lps[:3, :3] = np.reshape(axes or np.eye(3).ravel(), (3, 3)).T * spacing
    lps[:3, 3] = offset or (0, 0, 0)
    lacking = [name for name, value in (("TransformMatrix", axes), ("Offset", offset)) if value is None]
    return LPS_TO_RAS @ lps, (place_unknown(" and no ".join(lacking)),) if lacking else ()


def _parts(
    path: Path, fields: dict[str, str], rest: bytes, end: int, slices: int, within: Path | None
) -> tuple[Part, ...]:
    """Where the voxels lie: in this file, in another one, or in one for each slice."""
    word = fields["ElementDataFile"]
    skip = whole("HeaderSize", fields.get("HeaderSize", "0"))
    encoding = "zlib" if _flag("CompressedData", fields, False) else "raw"
    kind = word.split()[0].upper() if word else ""
    if skip < -1 or (skip < 0 and encoding == "zlib") or (skip > 0 and kind == "LOCAL"):
        raise HeaderError(f"its HeaderSize is {skip}, which leaves unclear where its voxels begin")
    if kind == "LOCAL":
        return (Part(path, -1 if skip < 0 else end, encoding),)
    if kind == "LIST":
        names = [line.strip() for line in rest.decode("utf-8", "replace").splitlines() if line.strip()]
    else:
        names = numbered_names(word) if "%" in word else [word]
    if len(names) != slices and (len(names) != 1 or kind == "LIST"):
        raise HeaderError(f"it names {len(names)} files for {slices} slices")
    return tuple(Part(named(path, name, within), skip, encoding) for name in names)
