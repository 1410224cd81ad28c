"""What a radiologist would lose if an outline drawn elsewhere came in at another place, or under another name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from made_objects import segmentation, source_images

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.segment import Segment
from NoduleRiskLib.imaging.segmentation_files import MOST_SEGMENTS, as_segments, read
from NoduleRiskLib.imaging.simpleitk_images import to_image
from NoduleRiskLib.imaging.volume import Array, Volume

#: An oblique grid: nothing passes because an axis was the same.
SPACING = np.diag([0.8, 0.9, 2.5])
TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def grid(matrix: Array = TURN @ SPACING) -> Volume:
    ijk_to_ras = np.eye(4)
    ijk_to_ras[:3, :3], ijk_to_ras[:3, 3] = matrix, (-31.0, 12.5, -140.0)
    return Volume(np.zeros((12, 40, 50), np.uint8), ijk_to_ras, "labels")


#: Two nodules: k, j, i of a voxel of each.
BALLS = {1: (5, 12, 14), 4: (7, 28, 33)}


def balls(volume: Volume, radius_mm: float = 5.0) -> Array:
    labels = np.zeros(volume.array.shape, np.uint8)
    places = volume.to_ras(np.stack(np.indices(labels.shape)[::-1], -1))
    for value, (k, j, i) in BALLS.items():
        labels[np.linalg.norm(places - volume.to_ras(np.array([i, j, k])), axis=-1) < radius_mm] = value
    return labels


def centre(segment: Segment) -> Array:
    k, j, i = np.nonzero(segment.mask.array)
    return np.asarray(segment.mask.to_ras(np.stack([i, j, k], -1)).mean(0))


def assert_balls(segments: list[Segment], volume: Volume, labels: Array) -> None:
    assert len(segments) == len(BALLS)
    for segment, (value, (k, j, i)) in zip(segments, BALLS.items(), strict=True):
        assert np.linalg.norm(centre(segment) - volume.to_ras(np.array([i, j, k]))) < 1.5
        assert segment.mask.array.sum() == (labels == value).sum()


@pytest.mark.parametrize("name", ["labels.nrrd", "labels.nii.gz", "labels.mha"])
def test_every_label_of_a_label_map_is_a_segment_at_its_place(tmp_path: Path, name: str) -> None:
    volume = grid()
    labels = balls(volume)
    image = to_image(Volume(labels, volume.ijk_to_ras))
    sitk.WriteImage(image, str(tmp_path / name))
    segments = read(tmp_path / name)
    assert [one.label for one in segments] == ["segment 1", "segment 4"]
    assert_balls(segments, volume, labels)
    assert_balls(as_segments(image), volume, labels)
    assert_balls(as_segments(Volume(labels.astype(np.float32), volume.ijk_to_ras)), volume, labels)


def test_slicers_segments_keep_their_names_and_overlap(tmp_path: Path) -> None:
    volume = grid()
    labels = balls(volume)
    # Slicer puts overlapping segments into layers, the fastest axis of the file.
    layers = np.stack([(labels == 1).astype(np.uint8) * 2, (labels > 0).astype(np.uint8)], -1)
    image = sitk.GetImageFromArray(layers, isVector=True)
    image.CopyInformation(to_image(Volume(labels, volume.ijk_to_ras)))
    for key, value in {
        "Segment0_Name": "upper lobe",
        "Segment0_LabelValue": "2",
        "Segment0_Layer": "0",
        "Segment1_Name": "both; größer",
        "Segment1_LabelValue": "1",
        "Segment1_Layer": "1",
    }.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(tmp_path / "Segmentation.seg.nrrd"))
    first, second = read(tmp_path / "Segmentation.seg.nrrd")
    assert (first.label, second.label) == ("upper lobe", "both; größer")
    assert first.mask.array.sum() == (labels == 1).sum() and second.mask.array.sum() == (labels > 0).sum()
    k, j, i = BALLS[1]
    assert np.linalg.norm(centre(first) - volume.to_ras(np.array([i, j, k]))) < 1.5


def test_a_dicom_segmentation_is_read_at_its_place_and_under_its_names(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="pip install highdicom to read DICOM SEG")
    volume = grid(np.diag([-0.8, -0.9, 2.5]))
    labels = balls(volume)
    names = {"upper lobe": 1, "lingula": 4}
    made = segmentation(volume, {name: labels == value for name, value in names.items()})
    made.save_as(tmp_path / "seg.dcm")
    segments = read(tmp_path / "seg.dcm")
    assert [one.label for one in segments] == ["upper lobe", "lingula"]
    assert_balls(segments, volume, labels)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((6, 6, 6), np.uint8), "holds no segment"),
        (np.linspace(0, 1, 216, dtype=np.float32).reshape(6, 6, 6), "whole numbers"),
        (np.arange(-50, 166, dtype=np.int16).reshape(6, 6, 6), "the CT itself"),
        (np.arange(1331, dtype=np.int16).reshape(11, 11, 11), f"{1331:,} values"),
    ],
    ids=["empty", "probabilities", "HU", "too many"],
)
def test_what_is_no_segmentation_is_told_in_one_sentence(tmp_path: Path, values: Array, words: str) -> None:
    assert len(np.unique(values)) <= 1331 > MOST_SEGMENTS
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "labels.nrrd"))
    with pytest.raises(NoduleRiskError, match=words):
        read(tmp_path / "labels.nrrd")


def test_a_damaged_header_costs_a_name_and_no_outline(tmp_path: Path) -> None:
    image = to_image(Volume(balls(grid()), grid().ijk_to_ras))
    for number, value in enumerate(("1", "four")):
        image.SetMetaData(f"Segment{number}_Name", f"N-{number}")
        image.SetMetaData(f"Segment{number}_LabelValue", value)
    sitk.WriteImage(image, str(tmp_path / "mine.seg.nrrd"))
    assert [one.label for one in read(tmp_path / "mine.seg.nrrd")] == ["N-0", "segment 4"]


@pytest.mark.parametrize("last", [65535, 65536, 2**31, 2**32 - 1])
@pytest.mark.parametrize("background", [True, False])
def test_labels_may_be_any_numbers(last: int, background: bool) -> None:
    labels = np.full((4, 6, 8), 0 if background else 7, np.uint32)
    labels[1:3, 2:4, 3:6], labels[0, 0, :2] = last, 3
    found = {one.label: one for one in as_segments(Volume(labels, np.eye(4)))}
    assert set(found) == {"segment 3", f"segment {last}"} | (set() if background else {"segment 7"})
    for value in (3, last):
        assert found[f"segment {value}"].mask.array.sum() == (labels == value).sum()
    assert np.allclose(centre(found[f"segment {last}"]), (4, 2.5, 1.5))


def test_segments_without_a_voxel_are_named() -> None:
    full, empty = Volume(np.ones((3, 3, 3), np.uint8), np.eye(4)), Volume(np.zeros((3, 3, 3), np.uint8), np.eye(4))
    with pytest.raises(NoduleRiskError, match="B: nothing is drawn there"):
        as_segments([Segment("A", full), Segment("B", empty)])
    with pytest.raises(NoduleRiskError, match="holds no segment"):
        as_segments([])


def test_other_files_are_refused_by_what_they_are(tmp_path: Path) -> None:
    image = source_images(grid())[0]
    image.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    (tmp_path / "text.txt").write_text("no segmentation")
    (tmp_path / "broken.nrrd").write_bytes(b"NRRD0004\ntype: short\n")
    for name, words in (
        ("ct.dcm", "modality CT, neither SEG nor RTSTRUCT"),
        ("text.txt", "is no DICOM file"),
        ("broken.nrrd", "cannot be read"),
        ("nowhere.nrrd", "does not exist"),
    ):
        with pytest.raises(NoduleRiskError, match=words):
            read(tmp_path / name)
    for value in (5, [1, 2], None):
        with pytest.raises(NoduleRiskError, match="is not a segmentation"):
            as_segments(value)
