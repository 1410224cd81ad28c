"""What a screening reader would lose if Lung-RADS v2022 rounded or compared sizes in another way."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from NoduleRiskLib.guidelines import Axes, Inputs
from NoduleRiskLib.guidelines.lung_rads import lung_rads
from NoduleRiskLib.guidelines.questions import LYMPH_NODE

Given = Callable[..., Inputs]
ORDER = ["1", "2", "3", "4A", "4B", "4X"]


def category(inputs: Inputs) -> str:
    conclusion = lung_rads(inputs).conclusion
    assert conclusion is not None, lung_rads(inputs)
    return conclusion.category


@pytest.mark.parametrize(
    ("long", "short", "shown"),
    [
        (6.0, 5.8, "2"),
        # 5.95 is 6.0 to one decimal.
        (6.0, 5.9, "3"),
        # Each axis is rounded first: 6.1 and 5.8.
        (6.05, 5.75, "3"),
        (6.04, 5.84, "2"),
        (15.0, 14.8, "4A"),
        (15.0, 14.9, "4B"),
    ],
)
def test_diameters_are_rounded_to_one_decimal(screened: Given, long: float, short: float, shown: str) -> None:
    assert category(screened(size=Axes(long, short), nodule_type="solid")) == shown


TABLES = st.sampled_from(
    [("solid", change) for change in ("baseline", "new", "growing")]
    + [("part-solid", change) for change in ("baseline", "new")]
    + [("non-solid", change) for change in ("baseline", "new", "growing", "stable")]
)


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@drawn(TABLES, st.floats(1, 60), st.floats(0, 30), st.floats(0, 1))
def test_bigger_is_never_lower(given: Given, table: tuple[str, str], mm: float, more: float, part: float) -> None:
    kind, change = table
    found = [
        category(given(setting="screening", size=size, solid_part=part * size, nodule_type=kind, comparison=change))
        for size in (mm, mm + more)
    ]
    assert ORDER.index(found[0]) <= ORDER.index(found[1])


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@drawn(st.sampled_from(["baseline", "new", "growing"]), st.floats(6, 30), st.floats(0, 1), st.floats(0, 1))
def test_more_of_it_solid_is_never_lower(given: Given, change: str, mm: float, part: float, more: float) -> None:
    found = [
        category(
            given(
                setting="screening",
                size=mm,
                solid_part=mm * share,
                nodule_type="part-solid",
                comparison=change,
                solid_change="growing",
            )
        )
        for share in sorted((part, more))
    ]
    assert ORDER.index(found[0]) <= ORDER.index(found[1])


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@drawn(TABLES, st.integers(10, 500))
def test_mm_and_mm3_agree_for_balls(given: Given, table: tuple[str, str], tenths: int) -> None:
    """Diameters to one decimal, as they are reported: between two of them rounding may decide otherwise."""
    kind, change = table
    if kind == "part-solid":
        kind = "solid"
    mm = tenths / 10
    answer = lung_rads(
        given(
            setting="screening",
            size=mm,
            volume_mm3=math.pi * mm**3 / 6,
            nodule_type=kind,
            comparison=change,
        )
    )
    assert answer.conclusion is not None
    assert not [note for note in answer.conclusion.notes if "volume" in note]


def test_where_the_volume_says_otherwise_a_note_tells(screened: Given) -> None:
    """A long thin nodule: 8.0 mm on average, and the volume of a ball of 7 mm."""
    conclusion = lung_rads(screened(size=Axes(12, 4), volume_mm3=180.0, nodule_type="solid")).conclusion
    assert conclusion is not None and conclusion.category == "4A"
    assert "By its volume of 180 mm3 it would be category 3." in conclusion.notes


@pytest.mark.parametrize(
    ("values", "mm3", "expected"),
    [
        ({"comparison": "baseline"}, 112, "2"),
        ({"comparison": "baseline"}, 113, "3"),
        ({"comparison": "baseline"}, 267, "3"),
        ({"comparison": "baseline"}, 268, "4A"),
        ({"comparison": "baseline"}, 1766, "4A"),
        ({"comparison": "baseline"}, 1767, "4B"),
        ({"comparison": "new"}, 33, "2"),
        ({"comparison": "new"}, 34, "3"),
        ({"comparison": "new"}, 112, "3"),
        ({"comparison": "new"}, 113, "4A"),
        ({"comparison": "new"}, 267, "4A"),
        ({"comparison": "new"}, 268, "4B"),
        ({"comparison": "growing"}, 267, "4A"),
        ({"comparison": "growing"}, 268, "4B"),
        ({"nodule_type": "non-solid"}, 14136, "2"),
        ({"nodule_type": "non-solid"}, 14137, "3"),
        ({"nodule_type": "non-solid", "comparison": "new"}, 14136, "2"),
        ({"nodule_type": "non-solid", "comparison": "new"}, 14137, "3"),
        ({"nodule_type": "non-solid", "comparison": "growing"}, 14136, "2"),
        ({"nodule_type": "non-solid", "comparison": "growing"}, 14137, "3"),
        ({"nodule_type": "part-solid"}, 112, "2"),
        ({"nodule_type": "part-solid"}, 113, "3"),
        ({"nodule_type": "part-solid", "comparison": "new"}, 112, "3"),
        ({"nodule_type": "part-solid", "comparison": "new"}, 113, "4A"),
        ({"lesion": LYMPH_NODE}, 523, "2"),
        ({"lesion": LYMPH_NODE}, 524, "4A"),
        # 112.5 mm3 is reported as 113.
        ({"comparison": "baseline"}, 112.5, "3"),
    ],
)
def test_volumes_have_thresholds_of_their_own(
    screened: Given, values: dict[str, str], mm3: float, expected: str
) -> None:
    inputs = screened(**{"nodule_type": "solid", "solid_part": 3.0, **values}, volume_mm3=float(mm3))
    assert category(inputs) == expected
