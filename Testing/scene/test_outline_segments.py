"""Every nodule's outline is a segment; what the user draws there is graded and never overwritten, by any path."""

import drawing
import fakes
import numpy as np
import pytest
import slicer
import slicer.util

from NoduleRiskLib.imaging.outline_labels import on_grid_of
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.panel.job import Job
from NoduleRiskLib.panel.list_words import cells
from NoduleRiskLib.slicer_scene import inputs, outline_segments, results
from NoduleRiskLib.slicer_scene.outline_segments import segment_ids, segmentation_of, tag
from NoduleRiskLib.slicer_scene.segment_voxels import binary_labelmap


def names(node):
    return [node.GetSegmentation().GetSegment(one).GetName() for one in segment_ids(node)]


def notes(logic, ct, points, outlines=None):
    return [cells(nodule)[-1] for nodule in logic.nodules(ct, points, outlines)]


def edited(logic, ct, points, share=0.5):
    """Assess, then erase a part of the first nodule; the segmentation, the segment and its voxels since."""
    logic.assess(ct, points)
    node = segmentation_of(ct, points)
    segment_id = segment_ids(node)[0]
    drawing.erase(node, segment_id, share)
    return node, segment_id, drawing.voxels(node, segment_id)


def assert_as_drawn(node, segment_id, drawn):
    np.testing.assert_array_equal(drawing.voxels(node, segment_id), drawn)


# --- segments from the start


def test_each_nodule_is_a_segment_of_one_segmentation_with_its_points_name_and_snomed_codes(logic, ct, points):
    told = logic.assess(ct, points)
    (node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert node.GetName() == "Nodules on lungs"
    assert names(node) == ["N-1", "N-2", "N-3"]
    logic_of_slicer = slicer.vtkSlicerTerminologiesModuleLogic()
    for mark, segment_id, one in zip(inputs.marks(points), segment_ids(node), told, strict=True):
        assert tag(node, segment_id, outline_segments.POINT) == mark.id
        entry = slicer.vtkSlicerTerminologyEntry()
        text = node.GetSegmentation().GetSegment(segment_id).GetTerminology()
        assert logic_of_slicer.DeserializeTerminologyEntry(text, entry)
        codes = [
            (code.GetCodingSchemeDesignator(), code.GetCodeValue())
            for code in (entry.GetCategoryObject(), entry.GetTypeObject(), entry.GetRegionObject())
        ]
        assert codes == [("SCT", "49755003"), ("SCT", "27925004"), ("SCT", "39607008")]
        inside = drawing.voxels(node, segment_id)
        assert len(inside) * 0.8 * 0.8 * 1.5 == pytest.approx(one.nodule.outline.volume_mm3, rel=0.2)
        assert inside.mean(0) == pytest.approx(mark.point.ras, abs=0.5)


def test_points_of_two_lists_keep_their_outlines_apart(logic, ct, points):
    other = inputs.add_points("Others", [Point("O-1", fakes.PLACES[0])])
    assert inputs.marks(other)[0].id == inputs.marks(points)[0].id, "this test needs equal IDs"
    logic.assess(ct, points)
    logic.assess(ct, other)
    assert names(segmentation_of(ct, points)) == ["N-1", "N-2", "N-3"]
    assert names(segmentation_of(ct, other)) == ["O-1"]


def test_without_nodes_there_are_no_segments(logic, ct, points):
    logic.assess(ct, points, nodes=False)
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []


def test_an_outline_smaller_than_a_voxel_can_be_edited(mrml, logic):
    ct = inputs.add_volume(fakes.lungs(np.diag([4.0, 4.0, 4.0, 1.0]), [(120.0, 120.0, 60.0)]))
    points = inputs.add_points("Nodules", [Point("N-1", (120.0, 120.0, 60.0))])
    volume = inputs.scan(ct).read()
    (one,) = logic.assess(ct, points)
    tiny = fakes.measure(one.nodule.stack, _one_pixel(one))
    assert on_grid_of(volume, tiny.probability).array.sum() == 1


def _one_pixel(one):
    pixels = np.zeros_like(one.nodule.stack.outline)
    pixels[7, 16, 17] = 1.0
    return pixels


# --- the user's


def test_an_edited_segment_is_graded_and_stays_as_it_was_drawn(logic, ct, points):
    before = logic.assess(ct, points)[0].nodule
    node, segment_id = segmentation_of(ct, points), segment_ids(segmentation_of(ct, points))[0]
    drawing.erase(node, segment_id)
    drawn = drawing.voxels(node, segment_id)
    assert [one.state for one in logic.nodules(ct, points)] == ["outdated", "assessed", "assessed"]
    assert notes(logic, ct, points)[0].startswith("outline edited")
    assert "outline was edited" in logic.nodules(ct, points)[0].outdated
    after = logic.assess(ct, points)[0].nodule
    assert (before.outline.drawn_by, after.outline.drawn_by) == ("network", "user")
    assert after.outline.volume_mm3 == pytest.approx(len(drawn) * 0.8 * 0.8 * 1.5, rel=0.15)
    for name in ("malignancy", "diameter"):
        assert after.estimate(name).value < before.estimate(name).value - 0.05
    assert_as_drawn(node, segment_id, drawn)
    assert [one.state for one in logic.nodules(ct, points)] == ["assessed"] * 3
    assert [note.startswith("drawn by you") for note in notes(logic, ct, points)] == [True, False, False]
    assert names(node) == ["N-1", "N-2", "N-3"]


def test_the_point_keeps_its_place_though_the_outlines_middle_is_elsewhere(logic, ct, points):
    edited(logic, ct, points)
    (first, *_) = logic.assess(ct, points)
    assert (first.point.label, first.point.ras) == ("N-1", fakes.PLACES[0])


def test_one_voxel_is_an_edit_and_taken_back_it_is_none(logic, ct, points):
    logic.assess(ct, points)
    node = segmentation_of(ct, points)
    array = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, segment_ids(node)[1])
    at, segment = tuple(np.argwhere(array)[3]), node.GetSegmentation().GetSegment(segment_ids(node)[1])
    for value, states in ((0, ["assessed", "outdated", "assessed"]), (1, ["assessed"] * 3)):
        array[at] = value
        segment.Modified()
        assert [one.state for one in logic.nodules(ct, points)] == states


def _assess_again(logic, ct, points, assessor):
    logic.assess(ct, points)


def _another_model(logic, ct, points, assessor):
    logic.assess(ct, points, package="another")


def _another_ct(logic, ct, points, assessor):
    slicer.util.arrayFromVolume(ct)[0, 0, 0] += 7
    slicer.util.arrayFromVolumeModified(ct)
    logic.assess(ct, points)


def _move_within(logic, ct, points, assessor):
    points.SetNthControlPointPositionWorld(0, *np.add(fakes.PLACES[0], 1.0))
    logic.assess(ct, points)


def _move_out_and_back(logic, ct, points, assessor):
    for place in (fakes.PLACES[1], fakes.PLACES[0]):
        points.SetNthControlPointPositionWorld(0, *place)
        logic.assess(ct, points)


def _rename(logic, ct, points, assessor):
    points.SetNthControlPointLabel(0, "another")
    outline_segments.rename(segmentation_of(ct, points), inputs.marks(points)[0])
    logic.assess(ct, points)


def _remove_the_point(logic, ct, points, assessor):
    points.RemoveNthControlPoint(0)
    outline_segments.withdraw_removed(ct, points, logic.reader)
    logic.assess(ct, points)


def _remove_the_results(logic, ct, points, assessor):
    slicer.mrmlScene.RemoveNode(results.table_of(ct, points))
    logic.assess(ct, points)


def _remove_the_list(logic, ct, points, assessor):
    slicer.mrmlScene.RemoveNode(points)
    outline_segments.remove_ownerless(logic.reader)


def _edit_once_more_during_the_assessment(logic, ct, points, assessor):
    assessor.gate.clear()
    task = logic.start(Job(ct, points, tuple(inputs.marks(points))))
    while not assessor.asked[3:]:
        logic.worker.poll()
    assessor.gate.set()
    while not task.ended:
        logic.worker.poll()


@pytest.mark.parametrize(
    "path",
    [
        _assess_again,
        _another_model,
        _another_ct,
        _move_within,
        _move_out_and_back,
        _rename,
        _remove_the_point,
        _remove_the_results,
        _remove_the_list,
        _edit_once_more_during_the_assessment,
    ],
)
@pytest.mark.parametrize("graded", [False, True], ids=["drawn", "drawn and graded"])
def test_nothing_of_the_users_is_overwritten(logic, ct, points, assessor, path, graded):
    node, segment_id, drawn = edited(logic, ct, points)
    if graded:
        logic.assess(ct, points)
        assessor.asked.clear()
        assessor.asked.extend("123")
    path(logic, ct, points, assessor)
    assert node.GetScene() and node.GetSegmentation().GetSegment(segment_id), "the user's segment is gone"
    assert_as_drawn(node, segment_id, drawn)


def test_an_outline_that_is_edited_while_the_networks_is_graded_stays_and_waits(logic, ct, points, assessor):
    logic.assess(ct, points)
    node = segmentation_of(ct, points)
    points.SetNthControlPointPositionWorld(0, *np.add(fakes.PLACES[0], 0.5))
    assessor.gate.clear()
    task = logic.start(Job(ct, points, tuple(inputs.marks(points)[:1])))
    while not assessor.asked[3:]:
        logic.worker.poll()
    drawing.erase(node, segment_ids(node)[0])
    drawn = drawing.voxels(node, segment_ids(node)[0])
    assessor.gate.set()
    while not task.ended:
        logic.worker.poll()
    assert names(node) == ["N-1", "N-2", "N-3"]
    assert_as_drawn(node, segment_ids(node)[0], drawn)
    assert logic.nodules(ct, points)[0].edited
    assert logic.assess(ct, points)[0].nodule.outline.drawn_by == "user"


def test_a_point_that_is_moved_off_what_was_drawn_gets_an_outline_of_its_own_beside_it(logic, ct, points):
    points.RemoveNthControlPoint(1)
    node, segment_id, drawn = edited(logic, ct, points)
    logic.assess(ct, points)
    points.SetNthControlPointPositionWorld(0, *fakes.PLACES[1])
    first = logic.assess(ct, points)[0].nodule
    assert first.outline.drawn_by == "network"
    assert names(node) == ["N-1", "N-3", "N-1"]
    assert points.GetNumberOfControlPoints() == 2
    assert_as_drawn(node, segment_id, drawn)
    assert drawing.voxels(node, segment_ids(node)[2]).mean(0) == pytest.approx(fakes.PLACES[1], abs=0.5)
    points.SetNthControlPointPositionWorld(0, *fakes.PLACES[0])
    assert logic.assess(ct, points)[0].nodule.outline.drawn_by == "user"
    assert names(node) == ["N-1", "N-3"], "the network's outline of the other place is gone"
    assert_as_drawn(node, segment_id, drawn)


def test_a_nodule_that_is_drawn_elsewhere_stays_that_of_its_point(logic, ct, points):
    logic.assess(ct, points)
    node = segmentation_of(ct, points)
    segment_id = segment_ids(node)[0]
    image = node.GetSegmentation().GetSegment(segment_id).GetRepresentation(binary_labelmap())
    r, a, sup = image.GetOrigin()
    image.SetOrigin(r + 12.0, a, sup)
    drawn = drawing.voxels(node, segment_id)
    assert np.linalg.norm(drawn - fakes.PLACES[0], axis=1).min() > 5
    assert logic.assess(ct, points)[0].nodule.outline.drawn_by == "user"
    assert names(node) == ["N-1", "N-2", "N-3"]
    assert_as_drawn(node, segment_id, drawn)


def test_an_untouched_outline_follows_a_new_assessment_and_keeps_name_and_colour(logic, ct, points):
    logic.assess(ct, points)
    node = segmentation_of(ct, points)
    segment = node.GetSegmentation().GetSegment(segment_ids(node)[0])
    segment.SetName("mine")
    segment.SetColor(1.0, 0.0, 0.0)
    points.SetNthControlPointPositionWorld(0, *np.add(fakes.PLACES[1], 0.4))
    logic.assess(ct, points)
    assert names(node) == ["mine", "N-2", "N-3"]
    assert segment.GetColor() == (1.0, 0.0, 0.0)
    assert drawing.voxels(node, segment_ids(node)[0]).mean(0) == pytest.approx(fakes.PLACES[1], abs=0.5)
    assert [one.state for one in logic.nodules(ct, points)] == ["assessed"] * 3


def test_a_segment_that_the_user_adds_to_the_nodules_is_that_of_the_point_in_it(logic, ct, points):
    logic.assess(ct, points)
    node = segmentation_of(ct, points)
    for segment_id in segment_ids(node)[:1]:
        node.GetSegmentation().RemoveSegment(segment_id)
    other = drawing.segmentation(ct, [("by hand", fakes.PLACES[0], 3.0)])
    node.GetSegmentation().CopySegmentFromSegmentation(other.GetSegmentation(), "Segment_1")
    slicer.mrmlScene.RemoveNode(other)
    told = logic.assess(ct, points)
    assert [one.nodule.outline.drawn_by for one in told] == ["user", "network", "network"]
    assert sorted(names(node)) == ["N-2", "N-3", "by hand"]
