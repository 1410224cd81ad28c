# ruff: noqa: E402, I001 - the stand-ins come first
"""Pictures for docs/tutorial.md, each named after its step: the real panel and model on the synthetic CTs.

``python Testing/panel/tutorial_pictures.py [FOLDER]`` in the environment of the scene tests; FOLDER: docs/pictures. The
picture at the top of the README goes to Resources, of which it takes the slice views.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import screenshots
import NoduleRisk
import slicer
from PySide6 import QtCore, QtGui, QtWidgets

RESOURCES = HERE.parents[1] / "Resources"
#: Sections of the panel, and the step of the tutorial that shows them.
SECTIONS = {
    "3-grades": "cardButton",
    "4-heatmap": "heatmapButton",
    "6-management": "managementButton",
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    one_ct(folder)
    slicer.mrmlScene.Clear(0)
    two_cts(folder)


def one_ct(folder: Path) -> None:
    """All steps but the comparison."""
    ct, points = NoduleRisk.loadPhantom()
    widget = opened()
    settings = widget.panel.state.parameters
    settings.ct, settings.points = ct, points
    screenshots.settle(widget.panel)
    until(widget, "noduleTable").save(str(folder / "1-points.png"))
    widget.ui.assessButton.click()
    screenshots.settle(widget.panel)
    choose(widget, screenshots.CHOSEN)
    beside_views(widget).save(str(RESOURCES / "first-screen.png"))
    until(widget, "noduleTable").save(str(folder / "2-list.png"))
    for name, section in SECTIONS.items():
        part(widget, section).save(str(folder / f"{name}.png"))
    part(widget, "exportButton").save(str(folder / "8-export.png"))
    part(widget, "modelButton").save(str(folder / "9-model.png"))
    widget.cleanup()


def two_cts(folder: Path) -> None:
    """Step 7: the pair of Sample Data, compared."""
    ct, points, prior = NoduleRisk.loadPhantomPair()
    widget = opened()
    settings = widget.panel.state.parameters
    settings.ct, settings.points = ct, points
    screenshots.settle(widget.panel)
    widget.ui.assessButton.click()
    screenshots.settle(widget.panel)
    widget.ui.followUpButton.collapsed = False
    widget.ui.priorSelector.setCurrentNode(prior)
    screenshots.settle(widget.panel)
    widget.ui.compareButton.click()
    while widget.panel.state.comparison:
        slicer.app.processEvents()
    screenshots.settle(widget.panel)
    grown = next(one for one in widget.panel.state.nodules if one.growth and "doubl" in one.growth[1])
    widget.panel.choose(grown.mark.id)
    screenshots.settle(widget.panel)
    part(widget, "followUpButton").save(str(folder / "7-followup.png"))
    widget.cleanup()


def beside_views(widget) -> QtGui.QImage:
    """What a user sees first: the panel down to the grades, beside the slice views that ``screenshots.py`` made."""
    for section in ("managementButton", "heatmapButton"):
        getattr(widget.ui, section).collapsed = True
    panel = until(widget, "cardButton")
    views = QtGui.QImage(str(RESOURCES / "overlay.png")).scaledToHeight(
        panel.height(), QtCore.Qt.TransformationMode.SmoothTransformation
    )
    whole = QtGui.QImage(panel.width() + views.width(), panel.height(), QtGui.QImage.Format_RGB32)
    painter = QtGui.QPainter(whole)
    painter.drawImage(0, 0, panel)
    painter.drawImage(panel.width(), 0, views)
    painter.end()
    return whole


def opened():
    """The module as a user opens it."""
    parent = slicer.qMRMLWidget()
    parent.setLayout(QtWidgets.QVBoxLayout())
    widget = NoduleRisk.NoduleRiskWidget(parent)
    widget.setup()
    widget.enter()
    return widget


def choose(widget, label: str) -> None:
    widget.panel.choose(next(one.mark.id for one in widget.panel.state.nodules if one.mark.point.label == label))
    widget.panel.state.parameters.outlineShown = True
    screenshots.settle(widget.panel)


def part(widget, section: str) -> QtGui.QImage:
    """One section of the panel, opened, as wide as the whole."""
    button = getattr(widget.ui, section)
    button.collapsed = False
    whole = whole_of(widget)
    place = button.mapTo(widget.parent, QtCore.QPoint(0, 0))
    return cut(whole, widget, place.y(), place.y() + button.height())


def until(widget, name: str) -> QtGui.QImage:
    """The panel from its top to the end of one of its widgets."""
    whole = whole_of(widget)
    shown = getattr(widget.ui, name)
    end = shown.mapTo(widget.parent, QtCore.QPoint(0, 0)).y() + shown.height()
    return cut(whole, widget, 0, end + screenshots.GAP)


def whole_of(widget) -> QtGui.QImage:
    """The whole panel, as high as its wrapped texts need."""
    parent = widget.parent
    screenshots.grab(parent)
    # Once more: what the first round wraps asks for another height.
    for _ in range(2):
        for label in parent.findChildren(QtWidgets.QLabel):
            label.updateGeometry()
        slicer.app.processEvents()
        needed = parent.layout().totalHeightForWidth(parent.width())
        parent.resize(parent.width(), max(needed, parent.sizeHint().height()))
        for _ in range(5):
            slicer.app.processEvents()
        parent.layout().activate()
    return parent.grab().toImage()


def cut(whole: QtGui.QImage, widget, top: int, bottom: int) -> QtGui.QImage:
    scale = whole.width() / widget.parent.width()
    return whole.copy(0, round(top * scale), whole.width(), round((bottom - top) * scale))


if __name__ == "__main__":
    QtCore.QLoggingCategory.setFilterRules("*.debug=false")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "docs" / "pictures")
