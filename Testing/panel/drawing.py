"""What a user does to segments, for tests."""

import numpy as np
import slicer
import slicer.util
import vtk
import vtk.util.numpy_support

from NoduleRiskLib.slicer_scene import inputs, outline_segments
from NoduleRiskLib.slicer_scene.segment_voxels import binary_labelmap


def voxels(node, segment_id):
    """Where (world RAS mm, rounded) a segment's voxels are, through Slicer's own conversion."""
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segment_id, image)
    matrix, extent = vtk.vtkMatrix4x4(), image.GetExtent()
    image.GetImageToWorldMatrix(matrix)
    columns, rows, slices = image.GetDimensions()
    values = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(slices, rows, columns)
    ijk = np.argwhere(values)[:, ::-1] + np.array(extent[::2])
    to_world = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(node.GetParentTransformNode(), None, to_world)
    place = slicer.util.arrayFromVTKMatrix(to_world) @ slicer.util.arrayFromVTKMatrix(matrix)
    return np.round(ijk @ place[:3, :3].T + place[:3, 3], 2) + 0.0


def erase(node, segment_id, share=0.5):
    """Erase the first of a segment's voxels, as an effect of the Segment Editor does."""
    node.GetSegmentation().SeparateSegmentLabelmap(segment_id)
    array = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, segment_id)
    inside = np.argwhere(array)
    array[tuple(inside[: round(share * len(inside))].T)] = 0
    node.GetSegmentation().GetSegment(segment_id).GetRepresentation(binary_labelmap()).Modified()


def segmentation(ct, balls, name="Segmentation", spacing_mm=None, one_layer=False):
    """A segmentation as another tool makes it: balls, (name, world RAS mm, radius mm) each.

    On the CT's grid, or on one of its own along R, A and S; with a label map for each segment, or one for all.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    scan = inputs.scan(ct)
    to_ras, shape = scan.ijk_to_ras, scan.voxels.shape
    if spacing_mm:
        ends = np.array([to_ras[:3, 3], (to_ras @ [*(np.array(shape[::-1]) - 1), 1])[:3]])
        shape = tuple(np.ceil(np.ptp(ends, axis=0) / spacing_mm).astype(int)[::-1])
        to_ras = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
        to_ras[:3, 3] = ends.min(0)
    k, j, i = np.mgrid[tuple(map(slice, shape))]
    ras = np.stack([i, j, k], -1) @ to_ras[:3, :3].T + to_ras[:3, 3]
    image = None
    for number, (label, place, radius) in enumerate(balls, 1):
        inside = np.linalg.norm(ras - np.array(place), axis=-1) < radius
        value = number if one_layer else 1
        if image is None or not one_layer:
            image = slicer.vtkOrientedImageData()
            image.SetDimensions(*shape[::-1])
            image.AllocateScalars(vtk.VTK_SHORT, 1)
            image.GetPointData().GetScalars().Fill(0)
            image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(to_ras))
        values = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
        values[inside] = value
        segment = slicer.vtkSegment()
        segment.SetName(label)
        segment.SetLabelValue(value)
        segment.AddRepresentation(binary_labelmap(), image)
        node.GetSegmentation().AddSegment(segment, f"Segment_{number}")
    return node


def everything_of(node):
    """All that a segmentation holds, to be compared."""
    segmentation = node.GetSegmentation()
    return {
        segment_id: (
            segmentation.GetSegment(segment_id).GetName(),
            segmentation.GetSegment(segment_id).GetColor(),
            outline_segments.tag(node, segment_id, outline_segments.POINT),
            segmentation.GetSegment(segment_id).GetTerminology(),
            voxels(node, segment_id).tolist(),
        )
        for segment_id in outline_segments.segment_ids(node)
    }
