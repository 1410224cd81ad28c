"""What happens to the scene behind the panel's back: changed voxels, lost nodes, damaged records, odd names.

Runs under pytest on the stand-ins, under the Slicer kit, and in Slicer by Reload & Test: nothing here knows which.
"""

import html
import tempfile
import time
from pathlib import Path

import fakes
import numpy as np
import qt
import slicer
import slicer.util
import vtk
from panel_case import PanelCase, read

from NoduleRiskLib.slicer_scene import inputs, results


class SceneTest(PanelCase):
    def test_a_gpu_that_fails_is_told_once_above_the_list(self):
        self.assessor.gpu_fails_at = 2
        self.assess()
        said = read(self.ui.ctWarningsLabel, "text")
        self.assertEqual(sorted(said.splitlines()), sorted(f"• {one}" for one in (fakes.CT_WARNING, fakes.GPU_WARNING)))
        self.assertFalse(self.ui.ctWarningsLabel.isHidden())
        self.assertEqual(self.notes(), ["⚠ 2"] * 3)
        self.points.AddControlPointWorld(vtk.vtkVector3d(20, -20, 15), "air")
        self.settle()
        self.assertEqual(read(self.ui.assessButton, "text"), "Assess 1 nodule on CPU")

    def test_two_points_on_one_nodule_say_so_in_both_rows_whenever_they_were_assessed(self):
        self.assess()
        self.points.AddControlPointWorld(vtk.vtkVector3d(*np.add(fakes.PLACES[0], 1.0)), "again")
        self.settle()
        self.assess()
        self.assertEqual(self.assessor.asked[3:], ["again"])
        self.assertEqual(self.notes(), ["⚠ 3", "⚠ 2", "⚠ 2", "⚠ 3"])
        for row in (0, 3):
            self.ui.noduleTable.selectRow(row)
            self.settle()
            said = read(self.ui.warningsLabel, "text")
            self.assertEqual(said.count("N-1 and again lie on the same nodule"), 1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "nodules.csv"
            self.panel.work.export("csv", path)
            self.settle(lambda: self.state.export is None)
            self.assertEqual(path.read_text(encoding="utf-8").count("N-1 and again lie on the same nodule"), 2)
        self.points.RemoveNthControlPoint(0)
        self.settle()
        self.assertEqual(self.notes(), ["⚠ 2"] * 3)

    def test_a_point_that_was_moved_off_a_nodule_does_not_count_it_twice(self):
        self.points.AddControlPointWorld(vtk.vtkVector3d(*fakes.PLACES[0]), "again")
        self.settle()
        self.assess()
        self.assertEqual(self.notes(), ["⚠ 3", "⚠ 2", "⚠ 2", "⚠ 3"])
        self.points.SetNthControlPointPositionWorld(0, 20, -20, 15)
        self.settle()
        self.assess()
        self.assertEqual(self.notes(), ["no nodule", "⚠ 2", "⚠ 2", "⚠ 2"])

    def test_html_in_a_name_is_shown_as_text(self):
        name = "<b>N</b><img src='x.png'> & co."
        self.points.SetNthControlPointLabel(0, name)
        self.settle()
        self.assess()
        for label in (self.ui.statusLabel, self.ui.ctWarningsLabel, self.ui.warningsLabel, self.ui.stripTextLabel):
            self.assertEqual(read(label, "textFormat"), qt.Qt.PlainText)
        self.assertIn(f"The nodule under {name} is made up.", read(self.ui.warningsLabel, "text"))
        shown = html.escape(name)
        self.assertIn(f"<b>{shown}</b>", read(self.ui.cardTitleLabel, "text"))
        for column in range(5):
            self.assertNotIn("<img", self.ui.noduleTable.item(0, column).toolTip())
            self.assertIn(shown, self.ui.noduleTable.item(0, column).toolTip())
        self.assertEqual(self.rows()[0][0], name)

    def test_a_nodule_without_its_maps_says_so_and_can_be_assessed_again(self):
        self.assess()
        grades = [self.cell(row, 2) for row in range(9)]
        slicer.mrmlScene.RemoveNode(results.maps_of(self.state.table, self.state.nodules[0].mark.id))
        self.settle()
        self.assertEqual([self.cell(row, 2) for row in range(9)], grades)
        self.assertNotIn("No nodule", read(self.ui.cardTitleLabel, "text"))
        self.assertIn("not in the scene any more", read(self.ui.warningsLabel, "text"))
        self.assertEqual(self.notes(), ["⚠ 3", "⚠ 2", "⚠ 2"])
        self.assess()
        self.assertEqual(self.assessor.asked[3:], ["N-1"])
        self.assertEqual(self.notes(), ["⚠ 2"] * 3)

    def test_a_damaged_assessment_is_one_row_with_a_sentence(self):
        self.assess()
        point_id = self.state.nodules[0].mark.id
        self.state.table.SetAttribute(results.ASSESSMENT + point_id, "{")
        self.points.Modified()
        self.settle()
        self.assertEqual(self.notes(), ["new ⚠ 1", "⚠ 2", "⚠ 2"])
        self.assertIn("damaged", read(self.ui.warningsLabel, "text"))
        self.assertTrue(self.ui.statusLabel.isHidden())
        self.assess()
        self.assertEqual(self.rows()[0][1], "2.8")

    def test_a_removed_results_table_leaves_nothing_behind(self):
        self.assess()
        slicer.mrmlScene.RemoveNode(self.state.table)
        self.settle()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode"), 0)
        self.assertEqual(set(self.notes()), {"new"})

    def change_voxels(self, change):
        """Change the CT's voxels (K, J, I) in place."""
        change(slicer.util.arrayFromVolume(self.ct))
        slicer.util.arrayFromVolumeModified(self.ct)

    def test_a_ct_that_becomes_none_is_read_once_and_its_grades_are_outdated_until_it_is_one_again(self):
        self.assess()
        before, reads, read_ct = slicer.util.arrayFromVolume(self.ct).copy(), [], inputs.Scan.read

        def counted(scan):
            reads.append(scan)
            return read_ct(scan)

        inputs.Scan.read = counted
        self.addCleanup(setattr, inputs.Scan, "read", read_ct)
        self.change_voxels(lambda voxels: voxels.fill(7))
        end = time.monotonic() + 1
        self.settle(lambda: time.monotonic() > end)
        self.settle()
        self.assertEqual(len(reads), 1)
        self.assertTrue(all("outdated" in note for note in self.notes()), self.notes())
        self.assertEqual(read(self.ui.statusLabel, "text").count("not the HU of a chest"), 1)
        self.change_voxels(lambda voxels: np.copyto(voxels, before))
        self.settle()
        self.settle()
        self.assertEqual(len(reads), 2)
        self.assertEqual(self.notes(), ["⚠ 2"] * 3)
        self.assertTrue(self.ui.statusLabel.isHidden())

    def test_voxels_that_are_changed_and_changed_back_meanwhile_are_not_graded(self):
        self.assess()
        expected = self.rows()
        before = slicer.util.arrayFromVolume(self.ct).copy()
        self.assessor.gate.clear()
        self.panel.work.assess([self.state.nodules[1].mark])
        self.settle(lambda: self.assessor.asked[3:] == ["N-2"])
        self.change_voxels(lambda voxels: voxels.fill(-850))
        self.assessor.gate.set()
        self.settle(lambda: self.state.task is None)
        self.change_voxels(lambda voxels: np.copyto(voxels, before))
        self.settle()
        self.settle()
        self.assertEqual(self.rows(), expected)

    def test_a_ct_is_copied_and_read_once_for_each_change_whatever_is_graded_on_it(self):
        copies, copied = [], inputs.Scan.copied

        def counted(scan):
            copies.append(scan)
            return copied(scan)

        inputs.Scan.copied = counted
        self.addCleanup(setattr, inputs.Scan, "copied", copied)
        self.assess()
        self.panel.work.assess([self.state.nodules[1].mark])
        self.settle(lambda: self.state.task is None)
        self.assertEqual(len(copies), 1)
        self.change_voxels(lambda voxels: np.add(voxels, 1, out=voxels))
        self.settle(lambda: all("outdated" in note for note in self.notes()))
        self.assess()
        self.assertEqual(len(copies), 2)
        self.assertEqual(self.notes(), ["⚠ 2"] * 3)
