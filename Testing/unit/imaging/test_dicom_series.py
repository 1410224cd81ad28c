"""What a user would lose if a DICOM folder were taken for another CT than it holds, or refused for a wrong reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from NoduleRiskLib.imaging.reading import read
from Testing.unit.imaging.made_scans import (
    ORIGIN,
    change_slice,
    chest,
    positions,
    refusal,
    scan,
    write_series,
    write_slice,
)

# Which series


def test_a_scout_and_a_dose_report_beside_the_ct_are_no_rivals(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    write_slice(
        folder / "dose.dcm",
        scan()[0],
        ORIGIN,
        SeriesInstanceUID="4.5",
        SOPClassUID=SecondaryCaptureImageStorage,
        ImagePositionPatient=None,
        ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"],
    )
    coronal = np.array([[1.0, 0, 0], [0, 0, -1]])
    write_slice(folder / "scout.dcm", scan()[0], ORIGIN, coronal, SeriesInstanceUID="4.6")
    volume = read(folder)
    assert np.array_equal(volume.array, scan())
    assert volume.identity["SeriesInstanceUID"] == "1.2.3"
    assert volume.warnings == ()


def test_rival_series_are_told_with_the_option_that_chooses(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    for number in range(12):
        write_series(folder, scan(number), prefix=f"{number}-", SeriesInstanceUID=f"4.{number}")
    sentence = refusal(folder)
    assert "holds 13 CT series" in sentence and "--series UID" in sentence and "and 5 more" in sentence
    assert np.array_equal(read(folder, "4.7").array, scan(7))


@pytest.mark.parametrize("also_study", [False, True])
def test_slices_with_a_series_uid_each_are_one_series(tmp_path: Path, also_study: bool) -> None:
    folder = write_series(tmp_path / "chest")
    for number, file in enumerate(sorted(folder.iterdir())):
        change_slice(file, SeriesInstanceUID=f"1.2.{number}")
        if also_study:
            change_slice(file, StudyInstanceUID=generate_uid())
    for path in (folder, folder / "003.dcm"):
        volume = read(path)
        assert np.array_equal(volume.array, scan())
        (warning,) = volume.warnings
        assert "SeriesInstanceUID of its own" in warning
    # A scout has one of its own, too.
    write_slice(folder / "scout.dcm", scan()[0], ORIGIN, np.array([[1.0, 0, 0], [0, 0, -1]]), SeriesInstanceUID="7")
    assert np.array_equal(read(folder).array, scan())


def test_slices_without_a_series_uid_are_one_series(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest", SeriesInstanceUID=None)
    for path in (folder, folder / "003.dcm"):
        volume = read(path)
        assert np.array_equal(volume.array, scan())
        (warning,) = volume.warnings
        assert "no SeriesInstanceUID" in warning


def test_one_slice_that_lost_its_series_uid_is_not_left_out(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    # The last slice: no gap would give its loss away.
    change_slice(folder / "001.dcm", SeriesInstanceUID=None)
    assert "001.dcm has no SeriesInstanceUID" in refusal(folder)


def test_an_inverted_display_changes_no_hu(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest", PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(read(folder).array, scan())


@pytest.mark.parametrize(
    "told",
    [
        {"ImageType": ["DERIVED", "PRIMARY", "MIP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE", "CSA MINIP"]},
        {"ImageType": ["DERIVED", "PRIMARY", "AVERAGE"]},
        {"VolumeBasedCalculationTechnique": "MAX_IP"},
        {"SeriesDescription": "Lung MIP 10.0"},
        {"SeriesDescription": "thin_mnip_ax"},
    ],
)
def test_projections_of_slabs_are_told(tmp_path: Path, told: dict[str, object]) -> None:
    (warning,) = read(write_series(tmp_path / "chest", **told)).warnings
    assert "projections through several slices" in warning


@pytest.mark.parametrize(
    "told",
    [{"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]}, {"SeriesDescription": "Amipaque, simple chest"}],
)
def test_plain_slices_are_not_told_to_be_projections(tmp_path: Path, told: dict[str, object]) -> None:
    assert read(write_series(tmp_path / "chest", **told)).warnings == ()


def test_a_pipe_in_the_folder_does_not_stop_the_reading(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    os.mkfifo(folder / "pipe")
    assert np.array_equal(read(folder).array, scan())


def test_a_link_to_a_slice_that_is_gone_is_told(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest")
    (folder / "009.dcm").symlink_to(tmp_path / "gone.dcm")
    assert "009.dcm" in refusal(folder)


# Where the slices lie


@pytest.mark.parametrize("place", ["0\\0\\0", "-100\\-80\\-300"])
def test_lost_positions_are_told(tmp_path: Path, place: str) -> None:
    folder = write_series(tmp_path / "chest")
    for file in folder.iterdir():
        change_slice(file, ImagePositionPatient=place.encode(), SliceLocation=b"1.0")
    sentence = refusal(folder)
    assert "have lost their positions" in sentence and "all 8" in sentence


# Two acquisitions


def interleaved(folder: Path, shift: float, number: bool = True, slices: int = 20) -> Path:
    """A second chest, ``shift`` slices higher up in the patient, half a slice between the first one's."""
    along = np.arange(slices) * 2.0
    for which, (up, offset) in enumerate(((0.0, 0.0), (shift, 1.0))):
        told = {"AcquisitionNumber": which + 1} if number else {}
        hu = chest(slices, shift=up + offset / 2, noise_hu=30)
        write_series(folder, hu, places=positions(*(along + offset)), prefix=f"{which}-", **told)
    return folder


@pytest.mark.parametrize(("shift", "number"), [(4, True), (4, False), (1, True)])
def test_two_acquisitions_slice_by_slice_are_no_ct(tmp_path: Path, shift: float, number: bool) -> None:
    assert "holds two scans" in refusal(interleaved(tmp_path / "chest", shift, number))


def test_acquisition_times_tell_two_acquisitions_apart_as_well(tmp_path: Path) -> None:
    folder = interleaved(tmp_path / "chest", 1, number=False)
    for file in folder.iterdir():
        change_slice(file, AcquisitionTime=f"10{file.name[0]}000")
    assert "holds two scans" in refusal(folder)


def test_two_acquisitions_that_overlap_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "chest"
    for which, start in enumerate((0.0, 21.0)):
        write_series(
            folder,
            chest(16),
            places=positions(*(start + np.arange(16) * 2.0)),
            prefix=f"{which}-",
            AcquisitionNumber=which,
        )
    assert "two acquisitions that overlap" in refusal(folder)


@pytest.mark.parametrize("numbers", [range(20), [k // 4 for k in range(20)], [k % 2 for k in range(20)]])
@pytest.mark.parametrize("noise_hu", [10, 60])
def test_one_scan_may_have_many_acquisition_numbers(tmp_path: Path, numbers: list[int], noise_hu: float) -> None:
    hu = chest(20, 64, noise_hu)
    folder = write_series(tmp_path / "chest", hu)
    for file, number in zip(sorted(folder.iterdir()), numbers, strict=True):
        change_slice(file, AcquisitionNumber=number)
    assert np.array_equal(read(folder).array, hu)


def test_a_slice_of_another_scan_is_named(tmp_path: Path) -> None:
    hu = chest(20)
    hu[9] = chest(1, shift=19)[0, ::-1]
    assert "(011.dcm)" in refusal(write_series(tmp_path / "chest", hu))


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_slice_that_lost_its_rescale_is_named(tmp_path: Path, keyword: str) -> None:
    folder = write_series(tmp_path / "chest", chest(20))
    change_slice(folder / "011.dcm", **{keyword: None})
    sentence = refusal(folder)
    assert "011.dcm" in sentence and keyword in sentence


def test_a_slice_on_another_scale_is_named(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "chest", chest(20))
    change_slice(folder / "011.dcm", RescaleIntercept="0")
    assert "(011.dcm)" in refusal(folder)


# Slices that hold nothing


@pytest.mark.parametrize("value", [-1024, 0, 40])
def test_a_slice_of_one_value_between_others_is_named(tmp_path: Path, value: int) -> None:
    hu = chest()
    hu[7] = value
    sentence = refusal(write_series(tmp_path / "chest", hu))
    assert "013.dcm" in sentence and "one value only" in sentence


def test_slices_of_one_value_at_the_end_are_told(tmp_path: Path) -> None:
    hu = chest()
    hu[18:] = -1024
    (warning,) = read(write_series(tmp_path / "chest", hu)).warnings
    assert "002.dcm, 001.dcm" in warning


def test_a_slice_of_which_a_part_is_missing_is_told(tmp_path: Path) -> None:
    hu = chest()
    hu[7, 24:] = -1024
    assert "013.dcm" in refusal(write_series(tmp_path / "half", hu))
    hu = chest()
    hu[7, :10] = -1024
    (warning,) = read(write_series(tmp_path / "little", hu)).warnings
    assert "013.dcm" in warning and "part" in warning
