"""The follow-up section: an earlier CT, its points, growth and partner of the chosen nodule, that CT in the views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..slicer_scene import followups, inputs
from .view_state import ViewState


class FollowUpSection:
    """Draws *Prior CT*; calls ``compare`` with the days between both CTs, 0 where nobody says.

    Which point of the earlier CT the chosen nodule is, the user may say: it counts from the next comparison on.

    Parameters
    ----------
    ui : namespace of widgets
    compare : callable
    """

    def __init__(self, ui: Any, compare: Callable[[float], None]) -> None:
        self._ui = ui
        self._state = ViewState()
        self._partners: list[str] = []
        self._drawn: tuple[list[tuple[str, str]], str, bool] | None = None
        ui.compareButton.clicked.connect(lambda *unused: compare(float(self._ui.priorDaysSpinBox.property("value"))))
        ui.priorShownButton.toggled.connect(lambda on: self._show(bool(on)))
        ui.partnerComboBox.currentIndexChanged.connect(lambda *unused: self._choose_partner())

    def draw(self, state: ViewState) -> None:
        """Draw what can be compared, and what became of the chosen nodule."""
        self._state = state
        ui, prior = self._ui, state.parameters.prior
        comparable = bool(prior and state.ct and any(one.row for one in state.nodules))
        ui.compareButton.setEnabled(comparable and not (state.comparison or state.task or state.missing))
        ui.compareButton.setText(_("Comparing…") if state.comparison else _("Compare"))
        ui.priorShownButton.setEnabled(bool(prior))
        if not prior:
            ui.priorShownButton.setChecked(False)
        self._draw_partners()
        chosen = state.chosen
        lines = [chosen.growth[1]] if chosen and chosen.growth else []
        lines += followups.notes(state.table)
        ui.growthLabel.setText("\n".join(lines))
        ui.growthLabel.setVisible(bool(lines))

    def _draw_partners(self) -> None:
        """What the chosen nodule may be on the earlier CT."""
        state, box = self._state, self._ui.partnerComboBox
        marks = inputs.marks(state.parameters.priorPoints)
        self._partners = ["", followups.NONE, *(mark.id for mark in marks)]
        chosen = state.chosen if state.table and state.chosen and state.chosen.row else None
        said = followups.partner(state.table, chosen.mark.id) if chosen else ""
        enabled = bool(chosen and state.parameters.prior) and not state.comparison
        wanted = ([(mark.id, mark.point.label) for mark in marks], said, enabled)
        # A list that is open must not be filled anew.
        if wanted == self._drawn:
            return
        self._drawn = wanted
        box.blockSignals(True)
        box.clear()
        box.addItems([_("What lies at its place"), _("Nothing: it is new"), *(mark.point.label for mark in marks)])
        box.setCurrentIndex(self._partners.index(said) if said in self._partners else 0)
        box.blockSignals(False)
        box.setEnabled(enabled)

    def _choose_partner(self) -> None:
        state, n = self._state, self._ui.partnerComboBox.property("currentIndex")
        if state.table and state.chosen and 0 <= n < len(self._partners):
            followups.set_partner(state.table, state.chosen.mark.id, self._partners[n])

    def _show(self, on: bool) -> None:
        """Show the earlier CT over the later one; the heatmap would lie in its place."""
        settings = self._state.parameters
        if settings is None or not settings.prior:
            return
        if on:
            settings.heatmapShown = False
        followups.show(settings.prior, on)
