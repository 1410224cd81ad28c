# ruff: noqa: N801, N815 - Slicer's own names
"""Qt by PySide6, and small stand-ins for the widgets of CTK and Slicer that the panel's .ui file names."""

from __future__ import annotations

import types
import typing

import slicer
import slicer.util
from PySide6 import QtCore, QtGui, QtWidgets

#: What dialogs were asked, and what they answer.
asked: list[str] = []
answers = {"confirm": True, "folder": "", "file": ""}


class Strict(types.ModuleType):
    """A module that holds what is written down, and says so when asked for more."""

    def __getattr__(self, name: str) -> typing.Any:
        raise AttributeError(f"{self.__name__}.{name} is not listed in Testing/panel/README.md: look it up first")


# --- qt


class QFileDialog:
    """Dialogs that nobody sees: they return what the test put into ``answers``."""

    @staticmethod
    def getExistingDirectory(parent, caption):
        asked.append(caption)
        return answers["folder"]

    @staticmethod
    def getSaveFileName(parent, caption, path, filters):
        asked.append(caption)
        return answers["file"]


def qt_module() -> Strict:
    """What ``import qt`` gives."""
    qt = Strict("qt")
    for module, names in (
        (QtCore, ("QTimer", "Qt")),
        (QtGui, ("QBrush", "QColor", "QKeySequence", "QPainter", "QPixmap", "QShortcut")),
        (QtWidgets, ("QHeaderView", "QLabel", "QLineEdit", "QTableWidgetItem", "QVBoxLayout")),
    ):
        for name in names:
            setattr(qt, name, getattr(module, name))
    qt.QFileDialog = QFileDialog
    return qt


# --- widgets of CTK and Slicer


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A header that shows or hides what is under it."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self.setContentsMargins(0, 26, 0, 0)

    def _fold(self, collapsed):
        self._collapsed = collapsed
        self.setMaximumHeight(26 if collapsed else 16777215)

    def mousePressEvent(self, event):
        if event.position().y() < 24:
            self._fold(not self._collapsed)

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        painter.fillRect(0, 2, self.width(), 22, self.palette().button())
        painter.drawText(8, 18, ("▸  " if self._collapsed else "▾  ") + self._text)
        painter.end()

    text = QtCore.Property(str, lambda self: self._text, lambda self, text: setattr(self, "_text", text))
    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _fold)


class ctkComboBox(QtWidgets.QComboBox):
    """A list of choices that a turn of the wheel does not change."""

    def wheelEvent(self, event):
        event.ignore()


def ctk_module() -> Strict:
    """What ``import ctk`` gives."""
    ctk = Strict("ctk")
    ctk.ctkComboBox = ctkComboBox
    return ctk


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box of one value."""

    valueChanged = QtCore.Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider, self._box = QtWidgets.QSlider(QtCore.Qt.Horizontal), QtWidgets.QDoubleSpinBox()
        self._slider.setRange(0, 1000)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._box)
        self._box.valueChanged.connect(self._moved)
        self._slider.sliderMoved.connect(lambda at: self.setValue(self._box.maximum() * at / 1000))

    def _moved(self, value):
        self._slider.setValue(round(1000 * value / self._box.maximum()))
        self.valueChanged.emit(value)

    def setValue(self, value):
        self._box.setValue(value)

    value = QtCore.Property(float, lambda self: self._box.value(), setValue)
    minimum = QtCore.Property(float, lambda self: self._box.minimum(), lambda self, x: self._box.setMinimum(x))
    maximum = QtCore.Property(float, lambda self: self._box.maximum(), lambda self, x: self._box.setMaximum(x))
    singleStep = QtCore.Property(float, lambda self: self._box.singleStep(), lambda self, x: self._box.setSingleStep(x))
    pageStep = QtCore.Property(float, lambda self: 0.1, lambda self, x: None)
    decimals = QtCore.Property(int, lambda self: self._box.decimals(), lambda self, x: self._box.setDecimals(x))


class qMRMLWidget(QtWidgets.QWidget):
    """Hands its scene on to those of its children that ask for it."""

    mrmlSceneChanged = QtCore.Signal(object)

    def setMRMLScene(self, scene):
        self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(QtWidgets.QWidget):
    """Base of Slicer's own widgets."""


class qMRMLSortFilterProxyModel(QtCore.QObject):
    """Which nodes a selector leaves out."""

    def __init__(self, selector):
        super().__init__(selector)
        self._selector, self.hidden = selector, []

    def _hide(self, ids):
        self.hidden = list(ids)
        self._selector._fill()

    hiddenNodeIDs = QtCore.Property("QStringList", lambda self: self.hidden, _hide)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Lists the scene's nodes of its class."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._kinds, self._none = None, [], "None"
        self._box = QtWidgets.QComboBox()
        self._filter = qMRMLSortFilterProxyModel(self)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.currentIndexChanged.connect(lambda *_: self.currentNodeChanged.emit(self.currentNode()))

    def sortFilterProxyModel(self):
        return self._filter

    def setMRMLScene(self, scene):
        self._scene = scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent):
            scene.AddObserver(event, lambda *_: self._fill())
        self._fill()

    def _fill(self):
        before = self._box.currentData()
        self._box.blockSignals(True)
        self._box.clear()
        self._box.addItem(self._none, "")
        for kind in self._kinds:
            for node in slicer.util.getNodesByClass(kind):
                hidden = node.GetHideFromEditors() or node.GetID() in self._filter.hidden
                if node.GetClassName() == kind and not hidden:
                    self._box.addItem(node.GetName(), node.GetID())
        self._box.setCurrentIndex(max(self._box.findData(before or ""), 0))
        self._box.blockSignals(False)
        if (self._box.currentData() or "") != (before or ""):
            self.currentNodeChanged.emit(self.currentNode())

    def currentNode(self):
        return self._scene.GetNodeByID(self._box.currentData()) if self._scene and self._box.currentData() else None

    def setCurrentNode(self, node):
        self._fill()
        self._box.setCurrentIndex(max(self._box.findData(node.GetID() if node else ""), 0))

    nodeTypes = QtCore.Property(
        "QStringList", lambda self: self._kinds, lambda self, x: setattr(self, "_kinds", list(x))
    )
    noneDisplay = QtCore.Property(str, lambda self: self._none, lambda self, x: setattr(self, "_none", x))
    baseName = QtCore.Property(str, lambda self: "", lambda self, x: None)
    noneEnabled, addEnabled, removeEnabled, renameEnabled, showChildNodeTypes = (
        QtCore.Property(bool, lambda self: True, lambda self, x: None) for _ in range(5)
    )


class qSlicerMarkupsPlaceWidget(qSlicerWidget):
    """Switches the scene's interaction node between looking and placing."""

    activeMarkupsPlaceModeChanged = QtCore.Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node, self._on = None, False

    def setMRMLScene(self, scene):
        self._scene = scene

    def setCurrentNode(self, node):
        self._node = node

    def setPlaceModeEnabled(self, on):
        on = bool(on and self._node)
        if on:
            selection = slicer.app.applicationLogic().GetSelectionNode()
            selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
            selection.SetActivePlaceNodeID(self._node.GetID())
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        interaction.SetCurrentInteractionMode(interaction.Place if on else interaction.ViewTransform)
        if on != self._on:
            self._on = on
            self.activeMarkupsPlaceModeChanged.emit(on)

    buttonsVisible = QtCore.Property(bool, lambda self: False, lambda self, x: None)
    placeMultipleMarkups = QtCore.Property(int, lambda self: 0, lambda self, x: None)


WIDGETS = (
    ctkCollapsibleButton,
    ctkSliderWidget,
    qMRMLWidget,
    qSlicerWidget,
    qMRMLNodeComboBox,
    qSlicerMarkupsPlaceWidget,
)
