"""What a reader would lose if an answer hid what is missing, where a value came from, or who says so."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.guidelines import (
    GUIDELINES,
    QUESTIONS,
    Answer,
    Axes,
    Conclusion,
    Earlier,
    Inputs,
    Known,
    Refusal,
    answers,
    doubling_time,
    from_header,
    graded,
    inputs,
    measured,
    told,
)
from NoduleRiskLib.guidelines.answer import RESEARCH_USE
from NoduleRiskLib.guidelines.bts import bts
from NoduleRiskLib.guidelines.fleischner import fleischner
from NoduleRiskLib.guidelines.lung_rads import lung_rads
from NoduleRiskLib.guidelines.mayo import mayo
from NoduleRiskLib.guidelines.questions import rounded

Given = Callable[..., Inputs]


# --- the record ---


def test_every_value_has_its_question_in_the_records_order() -> None:
    assert [one.name for one in fields(Inputs)] == list(QUESTIONS)
    assert len({question.label for question in QUESTIONS.values()}) == len(QUESTIONS)


@pytest.mark.parametrize("module", [inputs, doubling_time])
def test_examples_in_the_documentation_hold(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert done.attempted > 0 and done.failed == 0


def test_suspicion_is_no_input() -> None:
    words = " ".join([*QUESTIONS, *(question.label for question in QUESTIONS.values())])
    assert "malignancy" not in words and "suspicion" not in words and "probability" not in words


@pytest.mark.parametrize(
    ("known", "origin"),
    [
        (measured(Axes(8, 6)), "measured"),
        (graded(Axes(8, 6)), "graded"),
        (from_header(Axes(8, 6)), "DICOM header"),
        (told(Axes(8, 6)), "user"),
    ],
)
def test_an_answer_says_where_each_value_came_from(known: Known[Axes], origin: str) -> None:
    answer = lung_rads(Inputs(size=known, nodule_type=told("solid"), setting=told("screening")))
    assert ("size", "8.0 x 6.0 mm", origin) in [(one.label, one.value, one.origin) for one in answer.used]
    assert f"size: 8.0 x 6.0 mm ({origin})" in str(answer)


def test_what_is_unknown_has_no_value_and_what_is_known_has_an_origin() -> None:
    for value, origin in ((None, "user"), (3, "unknown")):
        with pytest.raises(ValueError, match="an origin"):
            Known(value, origin)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"nodule_type": "ground glass"}, "Nodule type cannot be ground glass: choose one of solid, part-solid"),
        ({"age": -3.0}, "Age cannot be -3: give a number above 0."),
        ({"age": float("nan")}, "Age cannot be nan"),
        ({"count": 0}, "Nodules on the CT cannot be 0"),
        ({"count": 1.5}, "Nodules on the CT cannot be 1.5: give a whole number."),
        ({"size": 5, "solid_part": 6}, "cannot be larger than the nodule"),
        ({"lobe": "lingula"}, "choose one of upper, middle or lower"),
    ],
)
def test_a_value_that_is_no_answer_is_refused_with_a_sentence(
    given: Given, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(NoduleRiskError, match=sentence):
        given(**values)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Axes(5, 6),
        lambda: Axes(float("inf"), 6),
        lambda: Axes(5, -1),
        lambda: Earlier(0, Axes(8, 6)),
        lambda: Earlier(90, Axes(8, 6), 0),
    ],
)
def test_sizes_that_cannot_be_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(NoduleRiskError):
        make()


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [(5.5, 0, 6), (8.4, 0, 8), (8.5, 0, 9), (6.05, 1, 6.1), (6.049, 1, 6.0), (0.25, 1, 0.3), (2.5, 0, 3)],
)
def test_halves_are_rounded_up(value: float, decimals: int, expected: float) -> None:
    """Python's own ``round`` makes 8.5 to 8 and 2.5 to 2."""
    assert rounded(value, decimals) == expected


# --- what is missing ---


def test_each_missing_input_says_what_it_could_change(given: Given) -> None:
    answer = lung_rads(given(setting="screening", size=9.0, nodule_type="part-solid"))
    assert answer.headline == "Lung-RADS v2022: 3 or 4A or 4B"
    assert answer.conclusion is None and answer.refusal == ""
    (gap,) = answer.missing
    assert str(gap) == "size of the solid part (under 6 mm: 3; 6 to under 8 mm: 4A; 8 mm or more: 4B)"


def test_a_solid_part_is_not_tried_larger_than_its_nodule(given: Given) -> None:
    (gap,) = lung_rads(given(setting="screening", size=7.0, nodule_type="part-solid")).missing
    assert str(gap) == "size of the solid part (under 6 mm: 3; 6 mm or more: 4A)"


def test_a_missing_input_that_changes_nothing_leaves_the_conclusion(given: Given) -> None:
    """Whatever the risk, a single nodule over 8 mm is one row; the number of nodules is not."""
    patient = {"age": 60.0, "cancer": "none", "immunosuppressed": False, "setting": "incidental", "size": 12}
    single = fleischner(given(**patient, nodule_type="solid", count=1))
    assert single.conclusion is not None and single.missing == ()
    open_ = fleischner(given(**patient, nodule_type="solid"))
    assert open_.conclusion is None and {one.name for one in open_.missing} == {"count", "risk"}


def test_a_missing_input_that_could_make_the_guideline_not_apply_says_so(given: Given) -> None:
    values = {"cancer": "none", "immunosuppressed": False, "setting": "incidental", "count": 1, "risk": "low"}
    answer = fleischner(given(**values, size=12, nodule_type="solid"))
    (gap,) = answer.missing
    assert str(gap) == "age (under 35 years: does not apply; 35 years or more: solid, single, over 8 mm)"
    assert answer.headline == "Fleischner 2017: solid, single, over 8 mm; or does not apply"
    assert isinstance(answer.outcomes[0], Conclusion) and isinstance(answer.outcomes[1], Refusal)


def test_without_a_size_every_row_is_possible(given: Given) -> None:
    answer = lung_rads(given(setting="screening", nodule_type="solid"))
    assert answer.headline == "Lung-RADS v2022: 2 or 3 or 4A or 4B"
    assert str(answer.missing[0]) == "size (under 6 mm: 2; 6 to under 8 mm: 3; 8 to under 15 mm: 4A; 15 mm or more: 4B)"


@pytest.mark.parametrize(
    ("guideline", "values", "text"),
    [
        (
            fleischner,
            {"age": 60.0, "cancer": "none", "immunosuppressed": False, "setting": "incidental", "risk": "low"},
            "size (under 6 mm: solid, single, under 6 mm, low risk; 6 to under 9 mm: solid, single, 6 to 8 mm, "
            "low risk; 9 mm or more: solid, single, over 8 mm)",
        ),
        (
            bts,
            {"cancer": "none", "lobe": "upper", "emphysema": True, "sex": "female", "age": 70.0, "spiculation": True}
            | {"family_history": True},
            "size (under 5 mm: small; 5 to under 6 mm: 5 to 6 mm; 6 to under 8 mm: 6 to 8 mm or 80 to 300 mm3; "
            "8 mm or more: Brock 10 % or more)",
        ),
    ],
)
def test_every_threshold_of_size_is_tried(
    given: Given, guideline: Callable[[Inputs], Answer], values: dict[str, Any], text: str
) -> None:
    assert str(guideline(given(**values, nodule_type="solid", count=1)).missing[0]) == text


def test_models_refuse_a_part_of_the_sizes_that_could_be(given: Given) -> None:
    (gap,) = mayo(given(age=60.0, cancer="none", smoked=True, spiculation=False, lobe="upper")).missing
    assert [span for span, outcomes in gap.changes if isinstance(outcomes[0], Refusal)] == [
        "under 4 mm",
        "31 mm or more",
    ]


@pytest.mark.parametrize(("mm3", "expected"), [(112.0, "2"), (113.0, "3"), (268.0, "4A"), (1767.0, "4B")])
def test_a_volume_alone_is_a_size_too(given: Given, mm3: float, expected: str) -> None:
    answer = lung_rads(given(setting="screening", nodule_type="solid", volume_mm3=mm3))
    assert answer.conclusion is not None and answer.conclusion.category == expected and answer.missing == ()
    assert len(answer.conclusion.notes) == (expected == "4A")
    patient = {"age": 60.0, "cancer": "none", "immunosuppressed": False, "setting": "incidental"}
    found = fleischner(given(**patient, nodule_type="solid", count=1, risk="low", volume_mm3=mm3)).conclusion
    assert found is not None and ("over 8 mm" in found.category) == (mm3 > 250)


def test_what_nobody_named_is_told_to_be_taken_for_granted(given: Given) -> None:
    answer = lung_rads(given(setting="screening", size=7.0, nodule_type="solid"))
    assert answer.conclusion is not None and answer.conclusion.category == "3"
    assert answer.missing == ()
    taken = {one.name: one for one in answer.open if one.why == "not named"}
    assert set(taken) == {"examination", "lesion", "comparison", "calcification", "fat", "suspicious_features"}
    assert str(taken["fat"]) == "fat in the nodule: no (if yes: 1)"
    assert "if new / growing: 4A; stable / smaller: 2 or 3 or 4A or 4B" in str(taken["comparison"])
    assert "taken for granted: fat in the nodule: no (if yes: 1)" in str(answer)


def test_what_was_only_graded_says_what_it_would_change(given: Given) -> None:
    proposed = replace(given(setting="screening", size=7.0), nodule_type=graded("solid"))
    (kind,) = [one for one in lung_rads(proposed).open if one.why == "graded"]
    assert str(kind) == "nodule type: solid (if part-solid: 3 or 4A; non-solid: 2)"
    confirmed = replace(proposed, nodule_type=told("solid"))
    assert not [one for one in lung_rads(confirmed).open if one.why == "graded"]


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@drawn(st.data())
def test_the_possible_outcomes_are_those_of_every_value_in_turn(given: Given, data: st.DataObject) -> None:
    """Whatever an unknown turns out to be, its answer was among those that were told."""
    full = {
        "size": data.draw(st.floats(3, 40)),
        "nodule_type": data.draw(st.sampled_from(QUESTIONS["nodule_type"].choices)),
        "setting": data.draw(st.sampled_from(QUESTIONS["setting"].choices)),
        "cancer": data.draw(st.sampled_from(QUESTIONS["cancer"].choices)),
        "comparison": data.draw(st.sampled_from(QUESTIONS["comparison"].choices)),
        "earlier_category": data.draw(st.sampled_from(QUESTIONS["earlier_category"].choices)),
        "solid_change": data.draw(st.sampled_from(QUESTIONS["solid_change"].choices)),
        "count": data.draw(st.integers(1, 9)),
        "risk": data.draw(st.sampled_from(QUESTIONS["risk"].choices)),
        "interval_months": float(data.draw(st.integers(1, 30))),
        "immunosuppressed": data.draw(st.booleans()),
        "age": data.draw(st.floats(20, 90)),
        "solid_part": 0.0,
    }
    full["solid_part"] = data.draw(st.floats(0, 1)) * full["size"]
    hidden = data.draw(st.sets(st.sampled_from(sorted(set(full) - {"size", "comparison"})), max_size=4))
    known = {name: value for name, value in full.items() if name not in hidden}
    for guideline in (lung_rads, fleischner):
        told_all = {outcome.category for outcome in guideline(given(**full)).outcomes}
        told_some = {outcome.category for outcome in guideline(given(**known)).outcomes}
        assert told_all <= told_some


# --- what every answer has ---


@pytest.fixture(scope="module")
def bare() -> Inputs:
    """What NoduleRisk alone can fill in."""
    return Inputs(
        size=measured(Axes(9.2, 6.9)),
        volume_mm3=measured(240.0),
        nodule_type=graded("part-solid"),
        calcification=graded("absent"),
        spiculation=graded(False),
        age=from_header(64.0),
        sex=from_header("female"),
    )


def test_every_sentence_names_its_source_and_research_use(bare: Inputs) -> None:
    for answer in answers(bare):
        lines = list(answer.lines())
        assert lines[-1].strip() == RESEARCH_USE
        for outcome in answer.outcomes:
            assert outcome.source and f"[{outcome.source}]" in str(answer)
            if isinstance(outcome, Conclusion):
                assert outcome.rule and (outcome.advice.endswith(".") or outcome.probability is not None)
                assert all(note.endswith(".") for note in outcome.notes)
            else:
                assert outcome.sentence.endswith(".") and outcome.sentence.count(". ") == 0


def test_an_answer_can_be_written_as_json(bare: Inputs) -> None:
    for answer in answers(bare):
        assert json.loads(json.dumps(asdict(answer)))["guideline"] == answer.guideline


def test_guidelines_and_models_stand_side_by_side_and_are_not_mixed(bare: Inputs) -> None:
    names = [answer.guideline for answer in answers(bare)]
    assert names == ["Lung-RADS v2022", "Fleischner 2017", "BTS 2015", "Brock 2b", "Mayo", "Herder"]
    for answer in answers(bare):
        advises = any(isinstance(one, Conclusion) and one.advice for one in answer.outcomes)
        assert advises == (answer.guideline in names[:3])


def test_one_nodule_that_is_known_takes_few_calls(given: Given) -> None:
    """The bound is ten times what it takes, so that a slow machine passes."""
    known = given(
        size=9.0,
        nodule_type="solid",
        calcification="absent",
        spiculation=False,
        lesion="nodule",
        fat=False,
        lobe="upper",
        count=1,
        emphysema=False,
        suspicious_features=False,
        examination="complete",
        pet="faint",
        age=60.0,
        sex="male",
        smoked=True,
        family_history=False,
        cancer="none",
        immunosuppressed=False,
        risk="low",
        setting="screening",
        comparison="baseline",
    )
    # Calls are the same on every machine, seconds are not.
    assert _calls(known) < 3_000
    assert len(GUIDELINES) == 6


def test_what_could_change_is_not_tried_value_by_value_where_they_are_alike(bare: Inputs) -> None:
    """Twice what it takes; every combination of values takes more than three times as many."""
    assert _calls(replace(bare, nodule_type=graded("solid"), age=Known(), sex=Known())) < 50_000


def _calls(inputs: Inputs) -> int:
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        answers(inputs)
    finally:
        sys.setprofile(None)
    return calls


def test_guidelines_load_without_torch_and_numpy() -> None:
    code = "import sys; import NoduleRiskLib.guidelines; print(sorted({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
