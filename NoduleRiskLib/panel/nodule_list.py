"""The list of points, one row each: main results, notes, which one is chosen; above it the warnings about the CT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from .cells import ROW_PIXELS, dress_table, grow_with_text, selection_style, write_cell
from .list_words import DRAWN_TIP, TIPS, cells
from .view_state import OUTDATED, ListedNodule, ViewState

#: Seven nodules are seen, more by scrolling.
MOST_PIXELS = 220
#: The last column; those between it and the name are figures.
NOTES = 4


class NoduleList:
    """Draws ``noduleTable``; calls ``choose`` with a control point ID when the user chooses a row."""

    def __init__(self, ui: Any, choose: Callable[[str], None]) -> None:
        self._table, self._ct_warnings, self._choose = ui.noduleTable, ui.ctWarningsLabel, choose
        ui.ctWarningsLabel.setStyleSheet("color: #9a6200;")
        self._drawn: list[ListedNodule] = []
        self._doubtful: bool | None = None
        # Names and notes share what the figures leave, and take a second line where that is narrow.
        dress_table(ui.noduleTable, (0, NOTES), ROW_PIXELS)
        grow_with_text(ui.noduleTable, MOST_PIXELS)
        ui.noduleTable.horizontalHeaderItem(1).setToolTip(_("Malignancy: LIDC readers' mean grade, 1 to 5."))
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
        doubtful = bool(state.chosen and state.chosen.doubts)
        if doubtful != self._doubtful:
            self._doubtful = doubtful
            table.setStyleSheet(selection_style(doubtful))

    def _draw_row(self, row: int, nodule: ListedNodule) -> None:
        drawn = _(DRAWN_TIP) if nodule.row and nodule.row.by_user else ""
        lines = (_(TIPS.get(nodule.state, "")), _(nodule.outdated), *(one.text for one in nodule.warnings), drawn)
        lines += (nodule.growth[1],) if nodule.growth else ()
        tip = "\n".join(filter(None, lines))
        for column, text in enumerate((nodule.mark.point.label, *cells(nodule))):
            italic, figure = nodule.state == OUTDATED, 0 < column < NOTES
            doubtful = figure and bool(nodule.doubts)
            write_cell(self._table, row, column, text, tip, right=figure, italic=italic, doubtful=doubtful)

    def _choose_row(self, row: int) -> None:
        if 0 <= row < len(self._drawn):
            self._choose(self._drawn[row].mark.id)
