# ruff: noqa: E402, I001 - the stand-ins come first
"""Pictures of the panel and of the views for README and store: the phantom, the model that ships, everything real.

``python Testing/panel/screenshots.py [FOLDER]`` in the environment of the scene tests; FOLDER: Resources.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import standins

standins.start()

import NoduleRisk
import slicer
from NoduleRiskLib.panel import overlay
from NoduleRiskLib.slicer_scene import display, inputs, outline_segments, results
from NoduleRiskLib.slicer_scene.records import record_of
from NoduleRiskLib.imaging.outline_labels import on_grid_of
from NoduleRiskLib.slicer_scene.segment_voxels import SegmentReader
from NoduleRiskLib.imaging.points import Point
from PySide6 import QtCore, QtGui, QtWidgets
from trame_slicer.core import SlicerApp
from trame_slicer.views import DirectViewFactory, ViewLayoutDefinition, ViewProps, ViewType

CHOSEN = "spiculated"
#: Slicer's own width of the module panel.
GAP, PANEL = 6, 420
#: No nodule: what is doubtful is seen in the picture, too.
VESSEL = Point("on a vessel", (32.2, -24.3, -179.0))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ct, points = NoduleRisk.loadPhantom()
    places = [mark.point for mark in inputs.marks(points)]
    slicer.mrmlScene.RemoveNode(points)
    points = inputs.add_points("Nodules", [*places[:2], VESSEL, *places[2:]])
    widget = assessed(ct, points)
    marks = inputs.marks(points)
    volume = inputs.scan(ct).read()
    found = {mark.id: results.assessment(widget.panel.state.table, mark.id, volume) for mark in marks}
    picture = grab(widget.parent)
    # The same assessments again, in a scene with real views.
    views = slice_views(widget.panel.state, volume, marks, found, (picture.height() - GAP) // 2)
    picture.save(str(folder / "panel.png"))
    views.save(str(folder / "overlay.png"))


def assessed(ct, points):
    """The widget with all nodules assessed and one chosen."""
    parent = slicer.qMRMLWidget()
    parent.setLayout(QtWidgets.QVBoxLayout())
    widget = NoduleRisk.NoduleRiskWidget(parent)
    widget.setup()
    widget.enter()
    panel, settings = widget.panel, widget.panel.state.parameters
    settings.ct, settings.points = ct, points
    settle(panel)
    widget.ui.assessButton.click()
    settle(panel)
    panel.choose(next(n.mark.id for n in panel.state.nodules if n.mark.point.label == CHOSEN))
    settings.outlineShown = True
    settle(panel)
    return widget


def settle(panel):
    end = time.monotonic() + 600
    while (panel.state.task or panel.busy) and time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.005)


def grab(parent) -> QtGui.QImage:
    parent.setFont(QtGui.QFont("DejaVu Sans", 9))
    parent.show()
    for _ in range(10):
        # Rows take their height from their text at this width.
        parent.resize(PANEL, parent.sizeHint().height())
        slicer.app.processEvents()
    return parent.grab().toImage()


def slice_views(state, volume, marks, found, side) -> QtGui.QImage:
    """Axial, coronal and sagittal views of the chosen nodule, and the axial view without the overlay."""
    app = SlicerApp()
    app.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    app.view_manager.register_factory(DirectViewFactory(do_render_offscreen=True))
    slicer.mrmlScene = app.scene
    ct = inputs.add_volume(volume)
    points = inputs.add_points("Nodules", [Point(mark.point.label, mark.point.ras) for mark in marks])
    glyphs = points.GetDisplayNode()
    glyphs.SetTextScale(3.2)
    glyphs.SetGlyphScale(1.6)
    glyphs.SetSelectedColor(0.2, 0.9, 0.85)
    ids = {mark.point.label: mark for mark in inputs.marks(points)}
    for mark in marks:
        one = found[mark.id]
        results.store(ct, points, ids[mark.point.label], record_of(one, volume.digest))
        if one.nodule:
            mask = on_grid_of(volume, one.nodule.outline.probability)
            outline_segments.propose(ct, points, ids[mark.point.label], mask, SegmentReader())
    chosen, table = ids[CHOSEN], results.table_of(ct, points)
    shots = {}
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        view = app.view_manager.create_view(
            ViewLayoutDefinition(name, ViewType.SLICE_VIEW, ViewProps(orientation=orientation))
        )
        view.interactor().UpdateSize(side, side)
        view.set_background_volume_id(ct.GetID())
        view.set_orientation(orientation)
        view.fit_view_to_content()
        shots[orientation] = view
    for view in shots.values():
        node = view.get_view_node()
        width, height, depth = node.GetFieldOfView()
        node.SetFieldOfView(width * 0.42, height * 0.42, depth)
    display.jump(chosen.point.ras)
    outline_segments.segmentation_of(ct, points).SetDisplayVisibility(False)
    plain = shot(shots["Axial"])
    # As the panel itself shows it: its settings, and its judgement of how far this heatmap may be trusted.
    overlay.show(replace(state, ct=ct, points=points, table=table, chosen=replace(state.chosen, mark=chosen)))
    outline_segments.segmentation_of(ct, points).SetDisplayVisibility(True)
    tiles = [plain, *(shot(view) for view in shots.values())]
    whole = QtGui.QImage(2 * side + GAP, 2 * side + GAP, QtGui.QImage.Format_RGB32)
    whole.fill(QtGui.QColor("#efefef"))
    painter = QtGui.QPainter(whole)
    for n, tile in enumerate(tiles):
        painter.drawImage(n % 2 * (side + GAP), n // 2 * (side + GAP), tile)
    painter.end()
    return whole


def shot(view) -> QtGui.QImage:
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    view.render()
    capture = vtk.vtkWindowToImageFilter()
    capture.SetInput(view.render_window())
    capture.ReadFrontBufferOff()
    capture.Update()
    image = capture.GetOutput()
    columns, rows, _ = image.GetDimensions()
    rgb = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, :3].copy()
    return QtGui.QImage(rgb.data, columns, rows, 3 * columns, QtGui.QImage.Format_RGB888).copy()


if __name__ == "__main__":
    QtCore.QLoggingCategory.setFilterRules("*.debug=false")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "Resources")
