"""Outlines in the panel: edited in the Segment Editor and graded, the network's again, other tools'; and visible doubt.

Runs under pytest on the stand-ins, under the Slicer kit, and in Slicer by Reload & Test: nothing here knows which.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import drawing
import fakes
import numpy as np
import slicer
import slicer.util
from panel_case import PanelCase, read

from NoduleRiskLib.panel.cells import DOUBTFUL_RGB
from NoduleRiskLib.panel.grade_card import like, title, why
from NoduleRiskLib.results.account_lines import LOWERS, RAISES
from NoduleRiskLib.slicer_scene.outline_segments import segment_ids, segmentation_of


class OutlinesTest(PanelCase):
    def node(self):
        return segmentation_of(self.ct, self.points)

    def names(self):
        node = self.node()
        return [node.GetSegmentation().GetSegment(one).GetName() for one in segment_ids(node)]

    def drawn_by_user(self, share=0.5):
        """Assess, erase a part of the first nodule in another module, come back; the segment and its voxels."""
        self.assess()
        self.widget.exit()
        segment_id = segment_ids(self.node())[0]
        drawing.erase(self.node(), segment_id, share)
        self.widget.enter()
        self.settle()
        return segment_id, drawing.voxels(self.node(), segment_id)

    def test_edit_outline_opens_the_nodules_segment_in_the_segment_editor(self):
        self.assertFalse(self.ui.editOutlineButton.isEnabled())
        self.assess()
        self.ui.noduleTable.selectRow(1)
        self.settle()
        opened, select = [], slicer.util.selectModule
        slicer.util.selectModule = opened.append
        self.addCleanup(setattr, slicer.util, "selectModule", select)
        self.ui.editOutlineButton.click()
        editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        self.assertEqual(opened, ["SegmentEditor"])
        self.assertIs(editor.GetSegmentationNode(), self.node())
        self.assertIs(editor.GetSourceVolumeNode(), self.ct)
        self.assertEqual(editor.GetSelectedSegmentID(), segment_ids(self.node())[1])
        self.ui.editOutlineButton.click()
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLSegmentEditorNode")), 1)

    def test_a_removed_segment_comes_back_when_it_is_to_be_edited_and_not_before(self):
        self.assess()
        self.node().GetSegmentation().RemoveSegment(segment_ids(self.node())[0])
        self.settle()
        self.assertEqual(self.names(), ["N-2", "N-3"])
        self.assertEqual(self.rows()[0][1], "2.8")
        opened, select = [], slicer.util.selectModule
        slicer.util.selectModule = opened.append
        self.addCleanup(setattr, slicer.util, "selectModule", select)
        self.ui.editOutlineButton.click()
        self.settle()
        self.assertEqual(self.names(), ["N-2", "N-3", "N-1"])
        self.assertEqual(self.notes(), ["⚠ 2"] * 3)

    def test_what_the_user_drew_is_graded_and_stays(self):
        segment_id, drawn = self.drawn_by_user()
        self.assertEqual(self.notes(), ["outline edited ⚠ 2", "⚠ 2", "⚠ 2"])
        self.assertIn("outline was edited", read(self.ui.warningsLabel, "text"))
        self.assertIn("Assess 1 nodule", read(self.ui.assessButton, "text"))
        before = self.rows()[0]
        self.assess()
        after = self.rows()[0]
        self.assertEqual(after[-1], "drawn by you ⚠ 2")
        for column in (1, 3):
            self.assertNotEqual(after[column], before[column])
        self.assertIn("outline drawn by you", read(self.ui.cardTitleLabel, "text"))
        self.assertIn("drawn by you", self.ui.noduleTable.item(0, 4).toolTip())
        np.testing.assert_array_equal(drawing.voxels(self.node(), segment_id), drawn)
        self.assertEqual(self.notes()[1:], ["⚠ 2", "⚠ 2"])

    def test_a_file_says_that_the_outline_was_edited_since(self):
        self.drawn_by_user()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "nodules.csv"
            self.panel.work.export("csv", path)
            self.settle(lambda: self.state.export is None)
            self.assertEqual(path.read_text(encoding="utf-8").count("The outline was edited after this assessment"), 1)

    def test_while_the_user_draws_elsewhere_the_panel_reads_nothing(self):
        self.assess()
        self.widget.exit()
        drawing.erase(self.node(), segment_ids(self.node())[0])
        self.settle()
        self.assertEqual(self.notes()[0], "⚠ 2")
        self.widget.enter()
        self.settle()
        self.assertEqual(self.notes()[0], "outline edited ⚠ 2")

    def test_the_networks_outline_and_back_to_the_users(self):
        segment_id, drawn = self.drawn_by_user()
        self.assess()
        graded = self.rows()[0]
        self.assertTrue(self.ui.otherOutlineButton.isEnabled())
        self.ui.otherOutlineButton.click()
        self.settle(lambda: self.state.task is None)
        self.settle()
        self.assertEqual(self.rows()[0], ["N-1", "2.8", "37 %", "9.8 mm", "⚠ 2"])
        self.assertEqual(self.names(), ["N-1 (drawn)", "N-2", "N-3", "N-1"])
        np.testing.assert_array_equal(drawing.voxels(self.node(), segment_id), drawn)
        self.assertEqual(read(self.ui.otherOutlineButton, "text"), "Use my outline")
        self.ui.otherOutlineButton.click()
        self.settle(lambda: self.state.task is None)
        self.settle()
        self.assertEqual(self.rows()[0], graded)
        self.assertEqual(self.names(), ["N-1", "N-2", "N-3"])
        np.testing.assert_array_equal(drawing.voxels(self.node(), segment_id), drawn)
        self.assertEqual(read(self.ui.otherOutlineButton, "text"), "Use the network's")
        self.ui.noduleTable.selectRow(1)
        self.settle()
        self.assertFalse(self.ui.otherOutlineButton.isEnabled())

    def test_other_tools_segments_become_nodules(self):
        self.assess()
        self.points.RemoveNthControlPoint(2)
        chosen = drawing.segmentation(
            self.ct, [("A", fakes.PLACES[0], 3.0), ("B", fakes.PLACES[2], 3.0)], "nnInteractive"
        )
        before = drawing.everything_of(chosen)
        self.ui.outlinesSelector.setCurrentNode(chosen)
        self.settle()
        self.assertEqual([row[0] for row in self.rows()], ["N-1", "N-2", "B"])
        self.assertEqual(self.notes(), ["outline edited ⚠ 2", "⚠ 2", "new"])
        self.assess()
        self.assertEqual(self.notes(), ["drawn by you ⚠ 2", "⚠ 2", "drawn by you ⚠ 2"])
        self.assertEqual(drawing.everything_of(chosen), before)
        self.points.RemoveNthControlPoint(2)
        self.settle()
        self.assertEqual([row[0] for row in self.rows()], ["N-1", "N-2"])
        self.ui.outlinesSelector.setCurrentNode(None)
        self.settle()
        self.assertEqual(self.notes(), ["outline edited ⚠ 2", "⚠ 2"])

    def test_segments_chosen_before_there_is_a_list_make_one(self):
        self.state.parameters.points = None
        chosen = drawing.segmentation(self.ct, [("A", fakes.PLACES[0], 3.0)])
        self.ui.outlinesSelector.setCurrentNode(chosen)
        self.settle()
        self.assertEqual([row[0] for row in self.rows()], ["A"])
        self.assertIsNot(self.state.parameters.points, self.points)

    def test_what_can_be_no_nodule_is_said_under_the_selector(self):
        self.assertTrue(self.ui.leftOutLabel.isHidden())
        far = drawing.segmentation(self.addCT("far", ijk_to_ras=np.diag([1.0, 1, 1, 1])), [("far", (60, 60, 20), 3.0)])
        self.state.parameters.ct = self.ct
        self.ui.outlinesSelector.setCurrentNode(far)
        self.settle()
        self.assertFalse(self.ui.leftOutLabel.isHidden())
        self.assertIn("outside this CT: far", read(self.ui.leftOutLabel, "text"))

    def test_outlines_are_shown_and_hidden_on_the_chosen_ct_alone(self):
        self.assess()
        self.assertTrue(self.node().GetDisplayVisibility())
        self.ui.outlineCheckBox.setChecked(False)
        self.settle()
        self.assertFalse(self.node().GetDisplayVisibility())
        self.node().SetDisplayVisibility(True)
        self.points.SetNthControlPointLabel(0, "renamed")
        self.settle()
        self.assertTrue(self.node().GetDisplayVisibility(), "what the user shows elsewhere is hidden again")
        first, other = self.node(), self.addCT("CT later")
        self.state.parameters.ct = other
        self.settle()
        self.assertFalse(first.GetDisplayVisibility())

    def test_a_removed_point_takes_its_outline_along_and_undo_brings_it_back(self):
        self.assess()
        self.points.RemoveNthControlPoint(0)
        self.settle()
        self.assertEqual(self.names(), ["N-2", "N-3"])
        self.panel._undo.undo(self.points)
        self.settle()
        self.assertEqual(sorted(self.names()), ["N-1", "N-2", "N-3"])
        self.assertEqual(self.notes(), ["⚠ 2"] * 3)

    def test_undo_takes_nothing_of_what_was_drawn(self):
        slicer.mrmlScene.SetUndoOn()
        try:
            self.points.SetUndoEnabled(True)
            self.assess()
            slicer.mrmlScene.SaveStateForUndo()
            self.points.SetNthControlPointLabel(0, "renamed")
            segment_id, drawn = self.drawn_by_user()
            self.assess()
            slicer.mrmlScene.Undo()
            self.settle()
            self.assess()
            np.testing.assert_array_equal(drawing.voxels(self.node(), segment_id), drawn)
            self.assertEqual(self.notes()[0], "drawn by you ⚠ 2")
        finally:
            slicer.mrmlScene.SetUndoOff()
            slicer.mrmlScene.ClearUndoStack()

    def test_a_renamed_point_renames_its_segment(self):
        self.assess()
        self.points.SetNthControlPointLabel(1, "left: upper|lobe")
        self.settle()
        self.assertEqual(self.names(), ["N-1", "left: upper|lobe", "N-3"])

    def test_a_scene_of_0_1_0_gets_its_outlines_as_segments(self):
        path = Path(__file__).resolve().parents[1] / "scene" / "data" / "scene-0.1.0.mrb"
        self.assertTrue(slicer.mrmlScene.ReadFromMRB(str(path), True))
        self.ct, self.points = slicer.util.getNode("CT"), slicer.util.getNode("Nodules")
        self.state.parameters.ct, self.state.parameters.points = self.ct, self.points
        self.settle()
        self.settle()
        self.assertEqual(self.names(), ["Nr. 1", "Nr. 2"])
        self.assertEqual(self.notes(), ["⚠ 1", "⚠ 1", "no nodule"])

    # --- doubt

    def colours(self, row):
        return [self.ui.noduleTable.item(row, column).foreground().color().getRgb()[:3] for column in range(5)]

    def test_doubt_stands_in_its_own_row_and_the_figures_stand_back(self):
        self.assessor.doubtful.add("N-2")
        self.assess()
        self.assertEqual(self.notes(), ["⚠ 2", "vessel? ⚠ 2", "⚠ 2"])
        self.assertEqual([c == DOUBTFUL_RGB for c in self.colours(1)], [False, True, True, True, False])
        self.assertNotIn(DOUBTFUL_RGB, self.colours(0))
        for column in range(5):
            self.assertIn(fakes.DOUBT_SENTENCE, self.ui.noduleTable.item(1, column).toolTip())
        self.assertNotIn("vessel?", read(self.ui.cardTitleLabel, "text"))
        self.ui.noduleTable.selectRow(1)
        self.settle()
        self.assertIn("<b>vessel?</b>", read(self.ui.cardTitleLabel, "text"))
        self.assertTrue(read(self.ui.warningsLabel, "text").startswith(f"• {fakes.DOUBT_SENTENCE}"))
        self.assertEqual(self.ui.gradeTable.item(8, 2).foreground().color().getRgb()[:3], DOUBTFUL_RGB)
        self.assertNotIn(RAISES, read(self.ui.accountLabel, "text"))
        self.ui.noduleTable.selectRow(0)
        self.settle()
        self.assertNotEqual(self.ui.gradeTable.item(8, 2).foreground().color().getRgb()[:3], DOUBTFUL_RGB)

    def test_the_card_says_why_a_nodule_is_suspicious_where_the_package_knows(self):
        self.assertTrue(self.ui.accountLabel.isHidden())
        self.assess()
        text = read(self.ui.accountLabel, "text")
        self.assertFalse(self.ui.accountLabel.isHidden())
        for part in ("Why this suspicion", "Diameter", "+1.1", "Subtlety", "−1.0", RAISES, LOWERS, "not a cause"):
            self.assertIn(part, text)
        self.points.SetNthControlPointPositionWorld(0, 20, -20, 15)
        self.settle()
        self.assess()
        self.assertEqual(self.notes()[0], "no nodule")
        self.assertTrue(self.ui.accountLabel.isHidden())

    def test_the_card_shows_similar_nodules_with_whose_suspicion_and_pictures_they_are(self):
        self.assertTrue(self.ui.similarLabel.isHidden())
        self.assessor.similar = (fakes.SIMILAR, replace(fakes.SIMILAR, name="<i>P2_1", same=True))
        self.assess()
        text = read(self.ui.similarLabel, "text")
        self.assertFalse(self.ui.similarLabel.isHidden())
        for part in ("Similar LIDC nodules", "12.5 mm", "4.3 (4 4 5)", "&lt;i&gt;P2", "not pathology", "CC BY 3.0"):
            self.assertIn(part, text)
        self.assertNotIn("<i>", text)
        # Their file may be missing: then there is no picture, and no hole for one.
        self.assertNotIn("src=''", text)
        grey = "#{:02x}{:02x}{:02x}".format(*DOUBTFUL_RGB)
        self.assertNotIn(grey, text)
        self.assertIn(grey, like(self.state.assessment.nodule, doubtful=True))
        self.assessor.similar = ()
        self.points.SetNthControlPointPositionWorld(0, 1, -20, 15)
        self.settle()
        self.assess()
        self.assertTrue(self.ui.similarLabel.isHidden())

    def test_a_suspicion_below_one_per_cent_is_no_tag(self):
        self.assess()
        one = self.state.assessment
        rare = replace(one, nodule=replace(one.nodule, suspicion_probability=0.001))
        self.assertIn("&lt; 1 %", title("N-1", rare))
        self.assertIn("&lt; 1 %", why(rare.nodule))

    def test_a_doubt_that_is_gone_leaves_no_grey_behind(self):
        self.assessor.doubtful.add("N-1")
        self.assess()
        self.assertIn(DOUBTFUL_RGB, self.colours(0))
        self.assessor.doubtful.clear()
        self.points.SetNthControlPointPositionWorld(0, -15.5, -6.0, 2.0)
        self.settle()
        self.assess()
        self.assertNotIn(DOUBTFUL_RGB, self.colours(0))

    def test_what_holds_for_the_whole_ct_is_no_rows_doubt(self):
        self.assess()
        self.assertEqual(read(self.ui.ctWarningsLabel, "text"), f"• {fakes.CT_WARNING}")
        for row in range(3):
            self.assertNotIn(str(fakes.CT_WARNING), self.ui.noduleTable.item(row, 4).toolTip())
