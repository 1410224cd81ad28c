"""What the panel makes of an earlier CT: growth in list and card, kept in the scene, and the CT laid over this one.

Runs under pytest on the stand-ins, under the Slicer kit, and in Slicer by Reload & Test: nothing here knows which.
"""

import fakes
import numpy as np
import slicer
import slicer.util
from panel_case import PanelCase, read

from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.slicer_scene import followups, inputs, results

#: Where the earlier CT's nodules lie; the third one is not there.
EARLIER = fakes.PLACES[:2]
#: Where the earlier CT has one more, which is gone.
GONE = (10.0, -14.0, 12.0)


class FollowUpTest(PanelCase):
    def setUp(self):
        super().setUp()
        self.prior = self.addCT("earlier", places=EARLIER)

    def compare(self, days=120):
        self.state.parameters.prior = self.prior
        self.ui.priorDaysSpinBox.setValue(days)
        self.settle()
        self.ui.compareButton.click()
        self.settle(lambda: self.state.comparison is None)
        self.settle()

    def test_each_nodule_tells_what_became_of_it(self):
        self.assess()
        self.assertFalse(self.ui.compareButton.isEnabled(), "no earlier CT is chosen")
        self.compare()
        self.assertEqual(self.state.error, "")
        words = [nodule.growth[0] for nodule in self.state.nodules]
        self.assertEqual([word.rstrip("?") for word in words], ["stable", "stable", "new"])
        self.assertIn("new", self.notes()[2])
        self.panel.choose(self.state.nodules[2].mark.id)
        self.settle()
        self.assertIn("New", read(self.ui.growthLabel, "text"))
        self.assertIn("New", read(self.ui.cardTitleLabel, "text"))

    def mark_prior(self, *places):
        self.prior = self.addCT("earlier", places=(*EARLIER, GONE))
        marked = [Point(f"b-{n + 1}", place) for n, place in enumerate(places)]
        self.state.parameters.priorPoints = inputs.add_points("Before", marked)
        # A new list is the one that points are placed in.
        self.state.parameters.points = self.points
        self.settle()

    def say(self, number):
        self.ui.partnerComboBox.setCurrentIndex(number)
        self.compare()

    def test_what_is_gone_is_told_with_its_place(self):
        self.mark_prior(*EARLIER, GONE)
        self.assess()
        self.compare()
        told = read(self.ui.growthLabel, "text")
        self.assertIn("b-3 (here at R 10.0 A -14.0 S 12.0 mm): Resolved", told)
        self.assertNotIn("b-1", told, "its partner tells of it")
        self.compare()
        self.assertEqual(read(self.ui.growthLabel, "text"), told, "its points went where the earlier CT went")

    def test_the_user_says_which_nodule_it_was(self):
        self.mark_prior(*EARLIER)
        self.assess()
        self.panel.choose(self.state.nodules[0].mark.id)
        self.compare()
        words = lambda: [nodule.growth[0].rstrip("?") for nodule in self.state.nodules]  # noqa: E731
        self.assertEqual(words(), ["stable", "stable", "new"])
        self.say(1)
        self.assertEqual(words(), ["new", "stable", "new"])
        self.say(2)
        self.assertEqual(words(), ["stable", "stable", "new"])
        self.panel.choose(self.state.nodules[1].mark.id)
        self.settle()
        self.assertEqual(read(self.ui.partnerComboBox, "currentIndex"), 0, "said of the other nodule alone")
        self.say(2)
        self.assertIn("cannot be the same", self.state.error)

    def test_without_results_it_says_what_to_do_first(self):
        self.state.parameters.prior = self.prior
        self.settle()
        self.assertFalse(self.ui.compareButton.isEnabled())
        self.panel.work.compare(120)
        self.settle()
        self.assertIn("Assess", self.state.error)

    def test_a_ct_is_not_compared_with_itself(self):
        self.assess()
        self.prior = self.ct
        self.compare()
        self.assertIn("the same", self.state.error)

    def test_growth_of_another_outline_is_not_told(self):
        self.assess()
        self.compare()
        table = results.table_of(self.ct, self.points)
        mark = self.state.nodules[0].mark
        self.assertIsNotNone(followups.growth(table, mark.id, self.state.nodules[0].row.columns["outline_volume_mm3"]))
        self.assertIsNone(followups.growth(table, mark.id, 1.0))
        table.SetAttribute(followups.GROWTH + mark.id, "{broken")
        self.panel.changed()
        self.settle()
        self.assertIsNone(self.state.nodules[0].growth)

    def test_the_earlier_ct_is_laid_over_and_measured_where_it_was(self):
        before = inputs.scan(self.prior).ijk_to_ras
        matrix = np.eye(4)
        matrix[:3, 3] = 3, -2, 5
        for _ in range(2):
            followups.lay_over(self.prior, matrix)
            self.assertTrue(np.allclose(inputs.scan(self.prior).ijk_to_ras, matrix @ before))
            self.assertTrue(np.allclose(followups.unmoved(self.prior).ijk_to_ras, before))

    def test_the_earlier_ct_is_shown_over_this_one_and_taken_away(self):
        self.assess()
        self.compare()
        self.ui.priorShownButton.click()
        self.settle()
        self.assertEqual(self.foregrounds(), {self.prior.GetID()})
        self.assertEqual(self.state.parameters.ct.GetID(), self.ct.GetID(), "it does not become the CT to assess")
        self.ui.priorShownButton.click()
        self.settle()
        opacities = [c.GetForegroundOpacity() for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")]
        self.assertEqual(set(opacities), {0.0})

    def test_a_removed_earlier_ct_leaves_no_trouble(self):
        self.assess()
        self.compare()
        slicer.mrmlScene.RemoveNode(self.prior)
        self.settle()
        self.assertFalse(self.ui.compareButton.isEnabled())
        self.assertEqual(self.state.error, "")
