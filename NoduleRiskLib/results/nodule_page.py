"""One nodule as one page: slices with and without heatmap, the mosaic with its slice weights, grades, warnings."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .. import __version__
from ..grades import DISCLAIMER, GRADES
from ..imaging.volume import Volume
from .account_lines import TITLE, AccountLine, account_lines, account_sentence
from .assessment import Assessment, Nodule
from .grade_lines import GradeLine, grade_lines
from .page_similar import STRIP, draw_similar
from .page_slices import draw_mosaic, draw_views
from .phrases import SUSPICION_MEANS, image, image_uids, measured_on, percent, place, repeatability, size, solid_part
from .sheet import INK, LINE, MARGIN, MUTED, PAGE, PALE, RIGHT, RIGHT_WIDTH, Sheet
from .similar_lines import similar_lines, similar_sentence

#: Height of a grade's row, inches.
ROW = 0.585
#: Where columns begin, below the heading; height of a line of sizes, of a term of the account and of a warning, inches.
TOP, SIZE_ROW, TERM_ROW, WARNING_ROW = 1.15, 0.185, 0.2, 0.185
ACCENT, INTERVAL, ALERT, ALERT_PALE, ALERT_EDGE = "#0b63a5", "#a9cdea", "#b86e00", "#fff5e0", "#f0c878"
#: What the figures of a doubtful nodule are drawn in: value, and its interval.
GREY, GREY_INTERVAL = "#9aa5b0", "#d8dee4"


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
    nodule, doubts = assessment.nodule, assessment.doubts
    about_ct = [line for one in assessment.warnings if one.about == "ct" for line in _bullet(one.text, 200)]
    warnings = [line for one in assessment.warnings if one.about == "nodule" for line in _bullet(one.text)]
    sizes = _sizes(nodule) if nodule else []
    top = TOP + (0.25 + WARNING_ROW * len(about_ct) if about_ct else 0)
    grades = top + 1.38 + SIZE_ROW * len(sizes)
    account = grades + (0.3 + ROW * len(GRADES) if nodule else 0)
    terms, sentence = _account(nodule)
    end = account + (0.43 + TERM_ROW * len(terms) + SIZE_ROW * len(sentence) if sentence else 0)
    height = max(11.9 if nodule else 5.6, end + 0.75 + WARNING_ROW * len(warnings) + 0.75)
    similar = similar_lines(nodule)
    height += STRIP if similar else 0
    sheet = Sheet.blank(PAGE, height)
    _header(sheet, volume, assessment, about_ct)
    bottom = draw_views(sheet, top, volume, assessment, name)
    below = height - 0.85 - (STRIP if similar else 0)
    draw_mosaic(sheet, bottom + 0.2, below, assessment, name)
    if nodule and similar:
        draw_similar(sheet, below + 0.1, similar, similar_sentence(nodule), bool(doubts))
    _summary(sheet, top, nodule, sizes, doubts)
    if nodule:
        _grades(sheet, grades, nodule, bool(doubts))
        _why(sheet, account, terms, sentence, bool(doubts))
    _warnings(sheet, end + 0.2, warnings)
    _footer(sheet, assessment)
    return sheet.figure


def _header(sheet: Sheet, volume: Volume, assessment: Assessment, about_ct: list[str]) -> None:
    sheet.text(MARGIN, 0.62, _short(assessment.point.label, 52), 21, weight="bold")
    where = (_short(volume.name, 60) or "CT", f"{place(assessment.point.ras, 3)} mm", image(assessment.image))
    sheet.text(MARGIN, 0.88, "   ·   ".join(filter(None, where)), 10, MUTED)
    sheet.text(PAGE - MARGIN, 0.60, "NoduleRisk", 13, ACCENT, ha="right", weight="bold")
    sheet.text(PAGE - MARGIN, 0.86, "LIDC grades of one lung nodule", 10, MUTED, ha="right")
    sheet.line((MARGIN, PAGE - MARGIN), (1.02, 1.02), LINE)
    # What holds for the whole CT is no nodule's warning.
    if about_ct:
        sheet.card(MARGIN, TOP, PAGE - 2 * MARGIN, 0.1 + WARNING_ROW * len(about_ct), ALERT_PALE, ALERT_EDGE)
        sheet.text(MARGIN + 0.15, TOP + 0.175, "This CT", 9, ALERT, weight="bold")
        for i, line in enumerate(about_ct):
            sheet.text(MARGIN + 0.8, TOP + 0.175 + WARNING_ROW * i, line, 9)


def _sizes(nodule: Nodule) -> list[str]:
    """What is measured, in lines."""
    told = (", ".join(size(nodule.outline)), measured_on(nodule.outline), solid_part(nodule))
    return [*filter(None, told), *textwrap.wrap(repeatability(nodule), 62)]


def _summary(sheet: Sheet, top: float, nodule: Nodule | None, sizes: list[str], doubts: Sequence[str]) -> None:
    sheet.card(RIGHT, top, RIGHT_WIDTH, 1.13 + SIZE_ROW * len(sizes), PALE, LINE)
    if nodule is None:
        sheet.text(RIGHT + 0.2, top + 0.6, "No nodule outlined", 17, weight="bold")
        sheet.text(RIGHT + 0.2, top + 0.92, "at the point (+), so no grades are given.", 10, MUTED)
        return
    share = percent(nodule.suspicion_probability)
    if doubts:
        # What is doubtful does not stand in the headline.
        sheet.text(RIGHT + 0.2, top + 0.37, _short(", ".join(doubts), 52), 11.5, ALERT, weight="bold")
        sheet.text(RIGHT + 0.2, top + 0.62, f"Suspicion probability {share}", 11.5, GREY)
        sheet.text(RIGHT + 0.2, top + 0.82, SUSPICION_MEANS, 8.5, GREY)
    else:
        sheet.text(RIGHT + 0.2, top + 0.67, share, 27, ACCENT, weight="bold")
        sheet.text(RIGHT + 1.62, top + 0.42, "Suspicion probability", 11.5, weight="bold")
        for i, line in enumerate(textwrap.wrap(SUSPICION_MEANS, 46)):
            sheet.text(RIGHT + 1.62, top + 0.62 + 0.165 * i, line, 8.5, MUTED)
    sheet.line((RIGHT + 0.2, RIGHT + RIGHT_WIDTH - 0.2), (top + 0.95,) * 2, LINE)
    sheet.text(RIGHT + 0.2, top + 1.19, "Outline", 10, weight="bold")
    for i, line in enumerate(sizes):
        color = GREY if doubts else INK if i == 0 else MUTED
        sheet.text(RIGHT + 0.88, top + 1.19 + SIZE_ROW * i, line, 9.5 if i == 0 else 8.5, color)


def _grades(sheet: Sheet, top: float, nodule: Nodule, doubtful: bool) -> None:
    """Nine bars with words and intervals."""
    right = RIGHT + RIGHT_WIDTH
    sheet.text(RIGHT, top + 0.1, "Grades", 10.5, weight="bold")
    sheet.text(right, top + 0.1, "value (80 % interval)  ·  % of LIDC nodules below", 8.5, MUTED, ha="right")
    for row, line in enumerate(grade_lines(nodule)):
        _bar(sheet, top + 0.3 + ROW * row, line, doubtful)


def _bar(sheet: Sheet, y: float, line: GradeLine, doubtful: bool) -> None:
    assert line.low is not None and line.at is not None and line.high is not None
    ink, accent, interval, muted = (GREY, GREY, GREY_INTERVAL, GREY) if doubtful else (INK, ACCENT, INTERVAL, MUTED)
    width, unit = RIGHT_WIDTH - 0.75, f" {line.unit}" if line.unit else ""
    # The share of readers who would see calcification has no interval.
    value, beside = (f"{line.value}{unit} ({line.interval})", line.below) if line.below else (line.value, line.interval)
    sheet.text(RIGHT, y + 0.12, line.name.capitalize(), 10, weight="bold")
    sheet.text(RIGHT + 1.12, y + 0.12, line.word, 9.5, muted)
    sheet.text(RIGHT + RIGHT_WIDTH, y + 0.12, value, 9.5, ink, ha="right")
    y += 0.255
    sheet.box(RIGHT, y - 0.035, width, 0.07, "#e7ecf1")
    sheet.box(RIGHT + width * line.low, y - 0.035, width * (line.high - line.low), 0.07, interval)
    for mark, label in line.marks:
        sheet.line((RIGHT + width * mark,) * 2, (y - 0.035, y + 0.06), "#9aa8b5", 0.7)
        sheet.text(RIGHT + width * mark, y + 0.155, label, 6.5, MUTED, ha="center")
    sheet.line((RIGHT + width * line.at,), (y,), accent, marker="o", markersize=7, markeredgecolor="white")
    sheet.text(RIGHT + RIGHT_WIDTH, y + 0.04, beside, 8.5, muted, ha="right")


def _account(nodule: Nodule | None) -> tuple[list[AccountLine], list[str]]:
    """The terms of a nodule's account, and its sentence in lines; both empty without one."""
    return (account_lines(nodule), textwrap.wrap(account_sentence(nodule), 78)) if nodule else ([], [])


def _why(sheet: Sheet, y: float, terms: list[AccountLine], sentence: list[str], doubtful: bool) -> None:
    """Why this suspicion: bars to both sides of nothing."""
    if not sentence:
        return
    sheet.text(RIGHT, y + 0.18, TITLE, 10.5, weight="bold")
    y += 0.41
    left, width = RIGHT + 1.12, RIGHT_WIDTH - 1.12 - 0.5
    for line in terms:
        first, last = (left + width * end for end in line.ends)
        sheet.box(first, y - 0.085, last - first, 0.1, GREY_INTERVAL if doubtful else line.colour)
        sheet.text(RIGHT, y, line.name.capitalize(), 9.5, GREY if doubtful else INK)
        sheet.text(RIGHT + RIGHT_WIDTH, y, line.adds, 9.5, GREY if doubtful else INK, ha="right")
        y += TERM_ROW
    if terms:
        sheet.line((left + width / 2,) * 2, (y - TERM_ROW * (len(terms) + 0.6), y - 0.7 * TERM_ROW), "#9aa8b5")
    for words in sentence:
        sheet.text(RIGHT, y + 0.02, words, 8.5, GREY if doubtful else MUTED)
        y += SIZE_ROW


def _warnings(sheet: Sheet, top: float, lines: list[str]) -> None:
    if not lines:
        return
    sheet.card(RIGHT, top, RIGHT_WIDTH, 0.42 + WARNING_ROW * len(lines), ALERT_PALE, ALERT_EDGE)
    sheet.text(RIGHT + 0.15, top + 0.24, "Please note", 10, ALERT, weight="bold")
    for i, line in enumerate(lines):
        sheet.text(RIGHT + 0.15, top + 0.46 + WARNING_ROW * i, line, 9)


def _footer(sheet: Sheet, assessment: Assessment) -> None:
    y = sheet.height - 0.5
    sheet.line((MARGIN, PAGE - MARGIN), (y - 0.2,) * 2, LINE)
    sheet.text(MARGIN, y + 0.05, DISCLAIMER, 10.5, weight="bold")
    sheet.text(
        PAGE - MARGIN, y + 0.05, f"NoduleRisk {__version__}   ·   model {assessment.model_id}", 9, MUTED, ha="right"
    )
    sheet.text(MARGIN, y + 0.25, image_uids(assessment.image), 7, MUTED)


def _bullet(sentence: str, width: int = 66) -> list[str]:
    return textwrap.wrap(sentence, width, initial_indent="•  ", subsequent_indent="    ")


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
