"""What a saved scene or a results file would lose if an assessment did not come back as it was written."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pytest
from test_results import changed, doubtful, found, named, nodule, nothing

from NoduleRiskLib.errors import InputWarning, NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.outline import Outline
from NoduleRiskLib.imaging.slice_stack import LAYOUTS
from NoduleRiskLib.imaging.solid_part import SolidPart
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.results.serialization import FORMAT


def as_version_0_1_0_kept_it(assessment: Assessment) -> dict[str, Any]:
    """The record that version 0.1.0 put into scenes."""
    one, stack = found(assessment), found(assessment).stack
    valid = np.flatnonzero(stack.valid)
    outline = {name: getattr(one.outline, name) for name in ("diameter_mm", "long_axis_mm", "short_axis_mm")}
    return {
        "label": assessment.point.label,
        "point_ras": list(assessment.point.ras),
        "warnings": [str(warning) for warning in assessment.warnings],
        "model_id": assessment.model_id,
        "suspicion_probability": one.suspicion_probability,
        "estimates": {e.grade.name: [e.value, e.low, e.high, e.percentile] for e in one.estimates},
        "calcification": asdict(one.calcification),
        "extent": {
            **outline,
            "centre_ras": one.outline.centre_ras.tolist(),
            "bounds_ras": one.outline.bounds_ras.tolist(),
            "volume_mm3": one.outline.volume_mm3,
            "slices": one.outline.slices,
        },
        "stack": {
            "layout": asdict(stack.layout),
            "valid": valid.tolist(),
            "offset_mm": stack.offset_mm[valid].tolist(),
            "ijk_to_ras": stack.ijk_to_ras[valid].tolist(),
        },
        "slice_weights": {name: map_.slice_weights[valid].tolist() for name, map_ in one.heatmaps.items()},
    }


def assert_equal(after: Assessment, before: Assessment) -> None:
    assert (after.point, after.model_id) == (before.point, before.model_id)
    one, other = found(after), found(before)
    assert (one.solid_part, one.repeatability) == (other.solid_part, other.repeatability)
    assert (one.estimates, one.account) == (other.estimates, other.account)
    assert one.calcification == other.calcification
    assert one.suspicion_probability == other.suspicion_probability
    for name in {field.name for field in fields(Outline)} - {"centre_ras", "bounds_ras", "probability"}:
        assert getattr(one.outline, name) == getattr(other.outline, name)
    np.testing.assert_array_equal(one.outline.bounds_ras, other.outline.bounds_ras)
    for name in ("outline", "ijk_to_ras", "plane", "offset_mm", "valid"):
        before_, after_ = getattr(other.stack, name), getattr(one.stack, name)
        shown = other.stack.valid
        np.testing.assert_allclose(after_[shown], before_[shown], atol=1e-6)
    np.testing.assert_array_equal(one.stack.valid, other.stack.valid)
    assert tuple(one.heatmaps) == tuple(other.heatmaps) == GRADE_NAMES
    for name, heatmap in other.heatmaps.items():
        np.testing.assert_allclose(one.heatmaps[name].slice_weights, heatmap.slice_weights, rtol=1e-6)
        np.testing.assert_allclose(one.heatmaps[name].in_slice, heatmap.in_slice, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_assessment_comes_back_from_json_and_small_volumes_as_it_was(volume: Volume, layout: str) -> None:
    before = changed(
        doubtful(nodule(volume, LAYOUTS[layout]), "vessel?"),
        solid_part=SolidPart(6.25, 7.0, 5.5, 120.5),
        repeatability=(9.0, 24.0),
    )
    after = Assessment.from_dict(json.loads(json.dumps(before.to_dict())), before.maps(), volume)
    assert after.warnings == before.warnings
    assert_equal(after, before)
    shown = found(before).stack.valid
    np.testing.assert_allclose(found(after).stack.pixels[shown], found(before).stack.pixels[shown], atol=0.05)


def test_a_point_without_a_nodule_comes_back_too() -> None:
    before = nothing()
    after = Assessment.from_dict(json.loads(json.dumps(before.to_dict())))
    assert (after.point, after.warnings, after.model_id, after.nodule) == (
        before.point,
        before.warnings,
        before.model_id,
        None,
    )
    assert before.maps() == {}


def test_scenes_that_version_0_1_0_saved_are_read(volume: Volume) -> None:
    before = changed(nodule(volume), account=None)
    after = Assessment.from_dict(json.loads(json.dumps(as_version_0_1_0_kept_it(before))), before.maps())
    assert_equal(after, before)
    assert after.warnings == tuple(InputWarning(str(warning), "nodule") for warning in before.warnings)


def test_of_two_diameters_that_version_0_1_0_showed_the_measured_one_stays(volume: Volume) -> None:
    kept = as_version_0_1_0_kept_it(nodule(volume))
    kept["extent"] |= {"diameter_mm": 12.0}
    kept["estimates"]["diameter"] = [15.0, 12.5, 20.0, 81.0]
    one = found(Assessment.from_dict(kept))
    told = one.estimate("diameter")
    assert (told.value, told.low, told.high, told.percentile) == pytest.approx((12.0, 10.0, 16.0, 81.0))
    assert one.outline.diameter_mm == 12.0


@pytest.mark.parametrize(
    "damage",
    [
        {"intercept": "low"},
        {"intercept": float("nan")},
        {"terms": {}},
        {"terms": []},
        {"terms": {key: {"value": 1.0} for key in GRADE_NAMES}},
        {"terms": {key: {"value": 1.0, "adds": float("inf")} for key in GRADE_NAMES}},
    ],
    ids=str,
)
def test_a_damaged_account_is_not_shown(volume: Volume, damage: dict[str, Any]) -> None:
    values = nodule(volume).to_dict()
    values["nodule"]["account"] |= damage
    with pytest.raises(NoduleRiskError, match="damaged"):
        Assessment.from_dict(values)


@pytest.mark.parametrize("name", ["diameter_mm", "long_axis_mm", "volume_mm3"])
@pytest.mark.parametrize("value", ["9 mm", None, float("nan"), float("inf")])
def test_a_size_that_is_no_number_is_not_shown(volume: Volume, name: str, value: Any) -> None:
    values = nodule(volume).to_dict()
    values["nodule"]["outline"][name] = value
    with pytest.raises(NoduleRiskError, match="damaged"):
        Assessment.from_dict(values)


def test_a_diameter_of_nothing_is_damage(volume: Volume) -> None:
    kept = as_version_0_1_0_kept_it(nodule(volume))
    kept["estimates"]["diameter"] = [0.0, 0.0, 0.0, 0.0]
    with pytest.raises(NoduleRiskError, match="damaged"):
        Assessment.from_dict(kept)


def test_doubts_and_an_unsure_outline_come_back_and_what_was_stored_before_had_none(volume: Volume) -> None:
    before = nodule(volume)
    doubt = InputWarning("It looks like a vessel.", "nodule", "vessel?")
    unsure = replace(
        changed(before, outline=replace(found(before).outline, unsure=True)), warnings=(*before.warnings, doubt)
    )
    values = json.loads(json.dumps(unsure.to_dict()))
    after = Assessment.from_dict(values)
    assert after.warnings == unsure.warnings and found(after).outline.unsure is True
    for warning in values["warnings"]:
        del warning["doubt"]
    del values["doubts"], values["nodule"]["outline"]["unsure"]
    for name in ("solid_part", "repeatability", "account"):
        del values["nodule"][name]
    older = Assessment.from_dict(values)
    assert found(older).account is None
    assert {warning.doubt for warning in older.warnings} == {""} and found(older).outline.unsure is False


def test_a_label_with_a_full_stop_makes_no_warning_of_its_own(volume: Volume) -> None:
    before = named(nodule(volume), "Nr. 3")
    assert len(Assessment.from_dict(before.to_dict()).warnings) == len(before.warnings)


def test_lost_maps_leave_the_grades(volume: Volume) -> None:
    before = nodule(volume)
    after = Assessment.from_dict(before.to_dict())
    assert found(after).estimates == found(before).estimates
    assert not found(after).heatmaps["malignancy"].in_slice.any()


def test_what_a_newer_version_wrote_is_refused_instead_of_misread() -> None:
    with pytest.raises(NoduleRiskError, match="update NoduleRisk"):
        Assessment.from_dict(nothing().to_dict() | {"format": FORMAT + 1})


@pytest.mark.parametrize(
    "damage",
    [
        {"point_ras_mm": [1, 2]},
        {"point_ras_mm": "somewhere"},
        {"warnings": 5},
        {"nodule": {}},
        {"nodule": []},
        {"format": "two"},
    ],
    ids=str,
)
def test_a_damaged_record_is_one_sentence(damage: dict[str, Any]) -> None:
    with pytest.raises(NoduleRiskError, match="damaged"):
        Assessment.from_dict(nothing().to_dict() | damage)
