"""Cells of the panel's tables: text, and a grade's scale as a small picture."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import qt

from ..results.grade_lines import GradeLine

#: Least height of a table's row and size of the drawn scales, pixels: beside them words need room at 420 pixels.
ROW_PIXELS, BAR_PIXELS = 24, 72
#: What a table's headings and frame take.
HEADINGS_PIXELS = 36
RAIL_RGBA, MARK_RGBA = (140, 150, 160, 90), (140, 150, 160, 160)
INTERVAL_RGBA, VALUE_RGBA = (72, 149, 214, 150), (11, 87, 160, 255)
#: What is doubtful stands back: readable on light and on dark panels, in text and drawn scales.
DOUBTFUL_RGB = (128, 128, 128)
DOUBTFUL_INTERVAL_RGBA, DOUBTFUL_VALUE_RGBA = (*DOUBTFUL_RGB, 110), (*DOUBTFUL_RGB, 255)


def grow_with_text(table: Any, most_pixels: int) -> None:
    """Rows as high as their text at any width of the columns, and a table as high as its rows, up to a limit."""
    rows = table.verticalHeader()
    rows.setMinimumSectionSize(ROW_PIXELS)
    rows.setSectionResizeMode(qt.QHeaderView.ResizeToContents)

    def fit(*unused: Any) -> None:
        # Never a row cut by the frame.
        height = min(rows.length() + HEADINGS_PIXELS, most_pixels)
        table.setMinimumHeight(height)
        table.setMaximumHeight(height)

    table.horizontalHeader().sectionResized.connect(lambda *unused: table.resizeRowsToContents())
    rows.sectionResized.connect(fit)
    rows.sectionCountChanged.connect(fit)
    fit()


def dress_table(table: Any, stretched: Sequence[int], row_pixels: int) -> None:
    """Columns as wide as their text, some of them as wide as they can be; no row numbers."""
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(row_pixels)
    table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    for column in stretched:
        table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.Stretch)


def selection_style(doubtful: bool) -> str:
    """Style sheet of a table's chosen row: the usual highlight would hide drawn scales and what stands back."""
    colour = f"rgb{DOUBTFUL_RGB}" if doubtful else "palette(text)"
    return f"selection-background-color: rgba(72, 149, 214, 70); selection-color: {colour};"


def write_cell(
    table: Any,
    row: int,
    column: int,
    text: str,
    tip: str,
    right: bool = False,
    italic: bool = False,
    doubtful: bool = False,
) -> Any:
    """Write a cell's text and tool tip; returns its item, which is made if there is none."""
    item = table.item(row, column)
    if item is None:
        item = qt.QTableWidgetItem()
        table.setItem(row, column, item)
        if right:
            item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    item.setText(text)
    item.setToolTip(as_tip(tip))
    font = item.font()
    font.setItalic(italic)
    item.setFont(font)
    # An empty brush is the table's own colour.
    item.setForeground(qt.QBrush(qt.QColor(*DOUBTFUL_RGB)) if doubtful else qt.QBrush())
    return item


def as_tip(text: str) -> str:
    """A tool tip that shows a text as it is: Qt takes for HTML what looks like it, and a point's name may."""
    return f"<div style='white-space: pre-wrap'>{html.escape(text)}</div>" if text else ""


def bar_label(line: GradeLine, doubtful: bool = False) -> Any:
    """A scale with its steps, the interval and the value on it."""
    height, width = ROW_PIXELS - 2, BAR_PIXELS - 12
    pixmap = qt.QPixmap(BAR_PIXELS, height)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(pixmap)

    def box(first: int, last: int, half_height: int, rgba: tuple[int, int, int, int]) -> None:
        painter.fillRect(first, height // 2 - half_height, last - first, 2 * half_height, qt.QColor(*rgba))

    def at(share: float) -> int:
        return 6 + round(width * share)

    box(6, 6 + width, 2, RAIL_RGBA)
    for mark, _value in line.marks:
        box(at(mark), at(mark) + 1, 4, MARK_RGBA)
    if line.at is not None and line.low is not None and line.high is not None:
        first, last = at(min(line.low, line.at)), at(max(line.high, line.at))
        box(first, max(last, first + 2), 4, DOUBTFUL_INTERVAL_RGBA if doubtful else INTERVAL_RGBA)
        box(at(line.at) - 2, at(line.at) + 2, 7, DOUBTFUL_VALUE_RGBA if doubtful else VALUE_RGBA)
    painter.end()
    label = qt.QLabel()
    label.setPixmap(pixmap)
    label.setToolTip(line.interval)
    # A click on the picture chooses its row.
    label.setAttribute(qt.Qt.WA_TransparentForMouseEvents)
    return label
