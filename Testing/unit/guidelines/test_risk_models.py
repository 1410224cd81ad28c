"""What a reader would lose if a risk model's probability differed from the published formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from NoduleRiskLib.guidelines import Answer, Axes, Inputs, told
from NoduleRiskLib.guidelines.brock import MODEL as BROCK
from NoduleRiskLib.guidelines.brock import brock
from NoduleRiskLib.guidelines.herder import herder
from NoduleRiskLib.guidelines.mayo import mayo
from NoduleRiskLib.guidelines.questions import LYMPH_NODE

Given = Callable[..., Inputs]
NO_CANCER, OLD_CANCER = "none", "outside the chest, over 5 years ago"


def percent(answer: Answer) -> float:
    """The one probability of an answer, in percent."""
    assert answer.conclusion is not None and answer.conclusion.probability is not None, answer
    low, high = answer.conclusion.probability
    assert low == high
    return 100 * low


def brock_inputs(given: Given, **changed: Any) -> Inputs:
    values = {
        "age": 62.0,
        "sex": "male",
        "family_history": False,
        "emphysema": False,
        "size": 4.0,
        "nodule_type": "solid",
        "lobe": "middle or lower",
        "count": 4,
        "spiculation": False,
    }
    return given(**{**values, **changed})


@pytest.mark.parametrize(
    ("age", "woman", "family", "emphysema", "mm", "kind", "upper", "count", "spicules", "expected"),
    [
        (62, 0, 0, 0, 4, "solid", 0, 4, 0, 0.112),
        (60, 1, 0, 0, 8, "solid", 0, 1, 0, 2.919),
        (65, 0, 0, 1, 12, "part-solid", 1, 1, 0, 17.849),
        (72, 0, 1, 1, 18, "solid", 1, 1, 1, 56.671),
        (65, 1, 0, 1, 10, "solid", 1, 1, 1, 26.917),
        (70, 1, 1, 1, 20, "part-solid", 1, 1, 1, 80.141),
        (55, 0, 0, 0, 6, "non-solid", 0, 5, 0, 0.355),
    ],
)
def test_brock_2b(
    given: Given,
    age: float,
    woman: int,
    family: int,
    emphysema: int,
    mm: float,
    kind: str,
    upper: int,
    count: int,
    spicules: int,
    expected: float,
) -> None:
    inputs = brock_inputs(
        given,
        age=float(age),
        sex="female" if woman else "male",
        family_history=bool(family),
        emphysema=bool(emphysema),
        size=mm,
        nodule_type=kind,
        lobe="upper" if upper else "middle or lower",
        count=count,
        spiculation=bool(spicules),
    )
    assert percent(brock(inputs)) == pytest.approx(expected, abs=0.0006)


def test_brocks_constant_without_centring_is_the_published_one() -> None:
    """Uthoff et al. 2019 print .2761."""
    of = {term.name: term.coefficient for term in BROCK.terms}
    assert BROCK.constant - 62 * of["age"] - 1.58113883 * of["size"] - 4 * of["count"] == pytest.approx(
        0.2761, abs=1e-4
    )
    assert pytest.approx(1.58113883) == (4 / 10) ** -0.5


def test_brock_takes_the_longest_diameter(given: Given) -> None:
    assert percent(brock(brock_inputs(given, size=Axes(8, 5)))) == percent(brock(brock_inputs(given, size=8.0)))


@pytest.mark.parametrize(
    ("lesion", "sentence"), [(LYMPH_NODE, "perifissural"), ("thick-walled cyst", "airway lesions or cysts")]
)
def test_brock_refuses_what_it_was_not_made_for(given: Given, lesion: str, sentence: str) -> None:
    assert sentence in brock(brock_inputs(given, lesion=lesion)).refusal


def test_brock_says_that_it_was_made_on_first_screening_cts(given: Given) -> None:
    first = brock(brock_inputs(given, setting="screening", comparison="baseline")).conclusion
    later = brock(brock_inputs(given, setting="incidental", comparison="growing")).conclusion
    assert first is not None and first.notes == ()
    assert later is not None and len(later.notes) == 2


MAYO_ROWS = [
    (67, 0, 0, 13, 0, 1, 14.585, (1.48, 13.25, 60.26, 63.88)),
    (65, 1, 0, 10, 0, 0, 9.797, (1.24, 11.35, 55.96, 59.71)),
    (65, 1, 0, 20, 1, 1, 70.651, (10.61, 54.75, 92.31, 93.34)),
    (50, 0, 0, 8, 0, 0, 2.078, (0.94, 8.78, 48.87, 52.71)),
    (70, 1, 1, 25, 1, 1, 95.477, (22.88, 75.16, 96.78, 97.22)),
]


def mayo_inputs(given: Given, age: float, smoked: int, cancer: int, mm: float, spicules: int, upper: int) -> Inputs:
    return given(
        age=float(age),
        smoked=bool(smoked),
        cancer=OLD_CANCER if cancer else NO_CANCER,
        size=float(mm),
        spiculation=bool(spicules),
        lobe="upper" if upper else "middle or lower",
    )


@pytest.mark.parametrize("row", MAYO_ROWS)
def test_mayo(given: Given, row: tuple[Any, ...]) -> None:
    assert percent(mayo(mayo_inputs(given, *row[:6]))) == pytest.approx(row[6], abs=0.0006)


@pytest.mark.parametrize("row", MAYO_ROWS)
@pytest.mark.parametrize("uptake", range(4))
def test_herder(given: Given, row: tuple[Any, ...], uptake: int) -> None:
    inputs = replace(mayo_inputs(given, *row[:6]), pet=told(("none", "faint", "moderate", "intense")[uptake]))
    assert percent(herder(inputs)) == pytest.approx(row[7][uptake], abs=0.006)


@pytest.mark.parametrize(("mm", "holds"), [(3.9, False), (4.0, True), (30.0, True), (30.1, False)])
@pytest.mark.parametrize("model", [mayo, herder])
def test_mayo_and_herder_hold_from_4_to_30_mm(
    given: Given, model: Callable[[Inputs], Answer], mm: float, holds: bool
) -> None:
    answer = model(given(size=mm, cancer="none", pet="faint"))
    assert (answer.refusal == "") == holds
    assert holds or answer.refusal == "The Mayo model is for nodules of 4 to 30 mm."


@pytest.mark.parametrize("model", [mayo, herder])
def test_mayo_and_herder_refuse_a_recent_cancer(given: Given, model: Callable[[Inputs], Answer]) -> None:
    assert "within 5 years or in the chest" in model(given(size=10.0, cancer="other", pet="none")).refusal


def test_herder_needs_a_pet(given: Given) -> None:
    assert herder(mayo_inputs(given, *MAYO_ROWS[0][:6])).refusal == "Herder's model needs the uptake on a PET-CT."


def test_herder_says_that_it_is_meant_for_solid_nodules(given: Given) -> None:
    conclusion = herder(given(size=10.0, cancer="none", pet="faint", nodule_type="non-solid")).conclusion
    assert conclusion is not None and conclusion.notes == ("It is meant for solid nodules.",)


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@drawn(
    st.floats(2, 60),
    st.floats(0, 20),
    st.sampled_from(["solid", "part-solid", "non-solid"]),
    st.integers(1, 20),
    st.floats(20, 95),
)
def test_brock_rises_with_size_and_falls_with_count(
    given: Given, mm: float, more: float, kind: str, count: int, age: float
) -> None:
    def risk(**changed: Any) -> float:
        return percent(
            brock(brock_inputs(given, **{"nodule_type": kind, "count": count, "age": age, "size": mm, **changed}))
        )

    assert risk(size=mm + more) >= risk()
    assert risk(count=count + 1) < risk()
    assert risk(age=age + 1) > risk() and risk(spiculation=True) > risk() and risk(lobe="upper") > risk()


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@drawn(st.floats(4, 30), st.floats(4, 30), st.floats(20, 95), st.booleans())
def test_mayo_and_herder_rise_with_size_and_uptake(
    given: Given, one: float, other: float, age: float, smoked: bool
) -> None:
    def inputs(mm: float, uptake: str) -> Inputs:
        return given(size=mm, age=age, smoked=smoked, cancer="none", spiculation=False, lobe="upper", pet=uptake)

    small, large = sorted((one, other))
    assert percent(mayo(inputs(small, "none"))) <= percent(mayo(inputs(large, "none")))
    risks = [percent(herder(inputs(small, uptake))) for uptake in ("none", "faint", "moderate", "intense")]
    assert risks == sorted(risks)
    assert percent(herder(inputs(large, "none"))) >= risks[0]


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@drawn(st.sampled_from(["family_history", "emphysema", "lobe", "count", "spiculation", "nodule_type", "sex", "age"]))
def test_what_brock_misses_spans_what_every_value_would_give(given: Given, missing: str) -> None:
    values = {"size": 12.0, missing: None}
    answer = brock(brock_inputs(given, **values))
    assert answer.conclusion is not None and answer.conclusion.probability is not None
    low, high = answer.conclusion.probability
    (gap,) = answer.missing
    assert gap.name == missing and gap.matters
    ranges = [one.probability for _, outcomes in gap.changes for one in outcomes]  # type: ignore[union-attr]
    assert low == min(one[0] for one in ranges) and high == max(one[1] for one in ranges)
    assert low < high and math.isfinite(high)
