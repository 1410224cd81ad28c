"""What another viewer would show wrongly, or beside the nodule, if objects were written otherwise than they are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from NoduleRiskLib.dicom import codes
from NoduleRiskLib.dicom.outlines import voxels_of
from NoduleRiskLib.dicom.writing import dicom_objects, write_dicom
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.imaging.dicom_facts import DicomFacts
from NoduleRiskLib.imaging.volume import Array, Volume
from Testing.unit.dicom.made_series import CENTRE, PATIENT, found_in, lps_of, sentences

#: Every flip of a scan's axes, thin slices, and slices or rows that do not run along the patient.
FRAMES = (*(f"flip{a}{b}{c}" for a in "-+" for b in "-+" for c in "-+"), "oblique", "tilted gantry", "thin", "axes120")
SECRETS = ("Müller", "ID-4711", "19601126", "A-99", "Arzt", "101112")


def written(folder: Path, objects: list[Any]) -> dict[str, Any]:
    """Objects written to files and read again, by kind and number."""
    return {path.name.rpartition("-")[0]: pydicom.dcmread(path) for path in write_dicom(folder, objects)}


def mask_of(segmentation: Any, volume: Volume, number: int = 1) -> Array:
    """A segment on the CT's voxels, by nothing but the SOP instance that each frame names as its source."""
    of = {one.sop_uid: k for k, one in (volume.dicom or DicomFacts()).slices.items()}  # type: ignore[union-attr]
    mask = np.zeros(volume.array.shape)
    frames = segmentation.pixel_array.reshape(-1, *volume.array.shape[1:])
    for n, (frame, group) in enumerate(zip(frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True)):
        # Of a single segment all frames tell it together.
        told = group if "SegmentIdentificationSequence" in group else segmentation.SharedFunctionalGroupsSequence[0]
        if told.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        k = of[source.ReferencedSOPInstanceUID]
        mask[k] = frame / segmentation.get("MaximumFractionalValue", 1)
        expected = np.array((volume.dicom or DicomFacts()).slice_at(k).position.split("\\"), float)
        assert np.abs(lps_of(segmentation, n) - expected).max() < 1e-6
    return mask


def pixels_ras(written: Any, frame: int) -> Array:
    """Where the pixels of a frame lie by its own functional groups, RAS mm, shape (rows, columns, 3)."""
    shared = written.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    row_mm, column_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    rows, columns = np.indices((written.Rows, written.Columns))[..., None]
    return (lps_of(written, frame) + columns * cosines[0] * column_mm + rows * cosines[1] * row_mm) * (-1, -1, 1)


def numbers(group: Any) -> dict[str, Any]:
    """The measurements of a group as highdicom reads them, by the meaning of their names."""
    return {one.name.meaning: one for one in group.get_measurements()}


def groups(report: Any) -> list[Any]:
    import highdicom as hd

    return hd.sr.Comprehensive3DSR.from_dataset(report).content.get_volumetric_roi_measurement_groups()


@pytest.mark.parametrize("frame", FRAMES)
def test_an_outline_lies_on_the_nodule_in_every_orientation(
    frame: str, series: Callable[..., Volume], frames: dict[str, Array], out: Path
) -> None:
    volume = series(frames[frame], reverse=frame in ("flip++-", "oblique"))
    one = found_in(volume)
    assert one.nodule is not None
    segmentation = written(out, dicom_objects(volume, [one]))["SEG-1"]
    assert np.array_equal(mask_of(segmentation, volume), one.nodule.mask(volume).array)
    # Read by what it says of itself, without the CT: the ball, where it was painted.
    frames_ = segmentation.pixel_array.reshape(-1, *volume.array.shape[1:])
    inside = np.concatenate([pixels_ras(segmentation, n)[frame > 0] for n, frame in enumerate(frames_)])
    assert np.linalg.norm(inside.mean(0) - CENTRE) < 0.3
    assert abs(np.linalg.norm(inside - CENTRE, axis=1).max() - 6.0) < np.linalg.norm(volume.spacing_mm)
    assert segmentation.FrameOfReferenceUID == volume.dicom.frame_uid  # type: ignore[union-attr]


@pytest.mark.parametrize("frame", ["flip--+", "oblique"])
def test_a_heatmap_keeps_its_values_and_its_place(
    frame: str, series: Callable[..., Volume], frames: dict[str, Array], out: Path
) -> None:
    volume = series(frames[frame])
    one = found_in(volume)
    assert one.nodule is not None
    kept = one.nodule.heatmap("texture")
    (map_,) = [
        read for name, read in written(out, dicom_objects(volume, [one], heatmap="texture")).items() if "PM" in name
    ]
    assert map_.pixel_array.shape == kept.array.shape
    for n, frame in enumerate(map_.pixel_array):
        places = kept.to_ijk(pixels_ras(map_, n))
        i, j, k = np.moveaxis(np.rint(places).astype(int), -1, 0)
        assert np.abs(places - np.rint(places)).max() < 1e-3
        assert np.array_equal(frame, kept.array[k, j, i])
    assert map_.StudyInstanceUID == volume.dicom.study_uid  # type: ignore[union-attr]


def test_no_map_is_written_where_no_heatmap_was_computed(ct: Volume, out: Path) -> None:
    one = found_in(ct)
    assert one.nodule is not None
    bare = replace(one, nodule=replace(one.nodule, heatmaps={}))
    assert sorted(written(out, dicom_objects(ct, [bare]))) == ["SEG-1", "SR-1"]


def test_every_grade_comes_back_to_its_decimals_and_as_a_code(ct: Volume, out: Path) -> None:
    one = found_in(ct)
    assert one.nodule is not None
    files = written(out, dicom_objects(ct, [one], model={"digest": "ab" * 32}))
    (group,) = groups(files["SR-1"])
    found = numbers(group)
    for grade in GRADES:
        estimate = one.nodule.estimate(grade.name)
        name = codes.DIAMETER if grade.name == "diameter" else codes.CONCEPTS[grade.name]
        item = found[name.meaning]
        assert item.value == estimate.value
        reach = {
            str(of.ConceptNameCodeSequence[0].CodeMeaning)[0]: float(of.MeasuredValueSequence[0].FloatingPointValue)
            for of in item[0].ContentSequence
            if of.ValueType == "NUM"
        }
        assert estimate.value + reach["+"] == pytest.approx(estimate.high, abs=1e-12)
        assert estimate.value - reach["-"] == pytest.approx(estimate.low, abs=1e-12)
        assert reach["P"] == estimate.percentile
    coded = {one.name.value: one.value.value for one in group.get_qualitative_evaluations()}
    for grade in codes.CODED:
        assert coded[codes.CONCEPTS[grade.name].value] == codes.value_of(grade, one.nodule).value
    outline = one.nodule.outline
    sizes = (found[name].value for name in ("Volume", "Long Axis", "Short Axis"))
    assert list(sizes) == [outline.volume_mm3, outline.long_axis_mm, outline.short_axis_mm]
    assert found[codes.SUSPICION.meaning].value == one.nodule.suspicion_probability
    assert "not that of cancer" in codes.SUSPICION.meaning
    # The segment that it refers to is there, in the same study.
    segment = group.referenced_segment
    assert segment.referenced_sop_instance_uid == files["SEG-1"].SOPInstanceUID
    assert group.finding_type.value == "27925004" and group.finding_sites[0].value.value == "39607008"
    told = sentences(files["SR-1"])
    assert "SHA-256 " + "ab" * 32 in told and "model package toy@0123456789ab" in told


def test_calcification_is_a_pattern_or_absent_whatever_the_mean_of_its_codes(ct: Volume) -> None:
    one = found_in(ct).nodule
    assert one is not None
    grade = GRADES[6]
    assert codes.value_of(grade, one).value == "RID5827"
    absent = replace(one, calcification=replace(one.calcification, presence=0.2))
    assert codes.value_of(grade, absent).value == "RID28473"


@pytest.mark.parametrize("grade", codes.CODED, ids=lambda grade: grade.name)
def test_every_step_of_a_grade_has_a_code_of_its_own(grade: Any) -> None:
    assert len(set(codes.VALUES[grade.name])) == len(grade.words)
    for code in (*codes.VALUES[grade.name], codes.CONCEPTS[grade.name]):
        assert len(code.meaning) <= 64 and len(code.value) <= 16 and len(code.scheme) <= 16


def test_the_report_says_where_the_user_pointed_and_which_image_is_the_middle(
    ct: Volume, ct_folder: Path, out: Path
) -> None:
    one = found_in(ct)
    report = written(out, dicom_objects(ct, [one]))["SR-1"]
    (group,) = groups(report)
    items = {str(item.ConceptNameCodeSequence[0].CodeValue): item for item in group[0].ContentSequence}
    point = np.array(items["point"].GraphicData, float)
    assert np.abs(point * (-1, -1, 1) - one.point.ras).max() < 1e-4
    assert one.image is not None
    middle = items["middle-slice"].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert middle == one.image.sop_uid and one.image.series_number == "3"
    file = next(read for read in map(pydicom.dcmread, ct_folder.iterdir()) if read.SOPInstanceUID == middle)
    assert one.image.number == file.InstanceNumber
    assert abs(float(file.ImagePositionPatient[2]) - CENTRE[2]) <= ct.spacing_mm[2] / 2 + 1e-6


def test_an_outline_that_the_user_drew_is_told_as_such(ct: Volume, out: Path) -> None:
    one = found_in(ct)
    assert one.nodule is not None
    drawn = replace(one, nodule=replace(one.nodule, outline=replace(one.nodule.outline, drawn_by="user")))
    for assessment, kind, by in ((one, "SEMIAUTOMATIC", "network"), (drawn, "MANUAL", "user")):
        files = written(out / by, dicom_objects(ct, [assessment]))
        assert files["SEG-1"].SegmentSequence[0].SegmentAlgorithmType == kind
        (group,) = groups(files["SR-1"])
        coded = {one.name.value: one.value.value for one in group.get_qualitative_evaluations()}
        assert coded["outline-by"] == by
        assert any("drew" in text for text in sentences(files["SR-1"])) is (by == "user")


def test_the_same_input_has_the_same_uids_and_a_nodule_keeps_its_own(ct: Volume) -> None:
    one = found_in(ct)
    assert one.nodule is not None
    twice = [[str(written.SOPInstanceUID) for written in dicom_objects(ct, [one])] for _ in range(2)]
    assert twice[0] == twice[1] and len(set(twice[0])) == 3
    changed = replace(one, nodule=replace(one.nodule, suspicion_probability=0.1))
    for other in (
        dicom_objects(ct, [changed]),
        dicom_objects(ct, [one], anonymous=True),
        dicom_objects(ct, [found_in(ct, radius_mm=5.0)]),
    ):
        assert not set(twice[0]) & {str(written.SOPInstanceUID) for written in other}
    # The package's hash is written, so that it is content; the map does not name it.
    hashed = [str(written.SOPInstanceUID) for written in dicom_objects(ct, [one], model={"digest": "ab" * 32})]
    assert [mine == other for mine, other in zip(twice[0], hashed, strict=True)] == [False, True, False]
    edited = found_in(ct, radius_mm=5.0)
    names = [
        groups(dicom_objects(ct, of)[-1])[n].tracking_uid
        for of, n in (([one], 0), ([edited], 0), ([found_in(ct, "other", shift=4.0), one], 1))
    ]
    assert len(set(names)) == 1
    assert groups(dicom_objects(ct, [replace(one, tracking_uid="1.2.3")])[-1])[0].tracking_uid == "1.2.3"
    alike = groups(dicom_objects(ct, [one, one])[-1])
    assert alike[0].tracking_uid == names[0] != alike[1].tracking_uid


def test_outlines_that_overlap_lie_in_objects_of_their_own(ct: Volume, out: Path) -> None:
    apart = [found_in(ct, "left", 2.5, np.array([-6.0, 0, 0])), found_in(ct, "right", 2.5, np.array([6.0, 0, 0]))]
    over = found_in(ct, "over both", 5.0)
    files = written(out, dicom_objects(ct, [*apart, over]))
    places = [("SEG-1", 1), ("SEG-1", 2), ("SEG-2", 1)]
    for one, (name, number), group in zip([*apart, over], places, groups(files["SR-1"]), strict=True):
        assert one.nodule is not None
        assert np.array_equal(mask_of(files[name], ct, number), one.nodule.mask(ct).array)
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == files[name].SOPInstanceUID
        assert segment[0].ReferencedSOPSequence[0].ReferencedSegmentNumber == number
        assert files[name].SegmentSequence[number - 1].SegmentLabel == one.point.label


def test_fractions_are_kept_to_a_step(ct: Volume, out: Path) -> None:
    one = found_in(ct)
    assert one.nodule is not None
    files = written(out, dicom_objects(ct, [one], fractional=True))
    expected = np.zeros(ct.array.shape)
    voxels = voxels_of(ct, one.nodule, fractional=True)
    expected[voxels.box] = voxels.values
    assert 0.2 < expected[(expected > 0.1) & (expected < 0.9)].mean() < 0.8
    assert np.abs(mask_of(files["SEG-1"], ct) - expected).max() < 0.6 / 255


def test_an_outline_that_holds_no_voxels_centre_keeps_one_voxel(
    series: Callable[..., Volume], frames: dict[str, Array], out: Path
) -> None:
    thick = series(frames["thick"], 20.0)
    one = found_in(thick)
    assert one.nodule is not None
    grid = one.nodule.outline.probability
    speck = replace(grid, array=np.zeros_like(grid.array))
    tiny = replace(one, nodule=replace(one.nodule, outline=replace(one.nodule.outline, probability=speck)))
    mask = mask_of(written(out, dicom_objects(thick, [tiny]))["SEG-1"], thick)
    assert mask.sum() == 1
    k, j, i = np.argwhere(mask)[0]
    assert np.abs(thick.to_ijk(CENTRE) - (i, j, k)).max() < 0.6


@pytest.mark.parametrize("anonymous", [False, True])
def test_names_are_the_studys_own_or_left_out(anonymous: bool, ct: Volume, out: Path) -> None:
    for name, read in written(out, dicom_objects(ct, [found_in(ct)], anonymous=anonymous)).items():
        text = next(out.glob(f"{name}-*.dcm")).read_bytes().decode("utf-8", "replace")
        assert [secret in text for secret in SECRETS] == [not anonymous] * len(SECRETS), name
        assert read.StudyInstanceUID == ct.dicom.study_uid  # type: ignore[union-attr]
        if not anonymous:
            assert (read.PatientName, read.PatientID) == (PATIENT["PatientName"], PATIENT["PatientID"])
            assert (read.AccessionNumber, read.StudyDate) == (PATIENT["AccessionNumber"], PATIENT["StudyDate"])


def test_a_study_that_names_nobody_gives_objects_that_name_nobody(
    series: Callable[..., Volume], frames: dict[str, Array], out: Path
) -> None:
    volume = series(frames["flip--+"], **dict.fromkeys(("PatientName", "PatientID", "StudyDate", "AccessionNumber")))
    for read in written(out, dicom_objects(volume, [found_in(volume)])).values():
        assert not (read.PatientName or read.PatientID or read.StudyDate or read.AccessionNumber)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ct: replace(ct, dicom=None), "was not read from DICOM"),
        (lambda ct: replace(ct, dicom=replace(ct.dicom, frame_uid="")), "FrameOfReferenceUID"),
        (lambda ct: replace(ct, dicom=replace(ct.dicom, slices={0: ct.dicom.slices[0]})), "SOPInstanceUID"),
        (lambda ct: replace(ct, ijk_to_ras=ct.ijk_to_ras + _shift(2.0)), "away from"),
        (lambda ct: replace(ct, ijk_to_ras=ct.ijk_to_ras @ np.diag([1, -1, 1, 1])), "away from"),
    ],
)
def test_a_ct_that_no_object_can_refer_to_is_told_in_one_sentence(
    change: Callable[[Volume], Volume], words: str, ct: Volume
) -> None:
    with pytest.raises(NoduleRiskError, match=words) as refused:
        dicom_objects(change(ct), [found_in(ct)])
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


def test_what_is_missing_is_named(ct: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoduleRiskError, match="no nodule"):
        dicom_objects(ct, [replace(found_in(ct), nodule=None)])
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(NoduleRiskError, match=r"NoduleRisk\[dicom\]"):
        dicom_objects(ct, [found_in(ct)])


def _shift(mm: float) -> Array:
    matrix = np.zeros((4, 4))
    matrix[0, 3] = mm
    return matrix
