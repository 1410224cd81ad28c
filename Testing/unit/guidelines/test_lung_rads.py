"""What a screening reader would lose if a category differed from the published table of Lung-RADS v2022."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from NoduleRiskLib.guidelines import Axes, Earlier, Inputs
from NoduleRiskLib.guidelines.lung_rads import ADVICE, growth, lung_rads
from NoduleRiskLib.guidelines.questions import BENIGN_CALCIFICATION, LYMPH_NODE

Given = Callable[..., Inputs]


def category(inputs: Inputs) -> str:
    conclusion = lung_rads(inputs).conclusion
    assert conclusion is not None, lung_rads(inputs)
    return conclusion.category


@pytest.mark.parametrize(
    ("comparison", "mm", "expected"),
    [
        ("baseline", 5.9, "2"),
        ("baseline", 6.0, "3"),
        ("baseline", 7.9, "3"),
        ("baseline", 8.0, "4A"),
        ("baseline", 14.9, "4A"),
        ("baseline", 15.0, "4B"),
        ("new", 3.9, "2"),
        ("new", 4.0, "3"),
        ("new", 5.9, "3"),
        ("new", 6.0, "4A"),
        ("new", 7.9, "4A"),
        ("new", 8.0, "4B"),
        ("growing", 3.0, "4A"),
        ("growing", 7.9, "4A"),
        ("growing", 8.0, "4B"),
        ("slowly growing", 5.0, "4B"),
    ],
)
def test_solid_nodules(screened: Given, comparison: str, mm: float, expected: str) -> None:
    assert category(screened(size=mm, nodule_type="solid", comparison=comparison)) == expected


@pytest.mark.parametrize(
    ("comparison", "whole", "part", "change", "expected"),
    [
        ("baseline", 5.9, 5.0, None, "2"),
        ("baseline", 6.0, 0.0, None, "3"),
        ("baseline", 10, 5.9, None, "3"),
        ("baseline", 10, 6.0, None, "4A"),
        ("baseline", 10, 7.9, None, "4A"),
        ("baseline", 10, 8.0, None, "4B"),
        ("new", 5.9, 0.0, None, "3"),
        ("new", 6.0, 3.9, None, "4A"),
        ("new", 6.0, 4.0, None, "4B"),
        ("growing", 10, 3.9, "growing", "4A"),
        ("growing", 10, 4.0, "growing", "4B"),
        ("growing", 10, 3.9, "new", "4A"),
        ("growing", 10, 4.0, "new", "4B"),
        ("growing", 10, 3.9, "stable", "3"),
        ("growing", 10, 6.0, "stable", "4A"),
        ("slowly growing", 10, 3.0, "stable", "4B"),
    ],
)
def test_part_solid_nodules(
    screened: Given, comparison: str, whole: float, part: float, change: str | None, expected: str
) -> None:
    inputs = screened(size=whole, solid_part=part, nodule_type="part-solid", comparison=comparison, solid_change=change)
    assert category(inputs) == expected


@pytest.mark.parametrize(
    ("comparison", "mm", "expected"),
    [
        ("baseline", 29.9, "2"),
        ("new", 29.9, "2"),
        ("growing", 29.9, "2"),
        ("baseline", 30.0, "3"),
        ("new", 30.0, "3"),
        ("growing", 30.0, "3"),
        ("stable", 30.0, "2"),
        ("smaller", 40.0, "2"),
        ("slowly growing", 30.0, "2"),
    ],
)
def test_non_solid_nodules(screened: Given, comparison: str, mm: float, expected: str) -> None:
    assert category(screened(size=mm, nodule_type="non-solid", comparison=comparison)) == expected


@pytest.mark.parametrize(
    "values",
    [
        {"nodule_type": "solid"},
        {"nodule_type": "part-solid"},
        {"lesion": "thick-walled cyst"},
    ],
)
@pytest.mark.parametrize("change", ["stable", "smaller"])
@pytest.mark.parametrize(
    ("before", "months", "expected"),
    [
        ("1", 12, "2"),
        ("2", 12, "2"),
        ("3", 5, "3"),
        ("3", 6, "2"),
        ("4A", 2, "4A"),
        ("4A", 3, "3"),
        ("4A", 12, "3"),
        ("4B", 12, "4B"),
        ("4X", 12, "4B"),
    ],
)
def test_what_is_stable_steps_down_one_category_at_its_follow_up(
    screened: Given, values: dict[str, str], change: str, before: str, months: float, expected: str
) -> None:
    """A public calculator calls a stable nodule of 10 mm category 2 at once."""
    inputs = screened(
        size=10, solid_part=7, comparison=change, earlier_category=before, interval_months=months, **values
    )
    assert category(inputs) == expected


def test_4b_that_proved_benign_is_2(screened: Given) -> None:
    inputs = screened(size=20, nodule_type="solid", comparison="stable", earlier_category="4B", proved_benign=True)
    assert category(inputs) == "2"


@pytest.mark.parametrize(("pattern"), ["popcorn", "laminated", "solid", "non-central", "central", "absent"])
@pytest.mark.parametrize("kind", ["solid", "part-solid"])
def test_benign_calcification_is_1_whatever_the_size(screened: Given, pattern: str, kind: str) -> None:
    """A public calculator calls it 2."""
    found = category(screened(size=16, solid_part=9, nodule_type=kind, calcification=pattern))
    assert found == ("1" if pattern in BENIGN_CALCIFICATION else "4B")
    assert len(BENIGN_CALCIFICATION) == 4


def test_fat_is_1(screened: Given) -> None:
    assert category(screened(size=16, nodule_type="solid", fat=True)) == "1"


@pytest.mark.parametrize(
    ("mm", "change", "expected"),
    [
        (9.9, "baseline", "2"),
        (9.9, "new", "2"),
        (9.9, "stable", "2"),
        (10.0, "baseline", "4A"),
        (10.0, "new", "4B"),
        (7.0, "growing", "4A"),
    ],
)
def test_a_juxtapleural_lymph_node_is_2_below_10_mm(screened: Given, mm: float, change: str, expected: str) -> None:
    assert category(screened(size=mm, lesion=LYMPH_NODE, comparison=change)) == expected


@pytest.mark.parametrize(
    ("lesion", "comparison", "expected"),
    [
        ("in a subsegmental airway", "baseline", "2"),
        ("in a subsegmental airway", "new", "2"),
        ("in a subsegmental airway", "stable", "2"),
        ("in a segmental or larger airway", "baseline", "4A"),
        ("in a segmental or larger airway", "stable", "4B"),
        ("in a segmental or larger airway", "growing", "4B"),
    ],
)
def test_airway_lesions(screened: Given, lesion: str, comparison: str, expected: str) -> None:
    assert category(screened(lesion=lesion, comparison=comparison)) == expected


@pytest.mark.parametrize(
    ("lesion", "change", "expected"),
    [
        ("thick-walled cyst", None, "4A"),
        ("multilocular cyst", None, "4A"),
        ("thick-walled cyst", "cystic part larger", "3"),
        ("thick-walled cyst", "wall thicker or nodular, or denser", "4B"),
        ("thick-walled cyst", "became multilocular", "4A"),
        ("multilocular cyst", "became multilocular", "4A"),
        ("multilocular cyst", "cystic part larger", "4B"),
        ("multilocular cyst", "wall thicker or nodular, or denser", "4B"),
        ("multilocular cyst", "more locules", "4B"),
    ],
)
def test_cysts(screened: Given, lesion: str, change: str | None, expected: str) -> None:
    assert category(screened(lesion=lesion, cyst_change=change)) == expected


@pytest.mark.parametrize(
    ("examination", "advice"),
    [
        ("earlier CT awaited", "Compare with the earlier CT"),
        ("lungs not wholly shown", "Repeat"),
        ("infection or inflammation likely", "in 1 to 3 months"),
    ],
)
def test_an_incomplete_examination_is_0(screened: Given, examination: str, advice: str) -> None:
    conclusion = lung_rads(screened(size=20, nodule_type="solid", examination=examination)).conclusion
    assert conclusion is not None and conclusion.category == "0"
    assert advice in conclusion.advice


@pytest.mark.parametrize(("mm", "expected"), [(5.9, "2"), (6.0, "4X"), (8.0, "4X"), (15.0, "4X")])
def test_further_features_make_3_and_4_to_4x(screened: Given, mm: float, expected: str) -> None:
    assert category(screened(size=mm, nodule_type="solid", suspicious_features=True)) == expected


@pytest.mark.parametrize(
    ("category_", "text"),
    [("2", "in 12 months"), ("3", "in 6 months"), ("4A", "in 3 months"), ("4B", "work-up"), ("4X", "work-up")],
)
def test_each_category_has_its_follow_up(category_: str, text: str) -> None:
    assert text in ADVICE[category_]


@pytest.mark.parametrize(
    ("kind", "part", "named"), [("solid", None, True), ("part-solid", 7.0, False), ("part-solid", 6.5, False)]
)
def test_4a_names_pet_only_where_8_mm_are_solid(screened: Given, kind: str, part: float | None, named: bool) -> None:
    conclusion = lung_rads(screened(size=9, solid_part=part, nodule_type=kind)).conclusion
    assert conclusion is not None and conclusion.category == "4A"
    assert any("PET" in note for note in conclusion.notes) == named


@pytest.mark.parametrize(
    ("before", "now", "days", "expected"),
    [
        (6.0, 7.5, 180, "stable"),
        (6.0, 7.6, 180, "growing"),
        (6.0, 7.6, 365, "growing"),
        (6.0, 7.6, 730, "slowly growing"),
        (6.0, 10.0, 730, "growing"),
        (7.5, 6.0, 180, "stable"),
        (7.6, 6.0, 180, "smaller"),
    ],
)
def test_growth_is_more_than_one_and_a_half_mm_in_a_year(before: float, now: float, days: float, expected: str) -> None:
    assert growth(Earlier(days, Axes.of_round(before)), Axes.of_round(now)) == expected


@pytest.mark.parametrize(
    ("before", "now", "days", "before_category", "expected"),
    [
        (6.0, 7.6, 180, "3", "4A"),
        (6.0, 8.0, 180, "3", "4B"),
        (6.0, 7.0, 183, "3", "2"),
        (6.0, 7.0, 90, "3", "3"),
        # Too little to be growth, and yet from category 2 into 3.
        (5.5, 6.5, 365, "2", "3"),
        (9.0, 9.5, 91, "4A", "3"),
        (6.0, 7.8, 730, "3", "4B"),
    ],
)
def test_an_earlier_measurement_says_what_became_of_the_nodule(
    screened: Given, before: float, now: float, days: float, before_category: str, expected: str
) -> None:
    earlier = Earlier(days, Axes.of_round(before))
    inputs = screened(size=now, nodule_type="solid", earlier=earlier, earlier_category=before_category)
    assert category(inputs) == expected


@pytest.mark.parametrize(
    ("part_before", "part_now", "expected"),
    [(0.0, 3.0, "4A"), (0.0, 4.5, "4B"), (0.0, 0.0, "2"), (2.0, 4.0, "4B"), (3.0, 3.5, "2")],
)
def test_growth_of_the_solid_part_alone_is_growth(
    screened: Given, part_before: float, part_now: float, expected: str
) -> None:
    earlier = Earlier(183, Axes.of_round(10), solid_part=Axes.of_round(part_before))
    inputs = screened(size=10, solid_part=part_now, nodule_type="part-solid", earlier=earlier, earlier_category="3")
    assert category(inputs) == expected


def test_the_users_word_on_growth_stands_above_the_measurement(screened: Given) -> None:
    earlier = Earlier(183, Axes.of_round(6))
    inputs = screened(size=7.8, nodule_type="solid", earlier=earlier, earlier_category="3", comparison="stable")
    assert category(inputs) == "2"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"setting": "incidental", "size": 7, "nodule_type": "solid"}, "for lung cancer screening"),
        ({"setting": "screening", "comparison": "gone"}, "is gone"),
        (
            {"setting": "screening", "lesion": "in a subsegmental airway", "comparison": "growing"},
            "no category for a growing lesion",
        ),
    ],
)
def test_where_it_does_not_apply_one_sentence_says_so(given: Given, values: dict[str, Any], sentence: str) -> None:
    answer = lung_rads(given(**values))
    assert sentence in answer.refusal and answer.refusal.endswith(".")
    assert answer.conclusion is None


@pytest.mark.parametrize(("part_before", "part_now", "expected"), [(0.0, 0.0, "3"), (0.0, 3.0, "4A"), (3.0, 3.5, "3")])
def test_growth_of_ground_glass_alone_goes_by_size(
    screened: Given, part_before: float, part_now: float, expected: str
) -> None:
    earlier = Earlier(183, Axes.of_round(8), solid_part=Axes.of_round(part_before))
    assert category(screened(size=10, solid_part=part_now, nodule_type="part-solid", earlier=earlier)) == expected
