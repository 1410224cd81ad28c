# ruff: noqa: N803, N815 - Slicer's own names
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
from PySide6 import QtCore, QtUiTools, QtWidgets
from standin_widgets import (
    WIDGETS,
    Strict,
    answers,
    asked,
    ctk_module,
    ctkSliderWidget,
    qMRMLNodeComboBox,
    qMRMLWidget,
    qt_module,
)

CHECKOUT = Path(__file__).resolve().parents[2]


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
    for name in (
        "ctSelector",
        "pointsSelector",
        "outlinesSelector",
        "priorSelector",
        "priorPointsSelector",
        "placeWidget",
    ):
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

    def clipboard(self):
        return QtWidgets.QApplication.clipboard()

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


def selectModule(module):
    asked.append(f"module {module}")


def start() -> None:
    """Make ``import qt`` and ``import NoduleRisk`` work; once a process."""
    if "qt" in sys.modules:
        return
    QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    sys.modules["qt"], sys.modules["ctk"] = qt_module(), ctk_module()
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
    for function in (loadUI, childWidgetVariables, confirmOkCancelDisplay, selectModule, showStatusMessage):
        setattr(slicer.util, function.__name__, function)
    slicer.qMRMLWidget = qMRMLWidget
    window = QtWidgets.QMainWindow()
    slicer.util.mainWindow = lambda: window
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
