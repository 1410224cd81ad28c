"""What a scene has lost, or somebody edited in it: the rest is there, and a sentence says what is not."""

import json

import numpy as np
import pytest
import slicer
import slicer.util

from NoduleRiskLib.panel.grade_card import title
from NoduleRiskLib.panel.job import Job
from NoduleRiskLib.panel.list_words import cells
from NoduleRiskLib.slicer_scene import display, inputs, results
from NoduleRiskLib.slicer_scene.records import DAMAGED, MAPS_LOST


def finish(logic, task):
    """Poll the worker until a task has ended."""
    while not task.ended:
        logic.worker.poll()


def _set(values, path, value):
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("nodule",), []),
        (("nodule",), "none"),
        (("warnings",), None),
        (("warnings",), ["a text"]),
        (("label",), {"a": 1}),
        (("point_ras_mm",), [1, 2]),
        (("point_ras_mm",), [1e999, 2, 3]),
        (("nodule", "estimates", "malignancy", "value"), float("nan")),
        (("nodule", "estimates", "diameter", "low"), 10**400),
        (("nodule", "estimates"), []),
        (("nodule", "outline", "diameter_mm"), "9 mm"),
        (("nodule", "outline", "volume_mm3"), None),
        (("nodule", "stack", "layout", "pixels"), 10**9),
        (("nodule", "stack", "layout", "slices"), 10**9),
        (("nodule", "stack", "layout", "planes"), ["axial"] * 10**5),
        (("nodule", "stack", "slices", 0, "index"), 10**6),
        (("nodule", "stack", "slices", 0, "weights"), {"malignancy": "much"}),
        (("nodule", "suspicion_probability"), None),
        (("ct_digest",), None),
    ],
)
def test_an_edited_record_loses_no_other(logic, ct, points, path, value, tmp_path):
    logic.assess(ct, points)
    table, mark = results.table_of(ct, points), inputs.marks(points)[0]
    values = json.loads(table.GetAttribute(results.ASSESSMENT + mark.id))
    _set(values, path, value)
    table.SetAttribute(results.ASSESSMENT + mark.id, json.dumps(values))
    nodules = logic.nodules(ct, points)
    assert [nodule.state for nodule in nodules[1:]] == ["assessed", "assessed"]
    assert nodules[0].damaged or cells(nodules[0])
    assert nodules[0].damaged or title("N-1", results.assessment(table, mark.id))
    errors = []
    path = tmp_path / "nodules.csv"
    finish(logic, logic.export("csv", path, ct, points, "malignancy", errors.append))
    assert errors == [None]
    assert len(path.read_text(encoding="utf-8").splitlines()) in (3, 4)


@pytest.mark.parametrize("damage", ["[]", "null", "3", "[" * 200_000, "9" * 5000, '{"format": "two"}'])
def test_a_record_that_is_no_record_is_one_row_with_a_sentence(logic, ct, points, damage):
    logic.assess(ct, points)
    table, mark = results.table_of(ct, points), inputs.marks(points)[0]
    table.SetAttribute(results.ASSESSMENT + mark.id, damage)
    nodules = logic.nodules(ct, points)
    assert [nodule.state for nodule in nodules] == ["new", "assessed", "assessed"]
    assert [nodule.damaged for nodule in nodules] == [True, False, False]
    assert [warning.text for warning in nodules[0].warnings] == [DAMAGED]


def _other_size(maps):
    node = slicer.vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(node, np.zeros((2, 3, 4), np.float32))
    maps.SetDataNodeAtValue(node, "outline")


def _no_volume(maps):
    maps.SetDataNodeAtValue(slicer.vtkMRMLTextNode(), "outline")


def _no_voxels(maps):
    maps.SetDataNodeAtValue(slicer.vtkMRMLScalarVolumeNode(), "outline")


@pytest.mark.parametrize("damage", [_other_size, _no_volume, _no_voxels])
def test_edited_maps_lose_no_grades(logic, ct, points, damage):
    told = logic.assess(ct, points)
    table, mark = results.table_of(ct, points), inputs.marks(points)[0]
    damage(results.maps_of(table, mark.id))
    assert results.assessment(table, mark.id).nodule.estimates == told[0].nodule.estimates
    display.show_heatmap(ct, table, mark.id, "malignancy", 0.5, 0.2)


@pytest.mark.parametrize("kind", ["csv", "json", "pictures"])
def test_without_its_maps_a_nodule_keeps_its_grades_and_says_what_is_lacking(logic, ct, points, kind, tmp_path):
    told = logic.assess(ct, points)
    table, mark = results.table_of(ct, points), inputs.marks(points)[0]
    slicer.mrmlScene.RemoveNode(results.maps_of(table, mark.id))
    nodules = logic.nodules(ct, points)
    assert [nodule.state for nodule in nodules] == ["assessed"] * 3
    assert [nodule.lacks_maps for nodule in nodules] == [True, False, False]
    assert results.assessment(table, mark.id).nodule.estimates == told[0].nodule.estimates
    errors, path = [], tmp_path / ("" if kind == "pictures" else f"nodules.{kind}")
    finish(logic, logic.export(kind, path, ct, points, "malignancy", errors.append))
    assert errors == [None]
    if kind == "pictures":
        assert len(list(tmp_path.glob("*.png"))) == 3
    else:
        assert path.read_text(encoding="utf-8").count(MAPS_LOST) == 1


def test_a_results_table_takes_its_maps_along(logic, ct, points, assessor):
    assessor.gate.clear()
    task = logic.start(Job(ct, points, tuple(inputs.marks(points))))
    while not assessor.asked:
        logic.worker.poll()
    assessor.gate.set()
    while results.table_of(ct, points) is None:
        logic.worker.poll(0)
    slicer.mrmlScene.RemoveNode(results.table_of(ct, points))
    finish(logic, task)
    table = results.table_of(ct, points)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == len(results.rows(table)) < 3
