"""What a user would lose if an image file opened displaced, or with voxels that it does not hold."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from NoduleRiskLib.imaging.reading import read
from NoduleRiskLib.imaging.volume import Array
from Testing.unit.imaging.made_scans import (
    LPS_TO_RAS,
    ORIGIN,
    PIXEL_MM,
    SHAPE,
    STEP_MM,
    refusal,
    rotation,
    scan,
    write_series,
)


def image(array: Array | None = None, direction: Array | None = None, **told: Any) -> sitk.Image:
    made = sitk.GetImageFromArray(scan() if array is None else array, **told)
    if made.GetDimension() == 3:
        made.SetSpacing((*PIXEL_MM, STEP_MM))
        made.SetOrigin(ORIGIN.tolist())
        made.SetDirection((np.eye(3) if direction is None else direction).ravel().tolist())
    return made


def written(path: Path, made: sitk.Image, compressed: bool = True) -> Path:
    sitk.WriteImage(made, str(path), useCompression=compressed)
    return path


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.nii", "a.nii.gz", "a.mha", "a.mhd", "A.NRRD"])
@pytest.mark.parametrize(
    "turn", [np.eye(3), np.diag((-1.0, 1, 1)), np.diag((1.0, -1, -1)), rotation(20, 0) @ rotation(9, 2)]
)
def test_an_image_file_lies_where_it_was_written(tmp_path: Path, name: str, turn: Array) -> None:
    made = image(direction=turn)
    volume = read(written(tmp_path / name, made))
    assert np.array_equal(volume.array, scan())
    assert volume.array.dtype == np.int16
    for ijk in ((0, 0, 0), (4, 5, 7), (4, 0, 3)):
        lps = np.array(made.TransformIndexToPhysicalPoint(ijk))
        assert np.allclose(volume.to_ras(np.array(ijk)), lps * LPS_TO_RAS, atol=1e-3)
    assert (volume.name, volume.identity) == (name, {"path": str(tmp_path / name)})
    assert volume.warnings == ()


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_a_sheared_file_keeps_its_shear(tmp_path: Path, name: str) -> None:
    direction = np.array([[1, 0, 0], [0, 1, 0.2], [0, 0, np.sqrt(0.96)]])
    volume = read(written(tmp_path / name, image(direction=direction)))
    step = direction[:, 2] * STEP_MM
    assert np.allclose(volume.to_ras(np.array((0, 0, 5))), (ORIGIN + 5 * step) * LPS_TO_RAS, atol=1e-4)


def test_a_file_in_ras_is_not_mirrored(tmp_path: Path) -> None:
    file = tmp_path / "a.nrrd"
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: right-anterior-superior\nsizes: 5 6 8\n"
        "space directions: (0.8,0,0) (0,0.7,0) (0,0,2)\nkinds: domain domain domain\nendian: little\n"
        "encoding: raw\nspace origin: (10,20,30)\n\n"
    )
    file.write_bytes(header.encode() + scan().astype("<i2").tobytes())
    assert np.allclose(read(file).to_ras(np.array((1, 2, 3))), (10.8, 21.4, 36))


def test_a_file_and_its_dicom_series_are_the_same_scan(tmp_path: Path) -> None:
    volume = read(write_series(tmp_path / "chest"))
    copy = read(written(tmp_path / "a.nii.gz", image()))
    assert np.array_equal(copy.array, volume.array)
    assert np.allclose(copy.ijk_to_ras, volume.ijk_to_ras, atol=1e-4)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32])
def test_other_number_types_become_int16_hu(tmp_path: Path, kind: type) -> None:
    values = scan().astype(kind)
    values[0, 0, 0] = 70000
    array = read(written(tmp_path / "a.nrrd", image(values))).array
    assert array.dtype == np.int16
    assert array[0, 0, 0] == 32767
    assert np.array_equal(array[1:], scan()[1:])


def test_thick_slices_in_a_file_are_told(tmp_path: Path) -> None:
    made = image()
    made.SetSpacing((0.8, 0.7, 5.0))
    (warning,) = read(written(tmp_path / "a.nrrd", made)).warnings
    assert "5.0 mm apart" in warning


def _with_nan() -> Array:
    values = scan().astype(np.float32)
    values[1, 2, 3] = np.nan
    return values


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (image(_with_nan()), "NaN"),
        (image(np.zeros(SHAPE, np.int16)), "from 0 to 0"),
        (image(np.clip(scan(), 0, 255).astype(np.uint8)), "from 0 to 255"),
        (image(scan()[:3]), "3 x 6 x 5 voxels"),
        (image(scan()[0]), "2 dimensions"),
        (image(np.stack([scan()] * 2), isVector=False), "4 dimensions"),
        (image(np.stack([scan()] * 3, -1), isVector=True), "3 values a voxel"),
    ],
    ids=["nan", "constant", "8 bit", "few slices", "2-D", "4-D", "colour"],
)
def test_a_file_that_holds_no_ct_is_refused(tmp_path: Path, made: sitk.Image, words: str) -> None:
    sentence = refusal(written(tmp_path / "a.nrrd", made))
    assert words in sentence
    assert "a.nrrd" in sentence


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nii", "a.nii.gz", "a.mha"])
def test_a_file_that_broke_off_is_told(tmp_path: Path, name: str, compressed: bool) -> None:
    file = written(tmp_path / name, image(), compressed)
    file.write_bytes(file.read_bytes()[:-40])
    assert str(file) in refusal(file)


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.nii", "a.nii.gz", "a.mha", "a.mhd"])
def test_a_file_that_is_not_what_its_name_says_is_told(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"this is no image" * 50)
    assert "damaged, incomplete, skewed or not what its name says" in refusal(file)


def test_a_header_without_its_voxels_is_told(tmp_path: Path) -> None:
    file = written(tmp_path / "a.mhd", image())
    for voxels in (*tmp_path.glob("*.raw"), *tmp_path.glob("*.zraw")):
        voxels.unlink()
    assert "incomplete" in refusal(file)


def test_axes_that_do_not_span_space_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "a.nrrd", image(), compressed=False)
    told = file.read_bytes().replace(b"(0,0.69999999999999996,0)", b"(0.69999999999999996,0,0)")
    assert told != file.read_bytes()
    file.write_bytes(told)
    assert "a.nrrd" in refusal(file)


# NIfTI-1: the sform's code stands at byte 254, its three rows of four numbers from byte 280.
@pytest.mark.parametrize(
    ("qform_code", "at", "value"),
    [(1, 288, 0.8), (0, 288, 0.8), (1, 280, -1.2)],
    ids=["skewed", "only skewed", "wider"],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_that_says_two_places_is_refused(
    tmp_path: Path, name: str, qform_code: int, at: int, value: float
) -> None:
    file = written(tmp_path / name, image())
    told = bytearray(file.read_bytes() if name == "a.nii" else gzip.decompress(file.read_bytes()))
    struct.pack_into("<hh", told, 252, qform_code, 1)
    struct.pack_into("<f", told, at, value)
    file.write_bytes(told if name == "a.nii" else gzip.compress(told))
    sentence = refusal(file)
    assert "does not say clearly where its voxels lie" in sentence or "skewed" in sentence


def test_a_series_uid_for_a_file_is_told(tmp_path: Path) -> None:
    assert "is not DICOM" in refusal(written(tmp_path / "a.nrrd", image()), "1.2.3")
