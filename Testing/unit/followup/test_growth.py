"""What a follow-up would tell wrongly of one nodule if its growth, limits or doubling time were wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from NoduleRiskLib.followup.growth import Growth, Size, growth
from NoduleRiskLib.guidelines import Axes

DAY, LATER = date(2026, 1, 5), date(2026, 5, 5)


def size(volume: float, repeatability: float | None = 10.0, **more: object) -> Size:
    """A round nodule of that volume (mm3)."""
    diameter = (volume * 1.90986) ** (1 / 3)
    return replace(Size(diameter, diameter, diameter, volume, repeatability_percent=repeatability), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "days", "kind", "doubling"),
    [
        # Published: 200 to 450 mm3 in 30 days doubles in 25.6 days.
        (200, 450, 30, "growing", 25.6),
        (113.1, 268.1, 90, "growing", 72.3),
        (100, 124, 100, "stable", None),
        (100, 126, 100, "growing", 299.9),
        (100, 81, 100, "stable", None),
        (100, 79, 100, "shrinking", None),
        (100, 100, 100, "stable", None),
    ],
)
def test_growth_counts_from_a_quarter_of_the_volume(
    before: float, after: float, days: float, kind: str, doubling: float | None
) -> None:
    told = growth(size(before), size(after), days, DAY, LATER)
    assert told.kind == kind
    assert told.doubling_time_days == (None if doubling is None else pytest.approx(doubling, abs=0.1))
    assert told.volume_change_percent == pytest.approx(100 * (after / before - 1))


@pytest.mark.parametrize("side", ["before", "after"])
def test_what_cannot_be_measured_again_is_no_growth(side: str) -> None:
    poor = {side: 40.0}
    before, after = size(100, poor.get("before", 10)), size(135, poor.get("after", 10))
    told = growth(before, after, 100)
    assert told.kind == "stable" and told.doubling_time_days is None
    assert "No measurable growth" in told.sentence and "40 %" in told.sentence
    assert growth(size(100), size(135), 100).kind == "growing"
    assert growth(size(100, None), size(135, None), 100).kind == "growing"


def test_what_shrinks_and_grows_again_is_told_both_ways_alike() -> None:
    for first, last in ((100.0, 126.0), (100.0, 124.0)):
        there, back = growth(size(first), size(last), 90).kind, growth(size(last), size(first), 90).kind
        assert (there, back) in {("growing", "shrinking"), ("stable", "stable")}


def test_new_and_resolved_nodules_have_no_change() -> None:
    new, gone = growth(None, size(100), 120, DAY, LATER), growth(size(100), None, 120, DAY, LATER)
    assert (new.kind, new.comparison, gone.kind, gone.comparison) == ("new", "new", "resolved", "gone")
    for one in (new, gone):
        assert one.volume_change_percent is one.doubling_time_days is None
    assert new.sentence.startswith("New") and gone.sentence.startswith("Resolved")
    assert new.earlier() is None


def test_without_dates_there_is_growth_but_no_doubling_time() -> None:
    told = growth(size(100), size(200))
    assert told.kind == "growing"
    assert told.doubling_time_days is None and told.earlier() is None
    assert "no doubling time" in told.sentence


def test_subsolid_nodules_are_weighed() -> None:
    before = size(100, mass_mg=40.0, solid_part=Axes(0, 0))
    after = size(150, mass_mg=80.0, solid_part=Axes(3, 2))
    told = growth(before, after, 100)
    assert told.mass_change_percent == pytest.approx(100)
    assert told.mass_doubling_time_days == pytest.approx(100)
    assert "Mass +100 %" in told.sentence
    assert growth(size(100), size(150), 100).mass_change_percent is None


def test_guidelines_get_the_earlier_nodule() -> None:
    before = size(100, solid_part=Axes(0, 0))
    earlier = growth(before, size(150), 90).earlier()
    assert earlier is not None
    assert (earlier.days, earlier.volume_mm3, earlier.solid_part) == (90, 100, Axes(0, 0))
    assert earlier.size.long_mm == before.long_axis_mm


@pytest.mark.parametrize(
    "told",
    [
        growth(size(100, mass_mg=40.0, solid_part=Axes(3, 2)), size(150, unsure=True), 90, DAY, LATER),
        growth(None, size(150)),
        growth(size(150), None, 3),
    ],
)
def test_what_is_kept_comes_back_equal(told: Growth) -> None:
    values = json.loads(json.dumps(told.to_dict()))
    assert Growth.from_dict(values) == told
    assert values["sentence"] == told.sentence
