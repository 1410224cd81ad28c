"""Where a volume node's voxels lie in the world, also under the grid transform that Slicer puts on uneven slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..errors import NoduleRiskError
from ..imaging.dicom_series import DRIFT_TOLD_MM, even_step

if TYPE_CHECKING:
    from ..imaging.volume import Array

#: In each slice a transform is measured on this many rows and columns.
SAMPLES = 5


def placement(node: Any) -> tuple[Array, tuple[str, ...]]:
    """Voxel centres (0-based) to world RAS mm, shape (4, 4), parent transforms included; and warnings.

    Since version 5.12 Slicer puts a grid transform ("acquisition transform") on every CT whose slices lie more than
    0.001 mm off an even spacing. Where it moves no voxel by more than ``DRIFT_TOLD_MM`` it is ignored. Where it moves
    whole slices further, their places are judged as those of a DICOM series are.

    Parameters
    ----------
    node : vtkMRMLScalarVolumeNode

    Raises
    ------
    NoduleRiskError
        If slices are missing or lie unevenly, or the volume lies under any other transform that is not linear.
    """
    to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(to_ras)
    parent = node.GetParentTransformNode()
    if parent and not parent.IsTransformToWorldLinear():
        return _under_grid(node, slicer.util.arrayFromVTKMatrix(to_ras))
    to_world = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parent, None, to_world)
    return slicer.util.arrayFromVTKMatrix(to_world) @ slicer.util.arrayFromVTKMatrix(to_ras), ()


def _under_grid(node: Any, to_ras: Array) -> tuple[Array, tuple[str, ...]]:
    straight = _linear_part(node) @ to_ras
    columns, rows, slices = node.GetImageData().GetDimensions()
    along_i, along_j = (np.linspace(0, size - 1, SAMPLES) for size in (columns, rows))
    k, j, i = np.meshgrid(np.arange(slices), along_j, along_i, indexing="ij")
    ijk = np.stack([i, j, k, np.ones_like(i)], -1)
    moved_mm = _to_world(node, (ijk @ to_ras.T)[..., :3]) - (ijk @ straight.T)[..., :3]
    if not np.linalg.norm(moved_mm, axis=-1).max() > DRIFT_TOLD_MM:
        return straight, ()
    of_slices_mm = moved_mm.mean((1, 2))
    if slices < 2 or np.linalg.norm(moved_mm - of_slices_mm[:, None, None], axis=-1).max() > DRIFT_TOLD_MM:
        raise _bent(node, node.GetParentTransformNode())
    positions = straight[:3, 3] + np.arange(slices)[:, None] * straight[:3, 2] + of_slices_mm
    normal = np.cross(straight[:3, 0], straight[:3, 1])
    normal *= np.sign(normal @ straight[:3, 2]) / np.linalg.norm(normal)
    step, warnings = even_step(node.GetName(), positions, normal)
    straight[:3, 2], straight[:3, 3] = step, positions[0]
    return straight, warnings


def _linear_part(node: Any) -> Array:
    """The linear ones among a node's parent transforms, to world; the others are grids."""
    linear, parent = np.eye(4), node.GetParentTransformNode()
    while parent:
        if parent.IsLinear():
            matrix = vtk.vtkMatrix4x4()
            parent.GetMatrixTransformToParent(matrix)
            linear = slicer.util.arrayFromVTKMatrix(matrix) @ linear
        elif not parent.IsA("vtkMRMLGridTransformNode"):
            raise _bent(node, parent)
        parent = parent.GetParentTransformNode()
    return linear


def _to_world(node: Any, places: Array) -> Array:
    """Places (mm, shape (..., 3)) in a node's own frame, through all its parent transforms."""
    transform = vtk.vtkGeneralTransform()
    node.GetParentTransformNode().GetTransformToWorld(transform)
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    for points in (before, after):
        points.SetDataTypeToDouble()
    flat = np.ascontiguousarray(places.reshape(-1, 3))
    before.SetData(numpy_to_vtk(flat))
    transform.TransformPoints(before, after)
    return np.array(vtk_to_numpy(after.GetData())).reshape(places.shape)


def _bent(node: Any, transform: Any) -> NoduleRiskError:
    return NoduleRiskError(
        f"{node.GetName()} lies under a non-linear transform ({transform.GetName()}) that bends it: take it out of "
        "that transform (Data module, Transform Hierarchy), then assess."
    )
