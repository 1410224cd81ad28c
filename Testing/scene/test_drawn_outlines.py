"""Outlines that other tools drew: graded where a point lies in them, given a point where none does, never changed."""

import drawing
import fakes
import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from test_geometry import MATRICES, VOXEL_IJK

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging import outline
from NoduleRiskLib.slicer_scene import drawn_outlines, inputs
from NoduleRiskLib.slicer_scene.outline_segments import segment_ids, segmentation_of

FIRST, SECOND, THIRD = fakes.PLACES


def whose(told):
    return [(one.point.label, one.nodule.outline.drawn_by) for one in told]


@pytest.mark.parametrize("spacing_mm", [None, 0.6])
@pytest.mark.parametrize("one_layer", [False, True], ids=["a layer each", "one layer"])
def test_points_are_graded_at_the_segments_they_lie_in_and_segments_without_get_one(
    logic, ct, points, spacing_mm, one_layer
):
    points.RemoveNthControlPoint(2)
    balls = [("tumour", np.add(FIRST, 0.5), 3.0), ("apex", THIRD, 4.0)]
    chosen = drawing.segmentation(ct, balls, "TotalSegmentator", spacing_mm, one_layer)
    before = drawing.everything_of(chosen)
    told = logic.assess(ct, points, outlines=chosen)
    assert whose(told) == [("N-1", "user"), ("N-2", "network"), ("apex", "user")]
    assert [one.nodule.outline.diameter_mm for one in told] == pytest.approx([6.0, 9.8, 8.0], abs=0.7)
    assert told[2].point.ras == pytest.approx(THIRD, abs=1.0)
    assert [one.state for one in logic.nodules(ct, points, chosen)] == ["assessed"] * 3
    assert logic.nodules(ct, points, chosen)[0].outline[0] == chosen.GetID()
    logic.assess(ct, points, outlines=chosen)
    assert points.GetNumberOfControlPoints() == 3
    assert drawing.everything_of(chosen) == before
    node = segmentation_of(ct, points)
    assert [node.GetSegmentation().GetSegment(one).GetName() for one in segment_ids(node)] == ["N-2"]


def test_the_console_grades_a_segmentation_without_any_point(logic, ct):
    chosen = drawing.segmentation(ct, [("A", FIRST, 4.0), ("B", SECOND, 5.0)])
    told = logic.assess(ct, outlines=chosen)
    assert whose(told) == [("A", "user"), ("B", "user")]


def test_chosen_outlines_make_their_nodules_outdated_and_others_again_when_none_is_chosen(logic, ct, points):
    logic.assess(ct, points)
    chosen = drawing.segmentation(ct, [("A", FIRST, 3.0)])
    assert [one.edited for one in logic.nodules(ct, points, chosen)] == [True, False, False]
    logic.assess(ct, points, outlines=chosen)
    assert [one.state for one in logic.nodules(ct, points, chosen)] == ["assessed"] * 3
    assert [one.edited for one in logic.nodules(ct, points)] == [True, False, False]
    assert whose(logic.assess(ct, points))[0] == ("N-1", "network")


def test_a_chosen_outline_goes_before_what_was_edited_and_that_stays(logic, ct, points):
    logic.assess(ct, points)
    node = segmentation_of(ct, points)
    drawing.erase(node, segment_ids(node)[0])
    edited = drawing.voxels(node, segment_ids(node)[0])
    chosen = drawing.segmentation(ct, [("A", FIRST, 3.0)])
    told = logic.assess(ct, points, outlines=chosen)
    assert told[0].nodule.outline.diameter_mm == pytest.approx(6.0, abs=0.7)
    np.testing.assert_array_equal(drawing.voxels(node, segment_ids(node)[0]), edited)
    told = logic.assess(ct, points)
    assert told[0].nodule.outline.drawn_by == "user"
    assert told[0].nodule.outline.volume_mm3 == pytest.approx(len(edited) * 0.96, rel=0.15)


def test_a_point_that_the_user_removed_is_not_put_back(logic, ct, points):
    points.RemoveAllControlPoints()
    chosen = drawing.segmentation(ct, [("A", FIRST, 3.0), ("B", SECOND, 3.0)])
    assert logic.give_points(ct, points, chosen) == 2
    points.RemoveNthControlPoint(0)
    assert logic.give_points(ct, points, chosen) == 0
    assert [mark.point.label for mark in inputs.marks(points)] == ["B"]


def test_a_point_of_the_users_own_that_they_removed_is_not_put_back_either(logic, ct, points):
    chosen = drawing.segmentation(ct, [("A", FIRST, 3.0)])
    assert logic.give_points(ct, points, chosen) == 0
    points.RemoveNthControlPoint(0)
    assert logic.give_points(ct, points, chosen) == 0
    assert [mark.point.label for mark in inputs.marks(points)] == ["N-2", "N-3"]


@pytest.mark.parametrize("text", ["no list", "7", "[{}]"])
def test_an_edited_note_of_given_points_stops_nothing(logic, ct, points, text):
    points.RemoveAllControlPoints()
    points.SetAttribute(drawn_outlines.GIVEN, text)
    assert logic.give_points(ct, points, drawing.segmentation(ct, [("A", FIRST, 3.0)])) == 1


def test_a_crescents_point_lies_in_it(logic, ct, points):
    points.RemoveAllControlPoints()
    chosen = drawing.segmentation(ct, [("moon", FIRST, 9.0)])
    array = slicer.util.arrayFromSegmentInternalBinaryLabelmap(chosen, "Segment_1")
    ball = drawing.segmentation(ct, [("hole", np.add(FIRST, (3, 0, 0)), 8.0)])
    array[slicer.util.arrayFromSegmentInternalBinaryLabelmap(ball, "Segment_1") > 0] = 0
    chosen.GetSegmentation().GetSegment("Segment_1").Modified()
    logic.give_points(ct, points, chosen)
    (mark,) = inputs.marks(points)
    assert np.linalg.norm(drawing.voxels(chosen, "Segment_1") - mark.point.ras, axis=1).min() < 0.01


def test_what_can_be_no_nodule_is_left_out_in_a_sentence_and_stops_no_other(logic, ct, points, monkeypatch, caplog):
    monkeypatch.setattr(drawn_outlines, "LARGEST_MM", 15.0)
    chosen = drawing.segmentation(ct, [("lung", (0, 0, 0), 12.0), ("A", FIRST, 3.0)], "organs")
    far = drawing.segmentation(inputs.add_volume(fakes.lungs(np.diag([1.0, 1, 1, 1]))), [("far", (60, 60, 20), 3.0)])
    chosen.GetSegmentation().CopySegmentFromSegmentation(far.GetSegmentation(), "Segment_1")
    chosen.GetSegmentation().AddEmptySegment("nothing", "nothing")
    told = logic.assess(ct, points, outlines=chosen)
    assert whose(told) == [("N-1", "user"), ("N-2", "network"), ("N-3", "network")]
    assert caplog.messages == [f"NoduleRisk: {one}" for one in logic.left_out]
    wide, outside = logic.left_out
    assert "wider than any nodule" in wide and "lung" in wide and "organs" in wide
    assert "outside this CT: far" in outside


def test_a_closed_surface_is_not_turned_into_voxels_but_told(logic, ct, points):
    chosen = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(4.0)
    sphere.SetCenter(*FIRST)
    sphere.Update()
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    chosen.GetSegmentation().SetSourceRepresentationName(name)
    segment = slicer.vtkSegment()
    segment.SetName("S")
    segment.AddRepresentation(name, sphere.GetOutput())
    chosen.GetSegmentation().AddSegment(segment, "S")
    assert {one.state for one in logic.nodules(ct, points, chosen)} == {"new"}
    assert "not made of voxels" in logic.left_out[0]


def test_one_outline_that_cannot_be_graded_stops_no_other_nodule(logic, ct, points, monkeypatch):
    chosen = drawing.segmentation(ct, [("A", FIRST, 3.0)])
    monkeypatch.setattr(fakes, "users_outline", _refuse)
    with pytest.raises(NoduleRiskError, match="lies between"):
        logic.assess(ct, points, outlines=chosen)
    assert [one.state for one in logic.nodules(ct, points, chosen)] == ["new", "assessed", "assessed"]


def _refuse(volume, mask):
    raise NoduleRiskError("N-1 lies between the CT's slices: draw it on at least one of them.")


@pytest.mark.parametrize("matrix", ["--+", "oblique"])
@pytest.mark.parametrize("moved", ["segmentation", "both"])
def test_a_segment_is_graded_where_it_is_seen(mrml, logic, matrix, moved):
    place = (MATRICES[matrix] @ VOXEL_IJK)[:3]
    ct = inputs.add_volume(fakes.lungs(MATRICES[matrix], [place]))
    shift = vtk.vtkTransform()
    shift.RotateZ(20.0)
    shift.Translate(6.0, -4.0, 2.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(shift.GetMatrix())
    to_world = slicer.util.arrayFromVTKMatrix(shift.GetMatrix())
    seen = (to_world @ [*place, 1])[:3] if moved == "both" else place
    drawn_at = place if moved == "both" else (np.linalg.inv(to_world) @ [*place, 1])[:3]
    chosen = drawing.segmentation(ct, [("A", drawn_at, 4.0)], spacing_mm=0.7)
    chosen.SetAndObserveTransformNodeID(transform.GetID())
    if moved == "both":
        ct.SetAndObserveTransformNodeID(transform.GetID())
    (one,) = logic.assess(ct, outlines=chosen)
    assert one.nodule.outline.drawn_by == "user"
    assert one.nodule.outline.centre_ras == pytest.approx(seen, abs=0.7)
    assert one.nodule.outline.diameter_mm == pytest.approx(8.0, abs=0.9)


def test_a_bent_segmentation_is_refused_in_a_sentence(logic, ct, points):
    chosen = drawing.segmentation(ct, [("A", FIRST, 3.0)])
    bent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    bent.SetAndObserveTransformToParent(vtk.vtkBSplineTransform())
    chosen.SetAndObserveTransformNodeID(bent.GetID())
    with pytest.raises(NoduleRiskError, match="Segmentation lies under a non-linear transform"):
        logic.assess(ct, points, outlines=chosen)


def test_the_limits_are_those_of_the_library():
    segmentation = pytest.importorskip("NoduleRiskLib.networks.segmentation")
    assert (drawn_outlines.NEAR_MM, drawn_outlines.LARGEST_MM) == (segmentation.REACH_MM, outline.LARGEST_MM)
