"""What a reader would lose if an answer hid a doubt, or took a proposal for the user's word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_results import doubtful, nodule, nothing, scan

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.guidelines import GUIDELINES, QUESTIONS, Axes, Earlier
from NoduleRiskLib.guidelines.about import About
from NoduleRiskLib.guidelines.management import manage
from NoduleRiskLib.guidelines.questions import answered, said
from NoduleRiskLib.imaging.dicom_facts import DicomFacts
from NoduleRiskLib.results.assessment import Assessment


@pytest.fixture(scope="module")
def assessment() -> Assessment:
    return nodule(scan())


def test_all_guidelines_answer_from_what_is_known_with_its_origin(assessment: Assessment) -> None:
    found = manage(assessment, DicomFacts(64.0, "female"), {"smoked": True, "nodule_type": "solid"})
    assert found is not None and len(found.answers) == len(GUIDELINES) and found.cautions == ()
    origins = {name: getattr(found.inputs, name).origin for name in QUESTIONS}
    assert {name for name, origin in origins.items() if origin == "user"} == {"smoked", "nodule_type"}
    assert {name for name, origin in origins.items() if origin == "measured"} >= {"size", "volume_mm3"}
    assert origins["age"] == origins["sex"] == "DICOM header"
    assert origins["calcification"] == origins["spiculation"] == "graded"
    assert origins["lobe"] == "unknown"


def test_a_doubt_is_said_before_any_answer(assessment: Assessment) -> None:
    found = manage(doubtful(assessment, "vessel?", "outline unsure"))
    assert found is not None
    first = str(found).splitlines()[0]
    assert first.startswith("Doubtful (vessel?, outline unsure)") and "Lung-RADS" not in first


def test_where_nothing_is_outlined_nothing_is_answered() -> None:
    assert manage(nothing()) is None


def test_the_users_word_stands_above_everything(assessment: Assessment) -> None:
    said = {"age": 70.0, "calcification": "absent", "size": Axes(9, 8)}
    found = manage(assessment, DicomFacts(64.0), said)
    assert found is not None
    assert (found.inputs.age.value, found.inputs.calcification.value) == (70.0, "absent")
    # The outline's volume is another size's.
    assert found.inputs.size.value == Axes(9, 8) and found.inputs.volume_mm3.value is None


def test_an_earlier_ct_reaches_the_guidelines(assessment: Assessment) -> None:
    found = manage(assessment, said={"comparison": "growing"}, earlier=Earlier(120, Axes(6, 6), 113.0))
    assert found is not None and found.inputs.earlier.origin == "measured"


def test_suspicion_changes_no_answer(assessment: Assessment) -> None:
    assert assessment.nodule is not None
    other = replace(assessment, nodule=replace(assessment.nodule, suspicion_probability=0.01))
    assert manage(other) == manage(assessment)


@pytest.mark.parametrize("name", [name for name, one in QUESTIONS.items() if one.choices])
def test_every_choice_can_be_typed_as_it_is_shown(name: str) -> None:
    for choice in QUESTIONS[name].choices:
        assert answered(name, said(choice).upper()) == choice
        assert answered(name, choice) == choice


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("age", "61", 61.0),
        ("age", 61, 61.0),
        ("count", "3", 3),
        ("size", "8.2 x 6.9", Axes(8.2, 6.9)),
        ("size", [8.2, 6.9], Axes(8.2, 6.9)),
        ("solid_part", 4, Axes(4, 4)),
        ("smoked", "yes", True),
        ("smoked", False, False),
    ],
)
def test_values_come_as_people_write_them(name: str, given: Any, value: Any) -> None:
    found = answered(name, given)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("age", "old"),
        ("age", True),
        ("age", "nan"),
        ("age", -3),
        ("age", [61]),
        ("count", "2.5"),
        ("size", "8 x 9"),
        ("size", "8 x 7 x 6"),
        ("size", {}),
        ("smoked", "perhaps"),
        ("smoked", 1),
        ("nodule_type", ["solid"]),
        ("earlier", "yes"),
        ("pack_years", 30),
    ],
)
def test_what_is_no_answer_is_one_sentence(name: str, given: Any) -> None:
    with pytest.raises(NoduleRiskError) as refused:
        answered(name, given)
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


def test_a_nodules_answer_stands_above_the_patients_and_a_later_one_above_an_earlier(tmp_path: Path) -> None:
    file = tmp_path / "about.json"
    file.write_text(json.dumps({"age": 61, "pet": "none", "nodules": {"a": {"lobe": "upper"}}}))
    found = About.typed([str(file), "age=62", "a:pet=faint", "b: lobe = middle or lower"], ["a", "b"])
    assert found.of("a") == {"age": 62.0, "pet": "faint", "lobe": "upper"}
    assert found.of("b") == {"age": 62.0, "pet": "none", "lobe": "middle or lower"}
    assert About.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_what_is_left_open_is_not_said() -> None:
    assert About({"age": None, "sex": ""}).of("N-1") == {}


@pytest.mark.parametrize(
    "given",
    [
        "gone.json",
        "c:lobe=upper",
        "years=61",
        "age=",
        "broken",
        "list",
        "nodules",
    ],
)
def test_bad_answers_are_one_sentence(tmp_path: Path, given: str) -> None:
    written = {"broken": "{", "list": "[1]", "nodules": '{"nodules": 3}'}
    if given in written:
        (tmp_path / given).write_text(written[given])
        given = str(tmp_path / given)
    if given == "age=":
        assert About.typed([given]).patient == {}
        return
    with pytest.raises(NoduleRiskError) as refused:
        About.typed([given], ["a", "b"])
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)
