"""What a saved scene would lose of a follow-up, on real MRML: growth, the earlier CT's transform, the days between."""

from datetime import date

import fakes
import numpy as np
import slicer
import slicer.util

from NoduleRiskLib.followup.growth import Size, growth
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.slicer_scene import followups, inputs, results

MATRIX = np.array([[0.98, 0.02, 0, 3], [-0.02, 0.98, 0, -2], [0, 0, 1.05, 5], [0, 0, 0, 1]])


def table_with_growth(logic, ct, points):
    logic.assess(ct, points, heatmaps=False)
    table = results.table_of(ct, points)
    mark = inputs.marks(points)[0]
    volume = results.rows(table)[mark.id].columns["outline_volume_mm3"]
    told = growth(Size(8, 8, 8, volume / 2), Size(10, 10, 10, volume), 120)
    values = {"growth": told.to_dict(), "sentence": told.sentence, "doubts": []}
    followups.keep(table, {mark.id: values}, ["The slices differ."])
    return table, mark, volume, told


def test_growth_and_transform_come_back_with_a_saved_scene(mrml, logic, ct, points, tmp_path):
    _, _, volume, told = table_with_growth(logic, ct, points)
    prior = inputs.add_volume(fakes.lungs())
    prior.SetName("earlier")
    place = inputs.scan(prior).ijk_to_ras
    followups.lay_over(prior, MATRIX)
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.ReadFromMRB(path, True)
    (table,) = (one for one in slicer.util.getNodesByClass("vtkMRMLTableNode") if one.GetAttribute(results.RESULTS))
    mark = inputs.marks(slicer.util.getNode("Nodules"))[0]
    found = followups.growth(table, mark.id, volume)
    assert found is not None and found[0] == "growing" and found[2] == told
    assert followups.notes(table) == ("The slices differ.",)
    prior = slicer.util.getNode("earlier")
    np.testing.assert_allclose(inputs.scan(prior).ijk_to_ras, MATRIX @ place, atol=1e-5)
    np.testing.assert_allclose(followups.unmoved(prior).ijk_to_ras, place, atol=1e-5)


def test_the_users_own_transform_stays_in_force(mrml):
    prior = inputs.add_volume(fakes.lungs())
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    own.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag((1.0, 1.0, 2.0, 1.0))))
    prior.SetAndObserveTransformNodeID(own.GetID())
    place = inputs.scan(prior).ijk_to_ras
    followups.lay_over(prior, MATRIX)
    np.testing.assert_allclose(followups.unmoved(prior).ijk_to_ras, place, atol=1e-5)
    np.testing.assert_allclose(inputs.scan(prior).ijk_to_ras, MATRIX @ place, atol=1e-5)


def test_points_go_with_the_earlier_ct_whenever_they_were_marked(mrml):
    prior = inputs.add_volume(fakes.lungs())
    place = inputs.scan(prior).ijk_to_ras
    at = (place @ (10, 12, 8, 1))[:3]
    before = inputs.add_points("before", [Point("a", tuple(at))])
    followups.lay_over(prior, MATRIX, before)
    # These are marked on the earlier CT where it is seen now.
    moved = (MATRIX @ (*at, 1))[:3]
    after = inputs.add_points("after", [Point("a", tuple(moved))])
    again = np.diag((1.0, 1.0, 1.0, 1.0))
    again[:3, 3] = (-20, 5, 1)
    followups.lay_over(prior, again, after)
    for points in (before, after):
        (mark,) = inputs.marks(points)
        np.testing.assert_allclose(mark.point.ras, at + again[:3, 3], atol=1e-4)
        (own,) = followups.unmoved_marks(prior, points)
        np.testing.assert_allclose(own.point.ras, at, atol=1e-4)


def test_a_later_comparison_replaces_what_an_earlier_one_said(mrml, logic, ct, points):
    table, mark, volume, _ = table_with_growth(logic, ct, points)
    followups.keep(table, {}, [])
    assert followups.growth(table, mark.id, volume) is None
    assert followups.notes(table) == ()


def test_the_day_of_a_scan_is_kept_with_its_volume(mrml):
    volume = fakes.lungs()
    node = inputs.add_volume(Volume(volume.array, volume.ijk_to_ras, "CT", acquired=date(2026, 1, 5)))
    read = inputs.scan(node).read()
    assert read.acquired is not None and read.acquired.isoformat() == "2026-01-05"
    assert inputs.scan(inputs.add_volume(volume)).read().acquired is None
