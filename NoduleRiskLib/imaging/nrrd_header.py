"""What the header of a NRRD file says (.nrrd, .nhdr): sizes, number type, place in the patient, files of voxels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .image_header import (
    HEADER_BYTES,
    LPS_TO_RAS,
    NO_SIZE,
    HeaderError,
    ImageHeader,
    Part,
    is_there,
    named,
    not_there,
    numbered_names,
    numbers,
    place_unknown,
    size_of,
    whole,
)
from .shown import shown

Array = NDArray[Any]

#: Number types by all their names (teem.sourceforge.net/nrrd/format.html, section 5).
_NAMES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
TYPES = {name: kind for kind, names in _NAMES.items() for name in names.split(", ")}
ENCODINGS = {"raw": "raw", "gz": "gzip", "gzip": "gzip", "txt": "text", "text": "text", "ascii": "text", "hex": "hex"}
#: What takes a space's axes to RAS.
SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
#: Kinds of axes along which a CT extends; others hold the values of one voxel.
DOMAIN = ("domain", "space", "time", "???", "none")
#: Fields that are written with and without the blank.
ALIASES = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip", "axismins": "axis mins"}
_VECTOR = re.compile(r"none|\(([^()]*)\)", re.IGNORECASE)


def read_nrrd(path: Path, within: Path | None = None) -> ImageHeader:
    """The header of a ``.nrrd`` or ``.nhdr`` file; the files that it names must lie in ``within``, if that is given.

    Raises
    ------
    HeaderError
        If it is no such header, or does not say clearly what and where its voxels are.
    """
    with path.open("rb") as stream:
        start = stream.read(HEADER_BYTES)
    fields, end = _fields(start)
    lengths = numbers("sizes", fields.get("sizes", ""))
    if whole("dimension", fields.get("dimension", "")) != len(lengths):
        raise HeaderError(f"it has {len(lengths)} sizes for {shown(fields['dimension'])!r} dimensions")
    kinds = fields.get("kinds", "domain " * len(lengths)).lower().split()
    if len(kinds) != len(lengths):
        raise HeaderError(f"it has {len(kinds)} kinds of axes for {len(lengths)} dimensions")
    along = [kind in DOMAIN for kind in kinds]
    values = np.prod([n for n, is_axis in zip(lengths, along, strict=True) if not is_axis])
    size = size_of(tuple(n for n, is_axis in zip(lengths, along, strict=True) if is_axis), float(values))
    kind = TYPES.get(fields.get("type", "").lower())
    if kind is None or not all(along):
        raise HeaderError(f"its type is {shown(fields.get('type', ''))!r}")
    encoding = ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise HeaderError(f"its encoding is {shown(fields.get('encoding', ''))!r}", "write it again with gzip or raw")
    orders = {"little": "<", "big": ">"}
    if fields.get("endian", "little").lower() not in orders or (
        "endian" not in fields and kind[1] != "1" and encoding != "text"
    ):
        raise HeaderError("it does not say the order of its bytes (endian)")
    dtype = np.dtype(orders[fields.get("endian", "little").lower()] + kind)
    matrix, warnings = _place(fields)
    parts = _parts(path, fields, start, end, encoding, size[2], within)
    return ImageHeader(size, dtype, matrix, parts, warnings=warnings)


def _fields(start: bytes) -> tuple[dict[str, str], int]:
    """The fields, in lower case, and where the line after the header begins: an empty line, or a list of files."""
    if not re.match(rb"NRRD000[1-5]\r?\n", start):
        raise HeaderError("it does not begin as a NRRD file")
    fields: dict[str, str] = {}
    at = start.index(b"\n") + 1
    while at < len(start):
        end = start.find(b"\n", at)
        line = start[at : end if end >= 0 else len(start)].rstrip(b"\r").decode("latin-1")
        at = end + 1 if end >= 0 else len(start)
        if not line:
            return fields, at
        if line.startswith("#") or ":=" in line:
            continue
        name, colon, value = line.partition(":")
        name = ALIASES.get(name.strip().lower(), name.strip().lower())
        if not colon or value[:1] not in ("", " ") or name in fields:
            raise HeaderError(f"the line {shown(line)!r} of its header is no field, or a second one of its name")
        fields[name] = value.strip()
        if name == "data file" and value.strip().upper().startswith("LIST"):
            return fields, at
    return fields, at


def _place(fields: dict[str, str]) -> tuple[Array, tuple[str, ...]]:
    """``ijk_to_ras`` and what is doubtful about it."""
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) - {"mm", "", "???"}
    if units:
        raise HeaderError(f"its lengths are in {shown(min(units))!r} and not in mm", NO_SIZE)
    matrix = np.eye(4)
    if "space directions" not in fields:
        if "spacings" not in fields or "space" in fields:
            raise HeaderError("it does not say how large its voxels are (space directions)", NO_SIZE)
        spacing = np.array(numbers("spacings", fields["spacings"], 3))
        # An axis begins at the edge of its first voxel, as ITK takes it.
        mins = np.array(numbers("axis mins", fields["axis mins"], 3)) if "axis mins" in fields else -spacing / 2
        if spacing.min() <= 0:
            raise HeaderError(f"its spacings are {shown(fields['spacings'])!r}")
        matrix[:3, :3], matrix[:3, 3] = np.diag(spacing), mins + spacing / 2
        return LPS_TO_RAS @ matrix, (place_unknown("space and no space directions"),)
    vectors = [numbers("space directions", found[1], 3) for found in _VECTOR.finditer(fields["space directions"])]
    if len(vectors) != 3:
        raise HeaderError(f"its space directions are {shown(fields['space directions'])!r}")
    space, origin = fields.get("space", "").lower(), fields.get("space origin")
    lacking = [name for name, there in (("anatomical space", space in SPACES), ("space origin", origin)) if not there]
    matrix[:3, :3] = np.transpose(vectors)
    matrix[:3, 3] = numbers("space origin", (origin or "(0,0,0)").strip("()"), 3)
    to_ras = SPACES.get(space, (-1, -1, 1))
    return np.diag((*to_ras, 1)) @ matrix, (place_unknown(" and no ".join(lacking)),) if lacking else ()


def _parts(
    path: Path, fields: dict[str, str], start: bytes, end: int, encoding: str, slices: int, within: Path | None
) -> tuple[Part, ...]:
    """Where the voxels lie: after the header, in another file, or in one for each slice."""
    word = fields.get("data file")
    if word is None:
        names, begin = [path.name], end
    elif word.upper().split()[:1] == ["LIST"]:
        names, begin = [line.strip() for line in start[end:].decode("utf-8", "replace").splitlines() if line.strip()], 0
        word = word.upper()
    else:
        # The last number of a pattern may say of how many dimensions each file is.
        names, begin = numbered_names(word) if "%" in word else [word], 0
    if len(names) != slices and (len(names) != 1 or word in ("LIST", "LIST 2")):
        raise HeaderError(f"it names {len(names)} files for {slices} slices")
    lines, skip = whole("line skip", fields.get("line skip", "0")), whole("byte skip", fields.get("byte skip", "0"))
    if lines < 0 or skip < -1 or (skip < 0 and encoding != "raw"):
        raise HeaderError("it leaves unclear where its voxels begin (line skip, byte skip)")
    parts = []
    for name in names:
        file = named(path, name, within)
        offset = _after_lines(file, begin, lines)
        if encoding == "gzip":
            parts.append(Part(file, offset, encoding, skip))
        else:
            parts.append(Part(file, -1 if skip < 0 else offset + skip, encoding))
    return tuple(parts)


def _after_lines(file: Path, begin: int, lines: int) -> int:
    """Where in a file so many lines end after byte ``begin``."""
    if not lines:
        return begin
    if not is_there(file):
        raise not_there(file)
    with file.open("rb") as stream:
        stream.seek(begin)
        text = stream.read(HEADER_BYTES)
    ends = [found.end() for found in re.finditer(b"\n", text)]
    if lines > len(ends):
        raise HeaderError(f"it has no {lines} lines before its voxels")
    return begin + ends[lines - 1]
