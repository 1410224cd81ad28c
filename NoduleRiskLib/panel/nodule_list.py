"""The list of points, one row each: main results, notes, and which one is chosen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from .cells import ROW_PIXELS, dress_table, write_cell
from .view_state import ASSESSED, CHANGED, NEW, OUTDATED, OUTSIDE, ListedNodule, ViewState

NOTES = {NEW: "new", OUTDATED: "outdated", ASSESSED: "", OUTSIDE: "outside"}
TIPS = {
    NEW: "Not assessed yet.",
    OUTDATED: CHANGED,
    ASSESSED: "",
    OUTSIDE: "The point lies outside the CT: move it onto the image.",
}


class NoduleList:
    """Draws ``noduleTable``; calls ``choose`` with a control point ID when the user chooses a row."""

    def __init__(self, ui: Any, choose: Callable[[str], None]) -> None:
        self._table, self._choose = ui.noduleTable, choose
        self._drawn: list[ListedNodule] = []
        dress_table(ui.noduleTable, 0, ROW_PIXELS)
        ui.noduleTable.horizontalHeaderItem(2).setToolTip(
            _("Chance that at least half of LIDC's readers give malignancy 4 or 5: their suspicion, not pathology.")
        )
        # Both: a click on the row that is current already changes no cell, but brings the slices back to it.
        ui.noduleTable.cellClicked.connect(lambda row, column: self._choose_row(row))
        ui.noduleTable.currentCellChanged.connect(lambda row, *others: self._choose_row(row))

    def draw(self, state: ViewState) -> None:
        """Write the rows that changed and select the chosen one."""
        table, nodules = self._table, list(state.nodules)
        table.blockSignals(True)
        table.setRowCount(len(nodules))
        for row, nodule in enumerate(nodules):
            if self._drawn[row : row + 1] != [nodule]:
                self._draw_row(row, nodule)
        self._drawn = nodules
        chosen = state.chosen.mark.id if state.chosen else ""
        at = next((row for row, nodule in enumerate(nodules) if nodule.mark.id == chosen), -1)
        if at < 0:
            table.clearSelection()
            table.setCurrentCell(-1, -1)
        elif table.currentRow() != at:
            table.selectRow(at)
        table.blockSignals(False)

    def _draw_row(self, row: int, nodule: ListedNodule) -> None:
        tip = "\n".join(filter(None, (_(TIPS[nodule.state]), nodule.row.warnings if nodule.row else "")))
        for column, text in enumerate((nodule.mark.point.label, *cells(nodule))):
            italic = nodule.state == OUTDATED
            write_cell(self._table, row, column, text, tip, right=0 < column < 5, italic=italic)

    def _choose_row(self, row: int) -> None:
        if 0 <= row < len(self._drawn):
            self._choose(self._drawn[row].mark.id)


def cells(nodule: ListedNodule) -> tuple[str, str, str, str, str]:
    """Malignancy, suspicion probability, diameter, volume and note; empty where not assessed."""
    from ..results.tables import percent

    row, note = nodule.row, NOTES[nodule.state]
    if row is None:
        return "", "", "", "", note
    if not row.found:
        return "–", "–", "–", "–", note or "no nodule"
    count = len([sentence for sentence in re.split(r"(?<=\.)\s+", row.warnings) if sentence])
    return (
        f"{row.malignancy:.1f}",
        percent(row.suspicion_probability),
        f"{row.diameter_mm:.1f} mm",
        f"{row.volume_mm3:,.0f} mm³",
        " ".join(filter(None, (note, f"⚠ {count}" if count else ""))),
    )
