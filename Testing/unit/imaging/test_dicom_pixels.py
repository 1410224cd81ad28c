"""What a user would lose if a DICOM slice were graded with pixels that its file does not hold."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from NoduleRiskLib.imaging import dicom_pixels
from NoduleRiskLib.imaging.dicom_headers import read_header
from NoduleRiskLib.imaging.dicom_pixels import read_hu
from NoduleRiskLib.imaging.reading import read
from NoduleRiskLib.imaging.volume import Array, hounsfield
from Testing.unit.imaging.made_scans import ORIGIN, change_slice, chest, refusal, scan, write_series, write_slice

FILE = "004.dcm"


def read_by_gdcm(file: Path) -> Array:
    return hounsfield(sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))[0])


def hu_of(file: Path) -> Array:
    header = read_header(file)
    assert header is not None
    return read_hu(header)


# What is read without GDCM


@pytest.mark.parametrize(("allocated", "stored"), [(8, 8), (16, 8), (16, 10), (16, 12), (16, 15), (16, 16)], ids=str)
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("spare_bits_used", [False, True])
def test_pixels_are_those_that_gdcm_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allocated: int, stored: int, signed: int, spare_bits_used: bool
) -> None:
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1)) if signed else (0, 2**stored)
    if spare_bits_used:
        low, high = (-(2 ** (allocated - 1)), 2 ** (allocated - 1)) if signed else (0, 2**allocated)
    values = np.random.default_rng(0).integers(low, high, (12, 10)).astype(f"<{'iu'[not signed]}{allocated // 8}")
    bits = {"BitsAllocated": allocated, "BitsStored": stored, "HighBit": stored - 1, "PixelRepresentation": signed}
    for slope, intercept in product(("1", "2", "0.5", "0", "0.0375", None), ("-1024", "0", "-1000.5", None)):
        rescale = {"RescaleSlope": slope, "RescaleIntercept": intercept}
        file = tmp_path / "a.dcm"
        write_slice(file, np.zeros((12, 10)), ORIGIN, PixelData=values.tobytes(), **bits, **rescale)
        expected = read_by_gdcm(file)
        with monkeypatch.context() as without:
            without.setattr(dicom_pixels, "_decoded", lambda header: pytest.fail("GDCM was asked"))
            assert np.array_equal(hu_of(file), expected), rescale


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name
)
def test_every_uncompressed_syntax_gives_the_same_hu(tmp_path: Path, syntax: Any) -> None:
    write_slice(tmp_path / "plain.dcm", scan()[0], ORIGIN)
    image = pydicom.dcmread(tmp_path / "plain.dcm")
    image.file_meta.TransferSyntaxUID = syntax
    big_endian = syntax == ExplicitVRBigEndian
    if big_endian:
        values = np.frombuffer(image.PixelData, "<i2").astype(">i2")
        elements = {element.keyword: element.value for element in image if element.keyword != "PixelData"}
        image = pydicom.FileDataset("", {}, file_meta=image.file_meta, preamble=b"\0" * 128)
        for name, value in elements.items():
            setattr(image, name, value)
        image.PixelData = values.tobytes()
    pydicom.dcmwrite(
        tmp_path / "a.dcm", image, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=not big_endian
    )
    assert np.array_equal(hu_of(tmp_path / "a.dcm"), scan()[0])
    assert np.array_equal(read_by_gdcm(tmp_path / "a.dcm"), scan()[0])


def without_meta(file: Path) -> None:
    """Write a slice as implicit VR without preamble and meta header, as some archives do."""
    image = pydicom.dcmread(file)
    del image.file_meta
    pydicom.dcmwrite(file, pydicom.Dataset(image), implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert file.read_bytes()[128:132] != b"DICM"


def test_slices_without_meta_header_are_read(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    for file in folder.iterdir():
        without_meta(file)
        file.rename(file.with_suffix(""))
    assert np.array_equal(read(folder).array, scan())
    assert np.array_equal(read(folder / "003").array, scan())


# Compressed pixels


def compressed(file: Path, codec: str) -> bytes:
    """Write a compressed slice; returns its codestream."""
    hu = chest(1, 64)[0]
    if codec == "RLE":
        write_slice(file, hu, ORIGIN)
        image = pydicom.dcmread(file)
        image.compress(RLELossless)
        image.save_as(file)
    else:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetCompressor(codec)
        writer.UseCompressionOn()
        writer.SetFileName(str(file))
        writer.Execute(sitk.GetImageFromArray(hu[None]))
    assert np.array_equal(hu_of(file), hu)
    return get_frame(pydicom.dcmread(file).PixelData, 0, number_of_frames=1)


CODECS = ["JPEG", "JPEG2000", "RLE"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("left", [0.001, 0.02, 0.5, 0.9, 0.999])
def test_compressed_pixels_that_end_early_are_told(tmp_path: Path, codec: str, left: float) -> None:
    file = tmp_path / "a.dcm"
    stream = compressed(file, codec)
    image = pydicom.dcmread(file)
    image.PixelData = encapsulate([stream[: int(len(stream) * left) // 2 * 2 + 2]])
    image["PixelData"].is_undefined_length = True
    image.save_as(file)
    with pytest.raises(dicom_pixels.NoduleRiskError, match=r"a\.dcm is damaged"):
        hu_of(file)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rows", [32, 63, 65, 128, 60000])
def test_compressed_pixels_of_another_size_than_the_header_are_told(tmp_path: Path, codec: str, rows: int) -> None:
    file = tmp_path / "a.dcm"
    compressed(file, codec)
    change_slice(file, Rows=rows)
    with pytest.raises(dicom_pixels.NoduleRiskError, match=r"a\.dcm is damaged"):
        hu_of(file)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("cut", [8, 10, 100])
def test_a_compressed_file_that_broke_off_is_told(tmp_path: Path, codec: str, cut: int) -> None:
    file = tmp_path / "a.dcm"
    compressed(file, codec)
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(dicom_pixels.NoduleRiskError, match=r"a\.dcm is damaged"):
        hu_of(file)


# Fewer pixels than promised


def _short(file: Path) -> None:
    change_slice(file, PixelData=pydicom.dcmread(file).PixelData[:-20])


def _long(file: Path) -> None:
    change_slice(file, PixelData=pydicom.dcmread(file).PixelData + bytes(20))


def _one_byte(file: Path) -> None:
    change_slice(file, PixelData=bytes(2))


def _too_many_bits(file: Path) -> None:
    change_slice(file, BitsAllocated=32, BitsStored=32, HighBit=31)


def _packed_bits(file: Path) -> None:
    change_slice(file, BitsAllocated=24)


@pytest.mark.parametrize("damage", [_short, _long, _one_byte, _too_many_bits, _packed_bits])
def test_a_slice_with_other_pixels_than_promised_is_named(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = write_series(tmp_path / "chest")
    damage(folder / FILE)
    sentence = refusal(folder)
    assert FILE in sentence and "header promises" in sentence


@pytest.mark.parametrize("name", ["Rows", "Columns"])
@pytest.mark.parametrize("value", [60000, 7, 4, 0])
@pytest.mark.parametrize("every", [True, False])
def test_wrong_rows_and_columns_are_told_before_anything_is_decoded(
    tmp_path: Path, name: str, value: int, every: bool
) -> None:
    folder = write_series(tmp_path / "chest")
    for file in folder.iterdir() if every else [folder / FILE]:
        change_slice(file, **{name: value})
    sentence = refusal(folder)
    assert "damaged" in sentence
    assert every or FILE in sentence


def test_a_padding_byte_and_little_more_are_no_damage(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    change_slice(folder / FILE, PixelData=pydicom.dcmread(folder / FILE).PixelData + b"\0\0")
    assert np.array_equal(read(folder).array, scan())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NumberOfFrames", b"1A"),
        ("RescaleSlope", b"one"),
        ("RescaleIntercept", b"-1024\\0"),
        ("RescaleSlope", b"1_0"),
        ("Rows", b"6"),
        ("BitsAllocated", b""),
        ("SamplesPerPixel", b"\1\0\1\0"),
    ],
)
def test_a_header_that_holds_no_number_where_one_belongs_is_told(tmp_path: Path, name: str, value: bytes) -> None:
    folder = write_series(tmp_path / "chest")
    change_slice(folder / FILE, **{name: value})
    sentence = refusal(folder)
    assert FILE in sentence and name in sentence and "not a number" in sentence


@pytest.mark.parametrize("value", [b"2.5mm", b"", b"thin", b"1\\2\\3"])
def test_the_thickness_need_not_be_a_number(tmp_path: Path, value: bytes) -> None:
    folder = write_series(tmp_path / "chest")
    change_slice(folder / FILE, SliceThickness=value)
    assert np.array_equal(read(folder).array, scan())


@pytest.mark.parametrize("value", [b"", b"0 ", b"1 "])
def test_one_frame_may_be_said_in_many_ways(tmp_path: Path, value: bytes) -> None:
    folder = write_series(tmp_path / "chest")
    change_slice(folder / FILE, NumberOfFrames=value)
    assert np.array_equal(read(folder).array, scan())


def _inflates(data: bytes) -> bool:
    try:
        return zlib.decompressobj(-15).decompress(data)[:2] == b"\x08\0"
    except zlib.error:
        return False


def test_a_deflated_slice_that_inflates_for_ever_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    write_slice(file, scan()[0], ORIGIN)
    image = pydicom.dcmread(file)
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(file, image)
    data = file.read_bytes()
    end = max(n for n in range(200, len(data)) if _inflates(data[n:]))
    packer = zlib.compressobj(9, wbits=-15)
    file.write_bytes(data[:end] + b"".join(packer.compress(bytes(2**24)) for _ in range(20)) + packer.flush())
    with pytest.raises(dicom_pixels.NoduleRiskError, match="damaged"):
        read_header(file)


def test_a_ct_beyond_the_memory_limit_is_told_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_series(tmp_path / "chest")
    monkeypatch.setenv("NODULERISK_MEMORY_LIMIT_GB", "1e-7")
    assert "NODULERISK_MEMORY_LIMIT_GB to a higher number" in refusal(folder)
    monkeypatch.setenv("NODULERISK_MEMORY_LIMIT_GB", "1")
    assert np.array_equal(read(folder).array, scan())
    monkeypatch.setenv("NODULERISK_MEMORY_LIMIT_GB", "much")
    assert "'much'" in refusal(folder)
    for file in folder.iterdir():
        change_slice(file, Rows=65535, Columns=65535)
    monkeypatch.delenv("NODULERISK_MEMORY_LIMIT_GB")
    assert "more than the limit of 1.5 GB" in refusal(folder)
