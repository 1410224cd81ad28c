"""What a reader would be shown wrongly as similar: other nodules, the nodule itself, or what malignancy picked."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import OTHER_GRADES
from NoduleRiskLib.similar import reference_set
from NoduleRiskLib.similar.reference_set import (
    ATTRIBUTION,
    ReferenceSet,
    compared,
    read_reference_set,
    write_reference_set,
)


def like(reference: ReferenceSet, index: int) -> np.ndarray:
    one = reference.nodules[index]
    return compared(one.grades, one.calcified)


def test_the_nearest_come_first_with_their_distance(reference: ReferenceSet) -> None:
    found = reference.nearest(like(reference, 1))
    assert [one.name for one in found] == ["P2_0", "P1_0", "P3_0", "P4_0", "P4_1"]
    # All grades rise by equal steps, and so do distances: seven steps have a deviation of two.
    assert [one.distance for one in found] == pytest.approx([0, 0.5, 0.5, 1, 1.5])
    assert found[0] == replace(reference.nodules[1], distance=found[0].distance)


def test_what_readers_said_of_malignancy_chooses_nothing(reference: ReferenceSet) -> None:
    """Otherwise their malignancy would only repeat the estimate."""
    others = [
        (replace(one, malignancy=(5,), grades={**one.grades, "malignancy": 5.0}), one.name) for one in reference.nodules
    ]
    changed = ReferenceSet(others)
    for index in range(len(others)):
        names = [[one.name for one in some.nearest(like(reference, index))] for some in (reference, changed)]
        assert names[0] == names[1]


@pytest.mark.parametrize("grade", [one.name for one in OTHER_GRADES])
def test_every_other_grade_counts(reference: ReferenceSet, grade: str) -> None:
    one = reference.nodules[2]
    moved = {**one.grades, grade: one.grades[grade] + 1.0}
    values = compared(moved, one.calcified + 0.2 * (grade == "calcification"))
    assert reference.nearest(values)[0].distance > 0


def test_a_patients_own_nodules_are_left_out(reference: ReferenceSet) -> None:
    assert reference.patient_of("1.2.4") == "P4" and reference.patient_of("") == reference.patient_of("1.2.99") == ""
    names = [one.name for one in reference.nearest(like(reference, 3), without=reference.patient_of("1.2.4"))]
    assert len(names) == 5 and not {"P4_0", "P4_1"} & set(names)


def test_what_was_written_is_read_and_the_licence_lies_beside_the_pictures(
    reference: ReferenceSet, tmp_path: Path
) -> None:
    series = ["1.2.1", "1.2.2", "1.2.3", "1.2.4", "1.2.4", "1.2.5", "1.2.6"]
    pictures = {one.name: reference.picture(one.name) or b"" for one in reference.nodules}
    assert all(picture.startswith(b"\xff\xd8") for picture in pictures.values())
    again = tmp_path / "again.zip"
    write_reference_set(again, list(zip(reference.nodules, series, strict=True)), pictures)
    assert again.read_bytes() == reference_set.FILE.read_bytes()
    assert read_reference_set(again).nodules == reference.nodules
    with zipfile.ZipFile(again) as file:
        assert file.read("LICENCE.txt").decode().strip() == ATTRIBUTION
    for part in ("LIDC-IDRI", "Armato et al. 2011", "10.7937/K9/TCIA.2015.LO9QL9SX", "CC BY 3.0", "changed"):
        assert part in ATTRIBUTION
    assert reference.picture("P9_9") is None


def test_a_file_that_cannot_be_read_is_one_sentence(reference: ReferenceSet, tmp_path: Path) -> None:
    whole = reference_set.FILE.read_bytes()
    broken = {"cut": whole[: len(whole) // 2], "empty": b""}
    for name, table in {"newer": '{"format": 99}', "other": "[]", "lacking": '{"format": 1, "nodules": [{}]}'}.items():
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("nodules.json", table)
        broken[name] = (tmp_path / name).read_bytes()
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(NoduleRiskError, match="update it" if name == "newer" else "is damaged"):
            read_reference_set(tmp_path / name)


def test_without_the_file_there_is_no_reference_set() -> None:
    assert reference_set.shipped() is None


def test_a_damaged_file_takes_pictures_away_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "damaged.zip").write_bytes(b"no zip")
    monkeypatch.setattr(reference_set, "FILE", tmp_path / "damaged.zip")
    for one in (reference_set.shipped, reference_set.shipped_pictures):
        one.cache_clear()
    with pytest.raises(NoduleRiskError, match="is damaged"):
        reference_set.shipped()
    # Results that are drawn again show what they hold.
    assert reference_set.shipped_pictures() is None
    for one in (reference_set.shipped, reference_set.shipped_pictures):
        one.cache_clear()
