"""The *Management* section: what the guidelines say of the chosen nodule, and what they were told."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ctk
import qt
from slicer.i18n import tr as _

from ..errors import NoduleRiskError
from ..guidelines.answer import RESEARCH_USE
from ..guidelines.lines import AnswerLine, InputLine, OpenLine, answer_line, input_lines
from ..guidelines.questions import NOT_ASKED, QUESTIONS, said
from ..slicer_scene import answers, dicom_database
from .cells import ROW_PIXELS, dress_table, selection_style, write_cell
from .view_state import ViewState

if TYPE_CHECKING:
    from ..guidelines.management import Management

#: First in every list of choices: no answer of the user's.
NO_ANSWER = "?"
FILES = "Report (*.html *.pdf *.txt)"


class ManagementSection:
    """Draws answers and inputs; calls ``changed`` after an answer, ``report`` with a file's path, ``copy``.

    Parameters
    ----------
    ui : namespace of widgets
    changed : callable
        Called when the user has answered or taken back an answer.
    report : callable
        Called with the path that the user chose.
    copy : callable
        Called when the user wants the text.
    """

    def __init__(
        self, ui: Any, changed: Callable[[], None], report: Callable[[str], None], copy: Callable[[], None]
    ) -> None:
        self._ui, self._changed, self._report = ui, changed, report
        self._state, self._drawn = ViewState(), None
        self._lines: list[AnswerLine] = []
        self._editors: dict[str, Any] = {}
        dress_table(ui.answersTable, (1,), ROW_PIXELS)
        # Two lines of text, for the longest questions.
        dress_table(ui.questionsTable, (0, 1), ROW_PIXELS + 8)
        ui.cautionLabel.setStyleSheet("color: #9a6200; font-weight: bold;")
        ui.answersTable.currentCellChanged.connect(lambda *unused: self._draw_details())
        ui.reportButton.clicked.connect(lambda *unused: self.ask())
        ui.copyTextButton.clicked.connect(lambda *unused: copy())
        self._make_editors()

    def draw(self, state: ViewState) -> None:
        """Draw the chosen nodule's answers, if they are not drawn yet."""
        self._state = state
        ready = any(nodule.row for nodule in state.nodules) and not state.export
        self._ui.reportButton.setEnabled(ready)
        self._ui.copyTextButton.setEnabled(ready)
        point_id = state.chosen.mark.id if state.chosen else ""
        told = answers.answers_of(state.table, point_id) if state.assessment else {}
        facts = dicom_database.facts_of(state.ct) if state.assessment else None
        grown = state.growth.get(point_id)
        wanted: Any = (state.chosen, state.assessment, told, facts, grown)
        if wanted == self._drawn:
            return
        self._drawn = wanted
        found, cautions = None, [_(state.chosen.outdated)] if state.chosen and state.chosen.outdated else []
        if state.assessment:
            from ..guidelines.management import manage

            try:
                found = manage(state.assessment, facts, told, grown.earlier() if grown else None)
            except NoduleRiskError as error:
                cautions.append(str(error))
        self._draw(found, cautions + (list(found.cautions) if found else []))

    def ask(self) -> None:
        """Ask where to write the report, then write it."""
        path = qt.QFileDialog.getSaveFileName(None, _("Save the report"), "report.html", _(FILES))
        if path:
            self._report(path)

    def answer(self, name: str, value: Any) -> None:
        """Keep what the user answers (``None``: nothing) with the scene; what is no answer is not taken."""
        state = self._state
        if not (state.table and state.chosen):
            return
        try:
            answers.give(state.table, state.chosen.mark.id, name, value)
            state.error = ""
        except NoduleRiskError as error:
            state.error = str(error)
            # What stands in the field is not what is kept: draw that again.
            self._drawn = None
        self._changed()

    def _make_editors(self) -> None:
        """One row a question, made once: rows that nobody needs are hidden."""
        table = self._ui.questionsTable
        table.setRowCount(len(QUESTIONS))
        for row, (name, question) in enumerate(QUESTIONS.items()):
            write_cell(table, row, 0, _(question.label), "")
            if name in NOT_ASKED:
                write_cell(table, row, 1, "", "")
            elif question.choices:
                self._editors[name] = self._list(name)
            else:
                self._editors[name] = self._field(name)
            if name in self._editors:
                table.setCellWidget(row, 1, self._editors[name])
            write_cell(table, row, 2, "", "")
            table.setRowHidden(row, True)

    def _list(self, name: str) -> Any:
        box, choices = ctk.ctkComboBox(), QUESTIONS[name].choices
        # A turn of the wheel over the panel must answer nothing: CTK's NeverScroll.
        box.setProperty("scrollWheelEffect", 0)
        box.addItems([NO_ANSWER, *(_(said(choice)) for choice in choices)])
        # Long choices would make the panel wide.
        box.setMinimumWidth(60)

        def chosen(*unused: Any) -> None:
            n = box.property("currentIndex")
            self.answer(name, choices[n - 1] if n > 0 else None)

        # Choosing what is shown already confirms it, which is no change of the index.
        box.activated.connect(chosen)
        return box

    def _field(self, name: str) -> Any:
        field = qt.QLineEdit()
        field.setPlaceholderText(NO_ANSWER)

        def finished() -> None:
            # Leaving the field without a change answers nothing.
            if field.property("modified"):
                self.answer(name, str(field.property("text")).strip() or None)

        field.editingFinished.connect(finished)
        return field

    def _draw(self, found: Management | None, cautions: list[str]) -> None:
        ui = self._ui
        ui.cautionLabel.setText("\n".join(cautions))
        ui.cautionLabel.setVisible(bool(cautions))
        self._lines = [answer_line(one) for one in found.answers] if found else []
        ui.answersTable.setRowCount(len(self._lines))
        ui.answersTable.setStyleSheet(selection_style(bool(cautions)))
        for row, line in enumerate(self._lines):
            write_cell(ui.answersTable, row, 0, line.name, "")
            write_cell(ui.answersTable, row, 1, line.short, line.short, doubtful=bool(cautions))
        if self._lines and ui.answersTable.currentRow() < 0:
            ui.answersTable.selectRow(0)
        self._draw_details()
        shown = {line.name: line for line in input_lines(found.inputs, found.answers)} if found else {}
        for row, name in enumerate(QUESTIONS):
            ui.questionsTable.setRowHidden(row, name not in shown)
            if name in shown:
                self._draw_input(row, shown[name])

    def _draw_input(self, row: int, line: InputLine) -> None:
        table, question, editor = self._ui.questionsTable, QUESTIONS[line.name], self._editors.get(line.name)
        label = f"{_(question.label)} *" if line.wanted else _(question.label)
        write_cell(table, row, 0, label, _(question.label))
        write_cell(table, row, 2, _(line.origin), _(line.origin))
        if editor is None:
            write_cell(table, row, 1, line.value, line.value)
            return
        editor.blockSignals(True)
        if question.choices:
            values = [said(choice) for choice in question.choices]
            editor.setCurrentIndex(values.index(line.value) + 1 if line.value in values else 0)
        else:
            editor.setText(line.value.removesuffix(f" {question.unit}") if question.unit else line.value)
        editor.setToolTip(line.value)
        editor.blockSignals(False)

    def _draw_details(self) -> None:
        row = self._ui.answersTable.currentRow()
        line = self._lines[row] if 0 <= row < len(self._lines) else None
        self._ui.answerLabel.setText(details(line) if line else "")
        self._ui.answerLabel.setVisible(line is not None)


def details(line: AnswerLine) -> str:
    """A whole answer, HTML: what follows by which rule, then what is missing and what it could change."""
    parts = []
    for one in line.outcomes:
        category = f"<b>{html.escape(one.category)}</b> " if len(line.outcomes) > 1 else ""
        parts.append(f"{category}{html.escape(one.sentence)} <small>({html.escape(one.by)})</small>")
    for heading, opened in ((_("Missing"), line.missing), (_("Not confirmed"), line.unconfirmed)):
        parts += [f"<small><b>{heading}:</b> {html.escape(one.full)}</small>" for one in opened]
    if line.assumed:
        parts.append(f"<small><b>{_('Taken for granted')}:</b> {html.escape(_taken(line.assumed))}</small>")
    return "<br>".join((*parts, f"<small>{html.escape(_(RESEARCH_USE))}</small>"))


def _taken(opened: tuple[OpenLine, ...]) -> str:
    return "; ".join(one.taken for one in opened)
