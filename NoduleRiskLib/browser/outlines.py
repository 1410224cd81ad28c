"""The outlines in the slice views: the walls of their voxels as one surface, which the views cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

from ..imaging.colours import OUTLINE_RGB
from ..imaging.volume import Array, Volume
from ..slicer_scene.inputs import Node
from ..slicer_scene.outline_segments import segment_ids
from ..slicer_scene.segment_voxels import SegmentReader, to_world

#: From a segmentation to its surface; which voxels that was made of.
ROLE, SHOWN = "noduleRiskWalls", "NoduleRisk.shown"


def show(segmentation: Node, ct: Node, reader: SegmentReader, drawn_on: bool) -> None:
    """Show a segmentation's segments in the slice views as lines along their voxels; cheap where nothing changed.

    Slicer itself lays an image as large as the view over it for each segment, in every drawing: twelve outlines in a
    slice took 57 ms of 72. It does so while the reader draws on one, for it shows each stroke at once.

    Parameters
    ----------
    segmentation : vtkMRMLSegmentationNode
    ct : vtkMRMLScalarVolumeNode
    reader : SegmentReader
    drawn_on : bool
        Whether the reader draws on an outline now.
    """
    segmentation.GetDisplayNode().SetVisibility2D(drawn_on)
    model = segmentation.GetNodeReference(ROLE) or _new_model(segmentation)
    visible = segmentation.GetDisplayVisibility() and not drawn_on
    model.GetDisplayNode().SetVisibility(visible)
    if not visible:
        return
    frame = to_world(segmentation, ct)
    found = [reader.read(segmentation, one, frame) for one in segment_ids(segmentation)]
    voxels = " ".join(one.place for one in found if one)
    if model.GetAttribute(SHOWN) != voxels:
        model.SetAndObservePolyData(surface([one.mask for one in found if one]))
        model.SetAttribute(SHOWN, voxels)


def walls(inside: Array) -> Array:
    """The walls between a mask's voxels and those around them.

    Parameters
    ----------
    inside : ndarray of uint8, shape (K, J, I)

    Returns
    -------
    ndarray, shape (walls, 4, 3)
        Each one's corners, voxel indices (i, j, k).
    """
    padded, found = np.pad(inside.astype(np.int8), 1), []
    around = np.array([(-1.5, -1.5), (-1.5, -0.5), (-0.5, -0.5), (-0.5, -1.5)])
    for axis in range(3):
        at = np.argwhere(np.diff(padded, axis=axis))
        found.append((at[:, None] + np.insert(around, axis, -0.5, axis=1))[..., ::-1])
    return np.concatenate(found)


def surface(masks: Sequence[Volume]) -> Any:
    """The walls of some masks as vtkPolyData, world RAS mm."""
    corners = np.concatenate([np.zeros((0, 4, 3)), *(one.to_ras(walls(one.array)) for one in masks)])
    points, cells, made = vtk.vtkPoints(), vtk.vtkCellArray(), vtk.vtkPolyData()
    points.SetData(numpy_to_vtk(corners.reshape(-1, 3), deep=True))
    cells.SetData(4, numpy_to_vtkIdTypeArray(np.arange(4 * len(corners)), deep=True))
    made.SetPoints(points)
    made.SetPolys(cells)
    return made


def _new_model(segmentation: Node) -> Node:
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", f"Outlines of {segmentation.GetName()}")
    model.CreateDefaultDisplayNodes()
    display = model.GetDisplayNode()
    display.SetVisibility3D(False)
    display.SetVisibility2D(True)
    display.SetColor(*OUTLINE_RGB)
    segmentation.SetNodeReferenceID(ROLE, model.GetID())
    return model
