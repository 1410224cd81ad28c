"""The chosen nodule's heatmap and outline in the slice views."""

from __future__ import annotations

from typing import Any

import slicer
import slicer.util
from slicer.i18n import tr as _

from ..explain import heatmap_faithfulness
from ..slicer_scene import display
from ..slicer_scene.kept_segments import keep_outline
from ..slicer_scene.results import maps_of
from .view_state import ViewState


class Overlay:
    """Shows and hides what lies over the CT; ``keepOutlineButton`` adds the chosen outline to the user's segments."""

    def __init__(self, ui: Any) -> None:
        self._button = ui.keepOutlineButton
        self._state = ViewState()
        self._outlined: object = None
        ui.keepOutlineButton.clicked.connect(lambda *unused: self.keep_outline())

    def draw(self, state: ViewState) -> None:
        """Show what the settings ask for, on the chosen CT alone."""
        self._state = state
        self._button.setEnabled(bool(state.assessment and state.assessment.nodule))
        for other in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            if other is not state.ct and other.GetNodeReference(display.HEATMAP_ROLE):
                display.hide_heatmap(other)
                display.hide_outline(other)
        if state.ct:
            self._draw_heatmap(state)
            self._draw_outline(state)

    def keep_outline(self) -> None:
        """Add the chosen nodule's outline to the CT's "Nodules" segmentation."""
        state = self._state
        if not (state.ct and state.points and state.chosen):
            return
        mark = state.chosen.mark
        kept = keep_outline(state.ct, state.table, state.points, mark.id, mark.point.label)
        if kept and kept[1]:
            text = _("The segment that was there was edited: the outline was added beside it as {name}.")
            slicer.util.showStatusMessage(text.format(name=kept[0]), 10000)

    def _draw_heatmap(self, state: ViewState) -> None:
        chosen, settings = state.chosen, state.parameters
        if chosen and chosen.row and settings.heatmapShown:
            # A heatmap that was measured to show no more than a ball would is drawn faintly; the panel says so.
            trusted = heatmap_faithfulness.trusted(chosen.row.columns["model_id"], settings.grade)
            opacity = settings.opacity * (1 if trusted else heatmap_faithfulness.FAINT)
            display.show_heatmap(state.ct, state.table, chosen.mark.id, settings.grade, opacity, settings.threshold)
        else:
            display.hide_heatmap(state.ct)

    def _draw_outline(self, state: ViewState) -> None:
        chosen = state.chosen if state.chosen and state.chosen.row and state.parameters.outlineShown else None
        # The maps' node is a new one after each assessment.
        wanted = (chosen.mark.id, maps_of(state.table, chosen.mark.id), state.ct) if chosen else None
        if wanted == self._outlined:
            return
        self._outlined = wanted
        if chosen:
            display.show_outline(state.ct, state.table, chosen.mark.id, chosen.mark.point.label)
        else:
            display.hide_outline(state.ct)
