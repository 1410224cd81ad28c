"""What the header of one DICOM file says of its image, and where in the file the pixels lie."""

from __future__ import annotations

import io
import re
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import NoduleRiskError
from .dicom_facts import OF_STUDY
from .shown import shown

#: The elements that are read, as pydicom numbers them; everything else is passed over.
TAGS = {
    "ImageType": 0x00080008,
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyDate": 0x00080020,
    "SeriesDate": 0x00080021,
    "AcquisitionDate": 0x00080022,
    "AcquisitionTime": 0x00080032,
    "Modality": 0x00080060,
    "SeriesDescription": 0x0008103E,
    "VolumeBasedCalculationTechnique": 0x00089207,
    "PatientID": 0x00100020,
    "PatientBirthDate": 0x00100030,
    "PatientSex": 0x00100040,
    "PatientAge": 0x00101010,
    "ContrastBolusAgent": 0x00180010,
    "SliceThickness": 0x00180050,
    "ConvolutionKernel": 0x00181210,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "SeriesNumber": 0x00200011,
    "AcquisitionNumber": 0x00200012,
    "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
}
#: Unsigned integers of two bytes (value representation US); the other numbers are text (DS, IS).
SHORTS = ("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
#: CT, enhanced CT, converted CT: objects that are nothing without their pixels.
CT_IMAGES = (CT_STORAGE, f"{CT_STORAGE}.1", f"{CT_STORAGE}.2")
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
#: Transfer syntaxes whose pixels are stored as they are; a file without meta header names none.
UNCOMPRESSED = ("", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED)
#: Grey images. MONOCHROME1 says that they are shown inverted, not that their values are (PS3.3 C.7.6.3.1.2).
GREY = ("MONOCHROME2", "MONOCHROME1")
#: What no deflated CT slice inflates to, in bytes.
_INFLATED = 2**28
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, eq=False)
class DicomHeader:
    """The elements ``TAGS`` of one DICOM object, by their DICOM keywords.

    Attributes
    ----------
    file : Path
    syntax : str
        Transfer syntax UID; "" if the file has no meta header.
    elements : dict of bytes
        Values as they stand in the file; b"" for what is absent.
    description : str
        SeriesDescription in its own character set.
    pixels_at : int
        Where the value of PixelData begins in ``open_data``; -1 if there is none.
    pixels_length : int
        Its length as the element says it; ``0xFFFFFFFF`` if it is compressed and ends with a delimiter.
    pixels_there : int
        How many bytes follow ``pixels_at``.
    """

    file: Path
    syntax: str
    elements: dict[str, bytes]
    description: str
    pixels_at: int
    pixels_length: int
    pixels_there: int

    def text(self, keyword: str) -> str:
        """The value as text, without padding; "" if absent."""
        return self.elements[keyword].decode("latin-1").strip(" \0")

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """All numbers of an element; () if it is absent or holds something else."""
        value = self.elements[keyword]
        if keyword in SHORTS:
            order = ">" if self.syntax == BIG_ENDIAN else "<"
            return struct.unpack(f"{order}{len(value) // 2}H", value) if len(value) % 2 == 0 else ()
        parts = [part.strip(" \0") for part in value.decode("latin-1").split("\\")]
        return tuple(map(float, parts)) if all(map(_NUMBER.fullmatch, parts)) else ()

    def number(self, keyword: str, default: float | None = None) -> float:
        """The one number of an element, ``default`` if it is absent or empty.

        Raises
        ------
        NoduleRiskError
            If it holds something else, or is absent and has no default.
        """
        if default is not None and not self.elements[keyword].strip(b" \0" if keyword not in SHORTS else b""):
            return default
        found = self.numbers(keyword)
        if len(found) != 1:
            raise NoduleRiskError(
                f"{self.file} is damaged: its {keyword} is {shown(self.text(keyword))!r} and not a number; export or "
                "copy the series again."
            )
        return found[0]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.number("Rows")), int(self.number("Columns"))

    @property
    def is_grey(self) -> bool:
        """Whether it is one image of one grey value a pixel, as a CT slice is."""
        return (
            self.pixels_at >= 0
            and self.text("PhotometricInterpretation") in GREY
            and self.number("SamplesPerPixel", 1) == 1
            and self.number("NumberOfFrames", 1) in (0, 1)
        )


def read_header(file: Path) -> DicomHeader | None:
    """The header of a DICOM object, or None if the file is something else.

    Raises
    ------
    NoduleRiskError
        If the file is a damaged DICOM object, or is called ``.dcm`` and is none.
    """
    damage: Exception | None = None
    try:
        with open_data(file) as stream:
            start = stream.read(132)
            # Without preamble and meta header a file begins with an element of group 8 (or 2).
            if start.endswith(b"DICM") or re.match(rb"[\x02\x08]\0.\0", start, re.DOTALL):
                stream.seek(0)
                header = _parsed(file, stream)
                if header is not None:
                    return header
    except NoduleRiskError:
        raise
    # A damaged header raises whatever its bytes happen to mean.
    except Exception as error:
        damage = error
    if isinstance(damage, PermissionError):
        raise NoduleRiskError(f"{file} cannot be opened (permission denied): ask for the right to read it.") from damage
    if damage or file.suffix.lower() == ".dcm":
        raise NoduleRiskError(
            f"{file} is no DICOM image or is damaged: copy it again or take it out of the folder."
        ) from damage
    return None


def read_study(file: Path) -> dict[str, str]:
    """What a DICOM file says of patient and study (``OF_STUDY``), decoded; what is damaged is left out."""
    import pydicom

    found = {}
    # A damaged header raises whatever its bytes happen to mean, and nobody needs a name to see the voxels.
    with suppress(Exception), open_data(file) as stream:
        dataset = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=list(OF_STUDY))
        for keyword in OF_STUDY:
            with suppress(Exception):
                found[keyword] = str(dataset.get(keyword) or "").strip(" \0")
    return {keyword: text for keyword, text in found.items() if text and text.isprintable()}


def open_data(file: Path) -> BinaryIO:
    """The file as a stream; what a deflated transfer syntax has packed, unpacked and without its meta header."""
    stream = file.open("rb")
    start = stream.read(1024)
    if DEFLATED.encode() not in start or start[128:132] != b"DICM":
        stream.seek(0)
        return stream
    with stream:
        at = 132
        # The meta header is explicit little endian and the only group 2 (PS3.10 7.1); some write it without its length.
        while start[at : at + 2] == b"\x02\0":
            long = start[at + 4 : at + 6] in (b"OB", b"UN")
            length = struct.unpack_from(*(("<I", start, at + 8) if long else ("<H", start, at + 6)))[0]
            at += length + (12 if long else 8)
        stream.seek(at)
        decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        data = decoder.decompress(stream.read(), _INFLATED)
    if not decoder.eof:
        raise ValueError("the deflated part ends too early or is too long")
    return io.BytesIO(data)


def _parsed(file: Path, stream: BinaryIO) -> DicomHeader | None:
    import pydicom

    dataset = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=list(TAGS.values()))
    meta = getattr(dataset, "file_meta", None) or {}
    syntax = str(meta.get("TransferSyntaxUID") or "")
    at, length, there = _pixel_data(stream, big_endian=syntax == BIG_ENDIAN)
    elements = {keyword: _raw(dataset, tag) for keyword, tag in TAGS.items()}
    header = DicomHeader(file, syntax, elements, _described(dataset), at, length, there)
    kinds = (header.text("SOPClassUID"), str(meta.get("MediaStorageSOPClassUID") or ""))
    if at < 0 and header.text("Modality") in ("CT", "") and any(kind in CT_IMAGES for kind in kinds):
        raise ValueError("the file ends before its pixels")
    # Directories (DICOMDIR) and what only looks like DICOM.
    if not header.text("SeriesInstanceUID") and (at < 0 or not elements["Rows"]):
        return None
    return header


def _pixel_data(stream: BinaryIO, big_endian: bool) -> tuple[int, int, int]:
    """Where the value of PixelData begins, its length and the bytes that follow; the stream is at its tag."""
    order = ">" if big_endian else "<"
    element = stream.read(12)
    if len(element) < 8 or struct.unpack_from(f"{order}HH", element) != (0x7FE0, 0x0010):
        return -1, 0, 0
    explicit = element[4:6] in (b"OW", b"OB", b"UN")
    length = struct.unpack_from(f"{order}I", element, 8 if explicit else 4)[0]
    at = stream.tell() - len(element) + (12 if explicit else 8)
    return at, length, stream.seek(0, io.SEEK_END) - at


def _raw(dataset: Any, tag: int) -> bytes:
    if tag not in dataset:
        return b""
    # pydicom keeps what nobody has asked for as it stands in the file.
    element = dataset.get_item(tag)
    if element.VR is not None and not element.VR.isupper():
        raise ValueError(f"{element.VR!r} is no value representation")
    return element.value if isinstance(element.value, bytes) else b""


def _described(dataset: Any) -> str:
    try:
        return shown(dataset.get("SeriesDescription") or "")
    # Text in another character set than the file says: no reason to refuse its pixels.
    except Exception:
        return ""
