"""From a point to a heatmap and back, through real nodes: all lies where the nodule lies, however the scan lies."""

import fakes
import numpy as np
import pytest
import slicer
import slicer.util
import vtk

import NoduleRisk
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.mosaic import mosaic
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.slicer_scene import display, inputs, outline_segments, results, segment_voxels

VOXEL_IJK = np.array([40.0, 22.0, 14.0, 1.0])


def _about_the_middle(axes):
    """A matrix with these axes whose middle voxel lies near the origin."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = -matrix[:3, :3] @ (32, 32, 16) + (3.0, -5.0, 7.0)
    return matrix


MATRICES = {
    **{
        "".join("-+"[sign > 0] for sign in (x, y, z)): _about_the_middle(np.diag([0.8 * x, 0.7 * y, 1.5 * z]))
        for x in (-1, 1)
        for y in (-1, 1)
        for z in (-1, 1)
    },
    "oblique": _about_the_middle(np.array([[0.6, -0.3, 0.2], [0.3, 0.6, 0.1], [-0.2, -0.1, 1.1]])),
}


def _transform(x, y, z, degrees=0.0):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform = vtk.vtkTransform()
    transform.Translate(x, y, z)
    transform.RotateZ(degrees)
    node.SetMatrixTransformToParent(transform.GetMatrix())
    return node, slicer.util.arrayFromVTKMatrix(transform.GetMatrix())


@pytest.mark.parametrize("moved", ["nothing", "volume", "points", "both"])
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_heatmap_outline_and_numbers_lie_where_the_nodule_lies(mrml, matrix, moved):
    place = (matrix @ VOXEL_IJK)[:3]
    ct = inputs.add_volume(fakes.lungs(matrix, [place]))
    points = inputs.add_points("Nodules", [])
    world = place
    if moved in ("volume", "both"):
        node, to_world = _transform(12.5, -4.0, 6.0, 20.0)
        ct.SetAndObserveTransformNodeID(node.GetID())
        world = (to_world @ [*place, 1])[:3]
    if moved in ("points", "both"):
        points.SetAndObserveTransformNodeID(_transform(-30.0, 8.0, 2.0, -35.0)[0].GetID())
    beside = world + np.array([1.0, -1.0, 0.5])
    points.AddControlPointWorld(vtk.vtkVector3d(*beside), "N-1")

    logic = NoduleRisk.NoduleRiskLogic(lambda package, device: fakes.FakeAssessor())
    (told,) = logic.assess(ct, points)

    # voxel and mosaic
    assert inputs.scan(ct).read().to_ijk(world) == pytest.approx(VOXEL_IJK[:3], abs=1e-6)
    nearest = np.argmin(
        np.linalg.norm(told.nodule.stack.pixels_ras() - world, axis=-1) + 1e6 * ~told.nodule.stack.valid[:, None, None]
    )
    assert told.nodule.stack.pixels.flat[nearest] > 0
    assert mosaic(told.nodule.stack).max() > 0
    # heatmap and outline, as nodes in world coordinates
    table = results.table_of(ct, points)
    mark = inputs.marks(points)[0]
    heatmap = display.show_heatmap(ct, table, mark.id, "malignancy", 0.5, 0.2)
    assert heatmap.GetParentTransformNode() is None
    strongest = np.argwhere(slicer.util.arrayFromVolume(heatmap) > 0.9)[:, ::-1].mean(0)
    to_ras = vtk.vtkMatrix4x4()
    heatmap.GetIJKToRASMatrix(to_ras)
    assert (slicer.util.arrayFromVTKMatrix(to_ras) @ [*strongest, 1])[:3] == pytest.approx(world, abs=1.0)
    segmentation = outline_segments.segmentation_of(ct, points)
    (segment_id,) = outline_segments.segment_ids(segmentation)
    assert segmentation.GetSegmentCenterRAS(segment_id) == pytest.approx(world, abs=1.0)
    voxels = logic.reader.read(segmentation, segment_id, segment_voxels.to_world(segmentation, ct))
    assert voxels.middle_ras() == pytest.approx(world, abs=1.0)
    ijk = inputs.scan(ct).read().to_ijk(voxels.middle_ras())
    assert ijk == pytest.approx(np.rint(ijk), abs=1e-6), "it does not lie on the CT's grid"
    # numbers
    row = results.rows(table)[mark.id]
    assert [row.columns[axis] for axis in "ras"] == pytest.approx(beside, abs=1e-6)
    assert row.columns["diameter"] == pytest.approx(2 * fakes.RADIUS_MM, abs=1.2)


def test_a_bent_volume_is_refused_instead_of_misplaced(mrml):
    ct = inputs.add_volume(fakes.lungs())
    ct.SetAndObserveTransformNodeID(mrml.AddNewNodeByClass("vtkMRMLBSplineTransformNode").GetID())
    bent = vtk.vtkBSplineTransform()
    ct.GetParentTransformNode().SetAndObserveTransformToParent(bent)
    with pytest.raises(NoduleRiskError, match="lies under a non-linear transform"):
        inputs.scan(ct)


def test_an_empty_volume_is_refused_in_one_sentence(mrml):
    with pytest.raises(NoduleRiskError, match="choose a chest CT"):
        inputs.scan(mrml.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))


def test_a_point_that_is_still_carried_by_the_mouse_is_no_point(mrml):
    points = inputs.add_points("Nodules", [Point("N-1", (1, 2, 3))])
    points.AddControlPointWorld(vtk.vtkVector3d(4, 5, 6), "N-2")
    points.UnsetNthControlPointPosition(1)
    assert [mark.point.label for mark in inputs.marks(points)] == ["N-1"]


def test_looking_at_a_ct_copies_no_voxel(mrml):
    ct = inputs.add_volume(fakes.lungs())
    assert np.shares_memory(inputs.scan(ct).voxels, slicer.util.arrayFromVolume(ct))
    assert np.shares_memory(inputs.scan(ct).read().array, slicer.util.arrayFromVolume(ct))
