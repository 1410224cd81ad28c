"""The follow-up section: an earlier CT, the days between, growth of the chosen nodule, the earlier CT in the views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..slicer_scene import followups
from .view_state import ViewState


class FollowUpSection:
    """Draws *Prior CT*; calls ``compare`` with the days between both CTs, 0 where nobody says.

    Parameters
    ----------
    ui : namespace of widgets
    compare : callable
    """

    def __init__(self, ui: Any, compare: Callable[[float], None]) -> None:
        self._ui = ui
        self._state = ViewState()
        ui.compareButton.clicked.connect(lambda *unused: compare(float(self._ui.priorDaysSpinBox.property("value"))))
        ui.priorShownButton.toggled.connect(lambda on: self._show(bool(on)))

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
        chosen = state.chosen
        lines = [chosen.growth[1]] if chosen and chosen.growth else []
        lines += followups.notes(state.table)
        ui.growthLabel.setText("\n".join(lines))
        ui.growthLabel.setVisible(bool(lines))

    def _show(self, on: bool) -> None:
        """Show the earlier CT over the later one; the heatmap would lie in its place."""
        settings = self._state.parameters
        if settings is None or not settings.prior:
            return
        if on:
            settings.heatmapShown = False
        followups.show(settings.prior, on)
