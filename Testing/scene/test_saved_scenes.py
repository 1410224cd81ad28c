"""Scenes that were saved by a released version: ``data/scene-VERSION.mrb``, made with the fakes of that version.

``scene-0.1.0.mrb``: two assessed nodules, and a point ("Nr. 3") at which none was outlined.
"""

import time
from pathlib import Path

import fakes
import numpy as np
import pytest
import slicer
import slicer.util

import NoduleRisk
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.panel.view_state import ViewState
from NoduleRiskLib.slicer_scene import display, inputs, results

DATA = Path(__file__).with_name("data")


@pytest.fixture
def logic():
    logic = NoduleRisk.NoduleRiskLogic(lambda package, device: fakes.FakeAssessor())
    yield logic
    logic.worker.stop()


@pytest.fixture
def saved(mrml):
    """CT, point list and results table of the scene that 0.1.0 saved."""
    assert slicer.mrmlScene.ReadFromMRB(str(DATA / "scene-0.1.0.mrb"), True)
    ct, points = slicer.util.getNode("CT"), slicer.util.getNode("Nodules")
    return ct, points, results.table_of(ct, points)


def test_its_nodules_are_assessed_and_not_outdated(saved, logic):
    ct, points, _ = saved
    task = logic.look(ct, lambda error: None)
    while not task.ended:
        time.sleep(0.005)
        logic.worker.poll()
    assert [(n.mark.point.label, n.state) for n in logic.nodules(ct, points)] == [
        ("Nr. 1", "assessed"),
        ("Nr. 2", "assessed"),
        ("Nr. 3", "assessed"),
    ]


def test_its_grades_are_there(saved):
    _, points, table = saved
    one = results.assessment(table, inputs.marks(points)[0].id)
    assert one.nodule.estimate("malignancy").value == pytest.approx(2.79836, abs=1e-5)
    assert [estimate.grade.name for estimate in one.nodule.estimates] == list(GRADE_NAMES)
    assert one.nodule.suspicion_probability == pytest.approx(0.37)
    assert one.nodule.outline.diameter_mm == pytest.approx(9.80924, abs=1e-5)
    assert one.model_id == "fake@0123456789ab"


def test_its_heatmaps_lie_on_the_nodules(saved):
    ct, points, table = saved
    for mark in inputs.marks(points)[:2]:
        heatmap = display.show_heatmap(ct, table, mark.id, "malignancy", 0.5, 0.2)
        strongest = np.argwhere(slicer.util.arrayFromVolume(heatmap) > 0.9)[:, ::-1].mean(0)
        middle = inputs.scan(heatmap).ijk_to_ras @ [*strongest, 1]
        assert middle[:3] == pytest.approx(mark.point.ras, abs=1.0)


def test_its_warnings_are_whole_sentences(saved):
    _, points, table = saved
    warnings = [list(map(str, results.assessment(table, mark.id).warnings)) for mark in inputs.marks(points)]
    assert warnings == [
        ["The nodule under Nr. 1 is made up. So are its grades."],
        ["The nodule under Nr. 2 is made up. So are its grades."],
        ["No nodule was found under Nr. 3."],
    ]


def test_a_point_without_outline_has_no_grades(saved):
    ct, points, table = saved
    mark = inputs.marks(points)[2]
    assert not results.rows(table)[mark.id].found
    assert display.show_heatmap(ct, table, mark.id, "malignancy", 0.5, 0.2) is None


def test_a_point_that_it_refused_can_be_assessed_again(saved, logic):
    ct, points, _ = saved
    assert [mark.point.label for mark in ViewState(nodules=logic.nodules(ct, points)).waiting] == ["Nr. 3"]


def test_assessed_again_its_table_has_one_diameter(saved, logic):
    ct, points, table = saved
    assert table.GetTable().GetColumnByName("outline_diameter_mm")
    logic.assess(ct, points)
    columns = table.GetTable()
    assert columns.GetColumnByName("outline_diameter_mm") is None
    assert columns.GetValueByName(0, "diameter").ToDouble() == pytest.approx(9.8, abs=0.1)


def test_saved_again_it_holds_the_same(saved, tmp_path):
    before = results.rows(saved[2])
    path = str(tmp_path / "again.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    assert slicer.mrmlScene.ReadFromMRB(path, True)
    ct, points = slicer.util.getNode("CT"), slicer.util.getNode("Nodules")
    assert results.rows(results.table_of(ct, points)) == before
    assert len(before) == 3
