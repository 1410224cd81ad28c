"""Outlines that the user keeps as segments: from then on they are the user's, and what was edited is never replaced."""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from .display import OUTLINE_RGB, binary_labelmap, outline_labelmap
from .inputs import Node

#: Role of the CT's reference to the segmentation, and tag of a segment: what was put into it.
SEGMENTS_ROLE, KEPT = "noduleRiskHeatmapNodules", "NoduleRisk.kept"
#: The same voxels lie closer than this, though their place is kept with few digits.
SAME_PLACE_MM = 0.05


def keep_outline(ct: Node, table: Node, points: Node, point_id: str, name: str) -> tuple[str, bool] | None:
    """Add a nodule's outline to the CT's segmentation of kept nodules, or bring an unedited one up to date.

    Parameters
    ----------
    ct, table, points : nodes
    point_id : str
        The point's ID, which is unique in its list only.
    name : str
        What a new segment is called.

    Returns
    -------
    name : str
        The segment's name.
    beside : bool
        Whether the segment that was there was edited since, so that the outline was added beside it.

    ``None`` if there is no outline.
    """
    outline = outline_labelmap(table, point_id)
    if outline is None:
        return None
    node = ct.GetNodeReference(SEGMENTS_ROLE) or _new_segmentation(ct)
    for number in itertools.count(1):
        segment_id = f"{points.GetID()}_{point_id}" + (f"_{number}" if number > 1 else "")
        segment = node.GetSegmentation().GetSegment(segment_id)
        if segment is None or not _edited(node, segment_id):
            break
    if segment is None:
        title, rgb = f"{name} ({number})" if number > 1 else name, OUTLINE_RGB
    else:
        title, rgb = segment.GetName(), segment.GetColor()
        node.GetSegmentation().RemoveSegment(segment_id)
    new = slicer.vtkSegment()
    new.SetName(title)
    new.SetColor(*rgb)
    new.AddRepresentation(binary_labelmap(), outline)
    node.GetSegmentation().AddSegment(new, segment_id)
    new.SetTag(KEPT, _fingerprint(node, segment_id))
    node.SetDisplayVisibility(True)
    return title, number > 1


def _new_segmentation(ct: Node) -> Node:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"Nodules on {ct.GetName()}")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    node.GetDisplayNode().SetOpacity2DFill(0.3)
    ct.SetNodeReferenceID(SEGMENTS_ROLE, node.GetID())
    return node


def _edited(node: Node, segment_id: str) -> bool:
    """Whether a segment's voxels are others than those that were put there; in doubt they are.

    A scene is saved with its segments on the CT's grid, so that most count as edited once it is loaded.
    """
    told = vtk.mutable("")
    if not node.GetSegmentation().GetSegment(segment_id).GetTag(KEPT, told):
        return True
    (before, *place), (now, *here) = str(told).split(), _fingerprint(node, segment_id).split()
    return before != now or math.dist(map(float, place), map(float, here)) > SAME_PLACE_MM


def _fingerprint(node: Node, segment_id: str) -> str:
    """A segment's shape as a hash of its voxels, and where (world RAS mm) the first of them lies."""
    labelmap = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segment_id, labelmap)
    kji = np.argwhere(_voxels(labelmap))
    if not len(kji):
        return "empty 0 0 0"
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    to_world = slicer.util.arrayFromVTKMatrix(matrix)
    extent = labelmap.GetExtent()
    # Voxels relative to the first: the image may be cut to another box around them.
    shape = hashlib.sha256((kji - kji.min(0)).astype(np.int32).tobytes())
    # No negative zero: its bytes are others.
    shape.update((np.round(to_world[:3, :3], 3) + 0.0).tobytes())
    first = to_world @ [*(kji[0][::-1] + np.array(extent[::2])), 1]
    return " ".join([shape.hexdigest()[:16], *(f"{x:.3f}" for x in first[:3])])


def _voxels(labelmap: Any) -> Any:
    from vtk.util.numpy_support import vtk_to_numpy

    scalars = labelmap.GetPointData().GetScalars()
    columns, rows, slices = labelmap.GetDimensions()
    return vtk_to_numpy(scalars).reshape(slices, rows, columns) if scalars else np.zeros((0, 0, 0))
