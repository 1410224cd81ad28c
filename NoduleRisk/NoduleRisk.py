"""The panel of NoduleRisk and its glue to MRML: everything else is in NoduleRiskLib, a plain Python package."""

import importlib.metadata
import importlib.util
import logging
import re
import sys
import tempfile
import time
import unittest
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Protocol

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# In a checkout the library lies beside this folder, where Slicer does not look.
if not importlib.util.find_spec("NoduleRiskLib"):
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.explain import heatmap_faithfulness
from NoduleRiskLib.grades import DISCLAIMER, GRADES
from NoduleRiskLib.networks import model_package as packages
from NoduleRiskLib.results import grade_card
from NoduleRiskLib.results.grade_card import ASSESSED, NEW, OUTSIDE, STALE
from NoduleRiskLib.slicer_scene import scene
from NoduleRiskLib.worker import Cancelled, Task, Worker

SAMPLE = "Synthetic chest CT with nodules"
QUESTION = """NoduleRisk reads nodules with a neural network. For that, Slicer's Python lacks: {missing}.

They come from pytorch.org and pypi.org. PyTorch takes about 0.3 GB to download without an NVIDIA graphics card and \
2 to 3 GB with one, everything else under 50 MB; it is done once. Nothing about you or your images is sent.

Install them now?"""


class NoduleRisk(ScriptedLoadableModule):
    """What Slicer shows of the module, and the sample scan."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Nodule Risk")
        parent.categories = ["Quantification"]
        parent.dependencies = ["Markups", "Segmentations", "Sequences", "Colors"]
        parent.contributors = ["The NoduleRisk developers"]
        parent.helpText = _(
            "Put a point on each lung nodule of a chest CT and press Assess: nine LIDC grades with their intervals, "
            "and a heatmap of what moved them. "
        ) + _(DISCLAIMER)
        parent.acknowledgementText = _(
            "The model is trained on LIDC-IDRI (Armato et al. 2011, doi 10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0)."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the phantom in the Sample Data module; it is computed when asked for, without network."""
    import SampleData

    # Its source is a file of this extension, and its checksum that of the file.
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="NoduleRisk",
        sampleName=SAMPLE,
        uris=packages.SHIPPED.parents[1].joinpath("phantom", "phantom_nodules.json").as_uri(),
        fileNames="phantom_nodules.json",
        nodeNames="synthetic chest CT",
        loadFiles=False,
        checksums="SHA256:"
        + slicer.util.computeChecksum("SHA256", str(packages.SHIPPED.parents[1] / "phantom" / "phantom_nodules.json")),
        thumbnailFileName=str(Path(__file__).with_name("Resources") / "Icons" / "NoduleRisk.png"),
        customDownloader=loadPhantom,
    )


def loadPhantom(source=None):
    """Compute the synthetic chest CT and put it, with a point on each nodule, into the scene; returns both nodes."""
    from NoduleRiskLib.phantom.chest_ct import chest_ct

    with slicer.util.tryWithErrorDisplay(_("The synthetic CT could not be made."), waitCursor=True):
        volume, nodules = chest_ct()
        ct = scene.add_volume(volume)
        points = scene.add_points("Nodules", [n.point for n in nodules])
        slicer.util.setSliceViewerLayers(background=ct, fit=True)
        scene.jump(tuple(nodules[0].point_ras))
        return ct, points


@parameterNodeWrapper
class NoduleRiskParameterNode:
    """The panel's state; saved with the scene.

    ``nodule`` is the chosen point's control point ID, ``grade`` the name whose heatmap is shown, ``package`` the folder
    of a local model (empty: the one that ships), ``device`` as ``Assessor`` takes it.
    """

    ct: slicer.vtkMRMLScalarVolumeNode
    points: slicer.vtkMRMLMarkupsFiducialNode
    assessAsPlaced: bool
    heatmapShown: bool = True
    outlineShown: bool
    opacity: Annotated[float, WithinRange(0, 1)] = 0.6
    threshold: Annotated[float, WithinRange(0, 1)] = 0.2
    nodule: str
    grade: str = "malignancy"
    package: str
    device: str = "auto"


class NoduleAssessor(Protocol):
    """What the logic needs of ``NoduleRiskLib.assessor.Assessor``."""

    device_name: str

    def assess(self, volume, points, heatmaps=True) -> list: ...


class Requirements:
    """What the model needs of Slicer's Python, and its installation on a user's word."""

    modules = ("torch", "torchvision", "timm", "safetensors")

    def missing(self):
        """Names of the modules that assessing lacks."""
        return [name for name in self.modules if not importlib.util.find_spec(name)]

    def missingForPictures(self):
        return [] if importlib.util.find_spec("matplotlib") else ["matplotlib"]

    def install(self):
        """Ask once, then install; returns whether assessing is possible now.

        Raises
        ------
        NoduleRiskError
            If something stands in the way that the user can mend.
        """
        import slicer.packaging

        missing = self.missing() + self.missingForPictures()
        if missing and not slicer.util.confirmOkCancelDisplay(
            QUESTION.format(missing=", ".join(missing)), "NoduleRisk"
        ):
            return False
        if {"torch", "torchvision"} & set(missing):
            try:
                import PyTorchUtils
            except ModuleNotFoundError as error:
                raise NoduleRiskError(
                    _("The PyTorch extension is missing: install it in the Extensions Manager and restart Slicer.")
                ) from error
            if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True) is None:
                return False
        self._importPair()
        pair = "".join(f"{name}=={importlib.metadata.version(name)}\n" for name in ("torch", "torchvision"))
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text(pair)
            required = slicer.packaging.load_requirements(Path(__file__).parent / "Resources" / "requirements.txt")
            # The question above was theirs as well.
            slicer.packaging.pip_ensure(required, constraints, prompt_install=False, requester="NoduleRisk")
        importlib.invalidate_caches()
        return not self.missing()

    @staticmethod
    def _importPair():
        """A torchvision that was built for another torch fails when it is imported: better now than in the model."""
        try:
            import torch  # noqa: F401
            import torchvision  # noqa: F401
        except (ImportError, RuntimeError, OSError) as error:
            raise NoduleRiskError(
                _("torch and torchvision do not fit together: reinstall both in the PyTorch Utils module.")
            ) from error


@dataclass(frozen=True)
class Nodule:
    """A point with what is known of it: ``state`` is NEW, STALE, ASSESSED or OUTSIDE; ``row`` is there if assessed."""

    mark: Any
    row: Any
    state: str


class NoduleRiskLogic(ScriptedLoadableModuleLogic):
    """Points in, assessments and nodes out. Needs no Qt.

    In Slicer's Python console::

        import NoduleRisk
        ct, points = getNode("CT"), getNode("Nodules")
        for assessment in NoduleRisk.NoduleRiskLogic().assess(ct, points):
            print(assessment.label, assessment.estimate("malignancy").value, assessment.warnings)

    Parameters
    ----------
    makeAssessor : callable, optional
        Takes a package's folder (or ``None``) and a device, returns a ``NoduleAssessor``.
    requirements : Requirements, optional
    """

    def __init__(self, makeAssessor=None, requirements=None):
        ScriptedLoadableModuleLogic.__init__(self)
        self.requirements = requirements or Requirements()
        self.worker = Worker()
        #: What the model runs on, once it has been loaded; the devices that one can choose.
        self.deviceName, self.devices = "", ["auto", "cpu"]
        self._makeAssessor = makeAssessor or _makeAssessor
        self._assessor = None
        self._digests, self._era = {}, 0

    def getParameterNode(self):
        return NoduleRiskParameterNode(super().getParameterNode())

    def assess(self, volumeNode, pointsNode, nodes=True, heatmaps=True, package=None, device="auto"):
        """Assess every point of a list on a CT and wait for it.

        Parameters
        ----------
        volumeNode : vtkMRMLScalarVolumeNode
        pointsNode : vtkMRMLMarkupsFiducialNode
        nodes : bool
            Whether to put the results table and the heatmaps into the scene, as the panel does.
        heatmaps : bool
        package : path, optional
            Folder of a model package instead of the one that ships.
        device : str

        Returns
        -------
        list of NoduleRiskLib.results.assessment.Assessment
            One a placed point, in their order.

        Raises
        ------
        NoduleRiskError
            With one sentence, if the CT, a point, the package or the device is at fault.
        """
        marks = scene.marks(pointsNode)
        found, errors = {}, []
        task = self._start(
            volumeNode,
            pointsNode,
            marks,
            package,
            device,
            heatmaps,
            nodes,
            lambda mark, assessment: found.__setitem__(mark.id, assessment),
            lambda *_: None,
            errors.append,
        )
        while not task.ended:
            time.sleep(0.005)
            self.worker.poll()
        if errors[0] is not None:
            raise errors[0]
        return [found[mark.id] for mark in marks]

    def start(self, ct, points, marks, package, device, assessed, progressed, ended):
        """Assess some points on the worker's thread; what comes of it is heard when ``worker`` is polled.

        ``assessed(mark, assessment)``, ``progressed(done, all)`` and ``ended(error)`` are called by ``worker.poll``.
        """
        return self._start(ct, points, marks, package, device, True, True, assessed, progressed, ended)

    def prepare(self, package, device, ended) -> Task:
        """Load the model on the worker's thread, so that ``deviceName`` is known and the first nodule is quick."""
        return self.worker.do(lambda tell: self._ready(package, device, tell), ended)

    def describe(self, package, described, ended) -> Task:
        """Read and verify a model package on the worker's thread: ``described(ModelPackage)``."""
        return self.worker.do(lambda tell: tell(described, packages.load(package or packages.SHIPPED)), ended)

    def nodules(self, ct, points):
        """The placed points of a list, each with what the scene holds of it."""
        if not points:
            return []
        rows = scene.rows(scene.results(ct, points)) if ct else {}
        scan, digest = (scene.scan(ct), self._digest(ct)) if ct else (None, None)
        found = []
        for mark in scene.marks(points):
            row = rows.get(mark.id)
            state = NEW if row is None else ASSESSED if row.fits(mark.point.ras, digest) else STALE
            if state != ASSESSED and scan and not scan.contains(mark.point):
                state = OUTSIDE
            found.append(Nodule(mark, row, state))
        return found

    def look(self, ct, ended):
        """Find out, on the worker's thread, which CT this is now; returns ``None`` if that is known."""
        if self._digest(ct) is not None:
            return None
        scan, key = scene.scan(ct), self._key(ct)
        return self.worker.do(lambda tell: tell(self._known, ct.GetID(), key, scan.read().digest), ended)

    def export(self, kind, path, ct, points, package, grade, ended) -> Task:
        """Write what the scene holds as "csv" or "json" (``path`` a file) or "pictures" (a folder; a page a nodule)."""
        table, scan = scene.results(ct, points), scene.scan(ct)
        kept = []
        for nodule in self.nodules(ct, points):
            if nodule.row:
                late = () if nodule.state == ASSESSED else (grade_card.CHANGED,)
                kept.append(
                    (
                        nodule.mark.point.label,
                        late,
                        scene.kept(table, nodule.mark.id),
                        scene.assessment(table, nodule.mark.id) if not nodule.row.found else None,
                    )
                )

        def work(tell):
            from NoduleRiskLib.results import tables
            from NoduleRiskLib.results.serialization import unpack

            volume, assessments = scan.read(), []
            for label, late, record, nothing in kept:
                assessment = unpack(*record, volume) if record else nothing
                assessments.append(replace(assessment, label=label, warnings=late + assessment.warnings))
            if kind == "csv":
                tables.write_csv(path, assessments)
            elif kind == "json":
                tables.write_json(path, volume, assessments, packages.load(package or packages.SHIPPED))
            else:
                from NoduleRiskLib.results.nodule_page import write_page

                for n, assessment in enumerate(assessments):
                    tell(int)
                    name = re.sub(r"[^\w\-]+", "_", assessment.label)
                    write_page(Path(path) / f"{n + 1:02d}_{name}.png", volume, assessment, grade)

        return self.worker.do(work, ended)

    def _start(self, ct, points, marks, package, device, heatmaps, nodes, assessed, progressed, ended):
        scan, key = scene.scan(ct), self._key(ct)
        ids = ct.GetID(), points.GetID()

        era = self._era

        def work(tell):
            from NoduleRiskLib.results.serialization import pack

            def say(function, *arguments):
                tell(self._say, era, function, *arguments)

            assessor = self._ready(package, device, tell)
            volume = scan.read()
            say(self._known, ids[0], key, volume.digest)
            # One by one: what is cancelled loses no finished nodule.
            for done, mark in enumerate(marks, 1):
                (assessment,) = assessor.assess(volume, [mark.point], heatmaps)
                if nodes:
                    say(self._store, ids, mark, assessment, pack(assessment), volume.digest)
                say(assessed, mark, assessment)
                say(progressed, done, len(marks))

        return self.worker.do(work, ended)

    def _ready(self, package, device, tell):
        """The assessor for a package on a device, made once; only the worker's thread comes here."""
        wanted = str(package or ""), device
        if self._assessor is None or self._assessor[0] != wanted:
            self._assessor = None
            self._assessor = wanted, self._makeAssessor(package or None, device)
        assessor = self._assessor[1]
        tell(self._named, assessor.device_name, _devices())
        return assessor

    def forgetScene(self):
        """The scene is closed: what is still told of its nodes is not heard, for others may get their IDs."""
        self._era += 1
        self._digests.clear()

    def _say(self, era, function, *arguments):
        if era == self._era:
            function(*arguments)

    def _named(self, deviceName, devices):
        self.deviceName, self.devices = deviceName, devices

    def _store(self, ids, mark, assessment, record, digest):
        ct, points = (slicer.mrmlScene.GetNodeByID(id) for id in ids)
        # Both the scene and the list may have changed in the meantime.
        if ct and points and points.GetNthControlPointIndexByID(mark.id) >= 0:
            scene.store(ct, points, mark, assessment, record, digest)

    def _key(self, ct):
        """Changes whenever the CT's voxels or its place do."""
        return ct.GetImageData().GetMTime(), scene.scan(ct).ijk_to_ras.tobytes()

    def _known(self, ctID, key, digest):
        self._digests[ctID] = key, digest

    def _digest(self, ct):
        key, digest = self._digests.get(ct.GetID(), (None, None))
        return digest if key == self._key(ct) else None


def _makeAssessor(package, device):
    from NoduleRiskLib.assessor import Assessor

    return Assessor(package, device)


def _devices():
    torch = sys.modules.get("torch")
    return ["auto", "cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count() if torch else 0))]


def sentence(error):
    """An error as one sentence for the user; what is a bug goes to the log as well."""
    if isinstance(error, NoduleRiskError):
        return str(error)
    logging.error("NoduleRisk", exc_info=error)
    told = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return _("The assessment stopped ({error}); the error log has the details.").format(error=told)


class NoduleRiskWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel. It draws what MRML holds: every event only asks for one redraw, and one timer serves them all."""

    def __init__(self, parent=None, logic=None):
        self.logic = logic
        # Makes the observations' book too: a second one, made after setup(), would lose what is in the first.
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = self.logic or NoduleRiskLogic()
        self._parameters = self._guiTag = self._task = self._export = self._looking = None
        self._nodules, self._shown, self._assessment, self._prepared, self._described = [], None, None, None, None
        self._error, self._strip, self._slices, self._followed = "", None, [], ()
        self._observed, self._outlined, self._placed, self._dirty = [], None, False, False
        self._entered, self._chooseNext, self._drawn = False, False, []
        panel = slicer.util.loadUI(self.resourcePath("UI/NoduleRisk.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self._timer = qt.QTimer()
        self._timer.setInterval(25)
        self._timer.timeout.connect(self.tick)
        self._dress()
        self._connect()
        for event in (
            "StartCloseEvent",
            "EndCloseEvent",
            "EndImportEvent",
            "StartSaveEvent",
            "EndUndoEvent",
            "NodeRemovedEvent",
        ):
            self.addObserver(
                slicer.mrmlScene, getattr(slicer.vtkMRMLScene, event), getattr(self, f"on{event[:-5]}", self.changed)
            )
        self._bind()

    def _dress(self):
        """What Designer cannot say."""
        ui = self.ui
        ui.disclaimerLabel.setText(_(DISCLAIMER))
        ui.disclaimerLabel.setStyleSheet("background: #fff3d6; color: #5c4300; border-radius: 3px; padding: 4px;")
        ui.statusLabel.setStyleSheet("background: #fde8e6; color: #7a1f14; border-radius: 3px; padding: 4px;")
        ui.warningsLabel.setStyleSheet("color: #9a6200;")
        for table, stretched in ((ui.noduleTable, 0), (ui.gradeTable, 3)):
            table.verticalHeader().setVisible(False)
            table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
            table.horizontalHeader().setSectionResizeMode(stretched, qt.QHeaderView.Stretch)
        ui.gradeTable.setRowCount(len(GRADES))
        ui.noduleTable.verticalHeader().setDefaultSectionSize(ROW_PIXELS)
        ui.gradeTable.verticalHeader().setDefaultSectionSize(GRADE_PIXELS)
        ui.gradeTable.setMinimumHeight(GRADE_PIXELS * len(GRADES) + ROW_PIXELS + 8)
        # The usual highlight would hide the scale.
        ui.gradeTable.setStyleSheet(
            "selection-background-color: rgba(72, 149, 214, 70); selection-color: palette(text);"
        )
        for header in (ui.stripTable.horizontalHeader(), ui.stripTable.verticalHeader()):
            header.setVisible(False)
            header.setMinimumSectionSize(3)
            header.setSectionResizeMode(qt.QHeaderView.Stretch)
        ui.stripTable.setRowCount(1)
        ui.gradeTable.horizontalHeaderItem(4).setToolTip(_("Share of LIDC's nodules whose readers gave less."))
        ui.noduleTable.horizontalHeaderItem(2).setToolTip(
            _("Chance that at least half of LIDC's readers give malignancy 4 or 5: their suspicion, not pathology.")
        )

    def _connect(self):
        ui = self.ui
        ui.placeButton.toggled.connect(self.onPlace)
        ui.placeWidget.activeMarkupsPlaceModeChanged.connect(lambda on: ui.placeButton.setChecked(on))
        ui.assessButton.clicked.connect(lambda *_: self.onAssess())
        ui.cancelButton.clicked.connect(lambda *_: self.cancel())
        ui.noduleTable.cellClicked.connect(lambda row, column: self.choose(self._nodules[row].mark.id))
        ui.noduleTable.currentCellChanged.connect(lambda row, *_: self._onCurrentNodule(row))
        ui.gradeTable.currentCellChanged.connect(lambda row, *_: self._onCurrentGrade(row))
        ui.stripTable.cellClicked.connect(lambda row, column: scene.jump(self._slices[column].middle_ras))
        ui.keepOutlineButton.clicked.connect(lambda *_: self.onKeepOutline())
        ui.tableButton.clicked.connect(lambda *_: self.onTable())
        ui.csvButton.clicked.connect(lambda *_: self.onExport("csv"))
        ui.jsonButton.clicked.connect(lambda *_: self.onExport("json"))
        ui.picturesButton.clicked.connect(lambda *_: self.onExport("pictures"))
        ui.localModelButton.clicked.connect(lambda *_: self.onLocalModel())
        ui.shippedModelButton.clicked.connect(lambda *_: self.useModel(""))
        ui.deviceComboBox.currentIndexChanged.connect(lambda *_: self._onDevice())

    # --- coming, going, and what the scene does

    def enter(self):
        self._entered = True
        self._bind()
        self._followViews()

    def exit(self):
        self._entered = False
        self.ui.placeButton.setChecked(False)

    def cleanup(self):
        self._timer.stop()
        self.logic.worker.stop()
        self._unbind()
        self.removeObservers()

    def _bind(self):
        """Take up the scene's parameter node, making one if there is none."""
        if self._parameters is None and not slicer.mrmlScene.IsClosing():
            self._parameters = self.logic.getParameterNode()
            self._guiTag = self._parameters.connectGui(self.ui)
            self.addObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.changed)
            self._observeViews()
        self.changed()

    def _unbind(self):
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.changed)
            self._parameters = None

    def _observeViews(self):
        """Volume and list follow what the views show and what points are being placed in."""
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        selection = slicer.app.applicationLogic().GetSelectionNode()
        for node, event in [(c, vtk.vtkCommand.ModifiedEvent) for c in composites] + [
            (selection, slicer.vtkMRMLSelectionNode.ActivePlaceNodeIDChangedEvent)
        ]:
            if node and not self.hasObserver(node, event, self.onViews):
                self.addObserver(node, event, self.onViews)
        self._followed = self._inViews()

    def _inViews(self):
        """IDs of the volume in the background of the first view that has one, and of the list that points go into."""
        backgrounds = [c.GetBackgroundVolumeID() for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")]
        selection = slicer.app.applicationLogic().GetSelectionNode()
        return next(filter(None, backgrounds), None), selection.GetActivePlaceNodeID() if selection else None

    def onViews(self, caller, event):
        before, self._followed = self._followed, self._inViews()
        self._followViews(*(now if now != was else None for now, was in zip(self._followed, before, strict=True)))

    def _followViews(self, ctID=None, pointsID=None):
        """Take over what is shown; without arguments, only where nothing was chosen yet."""
        if self._parameters is None:
            return
        if ctID is None and self._parameters.ct is None:
            ctID = self._inViews()[0]
        if pointsID is None and self._parameters.points is None:
            pointsID = self._inViews()[1]
        ct, points = (slicer.mrmlScene.GetNodeByID(id) if id else None for id in (ctID, pointsID))
        if ct and ct.GetClassName() == "vtkMRMLScalarVolumeNode" and ct.GetImageData():
            self._parameters.ct = ct
        if points and points.GetClassName() == "vtkMRMLMarkupsFiducialNode":
            self._parameters.points = points

    def onStartClose(self, caller, event):
        self.cancel()
        self.logic.forgetScene()
        self._unbind()

    def onEndClose(self, caller, event):
        self._shown = self._assessment = None
        if self._entered:
            self._bind()
        self.changed()

    def onEndImport(self, caller, event):
        # A loaded scene brings views of its own, and a parameter node whose references were read before their nodes.
        if self._parameters is not None:
            self._unbind()
            self._bind()

    def onStartSave(self, caller, event):
        """What belongs to points that are gone is not saved; until then an undo brings it back with its point."""
        for table in slicer.util.getNodesByClass("vtkMRMLTableNode"):
            points = table.GetNodeReference(scene.POINTS_ROLE) if table.GetAttribute(scene.RESULTS) else None
            if points:
                scene.forget(table, {points.GetNthControlPointID(n) for n in range(points.GetNumberOfControlPoints())})

    def changed(self, caller=None, event=None):
        """Something may look different now: redraw with the next tick."""
        if not self._dirty:
            self._dirty = True
            # Only once a tick: it starts from zero again, and a dragged point would put the tick off for ever.
            self._timer.start()

    def tick(self):
        """Redraw if anything changed, otherwise hear the worker: one of them a tick, so that none is long."""
        if self.logic.worker.busy:
            # Slicer's event loop may hold Python's lock between ticks: here the worker's thread gets it.
            time.sleep(0.01)
        if self._dirty:
            self._dirty = False
            self.refresh()
        elif self.logic.worker.busy:
            self.logic.worker.poll()
        else:
            self._timer.stop()

    # --- what the user does

    def onPlace(self, on):
        if self._parameters is None:
            return
        if on and self._parameters.points is None:
            self._parameters.points = scene.add_points("Nodules", [])
        self.ui.placeWidget.setCurrentNode(self._parameters.points)
        self.ui.placeWidget.setPlaceModeEnabled(on)

    def onAssess(self):
        """Assess all points that are new or stale, or first install what that needs."""
        if self.logic.requirements.missing() and not self._install():
            return
        self.assess([n.mark for n in self._nodules if n.state in (NEW, STALE)])

    def assess(self, marks):
        p = self._parameters
        if marks and not self._task:
            self._attempt(self._startAssessing, p, marks)
            self.changed()

    def _startAssessing(self, p, marks):
        self.ui.progressBar.setRange(0, len(marks))
        self.ui.progressBar.setValue(0)
        self._chooseNext = not any(n.row and n.mark.id == p.nodule for n in self._nodules)
        self._task = self.logic.start(
            p.ct, p.points, marks, p.package, p.device, self._onAssessed, self._onProgress, self._onEnded
        )

    def cancel(self):
        if self._task:
            self._task.cancel()
            self.ui.cancelButton.setEnabled(False)

    def choose(self, pointID, jump=True):
        """Make a nodule the one whose card and heatmap are shown."""
        if self._parameters.nodule != pointID:
            self._parameters.nodule = pointID
        if jump:
            scene.jump(next(n.mark.point.ras for n in self._nodules if n.mark.id == pointID))

    def onKeepOutline(self):
        p = self._parameters
        label = next(n.mark.point.label for n in self._nodules if n.mark.id == p.nodule)
        scene.show_outline(p.ct, scene.results(p.ct, p.points), p.nodule, label, keep=True)

    def onTable(self):
        table = scene.results(self._parameters.ct, self._parameters.points)
        logic = slicer.app.applicationLogic()
        logic.GetSelectionNode().SetActiveTableID(table.GetID())
        logic.PropagateTableSelection()
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpTableView)

    def onExport(self, kind):
        if kind == "pictures":
            path = qt.QFileDialog.getExistingDirectory(None, _("Folder for one page a nodule"))
        else:
            path = qt.QFileDialog.getSaveFileName(None, _("Save the grades"), f"nodules.{kind}", f"*.{kind}")
        if path:
            self._attempt(self.export, kind, path)

    def export(self, kind, path):
        p = self._parameters
        self._export = self.logic.export(
            kind, path, p.ct, p.points, p.package, p.grade, lambda error: self._onExported(error, path)
        )
        self.changed()

    def onLocalModel(self):
        path = qt.QFileDialog.getExistingDirectory(None, _("Folder of a model package"))
        if path:
            self.useModel(path)

    def useModel(self, path):
        """Another model package (a folder; empty: the one that ships), if it verifies."""

        def take(package):
            self._parameters.package = path

        self.logic.describe(path, take, self._onError)
        self.changed()

    def _onDevice(self):
        n = self.ui.deviceComboBox.property("currentIndex")
        if 0 <= n < len(self.logic.devices) and self._parameters:
            self._parameters.device = self.logic.devices[n]

    def _install(self):
        done = self._attempt(self.logic.requirements.install)
        self.changed()
        return bool(done)

    def _attempt(self, function, *arguments):
        """Call; an error becomes the sentence under the buttons."""
        self._error = ""
        try:
            return function(*arguments)
        except Exception as error:
            self._onError(error)
            return None

    def _onCurrentNodule(self, row):
        if 0 <= row < len(self._nodules):
            self.choose(self._nodules[row].mark.id)

    def _onCurrentGrade(self, row):
        if 0 <= row < len(GRADES):
            self._parameters.grade = GRADES[row].name

    def onPointTouched(self, caller, event):
        """A point is clicked or dragged in a view."""
        display = caller.GetDisplayNode()
        if display and display.GetActiveComponentType() == slicer.vtkMRMLMarkupsDisplayNode.ComponentControlPoint:
            pointID = caller.GetNthControlPointID(display.GetActiveComponentIndex())
            if any(n.mark.id == pointID for n in self._nodules):
                self.choose(pointID, jump=False)

    def onPointPlaced(self, caller, event):
        self.changed()
        if self._parameters.assessAsPlaced and not self.logic.requirements.missing():
            self._placed = True

    # --- what the worker says

    def _onProgress(self, done, of):
        self.ui.progressBar.setValue(done)
        self.ui.progressBar.setFormat(_("{done} of {of} nodules").format(done=done, of=of))

    def _onAssessed(self, mark, assessment):
        if self._chooseNext:
            self._chooseNext = False
            self._parameters.nodule = mark.id
        self.changed()

    def _onEnded(self, error):
        self._task = None
        self._onError(error)

    def _onExported(self, error, path):
        self._export = None
        self._onError(error)
        if error is None:
            slicer.util.showStatusMessage(_("Saved {path}").format(path=path), 5000)

    def _onLooked(self, error):
        self._looking = None
        self._onError(error)

    def _onError(self, error):
        if error is not None and not isinstance(error, Cancelled):
            self._error = sentence(error)
        self.changed()

    # --- drawing

    def refresh(self):
        """Draw everything that may have changed; cheap where nothing did."""
        p = self._parameters
        if p is None:
            self._nodules = []
            self._drawNodules("")
            return
        ct, points = p.ct, p.points
        problem = ""
        try:
            self._nodules = self.logic.nodules(ct, points)
        except NoduleRiskError as error:
            problem, ct, self._nodules = str(error), None, self.logic.nodules(None, points)
        self._observe(ct, points)
        table = scene.results(ct, points)
        for nodule in self._nodules:
            if nodule.row and nodule.row.label != nodule.mark.point.label:
                scene.rename(table, nodule.mark)
        chosen = next((n for n in self._nodules if n.mark.id == p.nodule), None)
        self._drawNodules(chosen.mark.id if chosen else "")
        self._drawCard(table, chosen)
        self._drawOverlay(ct, table, chosen)
        self._drawControls(ct, problem)
        self._ask(ct, table)
        fresh = [n.mark for n in self._nodules if n.state == NEW]
        if self._placed and not self._task:
            self._placed = False
            self.assess(fresh)

    def _observe(self, ct, points):
        """Follow the chosen CT and list, and no other."""
        wanted = []
        if ct:
            wanted += [
                (ct, e, self.changed)
                for e in (ct.ImageDataModifiedEvent, ct.TransformModifiedEvent, vtk.vtkCommand.ModifiedEvent)
            ]
        if points:
            list_ = slicer.vtkMRMLMarkupsNode
            wanted += [
                (points, e, self.changed)
                for e in (
                    list_.PointModifiedEvent,
                    list_.PointAddedEvent,
                    list_.PointRemovedEvent,
                    list_.TransformModifiedEvent,
                    vtk.vtkCommand.ModifiedEvent,
                )
            ]
            wanted += [
                (points, list_.PointPositionDefinedEvent, self.onPointPlaced),
                (points, list_.PointStartInteractionEvent, self.onPointTouched),
            ]
        have = self._observed
        for observed in have:
            if observed not in wanted:
                self.removeObserver(*observed)
        for observed in wanted:
            if observed not in have:
                self.addObserver(*observed)
        if [o[0] for o in have[:1]] != [o[0] for o in wanted[:1]] and ct:
            self._showCT(ct)
        self._observed = wanted

    def _showCT(self, ct):
        """The CT that one chooses is the CT that one sees."""
        if self._inViews()[0] != ct.GetID():
            slicer.util.setSliceViewerLayers(background=ct, fit=True)
            self._followed = self._inViews()

    def _ask(self, ct, table):
        """Ask for what the panel does not know yet: the package's card, the device, whether the CT was changed."""
        p, missing = self._parameters, self.logic.requirements.missing()
        if self._described != p.package:
            self._described = p.package
            self.logic.describe(p.package, self._drawModel, self._onNoModel)
        if (p.package, p.device) != self._prepared and self._nodules and ct and not missing and not self._task:
            self._prepared = p.package, p.device
            self.logic.prepare(p.package, p.device, self._onError)
        if ct and table and not self._looking:
            self._looking = self.logic.look(ct, self._onLooked)

    def _drawNodules(self, chosen):
        table = self.ui.noduleTable
        table.blockSignals(True)
        table.setRowCount(len(self._nodules))
        for row, nodule in enumerate(self._nodules):
            if self._drawn[row : row + 1] == [nodule]:
                continue
            told = grade_card.in_list(nodule.state, nodule.row)
            tip = "\n".join(filter(None, (grade_card.STATES[nodule.state], nodule.row.warnings if nodule.row else "")))
            for column, text in enumerate((nodule.mark.point.label, *told)):
                _cell(table, row, column, text, tip, right=0 < column < 5, italic=nodule.state == STALE)
        self._drawn = self._nodules
        at = next((row for row, n in enumerate(self._nodules) if n.mark.id == chosen), -1)
        if at < 0:
            table.clearSelection()
            table.setCurrentCell(-1, -1)
        elif table.currentRow() != at:
            table.selectRow(at)
        table.blockSignals(False)

    def _drawCard(self, table, chosen):
        """The nine grades of the chosen nodule."""
        ui, name = self.ui, self._parameters.grade
        shown = (chosen, scene.maps_of(table, chosen.mark.id)) if chosen else None
        if shown is None or shown != self._shown:
            self._shown, self._strip = shown, None
            self._assessment = scene.assessment(table, chosen.mark.id) if chosen and chosen.row else None
            ui.cardTitleLabel.setText(
                grade_card.title(chosen.mark.point.label, self._assessment)
                if chosen
                else _("Choose a nodule, or place a point.")
            )
            warnings = [grade_card.CHANGED] if chosen and chosen.state == STALE else []
            warnings += self._assessment.warnings if self._assessment else ()
            ui.warningsLabel.setText("\n".join(f"• {warning}" for warning in warnings))
            ui.warningsLabel.setVisible(bool(warnings))
            for row, told in enumerate(grade_card.grade_rows(self._assessment)):
                for column, text in ((0, told.name), (1, ""), (2, told.value), (3, told.word), (4, told.above)):
                    tip = GRADES[row].high_means if column == 0 else text
                    _cell(ui.gradeTable, row, column, text, tip, right=column in (2, 4))
                ui.gradeTable.setCellWidget(row, 1, _barLabel(told.bar))
        names = [grade.name for grade in GRADES]
        if ui.gradeTable.currentRow() != names.index(name):
            ui.gradeTable.blockSignals(True)
            ui.gradeTable.selectRow(names.index(name))
            ui.gradeTable.blockSignals(False)
        self._drawStrip(name)

    def _drawStrip(self, name):
        """The chosen grade's slice weights, from the lowest slice to the highest."""
        if self._strip == name:
            return
        self._strip, strip = name, self.ui.stripTable
        self._slices = grade_card.slice_weights(self._assessment, name)
        strip.setColumnCount(len(self._slices))
        for column, slice_ in enumerate(self._slices):
            tip = _("S {s:.1f} mm: alone, {weight:.2g} nearer to {name} than the slice that says least")
            item = _cell(strip, 0, column, "", tip.format(s=slice_.middle_ras[2], name=name, weight=slice_.weight))
            item.setBackground(qt.QBrush(qt.QColor(*scene.heat_rgb(slice_.share))))
        told = _("Slice weights, lowest to highest; brighter: alone nearer to {name}, by {most:.2g} at most.")
        most = max((slice_.weight for slice_ in self._slices), default=0)
        lines = [told.format(name=name, most=most)] if self._slices else []
        shown = self._assessment and self._assessment.heatmaps
        faithful = heatmap_faithfulness.told(self._assessment.model_id, name) if shown else ""
        self.ui.stripTextLabel.setText("\n".join(filter(None, (*lines, faithful))))
        self.ui.heatmapCheckBox.setToolTip(faithful)

    def _drawOverlay(self, ct, table, chosen):
        p = self._parameters
        for other in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            if other is not ct and other.GetNodeReference(scene.HEATMAP_ROLE):
                scene.hide_heatmap(other)
                scene.hide_outline(other)
        if not ct:
            return
        if chosen and chosen.row and p.heatmapShown:
            # What was measured to tell no more than a ball is no picture to believe; the card says so.
            opacity = p.opacity * (
                1 if heatmap_faithfulness.trusted(chosen.row.model_id, p.grade) else heatmap_faithfulness.FAINT
            )
            scene.show_heatmap(ct, table, chosen.mark.id, p.grade, opacity, p.threshold)
        else:
            scene.hide_heatmap(ct)
        outlined = chosen and chosen.row and p.outlineShown
        wanted = (chosen.mark.id, scene.maps_of(table, chosen.mark.id), ct) if outlined else None
        if wanted != self._outlined:
            self._outlined = wanted
            if outlined:
                scene.show_outline(ct, table, chosen.mark.id, chosen.mark.point.label)
            else:
                scene.hide_outline(ct)

    def _drawControls(self, ct, problem):
        ui, p, logic = self.ui, self._parameters, self.logic
        waiting = sum(n.state in (NEW, STALE) for n in self._nodules)
        missing, running = logic.requirements.missing(), bool(self._task)
        count = _("1 nodule") if waiting == 1 else _("{n} nodules").format(n=waiting)
        device = _(" on {device}").format(device=logic.deviceName) if logic.deviceName else ""
        if missing:
            text, tip = (
                _("Install PyTorch to assess…"),
                _("Missing in Slicer's Python: {names}").format(names=", ".join(missing)),
            )
        elif running:
            text, tip = _("Assessing{device}").format(device=device), ""
        elif not ct:
            text, tip = _("Choose a chest CT"), ""
        elif waiting:
            text, tip = (
                _("Assess {count}{device}").format(count=count, device=device),
                _("All points that are new, or that were moved."),
            )
        else:
            text = _("All nodules are assessed") if self._nodules else _("Place a point on each nodule")
            tip = ""
        ui.assessButton.setText(text)
        ui.assessButton.setToolTip(tip)
        ui.assessButton.setEnabled(bool(missing) or bool(ct and waiting and not running))
        ui.cancelButton.setVisible(running)
        ui.cancelButton.setEnabled(running and not self._task.cancelled.is_set())
        ui.progressBar.setVisible(running)
        told = problem or self._error
        ui.statusLabel.setText(told)
        ui.statusLabel.setVisible(bool(told))
        ui.placeWidget.setCurrentNode(p.points)
        assessed = any(n.row for n in self._nodules)
        pictures = logic.requirements.missingForPictures()
        for button in (ui.tableButton, ui.csvButton, ui.jsonButton, ui.picturesButton):
            button.setEnabled(assessed and not self._export)
        ui.picturesButton.setEnabled(assessed and not pictures and not self._export)
        ui.picturesButton.setToolTip(
            _("Needs {names}: install it with Assess, or in the Python console.").format(names=", ".join(pictures))
            if pictures
            else _("One page a nodule: slices, heatmap, grades, warnings.")
        )
        ui.keepOutlineButton.setEnabled(bool(self._assessment and self._assessment.outline))
        ui.shippedModelButton.setEnabled(bool(p.package))
        ui.deviceComboBox.blockSignals(True)
        ui.deviceComboBox.clear()
        ui.deviceComboBox.addItems([_("Automatic") if d == "auto" else d.upper() for d in logic.devices])
        ui.deviceComboBox.setCurrentIndex(logic.devices.index(p.device) if p.device in logic.devices else 0)
        ui.deviceComboBox.blockSignals(False)

    def _drawModel(self, package):
        told = package.describe()
        shown = [
            told["name"] + " " + told["version"],
            told["networks"],
            told["layout"],
            told["size"],
            "SHA-256 " + told["SHA-256"][:12],
        ]
        self.ui.packageLabel.setText("\n".join(shown))
        self.ui.packageLabel.setToolTip(told["folder"])
        self.ui.modelCardBrowser.setMarkdown(package.card)

    def _onNoModel(self, error):
        if error is not None and not isinstance(error, Cancelled):
            self.ui.packageLabel.setText(sentence(error))
            self.ui.modelCardBrowser.setPlainText("")


#: Height of a table's row and size of the drawn scales, pixels.
ROW_PIXELS, GRADE_PIXELS, BAR_PIXELS = 24, 30, 104


def _cell(table, row, column, text, tip, right=False, italic=False):
    """A cell's item with this text; made if there is none."""
    item = table.item(row, column)
    if item is None:
        item = qt.QTableWidgetItem()
        table.setItem(row, column, item)
        if right:
            item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    item.setText(text)
    item.setToolTip(tip)
    font = item.font()
    font.setItalic(italic)
    item.setFont(font)
    return item


def _barLabel(bar):
    """A scale with its steps, the interval and the value on it."""
    height, width = GRADE_PIXELS - 6, BAR_PIXELS - 12
    pixmap = qt.QPixmap(BAR_PIXELS, height)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(pixmap)

    def box(first, last, halfHeight, *rgba):
        painter.fillRect(first, height // 2 - halfHeight, last - first, 2 * halfHeight, qt.QColor(*rgba))

    def at(share):
        return 6 + round(width * share)

    box(6, 6 + width, 2, 140, 150, 160, 90)
    for mark in bar.marks:
        box(at(mark), at(mark) + 1, 4, 140, 150, 160, 160)
    if bar.value is not None:
        first, last = at(min(bar.low, bar.value)), at(max(bar.high, bar.value))
        box(first, max(last, first + 2), 4, 72, 149, 214, 150)
        box(at(bar.value) - 2, at(bar.value) + 2, 7, 11, 87, 160)
    painter.end()
    label = qt.QLabel()
    label.setPixmap(pixmap)
    # Clicks are the row's.
    label.setAttribute(qt.Qt.WA_TransparentForMouseEvents)
    return label


class NoduleRiskTest(ScriptedLoadableModuleTest):
    """Reload & Test: in a checkout the panel's own tests, in an installed extension one that needs no other file."""

    def runTest(self):
        cases = Path(__file__).resolve().parents[1] / "Testing" / "panel" / "test_panel.py"
        if not cases.is_file():
            slicer.mrmlScene.Clear()
            self.test_console()
            return
        sys.path.append(str(cases.parent))
        spec = importlib.util.spec_from_file_location("test_panel", cases)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.path.remove(str(cases.parent))
        result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(module))
        if not result.wasSuccessful():
            raise AssertionError(f"{len(result.failures) + len(result.errors)} of {result.testsRun} tests failed")

    def test_console(self):
        """The phantom comes without network, and its first nodule's point lies on it."""
        ct, points = loadPhantom()
        nodules = NoduleRiskLogic().nodules(ct, points)
        self.assertTrue(nodules)
        self.assertEqual({n.state for n in nodules}, {NEW})
        if not Requirements().missing() and packages.SHIPPED.is_dir():
            told = NoduleRiskLogic().assess(ct, points)
            self.assertEqual([a.label for a in told], [n.mark.point.label for n in nodules])
