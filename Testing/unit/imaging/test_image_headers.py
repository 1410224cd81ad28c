"""What a user would lose if an image file's header were believed, or read, other than its format means it."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from NoduleRiskLib.imaging.reading import read
from NoduleRiskLib.imaging.volume import itk_ijk_to_ras
from Testing.unit.imaging.made_scans import SHAPE, refusal, scan

VOXELS = scan().astype("<i2").tobytes()
NEXT_PLACE = "only points that were placed on this very file fit"


def nifti(data: bytes = VOXELS, order: str = "<", **told: Any) -> bytes:
    """A NIfTI-1 file of ``scan()``; ``told`` are fields that differ."""
    at = {
        "dim": (40, "8h", (3, *SHAPE[::-1], 1, 1, 1, 1)),
        "datatype": (70, "2h", (4, 16)),
        "pixdim": (76, "8f", (1, 0.8, 0.7, 2, 0, 0, 0, 0)),
        "vox_offset": (108, "f", (352,)),
        "scl": (112, "2f", (0, 0)),
        "units": (123, "b", (2,)),
        "codes": (252, "2h", (1, 1)),
        "quaternion": (256, "6f", (0, 0, 1, 10, 20, -30)),
        "sform": (280, "12f", (-0.8, 0, 0, 10, 0, -0.7, 0, 20, 0, 0, 2, -30)),
        "magic": (344, "4s", (b"n+1\0",)),
    }
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    for name, (place, form, value) in at.items():
        struct.pack_into(order + form, header, place, *told.get(name, value))
    return bytes(header) + data


def metaimage(data: bytes = VOXELS, **told: Any) -> bytes:
    """A MetaImage file of ``scan()``; ``told`` are fields that differ (None leaves one out)."""
    fields = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "1 2 3",
        "ElementSpacing": "0.8 0.7 2",
        "DimSize": "5 6 8",
        "ElementType": "MET_SHORT",
    } | told
    last = fields.pop("ElementDataFile", "LOCAL")
    lines = [f"{name} = {value}\n" for name, value in fields.items() if value is not None]
    return "".join([*lines, f"ElementDataFile = {last}\n"]).encode() + data


def nrrd(data: bytes = VOXELS, **told: Any) -> bytes:
    """A NRRD file of ``scan()``; ``told`` are fields that differ, _ for blanks (None leaves one out)."""
    fields = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "5 6 8",
        "space_directions": "(0.8,0,0) (0,0.7,0) (0,0,2)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space_origin": "(1,2,3)",
    } | told
    lines = [f"{name.replace('_', ' ')}: {value}\n" for name, value in fields.items() if value is not None]
    return "".join(["NRRD0004\n", *lines, "\n"]).encode() + data


def written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def as_type(kind: str) -> bytes:
    return scan().astype(kind).tobytes()


def slices(folder: Path, left_out: int = 0) -> str:
    """Write each slice to a file of its own; returns their names, one a line."""
    for k, one in enumerate(scan()):
        (folder / f"s{k}.raw").write_bytes(one.astype("<i2").tobytes())
    return "".join(f"s{k}.raw\n" for k in range(len(scan()) - left_out))


# What ITK reads, place and voxels

ZLIB = zlib.compress(VOXELS)
TURNED = "0.8 0.6 0 -0.6 0.8 0 0 0 1"
SHEARED = "1 0 0 0 1 0 0 0.6 0.8"
AS_ITK: dict[str, tuple[str, bytes]] = {
    "nifti": ("a.nii", nifti()),
    "nifti sform": ("a.nii", nifti(codes=(0, 2))),
    "nifti qform": ("a.nii", nifti(codes=(1, 0))),
    "nifti turned": ("a.nii", nifti(codes=(1, 0), quaternion=(0.2, -0.3, 0.4, 10, 20, 30))),
    "nifti mirrored": ("a.nii", nifti(codes=(1, 0), pixdim=(-1, 0.8, 0.7, 2, 0, 0, 0, 0))),
    "nifti big endian": ("a.nii", nifti(as_type(">i2"), order=">")),
    "nifti time point": ("a.nii", nifti(dim=(4, *SHAPE[::-1], 1, 1, 1, 1))),
    "nifti rescaled": ("a.nii", nifti(as_type("<i2"), scl=(0.937, 3.25))),
    "nifti extension": ("a.nii", nifti(bytes(16) + VOXELS, vox_offset=(368,))),
    "nifti packed": ("a.nii.gz", gzip.compress(nifti())),
    "nifti two members": ("a.nii.gz", gzip.compress(nifti()[:500]) + gzip.compress(nifti()[500:])),
    "nifti not packed": ("a.nii.gz", nifti()),
    "metaimage": ("a.mha", metaimage()),
    "metaimage turned": ("a.mha", metaimage(TransformMatrix=TURNED)),
    "metaimage sheared": ("a.mha", metaimage(TransformMatrix=SHEARED)),
    "metaimage big endian": ("a.mha", metaimage(as_type(">i2"), BinaryDataByteOrderMSB="True")),
    "metaimage aliases": ("a.mha", metaimage(Offset=None, Position="1 2 3", ElementSpacing=None, ElementSize="1 2 2")),
    "metaimage long": ("a.mha", metaimage(as_type("<i4"), ElementType="MET_LONG")),
    "metaimage zlib": ("a.mha", metaimage(ZLIB, CompressedData="True", CompressedDataSize=len(ZLIB))),
    "metaimage end of file": ("a.mha", metaimage(b"any" + VOXELS, HeaderSize=-1)),
    "nrrd": ("a.nrrd", nrrd()),
    "nrrd RAS": ("a.nrrd", nrrd(space="RAS")),
    "nrrd LAS": ("a.nrrd", nrrd(space="left-anterior-superior")),
    "nrrd oblique": ("a.nrrd", nrrd(space_directions="(0.8,0.1,0) (-0.1,0.7,0) (0,0.2,2)")),
    "nrrd big endian": ("a.nrrd", nrrd(as_type(">i2"), endian="big")),
    "nrrd gzip": ("a.nrrd", nrrd(gzip.compress(VOXELS), encoding="gz")),
    "nrrd text": ("a.nrrd", nrrd(" ".join(map(str, scan().ravel())).encode(), encoding="ascii")),
    "nrrd hex": ("a.nrrd", nrrd(VOXELS.hex().encode(), encoding="hex")),
    "nrrd skips": ("a.nrrd", nrrd(b"a line\nab" + VOXELS, line_skip=1, byte_skip=2)),
    "nrrd end of file": ("a.nrrd", nrrd(b"any" + VOXELS, byte_skip=-1)),
    "nrrd Windows": ("a.nrrd", nrrd(b"").replace(b"\n", b"\r\n") + VOXELS),
    "nrrd comments": ("a.nrrd", nrrd(b"")[:-1] + b"# a comment\nkey:=value: x\n\n" + VOXELS),
}


@pytest.mark.parametrize("case", AS_ITK)
def test_a_file_is_read_as_itk_and_slicer_read_it(tmp_path: Path, case: str) -> None:
    file = written(tmp_path, *AS_ITK[case])
    image = sitk.ReadImage(str(file))
    volume = read(file)
    assert np.array_equal(volume.array, np.rint(sitk.GetArrayFromImage(image)))
    assert np.allclose(volume.ijk_to_ras, itk_ijk_to_ras(image), atol=1e-4)
    assert volume.warnings == ()


@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz", "a.mha"])
@pytest.mark.parametrize("kind", ["i2", "i4", "i8", "f4", "f8"])
def test_every_number_type_is_what_itk_reads(tmp_path: Path, name: str, kind: str) -> None:
    values = scan().astype(kind)
    if kind[0] == "f":
        values += np.random.default_rng(1).normal(0, 0.4, SHAPE).astype(kind)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.8, 0.7, 2.0))
    sitk.WriteImage(image, str(tmp_path / name), useCompression=True)
    assert np.array_equal(read(tmp_path / name).array, np.rint(values))


@pytest.mark.parametrize("word", ["LIST", "s%d.raw 0 7 1", "one.raw"])
def test_voxels_in_other_files_are_found(tmp_path: Path, word: str) -> None:
    listed = slices(tmp_path).encode() * (word == "LIST")
    (tmp_path / "one.raw").write_bytes(VOXELS)
    for name, data in (
        ("a.mhd", metaimage(listed, ElementDataFile=word)),
        ("a.nhdr", nrrd(b"", data_file=word).rstrip(b"\n") + b"\n" + listed),
    ):
        assert np.array_equal(read(written(tmp_path, name, data)).array, scan())


# Voxels that are not in the file


@pytest.mark.parametrize("left_out", [1, 6])
@pytest.mark.parametrize("word", ["LIST", "LIST 2", "s%d.raw 0 {} 1"])
def test_a_list_with_a_file_too_few_is_told(tmp_path: Path, left_out: int, word: str) -> None:
    listed = slices(tmp_path, left_out).encode()
    if "%" in word:
        word, listed = word.format(7 - left_out), b""
    mhd_word = f"{word}D" if word == "LIST 2" else word
    headers = (
        ("a.mhd", metaimage(listed, ElementDataFile=mhd_word)),
        ("a.nhdr", nrrd(b"", data_file=word).rstrip(b"\n") + b"\n" + listed),
    )
    for name, data in headers:
        assert "files for 8 slices" in refusal(written(tmp_path, name, data))


def test_a_slice_file_that_is_missing_or_short_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, "a.mhd", metaimage(slices(tmp_path).encode(), ElementDataFile="LIST"))
    (tmp_path / "s3.raw").write_bytes(bytes(58))
    assert "ends before its last voxel" in refusal(file)
    (tmp_path / "s3.raw").unlink()
    assert "'s3.raw', which is not there" in refusal(file)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "a.mha": lambda voxels: metaimage(voxels, CompressedData="True"),
    "a.nrrd": lambda voxels: nrrd(voxels, encoding="gzip"),
}


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd", "a.nhdr", "a.nii.gz"])
@pytest.mark.parametrize("where", [0.3, 0.6, 0.99])
def test_one_wrong_bit_in_compressed_voxels_is_told(tmp_path: Path, name: str, where: float) -> None:
    image = sitk.GetImageFromArray(scan())
    image.SetSpacing((0.8, 0.7, 2.0))
    sitk.WriteImage(image, str(tmp_path / name), useCompression=True)
    packed = next((one for one in tmp_path.iterdir() if one.suffix in (".zraw", ".gz")), tmp_path / name)
    data = bytearray(packed.read_bytes())
    # The packed voxels are the last part of every file, and no file of them is shorter.
    at = len(data) - int((1 - where) * 400) - 1
    data[at] ^= 16
    packed.write_bytes(data)
    assert name in refusal(tmp_path / name)


@pytest.mark.parametrize("damage", ["checksum", "cut", "shorter", "longer", "empty"])
@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii.gz"])
def test_compressed_voxels_that_do_not_fit_their_header_are_told(tmp_path: Path, name: str, damage: str) -> None:
    voxels = {"shorter": VOXELS[:-2], "longer": VOXELS + bytes(10)}.get(damage, VOXELS)
    packed = {
        "a.mha": zlib.compress(voxels),
        "a.nrrd": gzip.compress(voxels),
        "a.nii.gz": gzip.compress(nifti(voxels)),
    }[name]
    packed = {"checksum": packed[:-8] + b"wrong sum", "cut": packed[:-9], "empty": b""}.get(damage, packed)
    sentence = refusal(written(tmp_path, name, PACKED.get(name, bytes)(packed)))
    assert "because" in sentence and name in sentence


@pytest.mark.parametrize(("name", "made"), [("a.nii", nifti), ("a.mha", metaimage), ("a.nrrd", nrrd)])
def test_uncompressed_voxels_that_do_not_fit_their_header_are_told(
    tmp_path: Path, name: str, made: Callable[..., bytes]
) -> None:
    assert "ends before its last voxel" in refusal(written(tmp_path, name, made(VOXELS[:-2])))
    assert "its header promises 480" in refusal(written(tmp_path, name, made(VOXELS + bytes(10))))
    assert np.array_equal(read(written(tmp_path, name, made(VOXELS + b"\n"))).array, scan())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_do_not_become_0_hu(tmp_path: Path, value: float) -> None:
    values = scan().astype("<f4")
    values[2, 2, 2] = value
    for name, data in (
        ("a.nii", nifti(values.tobytes(), datatype=(16, 32))),
        ("a.nii.gz", gzip.compress(nifti(values.tobytes(), datatype=(16, 32), scl=(1, -3)))),
        ("a.mha", metaimage(values.tobytes(), ElementType="MET_FLOAT")),
        ("a.nrrd", nrrd(values.tobytes(), type="float")),
    ):
        assert "NaN or infinite" in refusal(written(tmp_path, name, data))


# A place that is made up


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.nii", nifti(codes=(0, 0))),
        ("a.mha", metaimage(TransformMatrix=None)),
        ("a.mha", metaimage(Offset=None)),
        ("a.nrrd", nrrd(space_origin=None)),
        ("a.nrrd", nrrd(space="3D-right-handed")),
        ("a.nrrd", nrrd(space=None, space_directions=None, space_origin=None, spacings="0.8 0.7 2")),
        ("a.nrrd", nrrd(space=None, space_directions=None, space_origin=None, spacings="1 2 2", axis_mins="1 2 3")),
    ],
)
def test_a_file_without_a_place_is_told_and_lies_where_itk_puts_it(tmp_path: Path, name: str, data: bytes) -> None:
    file = written(tmp_path, name, data)
    volume = read(file)
    (warning,) = volume.warnings
    assert NEXT_PLACE in warning
    assert np.allclose(volume.ijk_to_ras, itk_ijk_to_ras(sitk.ReadImage(str(file))), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.nii", nifti(codes=(0, 0), pixdim=(1, 1, 1, 1, 0, 0, 0, 0))),
        ("a.nii", nifti(codes=(0, 1), pixdim=(1, 1, 1, 1, 0, 0, 0, 0), sform=(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0))),
        ("a.mha", metaimage(Offset="0 0 0", ElementSpacing="1 1 1")),
        ("a.nrrd", nrrd(space_origin="(0,0,0)", space_directions="(1,0,0) (0,1,0) (0,0,1)")),
    ],
)
def test_voxels_of_one_millimetre_at_the_origin_are_told(tmp_path: Path, name: str, data: bytes) -> None:
    assert any("1 x 1 x 1 mm" in warning for warning in read(written(tmp_path, name, data)).warnings)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.nii", nifti(sform=(0.8, 0, 0, 10, 0, -0.7, 0, 20, 0, 0, 2, -30)), "differ by"),
        ("a.nii", nifti(codes=(2, 4), sform=(-0.8, 0, 0, 10, 0, -0.7, 0, 20, 0, 0, 2, -20)), "differ by 10.0 mm"),
        ("a.nii", nifti(codes=(0, 1), pixdim=(1, 0.8, 0.7, 3, 0, 0, 0, 0)), "differ by 7.0 mm"),
        ("a.nii", nifti(codes=(0, 0), pixdim=(1, 0, 0, 0, 0, 0, 0, 0)), "how large its voxels are"),
        ("a.nii", nifti(codes=(1, 0), quaternion=(np.nan, 0, 0, 0, 0, 0)), "no rotation"),
        ("a.nii", nifti(units=(5,)), "unit of length"),
        ("a.nii", nifti(scl=(0, 3)), "rescales"),
        ("a.nii", nifti(scl=(np.nan, 3)), "rescales"),
        ("a.nii", nifti(vox_offset=(0,)), "cannot begin"),
        ("a.nii", nifti(magic=(bytes(4),)), "does not begin"),
        ("a.mha", metaimage(ElementSpacing=None), "how large its voxels are"),
        ("a.mha", metaimage(DistanceUnits="cm"), "not in mm"),
        ("a.mha", metaimage(ElementToIntensityFunctionSlope=2), "rescales"),
        ("a.mha", metaimage(HeaderSize=4), "HeaderSize"),
        ("a.nrrd", nrrd(space_directions=None, space=None, space_origin=None), "how large its voxels are"),
        ("a.nrrd", nrrd(space_units='"cm" "cm" "cm"'), "not in mm"),
        ("a.nrrd", nrrd(encoding="bzip2"), "bzip2"),
        ("a.nrrd", nrrd(endian=None), "endian"),
    ],
)
def test_what_is_unclear_is_never_guessed(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    assert words in refusal(written(tmp_path, name, data))


# Headers that end the interpreter, or take all memory


@pytest.mark.parametrize("dimensions", [1000, -3, 0, 2, 4, "1e9", "x", "99999999999999999999"])
def test_any_number_of_dimensions_is_answered(tmp_path: Path, dimensions: Any) -> None:
    assert "a.mha" in refusal(written(tmp_path, "a.mha", metaimage(NDims=dimensions)))
    assert "a.nrrd" in refusal(written(tmp_path, "a.nrrd", nrrd(dimension=dimensions)))


@pytest.mark.parametrize("dimensions", [1000, -3, 0, 2, 8])
def test_any_number_of_dimensions_of_a_nifti_is_answered(tmp_path: Path, dimensions: int) -> None:
    assert "dimensions" in refusal(written(tmp_path, "a.nii", nifti(dim=(dimensions, *SHAPE[::-1], 1, 1, 1, 1))))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.mha", metaimage(DimSize="1000 1000 2000")),
        ("a.nrrd", nrrd(sizes="1000 1000 2000")),
        ("a.nii", nifti(dim=(3, 1000, 1000, 2000, 1, 1, 1, 1))),
        ("a.nii.gz", gzip.compress(nifti(dim=(3, 1000, 1000, 2000, 1, 1, 1, 1)))),
    ],
)
def test_a_small_file_that_promises_gigabytes_is_told(tmp_path: Path, name: str, data: bytes) -> None:
    assert "NODULERISK_MEMORY_LIMIT_GB" in refusal(written(tmp_path, name, data))


@pytest.mark.parametrize("size", ["400 400 400", "5 6 8"])
def test_a_small_file_that_inflates_to_much_is_told(tmp_path: Path, size: str) -> None:
    packed = gzip.compress(bytes(128_000_000), 9)
    file = written(tmp_path, "a.nrrd", nrrd(packed, encoding="gzip", sizes=size, type="double"))
    sentence = refusal(file)
    assert "ends before" in sentence if size.startswith("400") else "more voxels than" in sentence
