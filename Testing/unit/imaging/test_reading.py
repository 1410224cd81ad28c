"""What a user would lose if a scan opened mirrored, displaced, in wrong HU or with slices missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from NoduleRiskLib.imaging import points
from NoduleRiskLib.imaging.reading import read
from NoduleRiskLib.imaging.volume import Array, Volume
from Testing.unit.imaging.made_scans import (
    AXIAL,
    LPS_TO_RAS,
    ORIGIN,
    PIXEL_MM,
    SHAPE,
    STEP_MM,
    STUDY,
    positions,
    refusal,
    rotation,
    scan,
    write_series,
    write_slice,
)

DATA = Path(os.environ.get("NODULERISK_DATA", Path(__file__).parents[3] / "../shared/data"))


def assert_voxel_places(volume: Volume, cosines: Array, step: Array) -> None:
    """Every voxel lies where its slice's DICOM header says."""
    k, j, i = (axis.ravel() for axis in np.indices(SHAPE))
    axes = cosines * np.array(PIXEL_MM)[:, None]
    lps = ORIGIN + i[:, None] * axes[0] + j[:, None] * axes[1] + k[:, None] * step
    assert np.allclose(volume.to_ras(np.stack((i, j, k), 1)), lps * LPS_TO_RAS, atol=1e-4)


# DICOM: places and values


def test_slices_are_sorted_by_place_and_keep_their_hu(tmp_path: Path) -> None:
    volume = read(write_series(tmp_path / "chest"))
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, scan())
    assert_voxel_places(volume, AXIAL, np.array((0, 0, STEP_MM)))
    assert volume.warnings == ()


def test_a_report_names_the_series_and_never_the_patient(tmp_path: Path) -> None:
    volume = read(write_series(tmp_path / "chest"))
    assert volume.name == "chest"
    assert volume.identity == {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": STUDY}
    assert "Doe" not in repr(volume)


@pytest.mark.parametrize(
    "cosines",
    [
        AXIAL,
        np.array([[-1.0, 0, 0], [0, 1, 0]]),
        np.array([[1.0, 0, 0], [0, -1, 0]]),
        np.array([[1.0, 0, 0], [0, 0, -1]]),
        np.array([[0, 1.0, 0], [0, 0, -1]]),
        AXIAL @ rotation(20, 0) @ rotation(-10, 2),
    ],
    ids=["axial", "mirrored", "prone", "coronal", "sagittal", "oblique"],
)
def test_every_orientation_lies_where_its_headers_say_and_where_itk_puts_it(tmp_path: Path, cosines: Array) -> None:
    folder = write_series(tmp_path / "chest", cosines=cosines)
    volume = read(folder)
    assert np.array_equal(volume.array, scan())
    assert_voxel_places(volume, cosines, np.cross(*cosines) * STEP_MM)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(image), volume.array)
    lps = np.array(image.TransformIndexToPhysicalPoint((4, 3, 2)))
    assert np.allclose(volume.to_ras(np.array((4, 3, 2))), lps * LPS_TO_RAS, atol=1e-4)


def test_a_tilted_gantry_does_not_displace_the_nodule(tmp_path: Path) -> None:
    cosines, step = AXIAL @ rotation(15, 0), np.array((0, 0, STEP_MM))
    volume = read(write_series(tmp_path / "chest", cosines=cosines, step=step))
    assert_voxel_places(volume, cosines, step)
    assert np.allclose(volume.to_ijk(volume.to_ras(np.array((1, 2, 3)))), (1, 2, 3))
    assert len(volume.warnings) == 1
    assert "tilted by 15.0 degrees" in volume.warnings[0]


def test_every_slice_has_its_own_rescale(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    told = [("1", "-1024"), ("2.5", "-1000"), ("0.5", "0.25"), ("1", "0")]
    for k, (slope, intercept) in enumerate(told):
        (place,) = positions(k * STEP_MM)
        file = folder / f"{SHAPE[0] - k:03}.dcm"
        write_slice(file, scan()[k], place, RescaleSlope=slope, RescaleIntercept=intercept)
    array = read(folder).array
    for k, (slope, intercept) in enumerate(told):
        stored = np.rint((scan()[k] - float(intercept)) / float(slope))
        assert np.array_equal(array[k], np.rint(stored * float(slope) + float(intercept)))
    assert np.array_equal(array[4:], scan()[4:])


def test_metal_brighter_than_int16_stays_bright(tmp_path: Path) -> None:
    hu = scan().astype(float)
    hu[2, 2, 2] = 60000
    array = read(write_series(tmp_path / "chest", hu, RescaleSlope="4")).array
    assert array[2, 2, 2] == 32767
    assert np.abs(array - hu)[array < 32767].max() <= 2


def test_one_slice_opens_the_whole_series(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    write_series(folder, scan(1), prefix="b", SeriesInstanceUID="4.5.6")
    volume = read(folder / "003.dcm")
    assert np.array_equal(volume.array, scan())
    assert volume.name == "chest"
    shutil.copy(folder / "b003.dcm", folder / "IM0003")
    assert read(folder / "IM0003").identity["SeriesInstanceUID"] == "4.5.6"
    assert "leave one of the two away" in refusal(folder / "003.dcm", "4.5.6")


# DICOM: which series


def test_two_series_are_told_apart(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    write_series(folder, scan(1), prefix="b", SeriesInstanceUID="4.5.6", SeriesDescription="Lung 1.0")
    for sentence in (refusal(folder), refusal(folder, "7.8.9")):
        assert "1.2.3 (Chest 2.0, CT, 8 slices)" in sentence
        assert "4.5.6 (Lung 1.0, CT, 8 slices)" in sentence
    assert "7.8.9" in refusal(folder, "7.8.9")
    assert np.array_equal(read(folder, "1.2.3").array, scan())
    assert np.array_equal(read(folder, "4.5.6").array, scan(1))


def test_a_report_or_other_files_beside_the_ct_do_not_stop_it(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    write_slice(folder / "sr.dcm", scan()[0], ORIGIN, Modality="SR", SeriesInstanceUID="4.5.6", PixelData=None)
    (folder / "readers.xml").write_text("<x/>")
    (folder / "EMPTY").touch()
    (folder / "._001.dcm").write_bytes(b"what macOS leaves behind")
    (folder / "deeper").mkdir()
    assert np.array_equal(read(folder).array, scan())
    assert "modality SR" in refusal(folder, "4.5.6")


# DICOM: what is refused or told


@pytest.mark.parametrize(
    ("along_mm", "words"),
    [
        ((0, 2, 4, 8, 10, 12, 14, 16), ("are missing", "(about 1)", "-296.0 and -292.0 mm", "every 2.00 mm")),
        ((0, 2, 4, 6, 12, 14, 18, 20), ("are missing", "(about 3)")),
        ((0, 2, 4, 6, 9.2, 11.2, 13.2, 15.2), ("are missing", "(about 1)")),
        ((0, 1, 2, 3, 4, 5.4, 6.8, 8.2), ("do not lie evenly", "from 1.00 to 1.40 mm")),
    ],
)
def test_missing_slices_are_never_closed_up(
    tmp_path: Path, along_mm: tuple[float, ...], words: tuple[str, ...]
) -> None:
    sentence = refusal(write_series(tmp_path / "chest", places=positions(*along_mm)))
    assert all(word in sentence for word in words)


def test_slices_that_wander_sideways_are_refused(tmp_path: Path) -> None:
    places = positions(*range(0, 16, 2))
    places[4:, 0] += 3
    assert "up to 1.3 mm off" in refusal(write_series(tmp_path / "chest", places=places))


def test_rounded_positions_are_no_matter_and_uneven_ones_are_told(tmp_path: Path) -> None:
    rounded = read(write_series(tmp_path / "rounded", places=positions(*np.round(np.arange(8) * 1.25, 1))))
    assert rounded.warnings == ()
    uneven = read(write_series(tmp_path / "uneven", places=positions(0, 2, 4, 6.4, 8, 10, 12, 14)))
    assert len(uneven.warnings) == 1
    assert "up to 0.40 mm off" in uneven.warnings[0]
    assert np.allclose(uneven.spacing_mm[2], 2)


def test_slices_copied_twice_are_read_once(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    shutil.copy(folder / "003.dcm", folder / "copy of 003.dcm")
    volume = read(folder)
    assert np.array_equal(volume.array, scan())
    assert volume.warnings == ("Slices that are in the series twice were read once (1 of 8).",)


def test_two_phases_in_one_series_are_refused(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    write_series(folder, scan(1), prefix="b")
    sentence = refusal(folder)
    assert "different images of the same place" in sentence
    assert "008.dcm" in sentence
    assert "b008.dcm" in sentence


def _localizer(folder: Path) -> None:
    write_slice(folder / "scout.dcm", scan()[:, :, 0], ORIGIN, np.array([[1.0, 0, 0], [0, 0, -1]]))


def _other_size(folder: Path) -> None:
    write_slice(folder / "dose.dcm", scan()[0, :3], ORIGIN)


def _nowhere(folder: Path) -> None:
    write_slice(folder / "table.dcm", scan()[0], ORIGIN, ImagePositionPatient=None)


def _picture(folder: Path) -> None:
    write_slice(folder / "001 dose.dcm", scan()[0], ORIGIN, PhotometricInterpretation="RGB", SamplesPerPixel=3)


@pytest.mark.parametrize("add", [_localizer, _other_size, _nowhere, _picture])
def test_a_localizer_in_the_series_is_left_out(tmp_path: Path, add: Callable[[Path], None]) -> None:
    folder = write_series(tmp_path / "chest")
    add(folder)
    volume = read(folder)
    assert np.array_equal(volume.array, scan())
    assert len(volume.warnings) == 1
    assert volume.warnings[0].startswith("Images of the series were left out (1 of 9)")


def test_two_stacks_in_one_series_are_refused(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    write_series(folder, cosines=np.array([[1.0, 0, 0], [0, 0, -1]]), prefix="b")
    assert "(8 of 16)" in refusal(folder)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"Modality": "MR"}, "modality MR"),
        ({"Modality": None}, "modality unknown"),
        ({"NumberOfFrames": 2}, "multi-frame"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "pictures (RGB)"),
        ({"ImagePositionPatient": None}, "do not say where they lie"),
        ({"PixelSpacing": None}, "do not say where they lie"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "do not say where they lie"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "do not say where they lie"),
        ({"PixelSpacing": [0, 0]}, "do not say where they lie"),
        ({"RescaleIntercept": "0", "RescaleSlope": "0.001"}, "not the HU of a chest"),
    ],
)
def test_what_is_no_chest_ct_is_refused(tmp_path: Path, told: dict[str, Any], words: str) -> None:
    assert words in refusal(write_series(tmp_path / "chest", **told))


def test_images_without_rescale_are_no_hu(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest", scan() + 1024, RescaleIntercept=None, RescaleSlope=None)
    assert "rescale slope and intercept" in refusal(folder)


def test_a_few_slices_are_no_scan(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest", scan()[:4])
    assert "too few slices (4, not 5 or more)" in refusal(folder)
    assert "too few slices (1, not 5 or more)" in refusal(write_series(tmp_path / "one", scan()[:1]))


def test_thick_slices_are_told(tmp_path: Path) -> None:
    step = np.array((0, 0, 5.0))
    (warning,) = read(write_series(tmp_path / "chest", step=step, SliceThickness="6")).warnings
    assert "5.0 mm apart, each of 6.0 mm" in warning


@pytest.mark.parametrize("left", [0, 100, 700, -20])
def test_a_download_that_broke_off_is_told(tmp_path: Path, left: int) -> None:
    folder = write_series(tmp_path / "chest")
    file = folder / "001.dcm"
    file.write_bytes(file.read_bytes()[:left])
    assert str(file) in refusal(folder)


def test_a_damaged_slice_without_a_suffix_is_not_overlooked(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    # The last slice: no gap would give its loss away.
    file = (folder / "001.dcm").rename(folder / "IM1")
    told = file.read_bytes()
    file.write_bytes(told.replace(b"\x20\x00\x32\x00DS", b"\x20\x00\x32\x00D\xff"))
    assert file.read_bytes() != told
    assert str(file) in refusal(folder)


def test_a_folder_or_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "chest")
    assert "holds no DICOM images" in refusal(tmp_path)
    file = tmp_path / "notes.txt"
    file.write_text("no image")
    assert ".nrrd" in refusal(file)
    assert "holds no DICOM images" in refusal(tmp_path)


# The sample scan


@pytest.fixture(scope="module")
def lidc() -> Volume:
    folder = DATA / "ct" / "LIDC-IDRI-0001"
    if not folder.is_dir():
        pytest.skip(f"The sample CT is not at {folder}: set NODULERISK_DATA to read it.")
    return read(folder)


def test_the_sample_scan_has_its_nodules_hu_at_its_point(lidc: Volume) -> None:
    file = DATA / "ct" / "points.csv"
    names, values = (line.split(",") for line in file.read_text().splitlines()[:2])
    told = dict(zip(names, values, strict=True))
    (point,) = points.read(file)
    i, j, k = np.rint(lidc.to_ijk(np.array(point.ras))).astype(int)
    assert lidc.array[k, j, i] == int(told["hu_at_centre"])
    assert lidc.identity["SeriesInstanceUID"] == told["series_uid"]
    assert lidc.warnings == ()


def test_the_sample_scan_is_what_itk_reads(lidc: Volume) -> None:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(DATA / "ct" / "LIDC-IDRI-0001")))
    made = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(made), lidc.array)
    last = [n - 1 for n in made.GetSize()]
    lps = np.array(made.TransformIndexToPhysicalPoint(last))
    assert np.allclose(lidc.to_ras(np.array(last)), lps * LPS_TO_RAS, atol=1e-3)
