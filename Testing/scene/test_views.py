"""The heatmap as real slice views draw it, offscreen: at the nodule, in the overlay's colours, gone afterwards."""

import os

import fakes
import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from NoduleRiskLib.imaging.outline_labels import on_grid_of
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.slicer_scene import display, inputs, outline_segments, results
from NoduleRiskLib.slicer_scene.records import record_of
from NoduleRiskLib.slicer_scene.segment_voxels import SegmentReader

trame = pytest.importorskip("trame_slicer.core", reason="needs trame-slicer for slice views")
SIZE = 400


@pytest.fixture(scope="module")
def application():
    from trame_slicer.views import DirectViewFactory, ViewLayoutDefinition, ViewProps, ViewType

    app = trame.SlicerApp()
    app.view_manager.register_factory(DirectViewFactory(do_render_offscreen=True))
    # In Slicer, the Colors module does it.
    app.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    before, slicer.mrmlScene = slicer.mrmlScene, app.scene
    app.views = {}
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        view = app.view_manager.create_view(
            ViewLayoutDefinition(name, ViewType.SLICE_VIEW, ViewProps(orientation=orientation))
        )
        view.interactor().UpdateSize(SIZE, SIZE)
        view.set_orientation(orientation)
        app.views[orientation] = view
    yield app
    slicer.mrmlScene = before


@pytest.fixture
def shown(application):
    """A CT with three assessed nodules, the first one's heatmap over it."""
    ct = inputs.add_volume(fakes.lungs())
    points = inputs.add_points("Nodules", [Point(f"N-{n + 1}", place) for n, place in enumerate(fakes.PLACES)])
    volume = inputs.scan(ct).read()
    marks = inputs.marks(points)
    for mark, one in zip(marks, fakes.FakeAssessor().assess(volume, [m.point for m in marks]), strict=True):
        results.store(ct, points, mark, record_of(one, volume.digest))
        mask = on_grid_of(volume, one.nodule.outline.probability)
        outline_segments.propose(ct, points, mark, mask, SegmentReader())
    outline_segments.segmentation_of(ct, points).SetDisplayVisibility(False)
    points.GetDisplayNode().SetVisibility(False)
    for view in application.views.values():
        view.set_background_volume_id(ct.GetID())
        view.fit_view_to_content()
    display.jump(fakes.PLACES[0])
    yield ct, points, results.table_of(ct, points), marks
    for node in (results.table_of(ct, points), points, ct, *slicer.util.getNodesByClass("vtkMRMLSegmentationNode")):
        slicer.mrmlScene.RemoveNode(node)
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        slicer.mrmlScene.RemoveNode(node)


def _picture(view, name=""):
    """RGB (rows from below) of a view; also written to ``$NODULERISK_PICTURES`` for people to look at."""
    window = view.render_window()
    view.render()
    capture = vtk.vtkWindowToImageFilter()
    capture.SetInput(window)
    capture.ReadFrontBufferOff()
    capture.Update()
    if name and os.environ.get("NODULERISK_PICTURES"):
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(f"{os.environ['NODULERISK_PICTURES']}/{name}.png")
        writer.SetInputConnection(capture.GetOutputPort())
        writer.Write()
    image = capture.GetOutput()
    columns, rows, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[..., :3].astype(int)


def _at(view, ras):
    """Column and row of a place (world RAS mm) in a view's picture."""
    inverse = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(view.get_view_node().GetXYToRAS(), inverse)
    x, y, *_ = inverse.MultiplyPoint((*ras, 1.0))
    return round(x), round(y)


def _per_mm(view):
    return SIZE / max(view.get_view_node().GetFieldOfView()[:2])


@pytest.mark.parametrize("orientation", ["Axial", "Coronal", "Sagittal"])
def test_the_heatmap_is_drawn_where_the_nodule_is_and_nowhere_else(application, shown, orientation):
    ct, _, table, marks = shown
    view = application.views[orientation]
    display.show_heatmap(ct, table, marks[0].id, "malignancy", 0.8, 0.3)
    write_page = _picture(view, f"slice_{orientation}")
    x, y = _at(view, fakes.PLACES[0])
    red, green, blue = write_page[y, x]
    assert red > green > blue and red - blue > 60, "the heatmap's strongest place is not in its bright colours"
    slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(ct.GetNodeReference(display.HEATMAP_ROLE)).SetVisibility(False)
    coloured = np.argwhere(np.ptp(_picture(view), axis=-1) > 30)
    assert len(coloured)
    middle_y, middle_x = coloured.mean(0)
    per_mm = _per_mm(view)
    assert np.hypot(middle_x - x, middle_y - y) < 2 * per_mm
    assert np.linalg.norm(coloured - (y, x), axis=1).max() < 20 * per_mm


def test_switched_off_the_ct_is_grey_again(application, shown):
    ct, _, table, marks = shown
    view = application.views["Axial"]
    plain = _picture(view)
    display.show_heatmap(ct, table, marks[0].id, "malignancy", 0.8, 0.3)
    assert np.abs(_picture(view) - plain).max() > 60
    display.hide_heatmap(ct)
    assert np.abs(_picture(view) - plain).max() == 0


def test_the_outline_surrounds_the_nodule(application, shown):
    ct, points, _, _ = shown
    view = application.views["Axial"]
    plain = _picture(view)
    outline_segments.segmentation_of(ct, points).SetDisplayVisibility(True)
    drawn = np.argwhere(np.abs(_picture(view, "outline") - plain).max(-1) > 40)
    x, y = _at(view, fakes.PLACES[0])
    radius = fakes.RADIUS_MM * _per_mm(view)
    distances = np.linalg.norm(drawn - (y, x), axis=1)
    assert len(drawn) and np.median(distances) == pytest.approx(radius, rel=0.25)


def test_colours_grow_brighter_with_the_share():
    brightness = [np.dot(display.heat_rgb(share), (0.299, 0.587, 0.114)) for share in np.linspace(0, 1, 21)]
    assert (np.diff(brightness) > 0).all()
