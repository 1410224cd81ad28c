"""What a radiologist does with the panel: points in, grades and warnings out.

Runs under pytest on the stand-ins, under the Slicer kit, and in Slicer by Reload & Test: nothing here knows which.
"""

import fakes
import numpy as np
import slicer
import slicer.util
import vtk
from panel_case import PanelCase, read

from NoduleRiskLib.explain import heatmap_faithfulness
from NoduleRiskLib.panel.observers import in_views
from NoduleRiskLib.slicer_scene import inputs


class PanelTest(PanelCase):
    def test_every_placed_point_has_a_row_and_the_button_says_what_will_happen(self):
        self.assertEqual([row[0] for row in self.rows()], ["N-1", "N-2", "N-3"])
        self.assertEqual(set(self.notes()), {"new"})
        self.assertEqual(read(self.ui.assessButton, "text"), "Assess 3 nodules on FakeGPU 9000")

    def test_a_list_is_made_with_the_first_point(self):
        self.state.parameters.points = None
        self.ui.placeButton.setChecked(True)
        made = self.state.parameters.points
        self.assertIsNotNone(made)
        made.AddControlPointWorld(vtk.vtkVector3d(*fakes.PLACES[0]))
        self.settle()
        self.assertEqual([row[0] for row in self.rows()], ["N-1"])

    def test_the_ct_in_the_views_is_the_ct_of_the_panel(self):
        other = self.addCT("another CT")
        slicer.util.setSliceViewerLayers(background=other)
        self.settle()
        self.assertEqual(self.state.parameters.ct.GetName(), "another CT")

    def test_the_ct_chosen_in_the_panel_is_the_one_shown(self):
        other = self.addCT("another CT")
        self.state.parameters.ct = other
        self.settle()
        self.assertEqual(in_views()[0], other.GetID())

    def test_the_list_that_points_are_placed_in_is_the_list_of_the_panel(self):
        other = inputs.add_points("Others", [])
        slicer.app.applicationLogic().GetSelectionNode().SetActivePlaceNodeID(other.GetID())
        self.settle()
        self.assertEqual(self.state.parameters.points.GetName(), "Others")

    def test_points_are_assessed_as_they_are_placed(self):
        self.assess()
        self.state.parameters.assessAsPlaced = True
        self.points.AddControlPointWorld(vtk.vtkVector3d(12, 5, -7), "placed")
        self.settle(lambda: len(self.state.nodules) == 4 and self.state.nodules[3].row is not None)
        self.assertEqual(self.assessor.asked[-1], "placed")

    def test_a_point_beside_the_image_keeps_no_other_from_being_assessed(self):
        self.points.AddControlPointWorld(vtk.vtkVector3d(900, 0, 0), "far")
        self.settle()
        self.assertEqual(self.notes()[-1], "outside")
        self.assess()
        self.assertEqual(self.assessor.asked, ["N-1", "N-2", "N-3"])

    # --- grades out

    def test_assessing_fills_list_card_and_heatmap(self):
        self.assess()
        self.assertEqual(self.rows()[0], ["N-1", "2.8", "37 %", "9.8 mm", "⚠ 2"])
        self.assertEqual(self.cell(8, 0), "Malignancy")
        self.assertEqual([self.cell(8, c) for c in (2, 3, 4)], ["2.8", "indeterminate", "94 %"])
        self.assertEqual(self.cell(6, 3), "of readers; absent")
        self.assertEqual(self.foregrounds(), {self.heatmap().GetID()})
        self.assertEqual(read(self.ui.assessButton, "text"), "All nodules are assessed")

    def test_a_hundred_nodules_do_not_make_nine_hundred_volumes(self):
        self.assess()
        volumes = len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
        self.assertEqual(volumes, 2)
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")), 3)

    def test_the_disclaimer_is_never_out_of_sight(self):
        for state in ("before", "after"):
            with self.subTest(state):
                text = read(self.ui.disclaimerLabel, "text")
                self.assertIn("Research use only, not a medical device", text)
                self.assertIn("suspicion, not pathology", text)
                self.assertFalse(self.ui.disclaimerLabel.isHidden())
            self.assess()

    def test_clicking_a_grade_shows_what_moved_that_grade(self):
        self.assess()
        malignancy = slicer.util.arrayFromVolume(self.heatmap()).copy()
        self.ui.gradeTable.selectRow(2)
        self.settle()
        self.assertIn("spiculation", self.heatmap().GetName())
        self.assertGreater(np.abs(slicer.util.arrayFromVolume(self.heatmap()) - malignancy).max(), 0.01)

    def test_choosing_a_row_brings_its_nodule_and_its_heatmap(self):
        self.assess()
        self.ui.noduleTable.selectRow(1)
        self.settle()
        red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed").GetSliceToRAS()
        self.assertAlmostEqual(red.GetElement(2, 3), fakes.PLACES[1][2], places=2)
        self.assertIn("N-2", self.heatmap().GetName())
        self.assertIn("N-2", read(self.ui.cardTitleLabel, "text"))

    def test_touching_a_point_in_a_view_chooses_its_row(self):
        self.assess()
        display = self.points.GetDisplayNode()
        display.SetActiveComponent(display.ComponentControlPoint, 2)
        self.points.InvokeCustomModifiedEvent(self.points.PointStartInteractionEvent)
        self.settle()
        self.assertEqual(self.ui.noduleTable.currentRow(), 2)

    def test_a_slice_of_the_strip_is_where_it_says(self):
        self.assess()
        self.ui.stripTable.cellClicked.emit(0, 0)
        lowest = self.panel.strip.slices[0].middle_ras[2]
        red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed").GetSliceToRAS()
        self.assertAlmostEqual(red.GetElement(2, 3), lowest, places=2)
        self.assertLess(abs(lowest - fakes.PLACES[0][2]), fakes.RADIUS_MM + 2)

    def test_the_heatmaps_box_says_how_far_it_may_be_believed(self):
        self.assess()
        told = heatmap_faithfulness.told(fakes.MODEL_ID, self.state.parameters.grade)
        self.assertTrue(told)
        self.assertIn(told, read(self.ui.heatmapCheckBox, "toolTip"))
        self.assertIn(told, read(self.ui.stripTextLabel, "text"))

    def test_opacity_and_threshold_reach_the_views(self):
        self.assess()
        self.state.parameters.opacity, self.state.parameters.threshold = 0.35, 0.4
        self.settle()
        composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
        self.assertAlmostEqual(composite.GetForegroundOpacity(), 0.35)
        self.assertAlmostEqual(self.heatmap().GetDisplayNode().GetLowerThreshold(), 0.4)

    def test_the_users_own_foreground_comes_back(self):
        own = self.addCT("PET")
        slicer.util.setSliceViewerLayers(foreground=own, foregroundOpacity=0.25)
        self.assess()
        self.assertEqual(self.foregrounds(), {self.heatmap().GetID()})
        self.ui.heatmapCheckBox.setChecked(False)
        self.settle()
        self.assertEqual(self.foregrounds(), {own.GetID()})
        composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
        self.assertAlmostEqual(composite.GetForegroundOpacity(), 0.25)

    # --- warnings

    def test_what_is_said_about_the_ct_stands_once_above_the_list(self):
        self.assertTrue(self.ui.ctWarningsLabel.isHidden())
        self.assess()
        self.assertFalse(self.ui.ctWarningsLabel.isHidden())
        self.assertEqual(read(self.ui.ctWarningsLabel, "text"), f"• {fakes.CT_WARNING}")
        self.assertNotIn(str(fakes.CT_WARNING), read(self.ui.warningsLabel, "text"))

    def test_a_rows_count_is_that_of_the_warnings_about_its_nodule(self):
        for n in range(3):
            self.points.SetNthControlPointLabel(n, f"Nr. {n + 1}")
        self.settle()
        self.assess()
        self.assertEqual(self.notes(), ["⚠ 2"] * 3)
        self.ui.noduleTable.selectRow(2)
        self.settle()
        self.assertEqual(
            read(self.ui.warningsLabel, "text"), "• The nodule under Nr. 3 is made up.\n• So are its grades."
        )
