"""What panel, report, heads and metrics would lose if the one table of the grades were wrong."""

from __future__ import annotations

import pytest

from NoduleRiskLib.grades import (
    BENIGN_BELOW,
    CALCIFICATION_ABSENT,
    CALCIFICATION_PATTERNS,
    GRADE_NAMES,
    MALIGNANT_ABOVE,
    grade,
)


def test_the_nine_grades_stand_in_the_papers_order() -> None:
    assert GRADE_NAMES == (
        "subtlety",
        "lobulation",
        "spiculation",
        "sphericity",
        "margin",
        "texture",
        "calcification",
        "diameter",
        "malignancy",
    )


@pytest.mark.parametrize("name", GRADE_NAMES)
def test_every_step_of_every_scale_has_a_word_and_a_meaning(name: str) -> None:
    one = grade(name)
    assert one.name == name
    assert one.low < one.high
    assert one.high_means
    if name == "diameter":
        assert (one.words, one.unit, one.logarithmic) == ((), "mm", True)
    else:
        assert (one.low, one.high) == (1, 6 if name == "calcification" else 5)
        assert len(set(one.words)) == one.high - one.low + 1
        assert [one.word(one.low + step) for step in range(len(one.words))] == list(one.words)
        assert not one.logarithmic


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("spiculation", 5, "marked spiculation"),
        ("texture", 1, "non-solid (ground glass)"),
        ("texture", 3.49, "part-solid"),
        ("texture", 3.5, "part-solid to solid"),
        ("texture", 2.5, "part-solid"),
        ("malignancy", 4.75, "highly suspicious"),
        ("calcification", 6, "absent"),
        ("calcification", 1, "popcorn"),
        ("subtlety", -2, "extremely subtle"),
        ("margin", 9, "sharp"),
        ("diameter", 12.34, "12.3 mm"),
    ],
)
def test_a_value_is_told_in_lidcs_words(name: str, value: float, word: str) -> None:
    assert grade(name).word(value) == word


def test_values_off_the_scale_stop_at_its_ends() -> None:
    assert [grade("malignancy").clip(value) for value in (0.2, 3.3, 7)] == [1, 3.3, 5]
    assert [grade("diameter").clip(value) for value in (0.5, 8.0, 99)] == [2, 8, 60]


@pytest.mark.parametrize(("value", "fraction"), [(1, 0), (3, 0.5), (5, 1), (0, 0), (6, 1)])
def test_bars_are_as_long_as_the_value(value: float, fraction: float) -> None:
    assert grade("lobulation").fraction(value) == fraction


def test_calcification_patterns_are_all_codes_but_absent() -> None:
    assert CALCIFICATION_PATTERNS == ("popcorn", "laminated", "solid", "non-central", "central")
    assert grade("calcification").word(CALCIFICATION_ABSENT) == "absent"


def test_benign_and_malignant_leave_an_unsure_middle() -> None:
    assert (BENIGN_BELOW, MALIGNANT_ABOVE) == (2.75, 3.25)


def test_a_misspelt_grade_is_answered_with_the_right_names() -> None:
    with pytest.raises(KeyError, match=r"no grade is called 'Malignancy'.*spiculation.*malignancy"):
        grade("Malignancy")
