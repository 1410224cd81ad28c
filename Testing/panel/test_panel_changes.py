"""What the panel makes of points, CTs and scenes that change after an assessment.

Runs under pytest on the stand-ins, under the Slicer kit, and in Slicer by Reload & Test: nothing here knows which.
"""

import tempfile
import time
from pathlib import Path

import fakes
import slicer
import slicer.util
import vtk
from panel_case import PanelCase, read

from NoduleRiskLib.slicer_scene import display, results


class ChangesTest(PanelCase):
    def test_a_moved_point_is_outdated_until_it_is_assessed_again(self):
        self.assess()
        self.points.SetNthControlPointPositionWorld(0, -15.0, -6.0, 2.0)
        self.settle()
        self.assertIn("outdated", self.notes()[0])
        self.assertNotIn("outdated", self.notes()[1])
        self.assess()
        self.assertEqual(self.assessor.asked[-1], "N-1")
        self.assertEqual(self.notes()[0], "⚠ 2")

    def test_a_changed_ct_makes_every_nodule_outdated(self):
        self.assess()
        slicer.util.arrayFromVolume(self.ct)[0, 0, 0] += 5
        slicer.util.arrayFromVolumeModified(self.ct)
        self.settle()
        self.settle()
        self.assertTrue(all("outdated" in note for note in self.notes()), self.notes())

    def test_a_moved_ct_makes_every_nodule_outdated(self):
        self.assess()
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, 4.0)
        transform.SetMatrixTransformToParent(matrix)
        self.ct.SetAndObserveTransformNodeID(transform.GetID())
        self.settle()
        self.settle()
        self.assertTrue(all("outdated" in note for note in self.notes()), self.notes())

    def test_a_dragged_point_is_followed_while_it_moves(self):
        self.assess()
        for step in range(60):
            self.points.SetNthControlPointPositionWorld(0, -16.0 + 0.05 * step, -6.0, 2.0)
            slicer.app.processEvents()
            time.sleep(0.005)
            if step > 10 and "outdated" in self.notes()[0]:
                return
        self.fail("nothing was redrawn before the mouse stood still")

    def test_a_renamed_point_is_renamed_everywhere(self):
        self.assess()
        self.points.SetNthControlPointLabel(0, "left upper lobe")
        self.settle()
        self.assertEqual(self.rows()[0][0], "left upper lobe")
        table = results.table_of(self.ct, self.points)
        self.assertEqual(table.GetTable().GetValueByName(0, "label").ToString(), "left upper lobe")

    def test_two_cts_keep_their_own_grades(self):
        self.assess()
        other = self.addCT("CT later", places=fakes.PLACES[:1])
        self.state.parameters.ct = other
        self.settle()
        self.assertEqual(set(self.notes()), {"new"})
        self.assess()
        self.assertEqual([row[1] for row in self.rows()], ["2.8", "–", "–"])
        self.state.parameters.ct = self.ct
        self.settle()
        self.assertEqual([row[1] for row in self.rows()], ["2.8", "2.8", "2.8"])

    def test_a_point_without_nodule_says_so_and_has_no_grades(self):
        self.points.AddControlPointWorld(vtk.vtkVector3d(20, -20, 15), "air")
        self.settle()
        self.assess()
        self.assertEqual(self.rows()[-1][1:], ["–", "–", "–", "no nodule"])
        self.ui.noduleTable.selectRow(3)
        self.settle()
        self.assertIn("No nodule was found under air.", read(self.ui.warningsLabel, "text"))

    def test_the_saved_scene_opens_with_its_grades(self):
        self.assess()
        self.ui.noduleTable.selectRow(1)
        self.settle()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.mrmlScene.WriteToMRB(path))
            slicer.mrmlScene.Clear(0)
            self.settle()
            self.assertEqual(self.state.nodules, [])
            self.assertTrue(slicer.mrmlScene.ReadFromMRB(path, True))
        self.settle()
        self.settle()
        self.assertEqual(self.rows()[1], ["N-2", "2.8", "37 %", "9.8 mm", "⚠ 2"])
        self.assertIn("N-2", read(self.ui.cardTitleLabel, "text"))
        self.assertEqual([self.cell(8, c) for c in (2, 3, 4)], ["2.8", "indeterminate", "94 %"])
        self.ui.gradeTable.selectRow(0)
        self.settle()
        heatmap = self.state.parameters.ct.GetNodeReference(display.HEATMAP_ROLE)
        self.assertEqual(heatmap.GetName(), "Heatmap: subtlety of N-2")
        self.assertEqual(self.assessor.asked, ["N-1", "N-2", "N-3"])

    def test_a_scene_that_version_0_1_0_saved_opens_with_its_grades_heatmaps_and_warnings(self):
        path = Path(__file__).resolve().parents[1] / "scene" / "data" / "scene-0.1.0.mrb"
        self.assertTrue(slicer.mrmlScene.ReadFromMRB(str(path), True))
        self.ct = slicer.util.getNode("CT")
        self.state.parameters.ct, self.state.parameters.points = self.ct, slicer.util.getNode("Nodules")
        self.settle()
        self.settle()
        self.assertEqual(
            self.rows(),
            [
                ["Nr. 1", "2.8", "37 %", "9.8 mm", "⚠ 1"],
                ["Nr. 2", "2.8", "37 %", "9.8 mm", "⚠ 1"],
                ["Nr. 3", "–", "–", "–", "no nodule"],
            ],
        )
        self.ui.noduleTable.selectRow(1)
        self.settle()
        self.assertEqual([self.cell(8, c) for c in (2, 3, 4)], ["2.8", "indeterminate", "94 %"])
        self.assertEqual(self.heatmap().GetName(), "Heatmap: malignancy of Nr. 2")
        self.assertEqual(read(self.ui.warningsLabel, "text"), "• The nodule under Nr. 2 is made up. So are its grades.")

    def test_a_closed_scene_leaves_an_empty_panel_that_works(self):
        self.assessor.gate.clear()
        self.ui.assessButton.click()
        slicer.mrmlScene.Clear(0)
        self.assessor.gate.set()
        self.settle()
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLTableNode")), 0)
        self.ct, self.points = self.addCT("CT"), self.addPoints()
        self.state.parameters.ct, self.state.parameters.points = self.ct, self.points
        self.settle()
        self.assess()
        self.assertEqual(self.rows()[0][1], "2.8")

    def test_what_is_told_of_a_closed_scene_does_not_reach_the_next_one(self):
        self.ui.assessButton.click()
        self.panel.timer.stop()
        end = time.monotonic() + 10
        while not self.assessor.asked and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.5)
        slicer.mrmlScene.Clear(0)
        self.ct, self.points = self.addCT("CT"), self.addPoints()
        self.state.parameters.ct, self.state.parameters.points = self.ct, self.points
        self.panel.timer.start()
        self.settle(lambda: self.state.task is None)
        self.settle()
        self.assertEqual(set(self.notes()), {"new"})

    def test_a_reopened_module_shows_what_the_scene_holds(self):
        self.assess()
        before = self.rows()
        self.widget.cleanup()
        self.assertEqual(list(self.widget.Observations), [])
        self.open()
        self.settle()
        self.assertEqual(self.rows(), before)
