"""Voxels of an image file exactly as its header promises them: all of them, whole, checksums included, and no more."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .image_header import HeaderError, ImageHeader, Part, is_there, not_there
from .memory_limit import refuse_beyond_limit

Array = NDArray[Any]

#: Deflate packs no more than about 1032 bytes into one (zlib.net/zlib_tech.html).
DEFLATE_RATIO = 1032
#: What zlib expects around deflated data: the gzip format, or gzip's or zlib's, whichever it is.
WINDOW_BITS = {"gzip": 31, "zlib": 47}
#: A number as text takes no more characters.
TEXT_BYTES = 32
_CHUNK = 1 << 20


def read_voxels(name: str, header: ImageHeader) -> Array:
    """The voxels of an image, shape (K, J, I), in the file's number type (float32 if they are rescaled).

    Raises
    ------
    HeaderError
        If a file is missing, shorter than promised or a row of voxels longer, or its checksum is wrong.
    NoduleRiskError
        If the voxels would take too much memory; none has been taken then.
    """
    columns, rows, slices = header.size
    count = columns * rows * slices
    refuse_beyond_limit(name, count, header.dtype.itemsize)
    if not header.parts or slices % len(header.parts):
        raise HeaderError(f"{slices} slices cannot lie in {len(header.parts)} files")
    row_bytes = columns * header.dtype.itemsize
    held = rows * slices // len(header.parts) * row_bytes
    for part in header.parts:
        _check_length(part, held, row_bytes)
    array = np.empty(count, header.dtype)
    target = memoryview(array.view(np.uint8).data)
    for number, part in enumerate(header.parts):
        _fill(target[number * held : (number + 1) * held], part, header.dtype, row_bytes)
    array = array.reshape(slices, rows, columns)
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))
    if (header.slope, header.intercept) == (1, 0):
        return array
    # Computed in double precision and kept in single, as ITK does.
    return np.stack([(one * np.float64(header.slope) + header.intercept).astype(np.float32) for one in array])


def _check_length(part: Part, needed: int, row_bytes: int) -> None:
    """Refuse a file that cannot hold ``needed`` bytes of voxels, before memory is taken for them."""
    if not is_there(part.file):
        raise not_there(part.file)
    there = os.path.getsize(part.file) - max(part.offset, 0)
    if part.encoding in WINDOW_BITS:
        if there * DEFLATE_RATIO < needed:
            raise HeaderError("it ends before its last voxel")
    elif part.encoding == "raw":
        if there < needed:
            raise HeaderError("it ends before its last voxel")
        if part.offset >= 0 and there >= needed + row_bytes:
            raise HeaderError(f"it holds {there} bytes of voxels and its header promises {needed}")
    elif there > needed * TEXT_BYTES:
        raise HeaderError("it holds more voxels than its header promises")


def _fill(target: memoryview, part: Part, dtype: np.dtype[Any], row_bytes: int) -> None:
    with part.file.open("rb") as stream:
        stream.seek(*((-len(target), os.SEEK_END) if part.offset < 0 else (part.offset,)))
        if part.encoding in WINDOW_BITS:
            _inflate(target, stream, part, row_bytes)
            return
        if part.encoding == "raw":
            if stream.readinto(target) < len(target):
                raise HeaderError("it ends before its last voxel")
            return
        try:
            text = stream.read(len(target) * TEXT_BYTES).decode("ascii")
            data = bytes.fromhex(text) if part.encoding == "hex" else np.array(text.split(), dtype).tobytes()
        except (ValueError, OverflowError):
            raise HeaderError("its voxels are no numbers") from None
        if len(data) != len(target):
            raise HeaderError("it holds another number of voxels than its header promises")
        target[:] = data


def _inflate(target: memoryview, stream: BinaryIO, part: Part, row_bytes: int) -> None:
    """Unpack to the end, so that the checksum is compared, and count what comes out."""
    filled = -part.skip
    for piece in _inflated(stream, WINDOW_BITS[part.encoding]):
        start = max(0, -filled)
        room = target[max(filled, 0) : max(filled, 0) + max(len(piece) - start, 0)]
        room[:] = piece[start : start + len(room)]
        filled += len(piece)
        if filled >= len(target) + row_bytes:
            raise HeaderError("it holds more voxels than its header promises")
    if filled < len(target):
        raise HeaderError("it ends before its last voxel")


def _inflated(stream: BinaryIO, window_bits: int) -> Iterator[bytes]:
    """What the members of a gzip file, or the one of a zlib stream, unpack to, in pieces."""
    decoder = zlib.decompressobj(window_bits)
    data = stream.read(_CHUNK)
    while True:
        try:
            piece = decoder.decompress(data, _CHUNK)
        except zlib.error:
            raise HeaderError("the checksum of its compressed voxels is wrong") from None
        yield piece
        data = decoder.unconsumed_tail or stream.read(_CHUNK)
        if decoder.eof:
            data = decoder.unused_data + data
            # What follows and is no further member does not belong to the image.
            if not data.startswith(b"\x1f\x8b"):
                return
            decoder = zlib.decompressobj(window_bits)
        elif not data and not piece:
            raise HeaderError("it ends before its last voxel")
