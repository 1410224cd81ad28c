"""The grid transform that Slicer 5.12 puts on a CT with uneven slices: what it moves is measured, never hardened."""

import fakes
import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.slicer_scene import inputs

SLICES = 32
MIDDLE = SLICES // 2


@pytest.fixture
def ct(mrml):
    return inputs.add_volume(fakes.lungs())


def put_under_grid(ct, along_s_mm):
    """Put a CT under a grid of displacements (mm along S, one per slice), as DICOMScalarVolumePlugin makes it.

    ``along_s_mm`` of shape (K,), or (K, 2, 2) with one per corner of each slice.
    """
    matrix = vtk.vtkMatrix4x4()
    ct.GetIJKToRASMatrix(matrix)
    ijk_to_ras = slicer.util.arrayFromVTKMatrix(matrix)
    columns, rows, slices = ct.GetImageData().GetDimensions()
    spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    corners = np.zeros((slices, 2, 2, 3))
    values = np.asarray(along_s_mm, float)
    corners[..., 2] = values if values.ndim == 3 else values[:, None, None]
    grid = vtk.vtkImageData()
    grid.SetDimensions(2, 2, slices)
    grid.SetOrigin(ijk_to_ras[:3, 3])
    grid.SetSpacing(spacing[0] * (columns - 1), spacing[1] * (rows - 1), spacing[2])
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    vtk_to_numpy(grid.GetPointData().GetScalars())[:] = corners.reshape(-1, 3)
    transform = slicer.vtkOrientedGridTransform()
    directions = np.eye(4)
    directions[:3, :3] = ijk_to_ras[:3, :3] / spacing
    transform.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(directions))
    transform.SetDisplacementGridData(grid)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "acquisitionTransform")
    node.SetAndObserveTransformToParent(transform)
    ct.SetAndObserveTransformNodeID(node.GetID())
    return node


@pytest.mark.parametrize("amplitude_mm", [0.0, 0.003, 0.14])
def test_rounding_in_headers_keeps_no_ct_from_being_read(ct, amplitude_mm):
    before = inputs.scan(ct)
    put_under_grid(ct, amplitude_mm * np.sin(2.1 * np.arange(SLICES)))
    after = inputs.scan(ct)
    np.testing.assert_array_equal(after.ijk_to_ras, before.ijk_to_ras)
    assert after.read().digest == before.read().digest
    assert after.warnings == ()


def test_a_missing_slice_is_refused_as_the_command_line_refuses_it(ct):
    put_under_grid(ct, np.where(np.arange(SLICES) >= MIDDLE, 1.5, 0.0))
    with pytest.raises(
        NoduleRiskError, match=r"Slices are missing in lungs \(about 1\): between .* copy the whole"
    ) as told:
        inputs.scan(ct)
    assert "harden" not in str(told.value)


def test_slices_that_lie_unevenly_are_refused_as_the_command_line_refuses_them(ct):
    put_under_grid(ct, 0.6 * np.sin(0.4 * np.arange(SLICES)))
    with pytest.raises(NoduleRiskError, match="reconstruct the CT with one slice distance") as told:
        inputs.scan(ct)
    assert "harden" not in str(told.value)


def test_slices_a_little_off_are_read_and_warned_about_as_by_the_command_line(ct):
    put_under_grid(ct, 0.25 * np.sin(0.4 * np.arange(SLICES)))
    (warning,) = inputs.scan(ct).read().warnings
    assert warning.startswith("The slices do not lie quite evenly: places are up to 0.")


def test_an_even_stretch_is_the_cts_own_slice_distance(ct):
    put_under_grid(ct, 0.1 * np.arange(SLICES))
    volume = inputs.scan(ct).read()
    assert volume.spacing_mm == pytest.approx([0.8, 0.8, 1.6])
    assert volume.warnings == ()


def test_an_even_ct_that_was_moved_too_lies_where_it_was_moved(ct):
    before = inputs.scan(ct).ijk_to_ras
    grid = put_under_grid(ct, 0.003 * np.sin(np.arange(SLICES)))
    moved = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform = vtk.vtkTransform()
    transform.Translate(12.0, -4.0, 6.0)
    transform.RotateX(25)
    moved.SetMatrixTransformToParent(transform.GetMatrix())
    grid.SetAndObserveTransformNodeID(moved.GetID())
    expected = slicer.util.arrayFromVTKMatrix(transform.GetMatrix()) @ before
    np.testing.assert_allclose(inputs.scan(ct).ijk_to_ras, expected, atol=1e-9)


def test_slices_that_are_bent_in_themselves_are_refused(ct):
    corners = np.zeros((SLICES, 2, 2))
    corners[:, 0, 0] = 2.0
    put_under_grid(ct, corners)
    with pytest.raises(NoduleRiskError, match="take it out of that transform") as told:
        inputs.scan(ct)
    assert "harden" not in str(told.value)
