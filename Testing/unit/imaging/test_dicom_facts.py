"""What a report would get wrong, or tell of a patient, if headers were kept otherwise than they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from NoduleRiskLib.imaging.dicom_facts import DicomFacts, facts
from NoduleRiskLib.imaging.reading import read
from Testing.unit.imaging.made_scans import change_slice, write_series


@pytest.mark.parametrize(
    ("header", "age"),
    [
        ({"PatientAge": "064Y"}, 64.0),
        ({"PatientAge": " 64Y "}, 64.0),
        ({"PatientAge": "018M", "PatientBirthDate": "20190101", "StudyDate": "20200630"}, 1.0),
        ({"PatientBirthDate": "19601127", "StudyDate": "20261126"}, 65.0),
        ({"PatientBirthDate": "19601126", "StudyDate": "20261126"}, 66.0),
        ({"PatientAge": "000Y"}, None),
        ({"PatientAge": "", "PatientBirthDate": "1960", "StudyDate": "20261126"}, None),
        ({"PatientBirthDate": "20300101", "StudyDate": "20261126"}, None),
        ({}, None),
    ],
)
def test_age_is_that_at_the_study(header: dict[str, str], age: float | None) -> None:
    assert facts(header).age_years == age


@pytest.mark.parametrize(("written", "sex"), [("F", "female"), ("m ", "male"), ("O", ""), ("", ""), (None, "")])
def test_sex_is_one_of_two_words_or_unknown(written: str | None, sex: str) -> None:
    assert facts({"PatientSex": written}).sex == sex


def test_a_pydicom_dataset_is_a_header() -> None:
    header = Dataset()
    header.PatientAge, header.PatientSex, header.SliceThickness = "064Y", "F", "1.25"
    assert facts(header) == DicomFacts(64.0, "female", thickness_mm=1.25, slices={})


def test_what_is_damaged_is_not_told() -> None:
    header = {"SeriesNumber": "<b>3</b>", "StudyDate": "2020", "SliceThickness": "thin", "ConvolutionKernel": "B\n30"}
    found = facts(header, [{"InstanceNumber": "12.5", "SOPInstanceUID": "1.2.<x>"}])
    assert (found.series_number, found.study_date, found.thickness_mm, found.kernel) == ("", "", None, "B?30")
    assert (
        found.slice_at(0) == found.slice_at(99) and found.slice_at(0).number is None and not found.slice_at(0).sop_uid
    )


def test_each_slice_keeps_its_own_image_number_and_uid(tmp_path: Path) -> None:
    told: dict[str, Any] = {"PatientAge": "061Y", "PatientSex": "M", "SeriesNumber": 3, "StudyDate": "20260102"}
    folder = write_series(tmp_path / "chest", **told)
    # Numbers that run neither with the files' names nor with the places.
    numbers = {file.name: n for n, file in zip((5, 1, 8, 2, 7, 3, 6, 4), sorted(folder.iterdir()), strict=True)}
    for name, number in numbers.items():
        change_slice(folder / name, InstanceNumber=number)
    volume = read(folder)
    assert volume.dicom is not None
    assert (volume.dicom.age_years, volume.dicom.sex, volume.dicom.series_number) == (61.0, "male", "3")
    for file in folder.iterdir():
        image = pydicom.dcmread(file)
        place = np.array(image.ImagePositionPatient, float) * (-1, -1, 1)
        found = volume.dicom.slice_at(volume.to_ijk(place)[2])
        assert (found.number, found.sop_uid) == (numbers[file.name], image.SOPInstanceUID)


def test_nothing_that_is_kept_says_who_the_patient_is(tmp_path: Path) -> None:
    told = {"PatientID": "ID-4711", "PatientBirthDate": "19601126", "StudyDate": "20261126"}
    volume = read(write_series(tmp_path / "chest", **told))
    assert volume.dicom is not None and volume.dicom.age_years == 66.0
    assert not any(word in repr(volume.dicom) + repr(volume.identity) for word in ("Doe", "ID-4711", "19601126"))
