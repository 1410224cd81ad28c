"""The module as 3D Slicer loads it: name, sample CT, the panel's shell, self-test. All else is in NoduleRiskLib."""

import importlib.util
import sys
import unittest
from pathlib import Path
from typing import Any

import slicer
import slicer.util
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# In a checkout the library lies beside this folder, where Slicer does not look.
if not importlib.util.find_spec("NoduleRiskLib"):
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from NoduleRiskLib.grades import DISCLAIMER
from NoduleRiskLib.networks.model_package import SHIPPED
from NoduleRiskLib.panel.logic import NoduleRiskLogic
from NoduleRiskLib.panel.panel import Panel
from NoduleRiskLib.panel.requirements import Requirements
from NoduleRiskLib.slicer_scene import display, inputs

SAMPLE, SAMPLE_PAIR = "Synthetic chest CT with nodules", "Synthetic chest CTs, 120 days apart"
RESOURCES = Path(__file__).with_name("Resources")


class NoduleRisk(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Nodule Risk")
        parent.categories = ["Quantification"]
        parent.dependencies = ["Markups", "Segmentations", "Sequences", "Colors"]
        parent.contributors = ["The NoduleRisk developers"]
        parent.helpText = _(
            "Put a point on each lung nodule of a chest CT and press Assess: nine LIDC grades with their intervals, "
            "and for each grade a heatmap of the pixels that influenced it. "
        ) + _(DISCLAIMER)
        parent.acknowledgementText = _(
            "The model is trained on LIDC-IDRI (Armato et al. 2011, doi 10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0)."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


class NoduleRiskWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The shell in which Slicer shows the panel; keeps the panel's observers.

    Parameters
    ----------
    parent : qMRMLWidget, optional
    logic : NoduleRiskLogic, optional
    requirements : Requirements, optional
    """

    def __init__(self, parent: Any = None, logic: Any = None, requirements: Any = None) -> None:
        self.logic, self._requirements = logic, requirements
        # Calls VTKObservationMixin's too: a second call, after setup(), would lose the observers of the first.
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self) -> None:
        """Build the panel from its .ui file."""
        ScriptedLoadableModuleWidget.setup(self)
        root = slicer.util.loadUI(self.resourcePath("UI/NoduleRisk.ui"))
        self.layout.addWidget(root)
        root.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(root)
        self.logic = self.logic or NoduleRiskLogic()
        requirements = self._requirements or Requirements(RESOURCES / "requirements.txt")
        self.panel = Panel(self.ui, self.logic, requirements, self)

    def enter(self) -> None:
        """The user opens the module."""
        self.panel.enter()

    def exit(self) -> None:
        """The user opens another module."""
        self.panel.exit()

    def cleanup(self) -> None:
        """Slicer closes, or the module is reloaded."""
        self.panel.cleanup()
        self.removeObservers()

    def onReload(self) -> None:
        """Reload the library with this file: the panel's parts are in it."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "NoduleRiskLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


def registerSampleData() -> None:
    """Offer the synthetic CT in the Sample Data module; it is computed when asked for, without network."""
    import SampleData

    source = SHIPPED.parents[1] / "phantom" / "phantom_nodules.json"
    for name, node_name, load in (
        (SAMPLE, "synthetic chest CT", loadPhantom),
        (SAMPLE_PAIR, "synthetic chest CT, later", loadPhantomPair),
    ):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="NoduleRisk",
            sampleName=name,
            # Nothing is downloaded: the file is the extension's own.
            uris=source.as_uri(),
            fileNames=source.name,
            nodeNames=node_name,
            loadFiles=False,
            checksums="SHA256:" + slicer.util.computeChecksum("SHA256", str(source)),
            thumbnailFileName=str(RESOURCES / "Icons" / "NoduleRisk.png"),
            customDownloader=load,
        )


def loadPhantom(source: Any = None) -> Any:
    """Compute the synthetic chest CT and put it, with a point on each nodule, into the scene; returns both nodes."""
    from NoduleRiskLib.phantom.chest_ct import chest_ct

    with slicer.util.tryWithErrorDisplay(_("The synthetic CT could not be made."), waitCursor=True):
        volume, nodules = chest_ct()
        ct = inputs.add_volume(volume)
        points = inputs.add_points("Nodules", [nodule.point for nodule in nodules])
        slicer.util.setSliceViewerLayers(background=ct, fit=True)
        display.jump(nodules[0].point.ras)
        return ct, points


def loadPhantomPair(source: Any = None) -> Any:
    """Compute two CTs of one synthetic patient, 120 days apart; points mark the later one's nodules.

    Returns the later CT's node, its points' and the earlier CT's: choose it as *Prior CT* once the points are assessed.
    """
    from NoduleRiskLib.phantom.later_ct import pair

    with slicer.util.tryWithErrorDisplay(_("The synthetic CTs could not be made."), waitCursor=True):
        (earlier, _nodules), (later, nodules) = pair()
        prior, ct = inputs.add_volume(earlier), inputs.add_volume(later)
        points = inputs.add_points("Nodules", [nodule.point for nodule in nodules])
        slicer.util.setSliceViewerLayers(background=ct, fit=True)
        display.jump(nodules[0].point.ras)
        return ct, points, prior


class NoduleRiskTest(ScriptedLoadableModuleTest):
    """Reload & Test: in a checkout the panel's own tests, in an installed extension one that needs no other file."""

    def runTest(self) -> None:
        """Run them; raises AssertionError if one fails."""
        folder = Path(__file__).resolve().parents[1] / "Testing" / "panel"
        if not folder.is_dir():
            slicer.mrmlScene.Clear()
            self.test_console()
            return
        sys.path.append(str(folder))
        loader = unittest.TestLoader()
        names = [path.stem for path in sorted(folder.glob("test_panel*.py"))]
        result = unittest.TextTestRunner(verbosity=2).run(loader.loadTestsFromNames(names))
        sys.path.remove(str(folder))
        # They are made of the library that the next Reload replaces.
        for name in (*names, "panel_case", "fakes", "drawing"):
            sys.modules.pop(name, None)
        if not result.wasSuccessful():
            raise AssertionError(f"{len(result.failures) + len(result.errors)} of {result.testsRun} tests failed")

    def test_console(self) -> None:
        """The synthetic CT comes without network, and its points can be assessed from the console."""
        ct, points = loadPhantom()
        nodules = NoduleRiskLogic().nodules(ct, points)
        self.assertTrue(nodules)
        self.assertEqual({nodule.state for nodule in nodules}, {"new"})
        if not Requirements(RESOURCES / "requirements.txt").missing() and SHIPPED.is_dir():
            assessments = NoduleRiskLogic().assess(ct, points)
            self.assertEqual([one.point.label for one in assessments], [nodule.mark.point.label for nodule in nodules])
