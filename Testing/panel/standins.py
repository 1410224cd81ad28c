# ruff: noqa: N801, N803, N815 - Slicer's own names
"""Slicer's application for tests: real MRML and slice logics from the wheels, PySide6 for Qt, small stand-ins around.

Only names that README.md lists, with their place in Slicer's source, are answered; any other raises.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import types
import typing
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util
import vtk
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

CHECKOUT = Path(__file__).resolve().parents[2]
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


def _qt() -> Strict:
    qt = Strict("qt")
    for module, names in (
        (QtCore, ("QTimer", "Qt")),
        (QtGui, ("QBrush", "QColor", "QPainter", "QPixmap")),
        (QtWidgets, ("QHeaderView", "QLabel", "QTableWidgetItem", "QVBoxLayout")),
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


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Lists the scene's nodes of its class."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._kinds, self._none = None, [], "None"
        self._box = QtWidgets.QComboBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.currentIndexChanged.connect(lambda *_: self.currentNodeChanged.emit(self.currentNode()))

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
                if node.GetClassName() == kind and not node.GetHideFromEditors():
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


def loadUI(path):
    """The widget of a .ui file; connections between the scene and its users are made as Designer wrote them."""
    loader = QtUiTools.QUiLoader()
    for widget in WIDGETS:
        loader.registerCustomWidget(widget)
    # PySide knows the scene's signal by another signature, so this one connection is made below.
    text = Path(path).read_text(encoding="utf-8")
    head, _, rest = text.partition("<connections>")
    buffer = QtCore.QBuffer()
    buffer.setData((head + rest.partition("</connections>")[2]).encode())
    panel = loader.load(buffer)
    if panel is None:
        raise RuntimeError(loader.errorString())
    for name in ("ctSelector", "pointsSelector", "placeWidget"):
        assert f"<receiver>{name}</receiver>" in rest
        panel.mrmlSceneChanged.connect(panel.findChild(QtWidgets.QWidget, name).setMRMLScene)
    return panel


def childWidgetVariables(panel):
    return types.SimpleNamespace(**{w.objectName(): w for w in panel.findChildren(QtWidgets.QWidget) if w.objectName()})


# --- slicer.parameterNodeWrapper


class WithinRange:
    """An annotation of numbers."""

    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum


def parameterNodeWrapper(cls):
    """Typed attributes that live in a vtkMRMLScriptedModuleNode and can be tied to widgets."""
    kinds = typing.get_type_hints(cls)
    defaults = {
        name: getattr(cls, name, kind() if kind in (str, bool, float) else None) for name, kind in kinds.items()
    }

    class Wrapper:
        def __init__(self, parameterNode):
            object.__setattr__(self, "parameterNode", parameterNode)
            object.__setattr__(self, "_ties", {})

        def __getattr__(self, name):
            node = object.__getattribute__(self, "parameterNode")
            if name not in kinds:
                if name in ("AddObserver", "RemoveObserver"):
                    return getattr(node, name)
                raise AttributeError(name)
            if kinds[name] not in (str, bool, float):
                return node.GetNodeReference(name)
            text = node.GetParameter(name)
            if not text and name not in node.GetParameterNamesAsCommaSeparatedList().split(","):
                return defaults[name]
            return text == "True" if kinds[name] is bool else kinds[name](text)

        def __setattr__(self, name, value):
            if name not in kinds:
                raise AttributeError(name)
            if kinds[name] not in (str, bool, float):
                self.parameterNode.SetNodeReferenceID(name, value.GetID() if value else None)
            else:
                self.parameterNode.SetParameter(name, str(kinds[name](value)))

        def connectGui(self, ui):
            widgets = [w for w in vars(ui).values() if w.property("SlicerParameterName")]
            undo = [self._tie(widget, widget.property("SlicerParameterName")) for widget in widgets]
            tag = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: [draw() for draw, _ in undo])
            for draw, _ in undo:
                draw()
            self._ties[tag] = undo
            return tag

        def disconnectGui(self, tag):
            self.parameterNode.RemoveObserver(tag)
            for _, cut in self._ties.pop(tag):
                cut()

        def _tie(self, widget, name):
            """Returns what draws the value, and what ends the tie."""
            if isinstance(widget, qMRMLNodeComboBox):
                signal, draw = widget.currentNodeChanged, lambda: widget.setCurrentNode(getattr(self, name))
                same = lambda now: now is getattr(self, name)  # noqa: E731
            elif isinstance(widget, ctkSliderWidget):
                signal, draw = widget.valueChanged, lambda: widget.setValue(getattr(self, name))
                same = lambda now: abs(now - getattr(self, name)) < 1e-9  # noqa: E731
            else:
                signal, draw = widget.toggled, lambda: widget.setChecked(getattr(self, name))
                same = lambda now: now == getattr(self, name)  # noqa: E731

            def changed(now):
                if not same(now):
                    setattr(self, name, now)

            signal.connect(changed)
            return draw, lambda: signal.disconnect(changed)

    Wrapper.__name__ = cls.__name__
    return Wrapper


# --- slicer.ScriptedLoadableModule


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        super().__init__()
        self.parent = parent
        self.layout = parent.layout()

    def setup(self):
        pass

    def resourcePath(self, name):
        return str(CHECKOUT / "NoduleRisk" / "Resources" / name)

    def onReload(self):
        spec = importlib.util.spec_from_file_location("NoduleRisk", CHECKOUT / "NoduleRisk" / "NoduleRisk.py")
        sys.modules["NoduleRisk"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["NoduleRisk"])


class ScriptedLoadableModuleTest:
    pass


# --- slicer.app


class App(QtCore.QObject):
    startupCompleted = QtCore.Signal()

    def __init__(self, logic):
        super().__init__()
        self._logic = logic

    def connect(self, signal, function):
        assert signal == "startupCompleted()", signal
        self.startupCompleted.connect(function)

    def applicationLogic(self):
        return self._logic

    def layoutManager(self):
        return self._layouts

    def processEvents(self):
        QtWidgets.QApplication.processEvents()

    def testingEnabled(self):
        return True

    def setOverrideCursor(self, cursor):
        pass

    def restoreOverrideCursor(self):
        pass


class Layouts:
    """The layout manager."""

    layout = None

    def setLayout(self, layout):
        self.layout = layout

    def mrmlSliceLogics(self):
        return slicer.app.applicationLogic().GetSliceLogics()

    def resetSliceViews(self):
        for n in range(slicer.app.applicationLogic().GetSliceLogics().GetNumberOfItems()):
            slicer.app.applicationLogic().GetSliceLogics().GetItemAsObject(n).FitSliceToAll()


def confirmOkCancelDisplay(text, windowTitle=None, **more):
    asked.append(text)
    return answers["confirm"]


def showStatusMessage(text, duration=0):
    asked.append(text)
    return True


def start() -> None:
    """Make ``import qt`` and ``import NoduleRisk`` work; once a process."""
    if "qt" in sys.modules:
        return
    QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    sys.modules["qt"] = _qt()
    for name, content in {
        "slicer.i18n": {"tr": lambda text: text},
        "slicer.parameterNodeWrapper": {"parameterNodeWrapper": parameterNodeWrapper, "WithinRange": WithinRange},
        "slicer.ScriptedLoadableModule": {
            c.__name__: c
            for c in (
                ScriptedLoadableModule,
                ScriptedLoadableModuleLogic,
                ScriptedLoadableModuleTest,
                ScriptedLoadableModuleWidget,
            )
        },
    }.items():
        sys.modules[name] = Strict(name)
        vars(sys.modules[name]).update(content)
    for function in (loadUI, childWidgetVariables, confirmOkCancelDisplay, showStatusMessage):
        setattr(slicer.util, function.__name__, function)
    slicer.qMRMLWidget = qMRMLWidget
    slicer.app = App(_application_logic())
    slicer.app._layouts = Layouts()
    sys.path[:0] = [str(CHECKOUT / "NoduleRisk")]


def _application_logic():
    """Slicer's application logic with its scene, three slice views, colours, and a place to unpack saved scenes in."""
    folder = tempfile.mkdtemp(prefix="nodulerisk-")
    scene = slicer.mrmlScene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetTemporaryPath(folder)
    logic.SetMRMLScene(scene)
    colors = slicer.vtkSlicerColorLogic()
    colors.SetMRMLApplicationLogic(logic)
    colors.SetMRMLScene(scene)
    logic.SetColorLogic(colors)
    logic._colors = colors
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    remote, manager = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
    remote.SetMRMLApplicationLogic(logic)
    remote.GetCacheManager().SetRemoteCacheDirectory(folder)
    manager.SetMRMLApplicationLogic(logic)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    logic.SetMRMLSceneDataIO(scene, remote, manager)
    logic._keep = [remote, manager]
    for name in ("Markups", "Segmentations", "Sequences", "Volumes", "Tables"):
        module = getattr(slicer, f"vtkSlicer{name}Logic", None) or getattr(slicer, f"vtkSlicer{name}ModuleLogic", None)
        if module is not None:
            module = module()
            module.SetMRMLApplicationLogic(logic)
            module.SetMRMLScene(scene)
            logic._keep.append(module)
    slices = vtk.vtkCollection()
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        one = slicer.vtkMRMLSliceLogic()
        one.SetMRMLApplicationLogic(logic)
        one.SetMRMLScene(scene)
        one.AddSliceNode(name).SetOrientation(orientation)
        one.ResizeSliceNode(300, 300)
        slices.AddItem(one)
    logic.SetSliceLogics(slices)
    return logic
