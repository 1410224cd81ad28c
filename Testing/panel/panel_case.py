"""The panel on fakes, for tests that run under pytest, under the Slicer kit and in Slicer alike."""

import time
import unittest

import fakes
import qt
import slicer
import slicer.util

import NoduleRisk
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.slicer_scene import display, inputs


class Installed:
    """Requirements that are met, or not."""

    def __init__(self, *missing):
        self._missing, self.asked, self.consent = list(missing), 0, False

    def missing(self):
        return list(self._missing)

    def missing_for_pictures(self):
        return list(self._missing)

    def missing_for_report(self):
        return list(self._missing)

    def install(self):
        self.asked += 1
        if self.consent:
            self._missing.clear()
        return self.consent


def read(thing, name):
    """A property, which PythonQt shows as an attribute and PySide as a method."""
    value = getattr(thing, name)
    return value() if callable(value) else value


class PanelCase(unittest.TestCase):
    """A panel with a CT and three points; what it does and shows, in the words of a test."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.assessor, self.requirements = fakes.FakeAssessor(), Installed()
        self.open()
        self.ct, self.points = self.addCT("CT"), self.addPoints()
        slicer.util.setSliceViewerLayers(background=self.ct)
        self.state.parameters.points = self.points
        self.settle()

    def tearDown(self):
        self.assessor.gate.set()
        self.widget.cleanup()
        read(self.widget, "parent").deleteLater()

    def open(self):
        parent = slicer.qMRMLWidget()
        parent.setLayout(qt.QVBoxLayout())
        logic = NoduleRisk.NoduleRiskLogic(lambda package, device: self.assessor)
        self.widget = NoduleRisk.NoduleRiskWidget(parent, logic, self.requirements)
        self.widget.setup()
        self.widget.enter()
        self.panel, self.ui = self.widget.panel, self.widget.ui
        self.state = self.panel.state

    def addCT(self, name, **kind):
        ct = inputs.add_volume(fakes.lungs(**kind))
        ct.SetName(name)
        return ct

    def addPoints(self):
        return inputs.add_points("Nodules", [Point(f"N-{n + 1}", place) for n, place in enumerate(fakes.PLACES)])

    def settle(self, until=None, limit_s=15):
        """Let the panel work until a condition holds; without one, until it has nothing left to do."""
        until = until or (lambda: not self.panel.busy)
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            slicer.app.processEvents()
            if until():
                return
            time.sleep(0.002)
        self.fail("the panel did not settle")

    def assess(self):
        self.ui.assessButton.click()
        self.settle(lambda: self.state.task is None)
        self.settle()

    def rows(self):
        table = self.ui.noduleTable
        return [
            [table.item(r, c).text().replace("\N{NO-BREAK SPACE}", " ") for c in range(5)]
            for r in range(len(self.state.nodules))
        ]

    def notes(self):
        return [row[-1] for row in self.rows()]

    def cell(self, row, column):
        return self.ui.gradeTable.item(row, column).text()

    def heatmap(self):
        return self.ct.GetNodeReference(display.HEATMAP_ROLE)

    def foregrounds(self):
        return {c.GetForegroundVolumeID() for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
