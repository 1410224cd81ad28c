"""The HU of one DICOM slice, read only if the file holds every pixel that its header promises."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from ..errors import NoduleRiskError
from .dicom_headers import BIG_ENDIAN, CT_STORAGE, UNCOMPRESSED, DicomHeader, open_data
from .volume import Array, hounsfield

RLE = "1.2.840.10008.1.2.5"
#: The length of compressed pixels, which end with a delimiter instead (PS3.5 A.4).
_UNDEFINED = 0xFFFFFFFF
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
#: JPEG's start of frame: FFC0 to FFCF without tables and restarts (C4, C8, CC); FFF7 in JPEG-LS.
_FRAME_MARKERS = {0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
#: JPEG 2000 opens with its size segment (ISO 15444-1 A.5.1).
_J2K = b"\xff\x4f\xff\x51"


def read_hu(header: DicomHeader) -> Array:
    """HU of a DICOM slice by its own rescale slope and intercept.

    Returns
    -------
    ndarray, shape (rows, columns)
        int16, rounded and clipped.

    Raises
    ------
    NoduleRiskError
        If the file holds fewer (or clearly more) pixels than its header says, or they cannot be decoded.
    """
    refuse_short(header)
    if header.syntax not in UNCOMPRESSED or header.pixels_length == _UNDEFINED:
        return _decoded(header)
    rows, columns = header.size
    allocated = int(header.number("BitsAllocated"))
    stored = int(header.number("BitsStored", allocated))
    plain = (
        allocated in (8, 16, 32)
        and 0 < stored <= allocated
        and header.number("HighBit", stored - 1) == stored - 1
        and header.text("SOPClassUID") == CT_STORAGE
    )
    if not plain:
        return _decoded(header)
    order, kind = ">" if header.syntax == BIG_ENDIAN else "<", "i" if header.number("PixelRepresentation", 0) else "u"
    with open_data(header.file) as stream:
        stream.seek(header.pixels_at)
        values = np.frombuffer(stream.read(rows * columns * allocated // 8), f"{order}{kind}{allocated // 8}")
    return _rescaled(_without_spare_bits(values.reshape(rows, columns), allocated - stored), header)


def refuse_short(header: DicomHeader) -> None:
    """Refuse a slice whose file holds fewer pixels than its header promises, or at least a row more.

    Raises
    ------
    NoduleRiskError
    """
    rows, columns = header.size
    allocated = int(header.number("BitsAllocated"))
    if min(rows, columns, allocated) < 1:
        raise _broken(header, "it has no rows, columns or bits")
    if header.syntax not in UNCOMPRESSED or header.pixels_length == _UNDEFINED:
        with open_data(header.file) as stream:
            _check_compressed(header, stream)
        return
    needed, row = (rows * columns * allocated + 7) // 8, (columns * allocated + 7) // 8
    held = min(header.pixels_length, header.pixels_there)
    if held < needed or header.pixels_length >= needed + row:
        raise _broken(header, f"its pixels take {held} bytes and its header promises {needed}")


def _without_spare_bits(values: Array, spare: int) -> Array:
    """Stored values whose bits above the stored ones, where overlays once lay, do not count."""
    if not spare:
        return values
    native = values.astype(values.dtype.newbyteorder("="))
    return (native << spare) >> spare


def _rescaled(values: Array, header: DicomHeader) -> Array:
    # A slope of 0 is taken for 1, as GDCM does.
    slope, intercept = header.number("RescaleSlope", 1.0) or 1.0, header.number("RescaleIntercept", 0.0)
    limits = np.iinfo(np.int16)
    if slope == 1 and intercept == int(intercept) and abs(intercept) <= limits.max:
        low, high = int(values.min()) + intercept, int(values.max()) + intercept
        if limits.min <= low and high <= limits.max:
            # Modulo 2^16, as int16 adds, nothing is lost when the sum fits.
            with np.errstate(over="ignore"):
                return values.astype(np.int16) + np.int16(intercept)
    return hounsfield(values * slope + intercept)


def _decoded(header: DicomHeader) -> Array:
    import SimpleITK as sitk

    try:
        # ImageSeriesReader would give every slice the number type of the first one's rescale slope.
        image = sitk.ReadImage(str(header.file), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise _broken(header, "its pixels cannot be decoded") from error
    array = sitk.GetArrayFromImage(image)
    if array.shape != (1, *header.size):
        raise _broken(header, f"it holds an image of another size than its header's {header.size}")
    return hounsfield(array[0])


def _check_compressed(header: DicomHeader, stream: BinaryIO) -> None:
    """Refuse a compressed image that ends early or is of another size; decoders fill up what is not there."""
    data = b"".join(_fragments(header, stream))
    rows, columns = header.size
    if header.syntax == RLE:
        segments = int(header.number("BitsAllocated")) // 8
        if any(not 0 <= length - rows * columns < columns for length in _rle_lengths(data, segments)):
            raise _broken(header, "its compressed pixels end too early or are of another size than the header's")
    elif data.startswith(b"\xff\xd8"):
        if _jpeg_size(data) != (rows, columns) or b"\xff\xd9" not in data[-8:]:
            raise _broken(header, "its compressed pixels end too early or are of another size than the header's")
    elif _J2K in data[:256]:
        at = data.index(_J2K)
        width, height, left, top = struct.unpack_from(">4I", data.ljust(at + 24), at + 8)
        if (height - top, width - left) != (rows, columns):
            raise _broken(header, "its compressed pixels are of another size than the header's")
    else:
        raise _broken(header, "its compressed pixels are not what its header says")


def _fragments(header: DicomHeader, stream: BinaryIO) -> Iterator[bytes]:
    """The parts of one compressed image; the first item is a table of offsets (PS3.5 A.4)."""
    stream.seek(header.pixels_at)
    first = True
    while (item := stream.read(8))[:4] == _ITEM and len(item) == 8:
        length = struct.unpack_from("<I", item, 4)[0]
        if length > header.pixels_there:
            break
        part = stream.read(length)
        if len(part) < length:
            break
        if not first:
            yield part
        first = False
    if item[:4] != _END:
        raise _broken(header, "it ends before its last pixel")


def _rle_lengths(data: bytes, segments: int) -> Iterator[int]:
    """How many bytes each segment of an RLE image unpacks to (PS3.5 G.3.2); 0 for one that is not there."""
    table = struct.unpack("<16I", data[:64].ljust(64, b"\0"))
    ends = [*table[2 : segments + 1], len(data)]
    for number in range(segments):
        at, end = table[1 + number], min(ends[number], len(data))
        length = 0
        while table[0] == segments and 64 <= at < end:
            code = data[at]
            if code < 128:
                length += min(code + 1, end - at - 1)
                at += code + 2
            else:
                length += 257 - code if code > 128 and at + 1 < end else 0
                at += 2 if code > 128 else 1
        yield length


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG or JPEG-LS image, None if it has no frame."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _FRAME_MARKERS:
            rows, columns = struct.unpack_from(">HH", data, at + 5)
            return rows, columns
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _broken(header: DicomHeader, how: str) -> NoduleRiskError:
    return NoduleRiskError(f"{header.file} is damaged: {how}; copy or export the series again.")
