"""What a reader would lose if the advice differed from the Fleischner Society's table of 2017."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from NoduleRiskLib.guidelines import Axes, Conclusion, Inputs
from NoduleRiskLib.guidelines.fleischner import TABLE, fleischner
from NoduleRiskLib.guidelines.questions import BENIGN_CALCIFICATION

Given = Callable[..., Inputs]
PATIENT: dict[str, Any] = {"age": 60.0, "cancer": "none", "immunosuppressed": False, "setting": "incidental"}


@pytest.fixture(scope="session")
def found(given: Given) -> Callable[..., Conclusion]:
    """What follows for a nodule that a CT showed by chance in a patient whom the guideline is for."""

    def conclude(**values: Any) -> Conclusion:
        answer = fleischner(given(**{**PATIENT, **values}))
        assert answer.conclusion is not None, answer
        return answer.conclusion

    return conclude


NONE, OPTIONAL = "No routine follow-up.", "CT in 12 months is optional."
LARGE = "Consider CT in 3 months, PET/CT or tissue sampling."


@pytest.mark.parametrize(
    ("count", "risk", "mm", "advice"),
    [
        (1, "low", 5, NONE),
        (1, "low", 6, "CT in 6 to 12 months; then consider one at 18 to 24 months."),
        (1, "low", 8, "CT in 6 to 12 months; then consider one at 18 to 24 months."),
        (1, "low", 9, LARGE),
        (1, "high", 5, OPTIONAL),
        (1, "high", 6, "CT in 6 to 12 months; then one at 18 to 24 months."),
        (1, "high", 8, "CT in 6 to 12 months; then one at 18 to 24 months."),
        (1, "high", 9, LARGE),
        (3, "low", 5, NONE),
        (3, "low", 6, "CT in 3 to 6 months; then consider one at 18 to 24 months."),
        (3, "low", 9, "CT in 3 to 6 months; then consider one at 18 to 24 months."),
        (3, "high", 5, OPTIONAL),
        (3, "high", 6, "CT in 3 to 6 months; then one at 18 to 24 months."),
        (2, "high", 9, "CT in 3 to 6 months; then one at 18 to 24 months."),
    ],
)
def test_solid_nodules(found: Callable[..., Conclusion], count: int, risk: str, mm: float, advice: str) -> None:
    assert found(size=mm, nodule_type="solid", count=count, risk=risk).advice == advice


@pytest.mark.parametrize(
    ("kind", "count", "mm", "part", "advice"),
    [
        ("non-solid", 1, 5, None, NONE),
        ("non-solid", 1, 6, None, "CT in 6 to 12 months; if it persists, every 2 years to 5 years."),
        ("non-solid", 1, 20, None, "CT in 6 to 12 months; if it persists, every 2 years to 5 years."),
        ("part-solid", 1, 5, 4, NONE),
        ("part-solid", 1, 6, 5, "CT in 3 to 6 months; if it is unchanged, yearly for 5 years."),
        ("part-solid", 1, 12, 6, "CT in 3 to 6 months; if the solid part is still there, it is highly suspicious."),
        ("non-solid", 2, 5, None, "CT in 3 to 6 months; if stable, consider CT at 2 and 4 years."),
        ("part-solid", 2, 5, 4, "CT in 3 to 6 months; if stable, consider CT at 2 and 4 years."),
        ("non-solid", 2, 6, None, "CT in 3 to 6 months; then by the most suspicious nodule."),
        ("part-solid", 2, 9, 4, "CT in 3 to 6 months; then by the most suspicious nodule."),
    ],
)
def test_subsolid_nodules(
    found: Callable[..., Conclusion], kind: str, count: int, mm: float, part: float | None, advice: str
) -> None:
    assert found(size=mm, nodule_type=kind, count=count, solid_part=part).advice == advice


@pytest.mark.parametrize(
    ("size", "category"),
    [
        (5.4, "under 6 mm"),
        (5.5, "6 to 8 mm"),
        (8.4, "6 to 8 mm"),
        (8.5, "over 8 mm"),
        # 7 and 4: 5.5 is 6.
        (Axes(7.2, 3.6), "6 to 8 mm"),
    ],
)
def test_diameters_are_rounded_to_whole_mm(found: Callable[..., Conclusion], size: Any, category: str) -> None:
    """Public calculators take 5.9 mm for less than 6."""
    assert category in found(size=size, nodule_type="solid", count=1, risk="low").category


@pytest.mark.parametrize(
    ("volume", "mm", "note"),
    [
        (99.0, 5, ()),
        (100.0, 5, ("By its volume of 100 mm3 it would be 6 to 8 mm.",)),
        (250.0, 7, ()),
        (251.0, 7, ("By its volume of 251 mm3 it would be over 8 mm.",)),
    ],
)
def test_where_the_volume_says_otherwise_a_note_tells(
    found: Callable[..., Conclusion], volume: float, mm: float, note: tuple[str, ...]
) -> None:
    assert found(size=mm, nodule_type="solid", count=1, risk="low", volume_mm3=volume).notes == note


@pytest.mark.parametrize(("part", "named"), [(8.4, False), (8.5, True)])
def test_a_solid_part_over_8_mm_asks_for_more_than_a_ct(
    found: Callable[..., Conclusion], part: float, named: bool
) -> None:
    notes = found(size=12, nodule_type="part-solid", count=1, solid_part=part).notes
    assert any("biopsy" in note for note in notes) == named


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"age": 34.0}, "Fleischner 2017 is for patients of 35 years and older."),
        ({"cancer": "other"}, "Fleischner 2017 is not for patients who have or had a cancer."),
        (
            {"cancer": "outside the chest, over 5 years ago"},
            "Fleischner 2017 is not for patients who have or had a cancer.",
        ),
        ({"immunosuppressed": True}, "Fleischner 2017 is not for immunosuppressed patients."),
        ({"setting": "screening"}, "Fleischner 2017 is for nodules found by chance, not for screening."),
        ({"lesion": "thick-walled cyst"}, "Fleischner 2017 is for nodules, not for airway lesions or cysts."),
        ({"fat": True}, "Fleischner 2017 is not for nodules with benign calcification or fat."),
        ({"comparison": "gone"}, "The nodule is gone: there is nothing to follow up."),
        *(
            ({"calcification": pattern}, "Fleischner 2017 is not for nodules with benign calcification or fat.")
            for pattern in BENIGN_CALCIFICATION
        ),
    ],
)
def test_outside_its_range_one_sentence_says_so(given: Given, changed: dict[str, Any], sentence: str) -> None:
    values = {**PATIENT, "size": 7, "nodule_type": "solid", "count": 1, "risk": "low", **changed}
    assert fleischner(given(**values)).refusal == sentence


def test_35_years_are_enough(found: Callable[..., Conclusion]) -> None:
    assert found(age=35.0, size=9, nodule_type="solid", count=1).advice == LARGE


def test_a_nodule_that_was_seen_before_is_told_to_need_more_than_the_table(found: Callable[..., Conclusion]) -> None:
    notes = found(size=9, nodule_type="solid", count=1, comparison="growing").notes
    assert any("first" in note for note in notes)


def test_every_field_of_the_table_is_reached_by_one_case_alone() -> None:
    for row in TABLE:
        others = [other for other in TABLE if other is not row]
        for other in others:
            same = [
                bool({*row.kinds} & {*other.kinds}),
                row.number == other.number,
                bool({*row.sizes} & {*other.sizes}),
                row.risk in (other.risk, "") or other.risk == "",
                row.solid_part in (other.solid_part, "") or other.solid_part == "",
            ]
            assert not all(same), (row, other)


#: How soon the first CT is due at the latest, in months; more is later.
URGENCY = [NONE, OPTIONAL, "CT in 6 to 12 months", "CT in 3 to 6 months", LARGE]


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@drawn(
    st.sampled_from(["solid", "part-solid", "non-solid"]),
    st.integers(1, 4),
    st.sampled_from(["low", "high"]),
    st.floats(1, 30),
    st.floats(0, 30),
    st.floats(0, 1),
)
def test_bigger_is_never_less_urgent(
    found: Callable[..., Conclusion], kind: str, count: int, risk: str, mm: float, more: float, part: float
) -> None:
    def urgency(size: float) -> int:
        advice = found(size=size, nodule_type=kind, count=count, risk=risk, solid_part=part * size).advice
        return next(n for n, start in enumerate(URGENCY) if advice.startswith(start))

    assert urgency(mm) <= urgency(mm + more)


@pytest.mark.parametrize("known", [{"setting": "screening"}, {"age": 30.0}, {"cancer": "other"}, {"fat": True}])
def test_where_something_known_rules_it_out_nothing_else_is_asked(given: Given, known: dict[str, Any]) -> None:
    answer = fleischner(given(size=7, nodule_type="solid", **known))
    assert answer.refusal and len(answer.outcomes) == 1 and answer.missing == ()
