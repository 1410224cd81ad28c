"""The chosen nodule's slices as a strip, coloured by how well each alone predicts the chosen grade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from ..explain import heatmap_faithfulness
from ..slicer_scene import display
from .cells import write_cell
from .view_state import ViewState

if TYPE_CHECKING:
    from ..results.assessment import Assessment

HEATMAP_TIP = "Shows the chosen grade's heatmap over the CT (H)."


@dataclass(frozen=True)
class StripSlice:
    """A graded slice: its middle (RAS mm), its weight (``Heatmap.slice_weights``), its share of the largest weight."""

    middle_ras: tuple[float, float, float]
    weight: float
    share: float


class SliceStrip:
    """Draws ``stripTable`` and the text under it; a click brings the slice views to that slice."""

    def __init__(self, ui: Any) -> None:
        self.slices: list[StripSlice] = []
        self._ui = ui
        self._drawn: object = None
        for header in (ui.stripTable.horizontalHeader(), ui.stripTable.verticalHeader()):
            header.setVisible(False)
            header.setMinimumSectionSize(3)
            header.setSectionResizeMode(qt.QHeaderView.Stretch)
        ui.stripTable.setRowCount(1)
        ui.stripTable.cellClicked.connect(lambda row, column: display.jump(self.slices[column].middle_ras))

    def draw(self, state: ViewState) -> None:
        """Draw the slices from the lowest to the highest, and how faithful the heatmap was measured to be."""
        assessment, name = state.assessment, state.parameters.grade
        if self._drawn == (assessment, name):
            return
        self._drawn = assessment, name
        self.slices, strip = strip_slices(assessment, name), self._ui.stripTable
        strip.setColumnCount(len(self.slices))
        for column, one in enumerate(self.slices):
            # As the colour has it: a share of the brightest slice's weight.
            tip = _("Slice at S {s:.1f} mm: {share:.0%} of the brightest slice's weight for {name}.")
            item = write_cell(strip, 0, column, "", tip.format(s=one.middle_ras[2], share=one.share, name=name))
            item.setBackground(qt.QBrush(qt.QColor(*display.heat_rgb(one.share))))
        caption = _("How well each slice alone predicts {name}: lowest slice left, brighter is better.")
        faithful = ""
        if assessment and assessment.nodule and assessment.nodule.heatmaps:
            faithful = heatmap_faithfulness.told(assessment.model_id, name)
        lines = (caption.format(name=name) if self.slices else "", faithful)
        self._ui.stripTextLabel.setText("\n".join(filter(None, lines)))
        self._ui.heatmapCheckBox.setToolTip("\n".join(filter(None, (_(HEATMAP_TIP), faithful))))


def strip_slices(assessment: Assessment | None, name: str) -> list[StripSlice]:
    """The graded slices of the layout's first plane, from the lowest S up; empty without heatmaps."""
    nodule = assessment.nodule if assessment else None
    if nodule is None or name not in nodule.heatmaps:
        return []
    stack, weights = nodule.stack, nodule.heatmaps[name].slice_weights
    middle, largest = (stack.layout.pixels - 1) / 2, max(float(weights.max(initial=0)), 1e-9)
    found = []
    for n in range(len(weights)):
        if stack.valid[n] and stack.plane[n] == 0:
            r, a, s = (float(x) for x in (stack.ijk_to_ras[n] @ (middle, middle, 0, 1))[:3])
            found.append(StripSlice((r, a, s), float(weights[n]), float(weights[n]) / largest))
    return sorted(found, key=lambda one: one.middle_ras[2])
