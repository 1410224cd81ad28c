"""What a radiologist would lose if contours were filled at another place, or another patient's were taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_objects import PATIENT, as_bytes, ball, contours, lps, made_ct, segmentation, structure_set

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.segment import Segment
from NoduleRiskLib.imaging.segmentation_files import read
from NoduleRiskLib.imaging.volume import Array, Volume

AXIAL = np.diag([-0.7, -0.7, 2.0])


def on_grid(volume: Volume, segment: Segment) -> Array:
    """A segment's voxels on the CT's grid, bool."""
    kji = np.argwhere(segment.mask.array)
    ijk = volume.to_ijk(segment.mask.to_ras(kji[:, ::-1]))
    assert np.abs(ijk - np.rint(ijk)).max() < 1e-2
    found = np.zeros(volume.array.shape, bool)
    found[tuple(np.rint(ijk).astype(int)[:, ::-1].T)] = True
    return found


def written(folder: Path, dataset: object) -> Path:
    file = folder / "object.dcm"
    file.write_bytes(as_bytes(dataset))
    return file


def refusal(path: Path, volume: Volume | None, only: tuple[str, ...] = ()) -> str:
    with pytest.raises(NoduleRiskError) as refused:
        read(path, volume, only)
    sentence = str(refused.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def test_contours_become_the_voxels_around_which_they_were_drawn(tmp_path: Path, frame: Array) -> None:
    volume = made_ct(frame)
    balls = {"upper lobe": ball(volume, (5, 12, 14), 6.0), "größer; β": ball(volume, (8, 25, 29), 4.0)}
    file = written(tmp_path, structure_set({name: contours(volume, one) for name, one in balls.items()}))
    segments = read(file, volume)
    assert [one.label for one in segments] == list(balls)
    for segment, expected in zip(segments, balls.values(), strict=True):
        assert expected.sum() > 20 and np.array_equal(on_grid(volume, segment), expected)


def test_what_lies_within_another_contour_is_a_hole(tmp_path: Path) -> None:
    volume = made_ct(AXIAL)
    shell = ball(volume, (6, 20, 20), 9.0) & ~ball(volume, (6, 20, 20), 4.0)
    (segment,) = read(written(tmp_path, structure_set({"cavity": contours(volume, shell)})), volume)
    assert np.array_equal(on_grid(volume, segment), shell)


def test_slices_that_were_left_out_between_contours_leave_no_gap(tmp_path: Path) -> None:
    volume = made_ct(AXIAL)
    whole = ball(volume, (6, 20, 20), 9.0)
    every_other = whole & (np.arange(len(whole)) % 2 == 0)[:, None, None]
    (segment,) = read(written(tmp_path, structure_set({"GTV": contours(volume, every_other)})), volume)
    assert np.array_equal(on_grid(volume, segment), every_other)
    assert segment.mask.spacing_mm[2] == pytest.approx(4.0) and segment.mask.array.any((1, 2)).all()


def test_a_contour_between_the_slices_stays_there(tmp_path: Path) -> None:
    volume = made_ct(AXIAL)
    square = np.array([[10, 10], [10, 20], [20, 20], [20, 10]])
    planes = [("CLOSED_PLANAR", lps(volume, np.column_stack([square, np.full(4, k)]))) for k in (3.5, 4.0, 4.5)]
    (segment,) = read(written(tmp_path, structure_set({"a": planes})), volume)
    k, j, i = np.argwhere(segment.mask.array).T
    middle = volume.to_ijk(segment.mask.to_ras(np.stack([i, j, k], -1)).mean(0))
    assert np.allclose(middle, (14.5, 14.5, 4.0), atol=0.51) and len(segment.mask.array) == 3


def test_regions_are_chosen_by_name_and_organs_are_told_apart(tmp_path: Path) -> None:
    volume = made_ct(np.diag([-7.0, -7.0, 5.0]))
    body = np.zeros(volume.array.shape, bool)
    body[:, 2:-2, 2:-2] = True
    nodule = ball(volume, (6, 20, 20), 15.0)
    file = written(
        tmp_path, structure_set({"Body": contours(volume, body), "GTV 1": contours(volume, nodule), "none": []})
    )
    assert [one.label for one in read(file, volume, ("GTV 1",))] == ["GTV 1"]
    sentence = refusal(file, volume)
    assert "Body" in sentence and "--segment NAME" in sentence and "GTV 1" in sentence
    assert "no segment GTV 2: choose of Body, GTV 1, none" in refusal(file, volume, ("GTV 2",))
    assert "holds no segment" in refusal(file, volume, ("none",))


def test_segments_are_chosen_by_name(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="pip install highdicom to read DICOM SEG")
    volume = made_ct(AXIAL)
    balls = {"a": ball(volume, (5, 12, 14), 6.0), "b": ball(volume, (8, 25, 29), 4.0)}
    file = written(tmp_path, segmentation(volume, balls))
    (segment,) = read(file, volume, ("b",))
    assert segment.label == "b" and np.array_equal(on_grid(volume, segment), balls["b"])
    assert "choose of a, b" in refusal(file, volume, ("c",))


def test_contours_across_the_slices_are_refused(tmp_path: Path) -> None:
    volume = made_ct(AXIAL)
    sagittal = np.array([[10, 10, 3], [10, 20, 3], [10, 20, 8], [10, 10, 8]])
    file = written(tmp_path, structure_set({"a": [("CLOSED_PLANAR", lps(volume, sagittal))]}))
    assert "across" in refusal(file, volume)
    planes = [np.array([[10, 10, k], [10, 20, k], [20, 20, k]]) for k in (3.0, 4.0, 5.5)]
    file = written(tmp_path, structure_set({"a": [("CLOSED_PLANAR", lps(volume, one)) for one in planes]}))
    assert "do not lie evenly" in refusal(file, volume)
    assert "give the CT with it" in refusal(file, None)


@pytest.mark.parametrize("kind", ["SEG", "RTSTRUCT"])
def test_outlines_of_another_patient_or_scan_are_refused(tmp_path: Path, kind: str) -> None:
    if kind == "SEG":
        pytest.importorskip("highdicom", reason="pip install highdicom to read DICOM SEG")
    volume = made_ct(AXIAL)
    nodule = ball(volume, (6, 20, 20), 5.0)
    made = segmentation(volume, {"a": nodule}) if kind == "SEG" else structure_set({"a": contours(volume, nodule)})
    file = written(tmp_path, made)
    sentence = refusal(file, made_ct(AXIAL, patient="P-18"))
    assert "another patient" in sentence and PATIENT not in sentence
    assert "another scan" in refusal(file, made_ct(AXIAL, frame_uid="1.2.3"))
    # A CT that does not say whose it is (NRRD, say) is trusted, as before.
    for unknown in (made_ct(AXIAL, "", ""), volume):
        assert len(read(file, unknown)) == 1


def test_damaged_contours_are_told_in_one_sentence(tmp_path: Path) -> None:
    volume = made_ct(AXIAL)
    good = contours(volume, ball(volume, (6, 20, 20), 5.0))
    for data in ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], [0.0] * 3 * 20_001):
        file = written(tmp_path, structure_set({"a": [*good, ("CLOSED_PLANAR", data)]}))
        refusal(file, volume)
    made = structure_set({"a": good})
    del made.StructureSetROISequence
    assert "cannot be read as a DICOM RTSTRUCT" in refusal(written(tmp_path, made), volume)
