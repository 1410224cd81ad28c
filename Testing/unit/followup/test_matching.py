"""What a follow-up would mix up if nodules of two examinations were paired wrongly, or without a word of doubt."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from NoduleRiskLib.followup.matching import FURTHEST_MM, match


def places(*ras: tuple[float, float, float]) -> np.ndarray:
    return np.array(ras, float).reshape(-1, 3)


def test_the_near_ones_are_paired_whatever_their_order() -> None:
    before = places((0, 0, 0), (40, 0, 0), (0, 50, 0))
    after = before[[2, 0, 1]] + 1
    found = match(before, after, [100, 200, 300], [330, 90, 220])
    assert [(one.prior, one.current, one.doubt) for one in found] == [(2, 0, ""), (0, 1, ""), (1, 2, "")]


def test_what_lies_too_far_has_no_partner() -> None:
    assert match(places((0, 0, 0)), places((FURTHEST_MM + 1, 0, 0)), [100], [100]) == []
    assert match(places(), places((0, 0, 0)), [], [100]) == []
    assert match(places((0, 0, 0)), places(), [100], []) == []


def test_two_that_are_as_near_are_flagged() -> None:
    found = match(places((0, 0, 0)), places((2, 0, 0), (-2.5, 0, 0)), [100], [100, 110])
    assert len(found) == 1 and "as near" in found[0].doubt
    found = match(places((2, 0, 0), (-2.5, 0, 0)), places((0, 0, 0)), [100, 110], [100])
    assert len(found) == 1 and "as near" in found[0].doubt


def test_size_decides_between_places_that_are_alike() -> None:
    (found,) = match(places((0, 0, 0)), places((3, 0, 0), (-3, 0, 0)), [100], [4000, 120])
    assert found.current == 1


@pytest.mark.parametrize(("mm", "times", "words"), [(9, 1, "9 mm apart"), (0, 20, "size"), (0, 1 / 20, "size")])
def test_what_is_far_or_of_another_size_is_flagged(mm: float, times: float, words: str) -> None:
    (found,) = match(places((0, 0, 0)), places((mm, 0, 0)), [100], [100 * times])
    assert words in found.doubt


def test_the_users_word_holds() -> None:
    before, after = places((0, 0, 0), (30, 0, 0)), places((0, 0, 0), (30, 0, 0))
    found = match(before, after, [100, 100], [100, 100], {0: 1, 1: None})
    assert [(one.prior, one.current, one.doubt) for one in found] == [(1, 0, "")]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(0, 6))
def test_no_nodule_is_paired_twice_and_both_ways_agree(seed: int, some: int, others: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.uniform(0, 30, (some, 3)), rng.uniform(0, 30, (others, 3))
    sizes, later = np.exp(rng.uniform(3, 8, some)), np.exp(rng.uniform(3, 8, others))
    found = match(before, after, list(sizes), list(later))
    assert len({one.prior for one in found}) == len({one.current for one in found}) == len(found)
    assert all(one.distance_mm <= FURTHEST_MM and math.isfinite(one.distance_mm) for one in found)
    back = match(after, before, list(later), list(sizes))
    assert {(one.current, one.prior) for one in back} == {(one.prior, one.current) for one in found}
