"""The chosen nodule's heatmap in the slice views, and what its opacity there comes to."""

from __future__ import annotations

from typing import Any

from ..explain import heatmap_faithfulness
from ..slicer_scene import display
from .translation import tr as _
from .view_state import ViewState

FAINT = "Drawn at {drawn:.2f}: maps that are not shown to find their sign get {share:.0%} of the opacity chosen here."


class Overlay:
    """Shows and hides the heatmap over the CT; says beside the slider where it is drawn fainter than that says."""

    def __init__(self, ui: Any) -> None:
        self._label = ui.faintLabel

    def draw(self, state: ViewState) -> None:
        """Show what the settings ask for, on the chosen CT alone."""
        drawn = show(state)
        faint = drawn is not None and drawn < state.parameters.opacity
        self._label.setText(_(FAINT).format(drawn=drawn, share=heatmap_faithfulness.FAINT) if faint else "")
        self._label.setVisible(faint)


def show(state: ViewState) -> float | None:
    """Bring the views up to date; returns the opacity at which a heatmap is drawn, ``None`` without one."""
    for other, _heatmap in display.heatmaps():
        if other is not state.ct:
            display.hide_heatmap(other)
    chosen, settings = state.chosen, state.parameters
    if not (state.ct and chosen and chosen.row and settings.heatmapShown):
        display.hide_heatmap(state.ct)
        return None
    # A heatmap that was measured to show no more than a ball would is drawn faintly.
    trusted = heatmap_faithfulness.trusted(chosen.row.columns["model_id"], settings.grade)
    opacity = settings.opacity * (1 if trusted else heatmap_faithfulness.FAINT)
    node = display.show_heatmap(state.ct, state.table, chosen.mark.id, settings.grade, opacity, settings.threshold)
    return opacity if node else None
