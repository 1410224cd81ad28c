"""What the panel shows and where: selectors, names, table, progress, keys, opacity, surfaces.

Runs under pytest on the stand-ins, under the Slicer kit, and in Slicer by Reload & Test: nothing here knows which.
"""

import fakes
import slicer
import slicer.util
import vtk
from panel_case import PanelCase, read

from NoduleRiskLib.explain import heatmap_faithfulness
from NoduleRiskLib.panel import shortcuts
from NoduleRiskLib.slicer_scene import outline_segments, results


class ViewsTest(PanelCase):
    def ids_in_table(self):
        table = results.table_of(self.ct, self.points)
        return [
            table.GetTable().GetValueByName(row, "control_point_id").ToString()
            for row in range(table.GetNumberOfRows())
        ]

    def key(self, key):
        """Press one of the module's keys."""
        installed = self.panel._shortcuts._installed
        found = [one for one in installed if read(one, "key").toString() == key]
        self.assertEqual(len(found), 1)
        found[0].activated.emit()
        self.settle()

    # --- a heatmap is no CT

    def test_no_selector_offers_a_heatmap_as_a_ct(self):
        self.assess()
        for selector in (self.ui.ctSelector, self.ui.priorSelector):
            hidden = selector.sortFilterProxyModel().property("hiddenNodeIDs")
            self.assertEqual(list(hidden), [self.heatmap().GetID()])

    def test_a_heatmap_in_the_views_background_does_not_become_the_ct(self):
        self.assess()
        slicer.util.setSliceViewerLayers(background=self.heatmap())
        self.settle()
        self.assertEqual(self.state.parameters.ct.GetName(), "CT")

    # --- names and rows

    def test_a_renamed_point_renames_heatmap_maps_outline_and_warnings(self):
        self.assess()
        point_id = self.state.nodules[0].mark.id
        self.points.SetNthControlPointLabel(0, "lingula")
        self.settle()
        self.settle()
        table, own = results.table_of(self.ct, self.points), outline_segments.segmentation_of(self.ct, self.points)
        (segment_id,) = outline_segments.of_point(own, point_id)
        names = [
            self.heatmap().GetName(),
            results.maps_of(table, point_id).GetName(),
            own.GetSegmentation().GetSegment(segment_id).GetName(),
            read(self.ui.warningsLabel, "text").splitlines()[0],
            table.GetTable().GetValueByName(0, "warnings").ToString(),
            read(self.ui.cardTitleLabel, "text"),
        ]
        for name in names:
            self.assertIn("lingula", name)
            self.assertNotIn("N-1", name)

    def test_the_table_has_a_row_for_each_point_that_there_is(self):
        self.assess()
        ids = self.ids_in_table()
        self.assertEqual(ids, [nodule.mark.id for nodule in self.state.nodules])
        self.points.RemoveNthControlPoint(1)
        self.settle()
        self.assertEqual(self.ids_in_table(), [ids[0], ids[2]])

    # --- progress

    def test_a_new_run_never_shows_what_the_last_one_ended_with(self):
        self.assess()
        shown = []
        self.ui.progressBar.valueChanged.connect(
            lambda value: shown.append((value, read(self.ui.progressBar, "format")))
        )
        self.points.SetNthControlPointPositionWorld(0, -15.0, -6.0, 2.0)
        self.points.SetNthControlPointPositionWorld(1, 15.0, 4.0, -8.0)
        self.settle()
        self.assess()
        self.assertEqual(shown[0], (0, "0 of 2 nodules"))
        self.assertTrue(all(text.startswith(f"{value} of") for value, text in shown), shown)

    # --- the heatmap's opacity

    def test_a_faint_heatmap_says_at_which_opacity_it_is_drawn(self):
        trusted = heatmap_faithfulness.trusted
        self.addCleanup(setattr, heatmap_faithfulness, "trusted", trusted)
        for answer, opacity, text in ((True, 0.5, ""), (False, 0.2, "Drawn at 0.20")):
            heatmap_faithfulness.trusted = lambda *unused, answer=answer: answer
            self.state.parameters.opacity = 0.5
            self.panel.changed()
            self.assess()
            self.settle()
            composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
            self.assertAlmostEqual(composite.GetForegroundOpacity(), opacity)
            self.assertEqual(read(self.ui.faintLabel, "text")[: len("Drawn at 0.20")], text)
            self.assertEqual(self.ui.faintLabel.isHidden(), not text)

    def test_a_slices_tip_says_what_its_colour_shows(self):
        self.assess()
        shares = [one.share for one in self.panel.strip.slices]
        tips = [self.ui.stripTable.item(0, column).toolTip() for column in range(len(shares))]
        self.assertIn("100% of the brightest", tips[shares.index(max(shares))])
        for share, tip in zip(shares, tips, strict=True):
            self.assertIn(f"{share:.0%} of the brightest", tip)

    # --- keys

    def test_keys_place_step_and_toggle_while_the_module_is_shown(self):
        self.assess()
        chosen = self.state.parameters.nodule
        self.key(shortcuts.NEXT)
        self.assertEqual(self.ui.noduleTable.currentRow(), 1)
        self.key(shortcuts.PREVIOUS)
        self.assertEqual(self.state.parameters.nodule, chosen)
        self.key(shortcuts.PREVIOUS)
        self.assertEqual(self.ui.noduleTable.currentRow(), 2)
        self.key(shortcuts.HEATMAP)
        self.assertFalse(self.state.parameters.heatmapShown)
        self.key(shortcuts.PLACE)
        self.assertTrue(self.ui.placeButton.property("checked"))

    def test_keys_are_taken_out_with_the_module(self):
        self.assertEqual(len(self.panel._shortcuts._installed), 6)
        self.widget.enter()
        self.assertEqual(len(self.panel._shortcuts._installed), 6)
        self.widget.exit()
        self.assertEqual(self.panel._shortcuts._installed, [])

    def test_every_key_stands_in_a_tool_tip(self):
        self.assess()
        for key, widget in (
            (shortcuts.PLACE, self.ui.placeButton),
            (shortcuts.UNDO, self.ui.placeButton),
            (shortcuts.REDO, self.ui.placeButton),
            (shortcuts.NEXT, self.ui.noduleTable),
            (shortcuts.PREVIOUS, self.ui.noduleTable),
            (shortcuts.HEATMAP, self.ui.heatmapCheckBox),
        ):
            self.assertRegex(read(widget, "toolTip"), rf"\b{key.replace('+', '[+]')}\b")

    # --- undo

    def test_points_that_were_placed_moved_and_removed_come_back_with_their_grades(self):
        self.assess()
        labels = [row[0] for row in self.rows()]
        self.points.RemoveNthControlPoint(0)
        self.settle()
        self.points.AddControlPointWorld(vtk.vtkVector3d(12, 5, -7), "placed")
        self.settle()
        # As Slicer does when a slice view is scrolled.
        slicer.mrmlScene.SaveStateForUndo()
        slicer.mrmlScene.SaveStateForUndo()
        display = self.points.GetDisplayNode()
        display.SetActiveComponent(display.ComponentControlPoint, 0)
        self.points.InvokeCustomModifiedEvent(self.points.PointStartInteractionEvent)
        for step in range(5):
            self.points.SetNthControlPointPositionWorld(0, -10.0 - step, 4.0, -8.0)
            self.settle()
        self.assertIn("outdated", self.notes()[0])
        self.key(shortcuts.UNDO)
        self.assertEqual([row[0] for row in self.rows()], ["N-2", "N-3", "placed"])
        self.assertNotIn("outdated", self.notes()[0])
        self.key(shortcuts.UNDO)
        self.assertEqual([row[0] for row in self.rows()], ["N-2", "N-3"])
        self.key(shortcuts.UNDO)
        self.assertEqual([row[0] for row in self.rows()], labels)
        self.assertEqual(self.rows()[0][1], "2.8")
        self.assertEqual(len(self.ids_in_table()), 3)
        self.key(shortcuts.REDO)
        self.assertEqual([row[0] for row in self.rows()], ["N-2", "N-3"])

    def test_undo_takes_nothing_back_in_a_list_that_was_chosen_before(self):
        first = self.points
        self.points.RemoveNthControlPoint(0)
        self.settle()
        self.state.parameters.points = self.points = self.addPoints()
        self.settle()
        self.points.RemoveNthControlPoint(2)
        self.settle()
        for _ in range(3):
            self.key(shortcuts.UNDO)
        self.assertEqual([row[0] for row in self.rows()], ["N-1", "N-2", "N-3"])
        self.assertEqual(first.GetNumberOfControlPoints(), 2)

    def test_undo_is_off_again_when_the_module_is_left(self):
        self.assertTrue(slicer.mrmlScene.GetUndoFlag())
        self.widget.exit()
        self.assertFalse(slicer.mrmlScene.GetUndoFlag())
        self.assertEqual(slicer.mrmlScene.GetNumberOfUndoLevels(), 0)

    # --- surfaces

    def surfaces(self):
        """Names of the segments that have one."""
        own, found = outline_segments.segmentation_of(self.ct, self.points), set()
        name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        for segment_id in outline_segments.segment_ids(own):
            segment = own.GetSegmentation().GetSegment(segment_id)
            surface = segment.GetRepresentation(name)
            found |= {segment.GetName()} if surface and surface.GetNumberOfPoints() else set()
        return found

    def test_outlines_have_surfaces_in_3d_when_they_are_asked_for(self):
        self.assess()
        self.assertEqual(self.surfaces(), set())
        self.ui.surfaceCheckBox.setChecked(True)
        self.settle()
        self.assertEqual(self.surfaces(), {"N-1", "N-2", "N-3"})
        display = outline_segments.segmentation_of(self.ct, self.points).GetDisplayNode()
        self.assertTrue(display.GetVisibility3D())
        # Another outline in its place, and one more.
        self.points.SetNthControlPointPositionWorld(0, -15.0, -6.0, 2.0)
        self.points.AddControlPointWorld(*[v - 0.5 for v in fakes.PLACES[1]])
        self.settle()
        self.assess()
        self.assertEqual(len(self.surfaces()), 4)
        self.ui.surfaceCheckBox.setChecked(False)
        self.settle()
        self.assertEqual(self.surfaces(), set())
