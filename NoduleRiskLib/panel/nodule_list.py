"""The list of points, one row each: main results, notes, which one is chosen; above it the warnings about the CT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..results.phrases import percent
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
        self._table, self._ct_warnings, self._choose = ui.noduleTable, ui.ctWarningsLabel, choose
        ui.ctWarningsLabel.setStyleSheet("color: #9a6200;")
        self._drawn: list[ListedNodule] = []
        dress_table(ui.noduleTable, 0, ROW_PIXELS)
        ui.noduleTable.horizontalHeaderItem(2).setToolTip(
            _("Chance that at least half of LIDC's readers give malignancy 4 or 5: their suspicion, not pathology.")
        )
        # Both: a click on the row that is current already changes no cell, but brings the slices back to it.
        ui.noduleTable.cellClicked.connect(lambda row, column: self._choose_row(row))
        ui.noduleTable.currentCellChanged.connect(lambda row, *others: self._choose_row(row))

    def draw(self, state: ViewState) -> None:
        """Write what is said about the whole CT and the rows that changed, and select the chosen one."""
        self._ct_warnings.setText("\n".join(f"• {warning.text}" for warning in state.ct_warnings))
        self._ct_warnings.setVisible(bool(state.ct_warnings))
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
        tip = "\n".join(filter(None, (_(TIPS[nodule.state]), *(one.text for one in nodule.warnings))))
        for column, text in enumerate((nodule.mark.point.label, *cells(nodule))):
            italic = nodule.state == OUTDATED
            write_cell(self._table, row, column, text, tip, right=0 < column < 5, italic=italic)

    def _choose_row(self, row: int) -> None:
        if 0 <= row < len(self._drawn):
            self._choose(self._drawn[row].mark.id)


def cells(nodule: ListedNodule) -> tuple[str, str, str, str, str]:
    """Malignancy, suspicion probability, diameter, volume and note; empty where not assessed."""
    row, note = nodule.row, NOTES[nodule.state]
    count = len(nodule.warnings)
    if row is None:
        return "", "", "", "", " ".join(filter(None, (note, f"⚠ {count}" if count else "")))
    if not row.found:
        return "–", "–", "–", "–", note or "no nodule"
    return (
        f"{row.columns['malignancy']:.1f}",
        percent(row.columns["suspicion_probability"]),
        f"{row.columns['outline_diameter_mm']:.1f} mm",
        f"{row.columns['outline_volume_mm3']:,.0f} mm³",
        " ".join(filter(None, (note, f"⚠ {count}" if count else ""))),
    )
