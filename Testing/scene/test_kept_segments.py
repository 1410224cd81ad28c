"""Outlines that the user kept as segments: one per point and list, and what the user edited stays as it is."""

import fakes
import numpy as np
import pytest
import slicer
import slicer.util

from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.slicer_scene import inputs, results
from NoduleRiskLib.slicer_scene.kept_segments import SEGMENTS_ROLE, keep_outline
from NoduleRiskLib.slicer_scene.records import record_of


@pytest.fixture
def ct(mrml):
    return inputs.add_volume(fakes.lungs())


def assess(ct, points):
    volume, marks = inputs.scan(ct).read(), inputs.marks(points)
    for mark, one in zip(marks, fakes.FakeAssessor().assess(volume, [m.point for m in marks]), strict=True):
        results.store(ct, points, mark, record_of(one, volume.digest))


def new_list(ct, place, label="N-1"):
    points = inputs.add_points("Nodules", [Point(label, place)])
    assess(ct, points)
    return points


def keep(ct, points, label="N-1"):
    return keep_outline(ct, results.table_of(ct, points), points, inputs.marks(points)[0].id, label)


def segments(ct):
    """Name of each kept segment, and its voxels (argwhere)."""
    node = ct.GetNodeReference(SEGMENTS_ROLE)
    segmentation = node.GetSegmentation()
    return [
        (
            segmentation.GetNthSegment(n).GetName(),
            np.argwhere(slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, segmentation.GetNthSegmentID(n))),
        )
        for n in range(segmentation.GetNumberOfSegments())
    ]


def edit(ct, n=0):
    node = ct.GetNodeReference(SEGMENTS_ROLE)
    segment_id = node.GetSegmentation().GetNthSegmentID(n)
    voxels = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, segment_id)
    voxels[tuple(np.argwhere(voxels)[0])] = 0
    node.GetSegmentation().GetSegment(segment_id).Modified()


def test_points_of_two_lists_have_a_segment_each(ct):
    first, second = (new_list(ct, place) for place in fakes.PLACES[:2])
    assert inputs.marks(first)[0].id == inputs.marks(second)[0].id, "this test needs equal IDs"
    keep(ct, first)
    keep(ct, second)
    assert [name for name, _ in segments(ct)] == ["N-1", "N-1"]


def test_kept_twice_it_is_there_once(ct):
    points = new_list(ct, fakes.PLACES[0])
    assert keep(ct, points) == keep(ct, points) == ("N-1", False)
    assert len(segments(ct)) == 1


def test_an_unedited_segment_follows_a_new_assessment_and_keeps_name_and_colour(ct):
    points = new_list(ct, fakes.PLACES[0])
    keep(ct, points)
    segment = ct.GetNodeReference(SEGMENTS_ROLE).GetSegmentation().GetNthSegment(0)
    segment.SetName("mine")
    segment.SetColor(1.0, 0.0, 0.0)
    points.SetNthControlPointPositionWorld(0, *fakes.PLACES[1])
    assess(ct, points)
    before = segments(ct)
    assert keep(ct, points) == ("mine", False)
    (after,) = segments(ct)
    assert after[0] == "mine"
    assert not np.array_equal(after[1], before[0][1])
    assert ct.GetNodeReference(SEGMENTS_ROLE).GetSegmentation().GetNthSegment(0).GetColor() == (1.0, 0.0, 0.0)


def test_an_edited_segment_is_never_overwritten(ct):
    points = new_list(ct, fakes.PLACES[0])
    keep(ct, points)
    edit(ct)
    before = segments(ct)[0]
    assert keep(ct, points) == ("N-1 (2)", True)
    assert keep(ct, points) == ("N-1 (2)", True), "the second, which nobody edited, is brought up to date"
    assert [name for name, _ in segments(ct)] == ["N-1", "N-1 (2)"]
    np.testing.assert_array_equal(segments(ct)[0][1], before[1])
    edit(ct, 1)
    assert keep(ct, points) == ("N-1 (3)", True)


def test_what_was_edited_stays_in_a_scene_that_was_saved(ct, tmp_path):
    points = new_list(ct, fakes.PLACES[0])
    keep(ct, points)
    edit(ct)
    path = str(tmp_path / "scene.mrb")
    names = ct.GetName(), points.GetName()
    assert slicer.mrmlScene.WriteToMRB(path)
    assert slicer.mrmlScene.ReadFromMRB(path, True)
    ct, points = (slicer.util.getNode(name) for name in names)
    before = segments(ct)[0]
    assert keep(ct, points) == ("N-1 (2)", True)
    np.testing.assert_array_equal(segments(ct)[0][1], before[1])


def test_a_point_without_outline_gives_no_segment(ct):
    points = new_list(ct, (20.0, -20.0, 15.0))
    assert keep(ct, points) is None
    assert ct.GetNodeReference(SEGMENTS_ROLE) is None
