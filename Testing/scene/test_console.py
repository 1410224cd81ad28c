"""Slicer's Python console: assess, get assessments, nodes on request; and a scene that is saved keeps what it holds."""

import json
import threading

import fakes
import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.slicer_scene import display, inputs, results
from NoduleRiskLib.slicer_scene.records import record_of


def test_the_console_gets_every_points_assessment(logic, ct, points):
    told = logic.assess(ct, points)
    assert [one.point.label for one in told] == ["N-1", "N-2", "N-3"]
    assert told[0].nodule.estimate("malignancy").value == pytest.approx(2.8, abs=0.1)


def test_nodes_are_made_only_on_request(logic, ct, points):
    logic.assess(ct, points, nodes=False)
    assert results.table_of(ct, points) is None


def test_an_error_reaches_the_console_as_it_is(logic, ct, points):
    points.AddControlPointWorld((900, 0, 0), "far")
    with pytest.raises(NoduleRiskError, match="outside the CT"):
        logic.assess(ct, points)


@pytest.fixture
def worker_calls(logic):
    """Names of the functions of VTK and MRML objects that the worker's thread calls while the test runs."""
    calls = []

    def hear(frame, event, function):
        if event == "c_call" and isinstance(getattr(function, "__self__", None), vtk.vtkObjectBase):
            calls.append(function.__name__)

    threading.setprofile(hear)
    yield calls
    threading.setprofile(None)


def finish(logic, task):
    """Poll the worker until a task has ended."""
    while not task.ended:
        logic.worker.poll()


def test_only_the_main_thread_touches_the_scene(logic, ct, points, worker_calls, tmp_path):
    logic.assess(ct, points)
    slicer.util.arrayFromVolumeModified(ct)
    errors = []
    finish(logic, logic.look(ct, errors.append))
    finish(logic, logic.export("csv", tmp_path / "nodules.csv", ct, points, "malignancy", errors.append))
    assert errors == [None, None]
    assert worker_calls == []


def test_the_tests_own_watch_on_the_worker_works(logic, ct, worker_calls):
    finish(logic, logic.worker.do(lambda tell: ct.GetID()))
    assert worker_calls == ["GetID"]


def test_a_second_assessment_replaces_the_first(logic, ct, points):
    logic.assess(ct, points)
    logic.assess(ct, points)
    assert results.table_of(ct, points).GetNumberOfRows() == 3
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 3
    assert results.table_of(ct, points).GetNumberOfNodeReferences(results.MAPS_ROLE) == 3


def test_what_the_scene_keeps_is_what_was_told(logic, ct, points):
    told = logic.assess(ct, points)
    for mark, one in zip(inputs.marks(points), told, strict=True):
        kept = results.assessment(results.table_of(ct, points), mark.id, inputs.scan(ct).read())
        assert (kept.point, kept.model_id, kept.warnings) == (one.point, one.model_id, one.warnings)
        kept, one = kept.nodule, one.nodule
        assert kept.estimates == one.estimates
        assert kept.calcification == one.calcification
        assert kept.outline.volume_mm3 == one.outline.volume_mm3
        np.testing.assert_allclose(kept.stack.pixels, one.stack.pixels, atol=0.05)
        np.testing.assert_array_equal(kept.stack.valid, one.stack.valid)
        for grade in GRADES:
            before, after = one.heatmaps[grade.name], kept.heatmaps[grade.name]
            np.testing.assert_allclose(after.slice_weights, before.slice_weights, rtol=1e-6)
            np.testing.assert_allclose(after.in_slice, before.in_slice, atol=1e-5)


def test_layouts_with_three_planes_are_kept_whole(ct):
    from dataclasses import replace

    volume = fakes.lungs()
    fake = fakes.FakeAssessor()
    (assessment,) = fake.assess(volume, [Point("N-1", fakes.PLACES[0])])
    one = assessment.nodule
    layout = replace(fakes.LAYOUT, name="triplanar", planes=("axial", "coronal", "sagittal"), step_mm=1.5)
    stack = fakes.cut(volume, one.outline.centre_ras, layout, one.outline.bounds_ras, one.outline.probability)
    heatmaps = {"malignancy": fake._heatmap(stack, one.outline.centre_ras, 0)}
    assessment = replace(assessment, nodule=replace(one, stack=stack, heatmaps=heatmaps))
    record = record_of(assessment, volume.digest)
    assert set(record.maps) == {
        f"{name}{plane}" for name in ("outline", "malignancy") for plane in ("", " coronal", " sagittal")
    }
    kept = Assessment.from_dict(json.loads(record.text), record.maps, volume).nodule
    np.testing.assert_allclose(kept.heatmaps["malignancy"].in_slice, heatmaps["malignancy"].in_slice, atol=1e-5)
    np.testing.assert_allclose(kept.stack.pixels[kept.stack.valid], stack.pixels[stack.valid], atol=0.05)


def test_a_saved_scene_keeps_grades_heatmaps_and_whose_they_are(logic, ct, points, tmp_path):
    other = inputs.add_volume(fakes.lungs(places=fakes.PLACES[:1]))
    other.SetName("CT later")
    logic.assess(ct, points)
    logic.assess(other, points)
    before = results.rows(results.table_of(ct, points))
    weights = (
        results.assessment(results.table_of(ct, points), inputs.marks(points)[0].id)
        .nodule.heatmaps["texture"]
        .slice_weights
    )
    names = ct.GetName(), points.GetName()
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    assert slicer.mrmlScene.ReadFromMRB(path, True)
    ct, points = (slicer.util.getNode(name) for name in names)
    table = results.table_of(ct, points)
    after = results.rows(table)
    assert list(after) == list(before) == [mark.id for mark in inputs.marks(points)]
    for mark in inputs.marks(points):
        assert after[mark.id].fits(mark.point.ras, inputs.scan(ct).read().digest)
        assert after[mark.id] == before[mark.id]
    kept = results.assessment(table, inputs.marks(points)[0].id)
    np.testing.assert_allclose(kept.nodule.heatmaps["texture"].slice_weights, weights, rtol=1e-6)
    later = results.rows(results.table_of(slicer.util.getNode("CT later"), points))
    assert [row.found for row in later.values()] == [True, False, False]


def test_a_scene_whose_files_are_lost_opens_with_its_grades_but_without_heatmaps(logic, ct, points):
    told = logic.assess(ct, points)
    table, mark = results.table_of(ct, points), inputs.marks(points)[0]
    before = results.rows(table)
    results.maps_of(table, mark.id).RemoveAllDataNodes()
    table.RemoveAllColumns()
    assert results.rows(table) == before
    assert results.assessment(table, mark.id).nodule.estimates == told[0].nodule.estimates
    assert display.show_heatmap(ct, table, mark.id, "malignancy", 0.5, 0.2) is None
    logic.assess(ct, points)
    assert table.GetNumberOfRows() == 3


@pytest.mark.parametrize("damage", ["", "{", '{"format": 3}', '{"format": 2, "label": "N-1"}'])
def test_a_damaged_assessment_is_as_if_it_had_not_been_made(logic, ct, points, damage, caplog):
    logic.assess(ct, points)
    table, mark = results.table_of(ct, points), inputs.marks(points)[0]
    table.SetAttribute(results.ASSESSMENT + mark.id, damage)
    assert [nodule.state for nodule in logic.nodules(ct, points)] == ["new", "assessed", "assessed"]
    assert results.assessment(table, mark.id) is None
    logic.assess(ct, points)
    assert [nodule.state for nodule in logic.nodules(ct, points)] == ["assessed"] * 3


def test_removed_points_leave_nothing_behind_once_forgotten(logic, ct, points):
    logic.assess(ct, points)
    kept = inputs.marks(points)[1]
    results.forget(results.table_of(ct, points), {kept.id})
    assert list(results.rows(results.table_of(ct, points))) == [kept.id]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 1
