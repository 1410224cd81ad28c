"""The chosen nodule's heatmap in the slice views."""

from __future__ import annotations

import slicer.util

from ..explain import heatmap_faithfulness
from ..slicer_scene import display
from .view_state import ViewState


class Overlay:
    """Shows and hides the heatmap over the CT."""

    def draw(self, state: ViewState) -> None:
        """Show what the settings ask for, on the chosen CT alone."""
        for other in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            if other is not state.ct and other.GetNodeReference(display.HEATMAP_ROLE):
                display.hide_heatmap(other)
        if state.ct:
            self._draw_heatmap(state)

    def _draw_heatmap(self, state: ViewState) -> None:
        chosen, settings = state.chosen, state.parameters
        if chosen and chosen.row and settings.heatmapShown:
            # A heatmap that was measured to show no more than a ball would is drawn faintly; the panel says so.
            trusted = heatmap_faithfulness.trusted(chosen.row.columns["model_id"], settings.grade)
            opacity = settings.opacity * (1 if trusted else heatmap_faithfulness.FAINT)
            display.show_heatmap(state.ct, state.table, chosen.mark.id, settings.grade, opacity, settings.threshold)
        else:
            display.hide_heatmap(state.ct)
