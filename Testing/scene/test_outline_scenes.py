"""Outlines as segments in scenes that are saved, moved and taken apart: names, frames, removed nodes."""

import drawing
import fakes
import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from test_acquisition_transform import SLICES, put_under_grid
from test_geometry import MATRICES, VOXEL_IJK

from NoduleRiskLib.slicer_scene import inputs, outline_segments, results
from NoduleRiskLib.slicer_scene.outline_segments import segment_ids, segmentation_of
from NoduleRiskLib.slicer_scene.segment_voxels import to_world


def names(node):
    return [node.GetSegmentation().GetSegment(one).GetName() for one in segment_ids(node)]


def edited(logic, ct, points, share=0.5):
    """Assess, then erase a part of the first nodule; the segmentation, the segment and its voxels since."""
    logic.assess(ct, points)
    node = segmentation_of(ct, points)
    segment_id = segment_ids(node)[0]
    drawing.erase(node, segment_id, share)
    return node, segment_id, drawing.voxels(node, segment_id)


# --- names


def test_a_segment_follows_its_points_name_unless_the_user_renamed_it(logic, ct, points):
    logic.assess(ct, points)
    node = segmentation_of(ct, points)
    node.GetSegmentation().GetSegment(segment_ids(node)[1]).SetName("apex")
    for n, name in enumerate(("a:b|c", "second", "third")):
        points.SetNthControlPointLabel(n, name)
        outline_segments.rename(node, inputs.marks(points)[n])
    assert names(node) == ["a:b|c", "apex", "third"]
    assert [mark.point.label for mark in inputs.marks(points)] == ["a:b|c", "second", "third"]


# --- saved scenes, frames


@pytest.mark.parametrize("matrix", ["+++", "--+", "oblique"])
@pytest.mark.parametrize("moved", [False, True], ids=["", "moved"])
def test_a_saved_scene_knows_what_was_edited_and_what_was_not(mrml, logic, matrix, moved, tmp_path):
    places = [(MATRICES[matrix] @ np.add(VOXEL_IJK, (0, shift, 0, 0)))[:3] for shift in (0, 22)]
    ct = inputs.add_volume(fakes.lungs(MATRICES[matrix], places))
    points = inputs.add_points("Nodules", [])
    world = np.eye(4)
    if moved:
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        turned = vtk.vtkTransform()
        turned.Translate(11.3, -4.0, 6.0)
        turned.RotateZ(20.0)
        transform.SetMatrixTransformToParent(turned.GetMatrix())
        ct.SetAndObserveTransformNodeID(transform.GetID())
        world = slicer.util.arrayFromVTKMatrix(turned.GetMatrix())
    for n, place in enumerate(places):
        points.AddControlPointWorld(vtk.vtkVector3d(*(world @ [*place, 1])[:3]), f"a:b|{n}")
    node, *_ = edited(logic, ct, points)
    logic.assess(ct, points)
    drawn, untouched = (drawing.voxels(node, one) for one in segment_ids(node))
    path, ids = str(tmp_path / "scene.mrb"), segment_ids(node)
    assert slicer.mrmlScene.WriteToMRB(path)
    assert slicer.mrmlScene.ReadFromMRB(path, True)
    logic.forget_scene()
    ct, points = slicer.util.getNode("lungs"), slicer.util.getNode("Nodules")
    node = segmentation_of(ct, points)
    assert segment_ids(node) == ids and names(node) == ["a:b|0", "a:b|1"]
    np.testing.assert_allclose(drawing.voxels(node, ids[0]), drawn, atol=0.02)
    found = logic.nodules(ct, points)
    assert [one.state for one in found] == ["assessed", "assessed"]
    assert [bool(one.outline) for one in found] == [True, False]
    assert [one.row.by_user for one in found] == [True, False]
    told = logic.assess(ct, points)
    assert [one.nodule.outline.drawn_by for one in told] == ["user", "network"]
    np.testing.assert_allclose(drawing.voxels(node, ids[0]), drawn, atol=0.02)
    np.testing.assert_allclose(drawing.voxels(node, ids[1]), untouched, atol=0.02)
    drawing.erase(node, ids[1], 0.1)
    assert [one.edited for one in logic.nodules(ct, points)] == [False, True]


def test_outlines_that_are_moved_with_the_ct_are_nobodys_drawing(logic, ct, points):
    logic.assess(ct, points)
    node = segmentation_of(ct, points)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = vtk.vtkTransform()
    shift.Translate(5.0, 0.0, 0.0)
    transform.SetMatrixTransformToParent(shift.GetMatrix())
    for one in (ct, points, node):
        one.SetAndObserveTransformNodeID(transform.GetID())
    assert [bool(one.outline) for one in logic.nodules(ct, points)] == [False] * 3
    told = logic.assess(ct, points)
    assert [one.nodule.outline.drawn_by for one in told] == ["network"] * 3
    assert drawing.voxels(node, segment_ids(node)[0]).mean(0) == pytest.approx(
        np.add(fakes.PLACES[0], (5, 0, 0)), abs=0.5
    )


def test_a_ct_under_slicers_acquisition_transform_is_outlined_and_graded_where_it_lies(logic, ct, points):
    put_under_grid(ct, 0.14 * np.sin(2.1 * np.arange(SLICES)))
    node, segment_id, _ = edited(logic, ct, points)
    first = logic.assess(ct, points)[0].nodule.outline
    assert first.drawn_by == "user"
    voxels = logic.reader.read(node, segment_id, to_world(node, ct))
    assert first.centre_ras == pytest.approx(voxels.middle_ras(), abs=1.0)
    assert [one.state for one in logic.nodules(ct, points)] == ["assessed"] * 3


# --- removed things


def test_a_removed_point_takes_its_untouched_outline_along_and_no_other(logic, ct, points):
    node, segment_id, _ = edited(logic, ct, points)
    points.RemoveAllControlPoints()
    outline_segments.withdraw_removed(ct, points, logic.reader)
    assert segment_ids(node) == [segment_id]
    assert logic.give_points(ct, points) == 0, "a removed point comes back"


def test_a_point_that_is_put_on_what_was_drawn_again_is_graded_there(logic, ct, points):
    edited(logic, ct, points)
    points.RemoveAllControlPoints()
    outline_segments.withdraw_removed(ct, points, logic.reader)
    points.AddControlPointWorld(vtk.vtkVector3d(*fakes.PLACES[1]), "elsewhere")
    points.AddControlPointWorld(vtk.vtkVector3d(*fakes.PLACES[0]), "again")
    told = logic.assess(ct, points)
    assert [one.nodule.outline.drawn_by for one in told] == ["network", "user"]


def test_another_points_id_brings_it_no_outline_of_a_removed_one(logic, ct, points):
    edited(logic, ct, points)
    ids = [mark.id for mark in inputs.marks(points)]
    slicer.mrmlScene.RemoveNode(results.table_of(ct, points))
    for n, place in enumerate((fakes.PLACES[2], fakes.PLACES[1], fakes.PLACES[0])):
        points.SetNthControlPointPositionWorld(n, *place)
    assert [mark.id for mark in inputs.marks(points)] == ids
    told = logic.assess(ct, points)
    assert told[0].nodule.outline.drawn_by == "network"
    assert told[0].nodule.outline.centre_ras == pytest.approx(fakes.PLACES[2], abs=0.5)


def test_another_points_id_brings_it_no_outline_that_was_set_aside(logic, ct, points):
    node, segment_id, drawn = edited(logic, ct, points)
    mark = inputs.marks(points)[0]
    outline_segments.set_aside(node, segment_id, mark)
    assert outline_segments.points_set_aside(node) == {mark.id: segment_id}
    assert logic.nodules(ct, points)[0].aside
    points.RemoveNthControlPoint(0)
    outline_segments.withdraw_removed(ct, points, logic.reader)
    assert outline_segments.points_set_aside(node) == {}
    np.testing.assert_array_equal(drawing.voxels(node, segment_id), drawn)
    points.AddControlPointWorld(vtk.vtkVector3d(20, -20, 15), "elsewhere")
    assert not any(one.aside or one.outline for one in logic.nodules(ct, points))


def test_a_removed_list_takes_its_untouched_outlines_along(logic, ct, points):
    logic.assess(ct, points)
    slicer.mrmlScene.RemoveNode(points)
    outline_segments.remove_ownerless(logic.reader)
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []


def test_a_removed_segmentation_loses_no_grade_and_comes_with_the_next_assessment(logic, ct, points):
    edited(logic, ct, points)
    logic.assess(ct, points)
    slicer.mrmlScene.RemoveNode(segmentation_of(ct, points))
    assert [one.state for one in logic.nodules(ct, points)] == ["outdated", "assessed", "assessed"]
    assert results.rows(results.table_of(ct, points))[inputs.marks(points)[0].id].by_user
    told = logic.assess(ct, points)
    assert [one.nodule.outline.drawn_by for one in told] == ["network"] * 3
    assert names(segmentation_of(ct, points)) == ["N-1", "N-2", "N-3"]


def test_a_removed_drawing_is_outdated_and_the_network_outlines_again(logic, ct, points):
    node, segment_id, _ = edited(logic, ct, points)
    logic.assess(ct, points)
    node.GetSegmentation().RemoveSegment(segment_id)
    assert logic.nodules(ct, points)[0].state == "outdated"
    assert logic.assess(ct, points)[0].nodule.outline.drawn_by == "network"
    assert sorted(names(node)) == ["N-1", "N-2", "N-3"]
