"""The panel at the width that Slicer gives it: whole words in both tables, nothing that makes it wider."""

import itertools

import fakes
import pytest
import slicer
import vtk
from panel_case import PanelCase
from PySide6 import QtGui, QtWidgets

from NoduleRiskLib.grades import GRADES

WIDTH = 420
#: Names as radiologists give them, and what stands in notes.
NAMES = ("left upper lobe, spiculated", "juxtapleural", "ground glass")


@pytest.fixture
def case():
    case = PanelCase()
    case.setUp()
    case.widget.parent.setFont(QtGui.QFont("DejaVu Sans", 9))
    for n, name in enumerate(NAMES):
        case.points.SetNthControlPointLabel(n, name)
    # More than are seen at once: the scroll bar takes room, too.
    for n in range(8):
        case.points.AddControlPointWorld(vtk.vtkVector3d(*fakes.PLACES[n % 3]), f"N-{n}")
    case.settle()
    case.assess()
    yield case
    case.tearDown()


def shown_at(case, width):
    parent = case.widget.parent
    parent.show()
    for _ in range(10):
        parent.resize(width, parent.sizeHint().height())
        slicer.app.processEvents()
    return parent


def sections(case):
    return [one for one in vars(case.ui).values() if type(one).__name__ == "ctkCollapsibleButton"]


def test_no_section_makes_the_panel_wider_than_slicer_does(case):
    case.ct.SetName("A very long name of a series that some hospital gave, THORAX 1.0 B70f lung window " * 2)
    case.points.SetName("An equally long name of a list of points " * 3)
    for section in sections(case):
        section.setProperty("collapsed", False)
    assert shown_at(case, WIDTH).width() == WIDTH


def test_whole_words_stand_in_both_tables(case):
    shown_at(case, WIDTH)
    words = {*itertools.chain.from_iterable(text.split() for grade in GRADES for text in grade.words)}
    for table, column, wanted in (
        (case.ui.gradeTable, 3, words),
        (case.ui.gradeTable, 0, {grade.name.capitalize() for grade in GRADES}),
        (case.ui.noduleTable, 0, {*itertools.chain.from_iterable(name.split() for name in NAMES)}),
        (case.ui.noduleTable, 4, {"outdated,", "vessel?", "outside", "unsure"}),
    ):
        # Qt leaves a margin of a few pixels on both sides of a cell's text.
        room = table.columnWidth(column) - 2 * (table.style().pixelMetric(QtWidgets.QStyle.PM_FocusFrameHMargin) + 1)
        wide = {word for word in wanted if table.fontMetrics().horizontalAdvance(word) > room}
        assert not wide, (column, room, wide)


def test_every_row_of_the_grades_is_seen_with_all_its_lines(case):
    shown_at(case, WIDTH)
    table = case.ui.gradeTable
    assert table.viewport().height() >= sum(table.rowHeight(row) for row in range(table.rowCount()))
    for row in range(table.rowCount()):
        assert table.rowHeight(row) >= table.sizeHintForRow(row)


def test_only_the_list_and_the_grades_are_unfolded_at_first(case):
    assert [one.objectName() for one in sections(case) if not one.property("collapsed")] == ["cardButton"]
