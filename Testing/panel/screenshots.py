# ruff: noqa: E402, I001 - the stand-ins come first
"""Pictures of the panel and of the views for README and store: the phantom, the model that ships, everything real.

``python Testing/panel/screenshots.py [FOLDER]`` in the environment of the scene tests; FOLDER: Resources.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import standins

standins.start()

import NoduleRisk
import slicer
from NoduleRiskLib.results import serialization
from NoduleRiskLib.slicer_scene import scene
from NoduleRiskLib.imaging.points import Point
from PySide6 import QtCore, QtGui, QtWidgets
from trame_slicer.core import SlicerApp
from trame_slicer.views import DirectViewFactory, ViewLayoutDefinition, ViewProps, ViewType

CHOSEN = "spiculated"
GAP, PANEL = 6, 480


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ct, points = NoduleRisk.loadPhantom()
    panel, told = assessed(ct, points)
    marks = scene.marks(points)
    volume = scene.scan(ct).read()
    # The same assessments again, in a scene with real views.
    write_page = grab(panel)
    views = slice_views(volume, marks, told, (write_page.height() - GAP) // 2)
    write_page.save(str(folder / "panel.png"))
    views.save(str(folder / "overlay.png"))


def assessed(ct, points):
    """The panel with all nodules assessed and one chosen, and what the model told, by control point ID."""
    parent = slicer.qMRMLWidget()
    parent.setLayout(QtWidgets.QVBoxLayout())
    panel = NoduleRisk.NoduleRiskWidget(parent)
    panel.setup()
    panel.enter()
    panel._parameters.ct, panel._parameters.points = ct, points
    told = {}
    settle(panel)
    panel._onAssessed = lambda mark, assessment: (told.update({mark.id: assessment}), panel.changed())
    panel.ui.assessButton.click()
    settle(panel)
    panel.choose(next(n.mark.id for n in panel._nodules if n.mark.point.label == CHOSEN))
    panel._parameters.outlineShown = True
    settle(panel)
    return panel, told


def settle(panel):
    end = time.monotonic() + 600
    while (panel._task or panel._dirty or panel.logic.worker.busy) and time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.005)


def grab(panel) -> QtGui.QImage:
    parent = panel.parent
    parent.setFont(QtGui.QFont("DejaVu Sans", 9))
    parent.resize(PANEL, parent.sizeHint().height())
    parent.show()
    for _ in range(5):
        slicer.app.processEvents()
    return parent.grab().toImage()


def slice_views(volume, marks, told, side) -> QtGui.QImage:
    """Axial, coronal and sagittal views of the chosen nodule, and the axial view without the overlay."""
    app = SlicerApp()
    app.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    app.view_manager.register_factory(DirectViewFactory(do_render_offscreen=True))
    slicer.mrmlScene = app.scene
    ct = scene.add_volume(volume)
    points = scene.add_points("Nodules", [Point(mark.point.label, mark.point.ras) for mark in marks])
    display = points.GetDisplayNode()
    display.SetTextScale(3.2)
    display.SetGlyphScale(1.6)
    display.SetSelectedColor(0.2, 0.9, 0.85)
    ids = {mark.point.label: mark for mark in scene.marks(points)}
    for mark in marks:
        one = told[mark.id]
        scene.store(ct, points, ids[mark.point.label], one, serialization.pack(one), volume.digest)
    chosen, table = ids[CHOSEN], scene.results(ct, points)
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
    scene.jump(chosen.point.ras)
    plain = shot(shots["Axial"])
    scene.show_heatmap(ct, table, chosen.id, "malignancy", 0.6, 0.2)
    scene.show_outline(ct, table, chosen.id, CHOSEN)
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
