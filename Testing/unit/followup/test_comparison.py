"""What a radiologist would be told wrongly of two examinations: growth, new, gone, mixed up, or without a warning."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from test_results import found, nodule, scan

from NoduleRiskLib.cli.followup_table import on_terminal
from NoduleRiskLib.errors import InputWarning, NoduleRiskError
from NoduleRiskLib.followup import comparison, page, tables
from NoduleRiskLib.followup.alignment import Alignment
from NoduleRiskLib.followup.comparison import Examination, FollowUp, follow_up
from NoduleRiskLib.imaging.dicom_facts import DicomFacts, acquired
from NoduleRiskLib.imaging.outline import measure
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.results.assessment import Assessment

Ball = tuple[tuple[float, float, float], float]
HERE, THERE, ELSEWHERE = (40.0, 40.0, 40.0), (80.0, 40.0, 40.0), (40.0, 85.0, 45.0)
GENERIC = found(nodule(scan()))


def chest(*balls: Ball, day: str = "") -> Volume:
    """Lung with curved vessels above balls of tissue, 1 mm voxels, RAS; of a day like 20260105."""
    places = np.stack(np.indices((80, 120, 120))[::-1], -1).astype(float)
    hu = np.full((80, 120, 120), -850.0)
    for bend in (0.0, 2.0, 4.0):
        line = places[..., 1] - 60 - 20 * np.sin(places[..., 0] / 17 + bend)
        hu[(np.abs(line) < 2) & (np.abs(places[..., 2] - 58 - 6 * np.cos(places[..., 0] / 11 + bend)) < 2)] = 40
    for place, radius in balls:
        hu[np.linalg.norm(places - place, axis=-1) < radius] = 40
    hu += np.random.default_rng(len(balls) + len(day)).normal(0, 20, hu.shape)
    return Volume(np.rint(hu).astype(np.int16), np.eye(4), f"CT {day}", acquired=acquired([day]))


def at(volume: Volume, point: Point, doubt: str = "") -> Assessment:
    """What is dense around a point, as if a network had outlined it; a tiny ball that is doubtful where nothing is."""
    stack = cut(volume, np.array(point.ras), Layout("outline", slices=31))
    far = np.linalg.norm(stack.pixels_ras() - point.ras, axis=-1)
    inside = (far < 9) & (stack.pixels > -400)
    seen = bool(inside[far < 2].any())
    outline = measure(stack, (inside if seen else far < 1.5).astype(np.float32))
    assert outline is not None
    one = replace(GENERIC, outline=replace(outline, unsure=not seen), repeatability=(8.0, 20.0))
    warned = (InputWarning(f"{doubt}!", "nodule", doubt),) if doubt else ()
    return Assessment(point, warned, "toy", one)


def assess(volume: Volume, points: Sequence[Point]) -> list[Assessment]:
    return [at(volume, point) for point in points]


def examination(volume: Volume, **places: tuple[float, float, float]) -> Examination:
    return Examination(volume, tuple(at(volume, Point(label, ras)) for label, ras in places.items()))


@pytest.fixture(autouse=True)
def _aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lungs are aligned elsewhere: here there are none."""
    monkeypatch.setattr(comparison, "align", lambda prior, current: Alignment(np.eye(4), 0.97))


@pytest.fixture
def followed() -> FollowUp:
    prior = chest((HERE, 4), (THERE, 4), day="20260105")
    current = chest((HERE, 6), (ELSEWHERE, 5), day="20260505")
    return follow_up(examination(prior, a=HERE, b=THERE), examination(current, A=HERE, N=ELSEWHERE), assess)


def test_grown_new_and_gone_nodules_are_told(followed: FollowUp) -> None:
    assert followed.days == 120 and followed.warnings == ()
    assert {one.label: one.growth and one.growth.kind for one in followed.nodules} == {
        "A": "growing",
        "N": "new",
        "b": "resolved",
    }
    grown = followed.nodules[0].growth
    assert grown is not None and grown.doubling_time_days == pytest.approx(
        120 * np.log(2) / np.log(6**3 / 4**3), rel=0.1
    )
    assert (grown.prior_date, grown.current_date) == (date(2026, 1, 5), date(2026, 5, 5))
    assert all(one.doubts == () for one in followed.nodules)


def test_a_nodule_that_nobody_marked_is_found_at_its_place() -> None:
    prior, current = chest((HERE, 5), (THERE, 4)), chest((HERE, 5), (THERE, 4))
    current = replace(current, array=current.array + np.int16(1))
    told = follow_up(Examination(prior), examination(current, A=HERE, B=THERE), assess, days=90)
    assert [(one.located, one.growth and one.growth.kind) for one in told.nodules] == [("prior", "stable")] * 2
    told = follow_up(examination(prior, A=HERE, B=THERE), Examination(current), assess, days=90)
    assert [(one.label, one.located) for one in told.nodules] == [("A", "current"), ("B", "current")]


def test_what_is_found_at_a_place_but_of_another_size_is_flagged() -> None:
    prior, current = chest((HERE, 2.6)), chest((HERE, 7))
    (told,) = follow_up(Examination(prior), examination(current, A=HERE), assess, days=90).nodules
    assert told.located == "prior" and told.growth is not None and told.growth.kind == "growing"
    assert any("very different size" in doubt for doubt in told.doubts)


def test_what_lies_beside_a_place_is_not_the_nodule_but_told() -> None:
    beside = (HERE[0] + 4, HERE[1], HERE[2])
    for prior, current, kind in (
        (Examination(chest((beside, 2.6))), examination(chest((HERE, 7)), A=HERE), "new"),
        (examination(chest((HERE, 7)), A=HERE), Examination(chest((beside, 2.6))), "resolved"),
    ):
        (told,) = follow_up(prior, current, assess, days=90).nodules
        assert told.growth is not None and told.growth.kind == kind and told.located == ""
        assert told.doubts == (comparison.BESIDE,) and "4 mm from the place of A" in told.warnings[0].text


def test_outlines_of_different_shape_are_flagged() -> None:
    """Of one size, but one runs on to one side and the other to the other."""
    right, left = ((HERE[0] + way, HERE[1], HERE[2]) for way in (6, -6))
    prior, current = chest((HERE, 4), (right, 3.2)), chest((HERE, 4), (left, 3.2), day="20260505")
    (told,) = follow_up(examination(prior, A=HERE), examination(current, A=HERE), assess, days=90).nodules
    assert told.doubts == (comparison.OTHER_SHAPE,)


@pytest.mark.parametrize("why", ["vessel?", "outside the lungs"])
def test_what_is_doubtful_at_a_place_is_not_the_nodule(why: str) -> None:
    prior, current = chest((HERE, 5)), chest((HERE, 5), day="20260105")
    doubtful = lambda volume, points: [at(volume, point, why) for point in points]  # noqa: E731
    (told,) = follow_up(Examination(prior), examination(current, A=HERE), doubtful, days=90).nodules
    assert told.growth is not None and told.growth.kind == "new"


def test_a_place_that_the_other_ct_does_not_show_is_neither_new_nor_gone() -> None:
    current = chest((HERE, 5))
    below = Volume(current.array[:30], current.ijk_to_ras)
    for prior, now in (
        (Examination(below), examination(current, A=HERE)),
        (examination(current, A=HERE), Examination(below)),
    ):
        (told,) = follow_up(prior, now, assess, days=90).nodules
        assert told.growth is None and "outside" in told.sentence


def test_one_nodule_of_the_other_ct_is_not_found_twice() -> None:
    prior, current = chest((HERE, 5)), chest((HERE, 5), ((52, 40, 40), 4))
    told = follow_up(examination(prior, a=HERE), examination(current, A=HERE, B=(52.0, 40.0, 40.0)), assess, days=90)
    assert [one.growth and one.growth.kind for one in told.nodules] == ["stable", "new"]


def test_the_user_pairs_nodules(followed: FollowUp) -> None:
    prior, current = chest((HERE, 4), (THERE, 4)), chest((HERE, 6), (ELSEWHERE, 5))
    both = examination(prior, a=HERE, b=THERE), examination(current, A=HERE, N=ELSEWHERE)
    told = follow_up(*both, assess, days=90, pairs={"N": "b", "A": "a"})
    assert [(one.label, one.prior and one.prior.point.label) for one in told.nodules] == [("A", "a"), ("N", "b")]
    for pairs in ({"X": "a"}, {"A": "x"}, {"A": "a", "N": "a"}):
        with pytest.raises(NoduleRiskError):
            follow_up(*both, assess, days=90, pairs=pairs)


def test_what_the_user_says_is_new_is_not_looked_for() -> None:
    prior, current = chest((HERE, 5)), chest((HERE, 5), day="20260505")
    for given, kind in (({"A": ""}, "new"), ({}, "stable")):
        (told,) = follow_up(Examination(prior), examination(current, A=HERE), assess, days=90, pairs=given).nodules
        assert told.growth is not None and told.growth.kind == kind


def test_lungs_that_do_not_fit_make_every_match_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "align", lambda prior, current: Alignment(np.eye(4), 0.5))
    told = follow_up(examination(chest((HERE, 4)), a=HERE), examination(chest((HERE, 5)), A=HERE), assess, days=90)
    assert "do not fit" in told.warnings[0]
    assert told.nodules[0].doubts == (comparison.UNALIGNED,)


def test_what_makes_cts_hard_to_compare_is_told() -> None:
    prior, current = chest((HERE, 5)), chest((HERE, 5), day="20260505")
    thick = np.diag((1.0, 1.0, 2.0, 1.0))
    prior = replace(prior, ijk_to_ras=thick, dicom=DicomFacts(kernel="B30f", study={"PatientID": "1"}))
    current = replace(current, dicom=DicomFacts(kernel="B60f", study={"PatientID": "2"}))
    told = follow_up(Examination(prior), Examination(current), assess)
    words = " ".join(told.warnings)
    assert all(one in words for one in ("patient IDs", "slices", "B30f", "days"))


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [(0, "", ""), (-5, "", ""), (None, "20260505", "20260105"), (None, "20260105", "20260105")],
)
def test_days_that_make_no_sense_are_refused(days: float | None, first: str, last: str) -> None:
    prior, current = chest((HERE, 4), day=first), chest((HERE, 5), day=last)
    with pytest.raises(NoduleRiskError, match=r"days|made after"):
        follow_up(Examination(prior), Examination(current), assess, days=days)


def test_one_ct_is_not_compared_with_itself() -> None:
    volume = chest((HERE, 4))
    with pytest.raises(NoduleRiskError, match="the same"):
        follow_up(Examination(volume), Examination(replace(volume)), assess, days=9)


def test_tables_page_and_terminal_tell_the_same(followed: FollowUp) -> None:
    rows = {one["label"]: one for one in csv.DictReader(io.StringIO(tables.csv_text(followed)))}
    values = json.loads(tables.json_text(followed))
    assert set(rows) == {"A", "N", "b"} and len(values["nodules"]) == 3
    assert rows["A"]["kind"] == "growing" and rows["N"]["prior_label"] == "" and rows["b"]["diameter_after_mm"] == ""
    assert float(rows["A"]["doubling_time_days"]) == values["nodules"][0]["growth"]["doubling_time_days"]
    assert values["prior_date"] == "2026-01-05" and values["days"] == 120
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=100).print(on_terminal(followed))
    assert all(word in text.getvalue() for word in ("growing", "new", "resolved", "120 days"))
    drawn = page.page(chest(), chest(), followed)
    words = " ".join(one.get_text() for axes in drawn.axes for one in axes.texts)
    assert all(word in words for word in ("Growing", "New", "Resolved", "Research use only"))


def test_labels_that_are_formulas_stay_text(followed: FollowUp) -> None:
    evil = replace(followed, nodules=(replace(followed.nodules[0], label="=1+1"),))
    assert next(csv.DictReader(io.StringIO(tables.csv_text(evil))))["label"] == "'=1+1"
