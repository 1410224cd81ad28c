"""What a radiologist would lose if a report that NoduleRisk wrote came back with other grades, sizes or names."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from NoduleRiskLib.dicom.reading import read_assessments
from NoduleRiskLib.dicom.writing import dicom_objects, write_dicom
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging import interpolated
from NoduleRiskLib.imaging.inputs import as_points
from NoduleRiskLib.imaging.segmentation_files import read as read_segments
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.results.assessment import Assessment
from Testing.unit.dicom.made_series import CENTRE, LAYOUT, found_in


@pytest.fixture(scope="module")
def written(ct: Volume, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Assessment]]:
    """Two nodules, one whose outline the user drew and whose calcification is absent."""
    first, second = found_in(ct, "upper lobe; größer"), found_in(ct, "b", 3.0, np.array([-9.0, -9.0, 6.0]))
    assert second.nodule is not None
    nodule = replace(
        second.nodule,
        outline=replace(second.nodule.outline, drawn_by="user"),
        calcification=replace(second.nodule.calcification, presence=0.1),
        solid_part=None,
    )
    both = [first, replace(second, nodule=nodule)]
    folder = tmp_path_factory.mktemp("written")
    write_dicom(folder, dicom_objects(ct, both, model={"digest": "ab" * 32}))
    return folder, both


def file_of(folder: Path, kind: str) -> Path:
    (found,) = folder.glob(f"{kind}-*.dcm")
    return found


def refusal(path: Path, volume: Volume) -> str:
    with pytest.raises(NoduleRiskError) as refused:
        read_assessments(path, volume, LAYOUT)
    sentence = str(refused.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def test_what_was_written_comes_back(ct: Volume, written: tuple[Path, list[Assessment]], out: Path) -> None:
    folder, both = written
    for path in (folder, file_of(folder, "SR")):
        found = read_assessments(path, ct, LAYOUT)
        assert len(found) == len(both)
        for one, expected in zip(found, both, strict=True):
            assert_equal(one, expected, ct)
    # Written once more, a nodule has the same identity.
    again = dicom_objects(ct, found)
    uids = [one.tracking_uid for one in found]
    # Nor does what is said of it grow from round to round.
    write_dicom(out / "again", again)
    for one, before in zip(read_assessments(out / "again", ct, LAYOUT), found, strict=True):
        assert sorted(warning.text for warning in one.warnings) == sorted(warning.text for warning in before.warnings)
    assert len(set(uids)) == 2
    assert [str(one.TrackingUID) for one in again[0].SegmentSequence] == uids


def test_of_interpolated_slices_those_come_back_that_were_graded(
    ct: Volume, written: tuple[Path, list[Assessment]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpolated, "is_interpolated", lambda volume: volume is ct)
    layout = replace(LAYOUT, step_mm=None)
    assert layout.min_step_mm < interpolated.APART_MM
    for one in read_assessments(written[0], ct, layout):
        assert one.nodule is not None
        stack = one.nodule.stack
        assert stack.layout.min_step_mm == interpolated.APART_MM
        assert (stack.step_mm[stack.valid] > interpolated.APART_MM - 1e-3).all()


def assert_equal(one: Assessment, expected: Assessment, ct: Volume) -> None:
    assert one.point.label == expected.point.label and one.image == expected.image
    # 3-D places are written in single precision.
    assert np.allclose(one.point.ras, expected.point.ras, atol=1e-4)
    assert one.doubts == expected.doubts and one.model_id == expected.model_id
    assert {warning.text for warning in expected.warnings} <= {warning.text for warning in one.warnings}
    mine, theirs = one.nodule, expected.nodule
    assert mine is not None and theirs is not None
    for a, b in zip(mine.estimates, theirs.estimates, strict=True):
        assert a.grade == b.grade
        assert np.allclose((a.value, a.low, a.high, a.percentile), (b.value, b.low, b.high, b.percentile), rtol=1e-12)
    assert mine.calcification == theirs.calcification and mine.suspicion_probability == theirs.suspicion_probability
    assert mine.outline.drawn_by == theirs.outline.drawn_by
    for size in ("diameter_mm", "long_axis_mm", "short_axis_mm", "volume_mm3"):
        assert getattr(mine.outline, size) == getattr(theirs.outline, size)
    voxels = mine.mask(ct).array > 0, theirs.mask(ct).array > 0
    assert (voxels[0] & voxels[1]).sum() > 0.8 * (voxels[0] | voxels[1]).sum()
    if theirs.solid_part is None:
        assert mine.solid_part is None
    else:
        assert mine.solid_part is not None
        assert mine.solid_part.diameter_mm == theirs.solid_part.diameter_mm
        assert mine.solid_part.volume_mm3 == theirs.solid_part.volume_mm3
    assert mine.stack.layout == LAYOUT


def test_nodules_keep_their_identity_when_they_are_graded_again(
    ct: Volume, written: tuple[Path, list[Assessment]]
) -> None:
    folder, both = written
    points = as_points(file_of(folder, "SR"), ct)
    segments = read_segments(file_of(folder, "SEG"), ct)
    expected = [str(one.TrackingUID) for one in pydicom.dcmread(file_of(folder, "SEG")).SegmentSequence]
    assert [one.tracking_uid for one in points] == [one.tracking_uid for one in segments] == expected
    assert [one.label for one in points] == [one.label for one in segments] == [one.point.label for one in both]
    assert np.allclose(points[0].ras, CENTRE + 0.3, atol=1e-3)


def test_reports_that_are_not_this_cts_are_refused(
    ct: Volume, written: tuple[Path, list[Assessment]], tmp_path: Path
) -> None:
    folder, _ = written
    assert ct.dicom is not None
    other = replace(ct, dicom=replace(ct.dicom, study={"PatientID": "somebody else"}))
    assert "another patient" in refusal(folder, other)
    other = replace(ct, dicom=replace(ct.dicom, frame_uid="1.2.3"))
    assert "another scan" in refusal(folder, other)
    assert "no structured reports" in refusal(tmp_path, ct)
    report = Path(shutil.copy(file_of(folder, "SR"), tmp_path))
    assert "put both into one folder" in refusal(tmp_path, ct)
    shutil.copy(report, tmp_path / "another.dcm")
    assert "2 structured reports" in refusal(tmp_path, ct)


@pytest.mark.parametrize("part", ["suspicion", "118565006", "112039", "pattern"])
def test_a_report_that_lacks_something_is_told_in_one_sentence(
    ct: Volume, written: tuple[Path, list[Assessment]], tmp_path: Path, part: str
) -> None:
    folder, _ = written
    shutil.copy(file_of(folder, "SEG"), tmp_path)
    report = pydicom.dcmread(file_of(folder, "SR"))
    without(report, part)
    report.save_as(tmp_path / "SR-1.dcm")
    sentence = refusal(tmp_path, ct)
    assert ("not written by NoduleRisk" if part == "suspicion" else "cannot be read as a report") in sentence


def without(item: Any, part: str) -> None:
    """Take every content item of that name out."""
    if "ContentSequence" in item:
        item.ContentSequence = [one for one in item.ContentSequence if one.ConceptNameCodeSequence[0].CodeValue != part]
        for one in item.ContentSequence:
            without(one, part)


def test_a_report_that_is_not_there_is_told(ct: Volume, tmp_path: Path) -> None:
    for path in (tmp_path / "none.dcm", tmp_path / "none" / "report.dcm"):
        with pytest.raises(NoduleRiskError, match="does not exist"):
            read_assessments(path, ct)
