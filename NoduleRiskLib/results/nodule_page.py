"""One nodule as one page: slices with and without heatmap, the mosaic with its slice weights, grades, warnings."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .. import __version__
from ..grades import DISCLAIMER, GRADES
from ..imaging.volume import Volume
from .assessment import Assessment, Nodule
from .grade_lines import GradeLine, grade_lines
from .page_slices import draw_mosaic, draw_views
from .phrases import SUSPICION_MEANS, percent, place, size
from .sheet import LINE, MARGIN, MUTED, PAGE, PALE, RIGHT, RIGHT_WIDTH, Sheet

#: Height of a grade's row, inches.
ROW = 0.585
ACCENT, INTERVAL, ALERT, ALERT_PALE = "#0b63a5", "#a9cdea", "#b86e00", "#fff5e0"


def write_page(path: Path | str, volume: Volume, assessment: Assessment, name: str = "malignancy") -> None:
    """Write a nodule's page as PNG.

    Parameters
    ----------
    path : path
    volume : Volume
        The CT that was assessed, HU.
    assessment : Assessment
    name : str
        The grade whose heatmap and slice weights are shown, if there are heatmaps.
    """
    FigureCanvasAgg(page(volume, assessment, name)).print_png(str(path))


def page(volume: Volume, assessment: Assessment, name: str = "malignancy") -> Figure:
    """The same page as a figure that belongs to no window; parameters as in ``write_page``."""
    nodule = assessment.nodule
    warnings = [line for warning in assessment.warnings for line in _bullet(warning.text)]
    top = 1.15
    grades_end = top + 1.75 + (0.3 + ROW * len(GRADES) if nodule else 0)
    height = max(11.9 if nodule else 5.6, grades_end + 0.75 + 0.185 * len(warnings) + 0.75)
    sheet = Sheet.blank(PAGE, height)
    _header(sheet, volume, assessment)
    bottom = draw_views(sheet, top, volume, assessment, name)
    draw_mosaic(sheet, bottom + 0.2, height - 0.85, assessment, name)
    _summary(sheet, top, nodule)
    if nodule:
        _grades(sheet, top + 1.75, nodule)
    _warnings(sheet, grades_end + 0.2, warnings)
    _footer(sheet, assessment)
    return sheet.figure


def _header(sheet: Sheet, volume: Volume, assessment: Assessment) -> None:
    sheet.text(MARGIN, 0.62, _short(assessment.point.label, 52), 21, weight="bold")
    sheet.text(MARGIN, 0.88, f"{_short(volume.name, 60) or 'CT'}   ·   {place(assessment.point.ras, 3)} mm", 10, MUTED)
    sheet.text(PAGE - MARGIN, 0.60, "NoduleRisk", 13, ACCENT, ha="right", weight="bold")
    sheet.text(PAGE - MARGIN, 0.86, "LIDC grades of one lung nodule", 10, MUTED, ha="right")
    sheet.line((MARGIN, PAGE - MARGIN), (1.02, 1.02), LINE)


def _summary(sheet: Sheet, top: float, nodule: Nodule | None) -> None:
    sheet.card(RIGHT, top, RIGHT_WIDTH, 1.5, PALE, LINE)
    if nodule is None:
        sheet.text(RIGHT + 0.2, top + 0.6, "No nodule outlined", 17, weight="bold")
        sheet.text(RIGHT + 0.2, top + 0.92, "at the point (+), so no grades are given.", 10, MUTED)
        return
    sheet.text(RIGHT + 0.2, top + 0.67, percent(nodule.suspicion_probability), 27, ACCENT, weight="bold")
    sheet.text(RIGHT + 1.62, top + 0.42, "Suspicion probability", 11.5, weight="bold")
    for i, line in enumerate(textwrap.wrap(SUSPICION_MEANS, 46)):
        sheet.text(RIGHT + 1.62, top + 0.62 + 0.165 * i, line, 8.5, MUTED)
    sheet.line((RIGHT + 0.2, RIGHT + RIGHT_WIDTH - 0.2), (top + 0.95,) * 2, LINE)
    diameter, volume = size(nodule.outline)
    sheet.text(RIGHT + 0.2, top + 1.28, "Outline", 10, weight="bold")
    sheet.text(RIGHT + RIGHT_WIDTH - 0.2, top + 1.19, diameter, 9.5, ha="right")
    sheet.text(RIGHT + RIGHT_WIDTH - 0.2, top + 1.38, volume, 9.5, ha="right")


def _grades(sheet: Sheet, top: float, nodule: Nodule) -> None:
    """Nine bars with words and intervals."""
    right = RIGHT + RIGHT_WIDTH
    sheet.text(RIGHT, top + 0.1, "Grades", 10.5, weight="bold")
    sheet.text(right, top + 0.1, "value (80 % interval)  ·  % of LIDC nodules below", 8.5, MUTED, ha="right")
    for row, line in enumerate(grade_lines(nodule)):
        _bar(sheet, top + 0.3 + ROW * row, line)


def _bar(sheet: Sheet, y: float, line: GradeLine) -> None:
    assert line.low is not None and line.at is not None and line.high is not None
    width, unit = RIGHT_WIDTH - 0.75, f" {line.unit}" if line.unit else ""
    # The share of readers who would see calcification has no interval.
    value, beside = (f"{line.value}{unit} ({line.interval})", line.below) if line.below else (line.value, line.interval)
    sheet.text(RIGHT, y + 0.12, line.name.capitalize(), 10, weight="bold")
    sheet.text(RIGHT + 1.12, y + 0.12, line.word, 9.5, MUTED)
    sheet.text(RIGHT + RIGHT_WIDTH, y + 0.12, value, 9.5, ha="right")
    y += 0.255
    sheet.box(RIGHT, y - 0.035, width, 0.07, "#e7ecf1")
    sheet.box(RIGHT + width * line.low, y - 0.035, width * (line.high - line.low), 0.07, INTERVAL)
    for mark, label in line.marks:
        sheet.line((RIGHT + width * mark,) * 2, (y - 0.035, y + 0.06), "#9aa8b5", 0.7)
        sheet.text(RIGHT + width * mark, y + 0.155, label, 6.5, MUTED, ha="center")
    sheet.line((RIGHT + width * line.at,), (y,), ACCENT, marker="o", markersize=7, markeredgecolor="white")
    sheet.text(RIGHT + RIGHT_WIDTH, y + 0.04, beside, 8.5, MUTED, ha="right")


def _warnings(sheet: Sheet, top: float, lines: list[str]) -> None:
    if not lines:
        return
    sheet.card(RIGHT, top, RIGHT_WIDTH, 0.42 + 0.185 * len(lines), ALERT_PALE, "#f0c878")
    sheet.text(RIGHT + 0.15, top + 0.24, "Please note", 10, ALERT, weight="bold")
    for i, line in enumerate(lines):
        sheet.text(RIGHT + 0.15, top + 0.46 + 0.185 * i, line, 9)


def _footer(sheet: Sheet, assessment: Assessment) -> None:
    y = sheet.height - 0.5
    sheet.line((MARGIN, PAGE - MARGIN), (y - 0.2,) * 2, LINE)
    sheet.text(MARGIN, y + 0.05, DISCLAIMER, 10.5, weight="bold")
    sheet.text(
        PAGE - MARGIN, y + 0.05, f"NoduleRisk {__version__}   ·   model {assessment.model_id}", 9, MUTED, ha="right"
    )


def _bullet(sentence: str, width: int = 66) -> list[str]:
    return textwrap.wrap(sentence, width, initial_indent="•  ", subsequent_indent="    ")


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
