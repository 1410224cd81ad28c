"""The chosen nodule's card: heading, nine grades with their scales, why it is suspicious, warnings about it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ..grades import GRADE_NAMES, GRADES
from ..results.account_lines import TITLE, AccountLine, account_lines, account_sentence
from ..results.grade_lines import GradeLine, grade_lines
from ..results.phrases import NOTHING_OUTLINED, SUSPICION_MEANS, percent, size, solid_part
from ..results.similar_lines import PICTURES_FROM, SimilarLine, similar_lines, similar_sentence
from ..results.similar_lines import TITLE as SIMILAR
from .cells import DOUBTFUL_RGB, ROW_PIXELS, bar_label, dress_table, grow_with_text, selection_style, write_cell
from .view_state import ViewState

if TYPE_CHECKING:
    from ..results.assessment import Assessment, Nodule

#: All nine rows are seen, each of up to two lines.
MOST_PIXELS = 440
#: Width of a term's bar, to both sides of nothing, pixels.
TERM_PIXELS = 80
#: Width and height of a similar nodule's picture.
PICTURE_PIXELS = 72


class GradeCard:
    """Draws heading, ``gradeTable``, account and warnings; calls ``choose`` with the grade that the user clicks."""

    def __init__(self, ui: Any, choose: Callable[[str], None]) -> None:
        self._ui = ui
        self._drawn: object = None
        table = ui.gradeTable
        dress_table(table, (3,), ROW_PIXELS)
        table.setRowCount(len(GRADES))
        grow_with_text(table, MOST_PIXELS)
        table.setStyleSheet(selection_style(False))
        table.horizontalHeaderItem(1).setToolTip(
            _("80 % interval: so many readers' means lay in it, on other patients.")
        )
        table.horizontalHeaderItem(4).setToolTip(_("Percentage of LIDC's nodules whose readers gave a lower value."))
        ui.warningsLabel.setStyleSheet("color: #9a6200;")
        table.currentCellChanged.connect(
            lambda row, *others: choose(GRADE_NAMES[row]) if 0 <= row < len(GRADES) else None
        )

    def draw(self, state: ViewState) -> None:
        """Draw the chosen nodule's results, if they are not drawn yet, and select the chosen grade."""
        shown = state.chosen, state.assessment
        if shown != self._drawn:
            self._drawn = shown
            self._draw_title(state)
            self._draw_warnings(state)
            self._draw_grades(state)
            self._draw_account(state)
            self._draw_similar(state)
        row = GRADE_NAMES.index(state.parameters.grade)
        if self._ui.gradeTable.currentRow() != row:
            self._ui.gradeTable.blockSignals(True)
            self._ui.gradeTable.selectRow(row)
            self._ui.gradeTable.blockSignals(False)

    def _draw_title(self, state: ViewState) -> None:
        self._ui.cardTitleLabel.setText(
            title(state.chosen.mark.point.label, state.assessment, state.chosen.doubts) + _grown(state)
            if state.chosen
            else _("Choose a nodule, or place a point.")
        )

    def _draw_warnings(self, state: ViewState) -> None:
        warnings = []
        if state.chosen:
            warnings = [_(state.chosen.outdated)] if state.chosen.outdated else []
            # What makes the nodule doubtful comes first.
            warnings += [warning.text for warning in sorted(state.chosen.warnings, key=lambda one: not one.doubt)]
        self._ui.warningsLabel.setText("\n".join(f"• {warning}" for warning in warnings))
        self._ui.warningsLabel.setVisible(bool(warnings))

    def _draw_grades(self, state: ViewState) -> None:
        table, doubtful = self._ui.gradeTable, bool(state.chosen and state.chosen.doubts)
        table.setStyleSheet(selection_style(doubtful))
        for row, line in enumerate(grade_lines(state.assessment.nodule if state.assessment else None)):
            for column, text in enumerate((line.name.capitalize(), "", *_texts(line))):
                tip = GRADES[row].high_means if column == 0 else text
                grey = doubtful and column > 1
                write_cell(table, row, column, text, tip, right=column in (2, 4), doubtful=grey)
            table.setCellWidget(row, 1, bar_label(line, doubtful))

    def _draw_account(self, state: ViewState) -> None:
        nodule = state.assessment.nodule if state.assessment else None
        text = why(nodule, bool(state.chosen and state.chosen.doubts)) if nodule and nodule.account else ""
        self._ui.accountLabel.setText(text)
        self._ui.accountLabel.setVisible(bool(text))

    def _draw_similar(self, state: ViewState) -> None:
        nodule = state.assessment.nodule if state.assessment else None
        text = like(nodule, bool(state.chosen and state.chosen.doubts)) if nodule and nodule.similar else ""
        self._ui.similarLabel.setText(text)
        self._ui.similarLabel.setVisible(bool(text))


def title(label: str, assessment: Assessment | None, doubts: Sequence[str] = ()) -> str:
    """The card's heading, HTML: name, suspicion, sizes, whose outline it is; doubtful figures stand back."""
    bold = f"<b>{html.escape(label)}</b>"
    if assessment is None:
        return f"{bold}: {_('not assessed yet')}"
    if assessment.nodule is None:
        return f"{bold}: {_(NOTHING_OUTLINED)}"
    suspicion = _("suspicion probability {percent}").format(
        # "< 1 %" would begin a tag, and the card lose its figure.
        percent=f"<b>{html.escape(percent(assessment.nodule.suspicion_probability))}</b>"
    )
    means = _("{meaning}: readers’ suspicion, not pathology").format(meaning=SUSPICION_MEANS)
    outline = assessment.nodule.outline
    drawn = (_("outline drawn by you"),) if outline.drawn_by == "user" else ()
    solid = (solid_part(assessment.nodule),) if solid_part(assessment.nodule) else ()
    sizes = ", ".join((*size(outline), *solid, *drawn))
    if doubts:
        grey = _hex(DOUBTFUL_RGB)
        words = html.escape(", ".join(doubts))
        suspicion = f"<b>{words}</b> &nbsp; <span style='color: {grey}'>{suspicion}</span>"
        sizes = f"<span style='color: {grey}'>{sizes}</span>"
    return f"{bold} &nbsp; {suspicion}<br><small>{means}</small><br>{sizes}"


def why(nodule: Nodule, doubtful: bool = False) -> str:
    """The account of the suspicion, HTML: bars to both sides of nothing, beside them the sentence."""
    grey = _hex(DOUBTFUL_RGB)
    style = f" style='color: {grey}'" if doubtful else ""
    rows = "".join(_term(line, grey if doubtful else line.colour) for line in account_lines(nodule))
    return (
        f"<b>{_(TITLE)}</b><small><table cellspacing='0' cellpadding='0'{style}><tr>"
        f"<td><table cellspacing='0' cellpadding='1'>{rows}</table></td>"
        f"<td style='padding-left: 12px'>{html.escape(account_sentence(nodule))}</td></tr></table></small>"
    )


def like(nodule: Nodule, doubtful: bool = False) -> str:
    """The similar LIDC nodules, HTML: pictures in a row, what their readers gave, whose suspicion and pictures."""
    style = f" style='color: {_hex(DOUBTFUL_RGB)}'" if doubtful else ""
    lines = similar_lines(nodule)
    cells = "".join(map(_similar, lines))
    return (
        f"<b>{_(SIMILAR)}</b><small><table cellspacing='0' cellpadding='2'{style}><tr>{cells}</tr></table>"
        f"<span{style}>{html.escape(similar_sentence(nodule))}</span><br>{PICTURES_FROM}</small>"
    )


def _similar(line: SimilarLine) -> str:
    size = f"width='{PICTURE_PIXELS}' height='{PICTURE_PIXELS}'"
    picture = f"<img src='{line.source}' {size}><br>" if line.source else ""
    facts = "<br>".join(map(html.escape, (line.name, line.size, line.malignancy)))
    return f"<td>{picture}{facts}</td>"


def _term(line: AccountLine, colour: str) -> str:
    first, last = (round(TERM_PIXELS * end) for end in line.ends)
    cells = ((first, ""), (last - first, f" bgcolor='{colour}'"), (TERM_PIXELS - last, ""))
    bar = "".join(f"<td width='{width}'{fill}></td>" for width, fill in cells if width)
    return (
        f"<tr><td>{line.name.capitalize()}</td>"
        f"<td align='right' style='padding-left: 4px; padding-right: 4px'>{line.adds}</td>"
        f"<td><table cellspacing='0' cellpadding='0' width='{TERM_PIXELS}'><tr>{bar}</tr></table></td></tr>"
    )


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _grown(state: ViewState) -> str:
    """A line about what became of the chosen nodule since an earlier CT, HTML; or nothing."""
    growth = state.chosen.growth if state.chosen else None
    return f"<br>{html.escape(growth[1])}" if growth else ""


def _texts(line: GradeLine) -> tuple[str, str, str]:
    """Value, words and percentile of a grade. The scale shows the interval; what has no word says it in numbers."""
    unit = f" {line.unit}" if line.value and line.unit else ""
    words = line.word or f"{line.interval}{unit}"
    if line.name == "calcification" and line.value:
        words = f"{line.interval}; {line.word}"
    return f"{line.value}{unit}", words, line.below
