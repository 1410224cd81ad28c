"""What a series would suffer from those that are graded with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from NoduleRiskLib import assessor as assessors
from NoduleRiskLib.assessor import Assessor
from NoduleRiskLib.cohort.grading import Graded, Wanted, graded
from NoduleRiskLib.cohort.manifest import Series
from NoduleRiskLib.cohort.memory import WORKER_MB
from NoduleRiskLib.cohort.together import Room, Together
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.volume import Volume
from Testing.benchmark.cohort_series import small_series

#: What is measured anew each time.
OF_THE_RUN = {"seconds", "read_seconds", "memory_mb", "finished"}


def until(true: Callable[[], bool]) -> None:
    """Wait for another thread; a hang is a failure."""
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("It never came.")


class Inside:
    """Threads in a room, each of which stays until it is told to go."""

    def __init__(self, room: Room) -> None:
        self._room, self._go, self._threads = room, dict[str, threading.Event](), dict[str, threading.Thread]()
        self.here: set[str] = set()

    def comes(self, name: str, needed_mb: float = 0.0, alone: bool = False) -> None:
        self._go[name] = threading.Event()
        self._threads[name] = threading.Thread(target=self._stay, args=(name, needed_mb, alone), daemon=True)
        before = self._room._came
        self._threads[name].start()
        until(lambda: self._room._came > before)

    def goes(self, name: str) -> None:
        self._go[name].set()
        self._threads[name].join(60)

    def _stay(self, name: str, needed_mb: float, alone: bool) -> None:
        with self._room.entered(alone), self._room.memory(needed_mb):
            self.here.add(name)
            self._go[name].wait(60)
            self.here.remove(name)


def test_what_was_begun_before_is_alone_and_its_turn_comes() -> None:
    inside = Inside(Room(5000))
    inside.comes("a")
    inside.comes("b")
    until(lambda: inside.here == {"a", "b"})
    inside.comes("suspect", alone=True)
    inside.comes("c")
    inside.goes("a")
    # Neither beside b, nor passed by those that come later.
    assert inside.here == {"b"}
    inside.goes("b")
    until(lambda: inside.here == {"suspect"})
    time.sleep(0.05)
    assert inside.here == {"suspect"}
    inside.goes("suspect")
    until(lambda: inside.here == {"c"})
    inside.goes("c")


def test_no_more_is_read_than_the_memory_holds() -> None:
    inside = Inside(Room(WORKER_MB + 1000))
    inside.comes("a", WORKER_MB + 600)
    until(lambda: inside.here == {"a"})
    inside.comes("b", WORKER_MB + 600)
    inside.comes("c", WORKER_MB + 300)
    until(lambda: inside.here == {"a", "c"})
    inside.goes("a")
    until(lambda: inside.here == {"b", "c"})
    inside.comes("as much as there is", WORKER_MB + 1000)
    inside.goes("b")
    assert inside.here == {"c"}
    inside.goes("c")
    until(lambda: inside.here == {"as much as there is"})
    inside.goes("as much as there is")


class Slow:
    """An assessor that says who was graded with whom, and waits for leave."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.leave = threading.Semaphore(0)

    def marked(self, ct: str, points: Any, outlines: Any) -> Any:
        return SimpleNamespace(name=ct, prepared=SimpleNamespace(volume=ct))

    def assess_all(self, cts: Sequence[Any], heatmaps: bool) -> list[list[str]]:
        self.rounds.append([one.name for one in cts])
        assert self.leave.acquire(timeout=60)
        if any("bad" in one.name for one in cts):
            raise NoduleRiskError("It is bad.")
        return [[f"{one.name}'s"] for one in cts]


def test_those_that_wait_are_graded_in_one_go_and_nobody_waits_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("NoduleRiskLib.imaging.lung_mask.lung_mask", lambda volume: None)
    slow = Slow()
    together = Together(slow)  # type: ignore[arg-type]
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(together.assess, "first")
        until(lambda: slow.rounds == [["first"]])
        others = {}
        for name in ("a", "bad", "c"):
            others[name] = pool.submit(together.assess, name)
            until(lambda: len(together._waiting) == len(others))
        slow.leave.release()
        assert first.result(60) == ["first's"]
        for _ in range(4):
            slow.leave.release()
        # One round for the three, which fails; then each by itself.
        assert others["a"].result(60) == ["a's"] and others["c"].result(60) == ["c's"]
        with pytest.raises(NoduleRiskError, match="It is bad"):
            others["bad"].result(60)
    assert slow.rounds == [["first"], ["a", "bad", "c"], ["a"], ["bad"], ["c"]]


@pytest.fixture(scope="module")
def assessor() -> Iterator[Assessor]:
    torch.set_num_threads(1)
    yield Assessor(None, "cpu")


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Series]:
    """Three that can be graded, and one whose point lies outside; one of the three has two points."""
    made = small_series(tmp_path_factory.mktemp("series"), 3)
    (point,) = made[1].placed
    made[1] = replace(made[1], placed=(point, Point("beside", (point.ras[0] + 4, *point.ras[1:]))))
    return [*made, replace(made[0], id="outside", placed=(Point("far away", (900.0, 0.0, 0.0)),))]


def in_one_go(assessor: Assessor, series: Sequence[Series], wanted: Wanted, refused: int) -> list[Graded]:
    """Graded by threads of which none begins before all are read."""
    together, room = Together(assessor), Room(wanted.room_mb)

    def one(single: Series) -> Graded:
        with room.entered():
            return graded(together, single, wanted, room)

    with ThreadPoolExecutor(len(series)) as pool:
        with together._grading:
            told = [pool.submit(one, single) for single in series]
            until(lambda: len(together._waiting) == len(series) - refused)
        return [single.result() for single in told]


def assert_same(these: Sequence[Graded], those: Sequence[Graded]) -> None:
    for this, that in zip(these, those, strict=True):
        for left, right in zip([this.series, *this.nodules], [that.series, *that.nodules], strict=True):
            assert set(left) == set(right)
            for name in set(left) - OF_THE_RUN:
                # Numbers of one nodule among others differ in the last digit of float32.
                wished = pytest.approx(right[name], rel=1e-5, abs=1e-5) if _number(right[name]) else right[name]
                assert left[name] == wished, name


def _number(value: Any) -> bool:
    return isinstance(value, float)


def test_series_graded_in_one_go_get_the_rows_that_they_get_alone(
    assessor: Assessor, series: list[Series], wanted: Wanted
) -> None:
    alone = [graded(assessor, one, wanted) for one in series]
    assert [one.series["status"] for one in alone] == ["done", "done", "done", "refused"]
    found = in_one_go(assessor, series, wanted, refused=1)
    assert_same(found, alone)
    assert "far away" in found[3].series["sentence"]


def test_one_that_spoils_the_grading_of_all_is_the_only_one_that_fails(
    assessor: Assessor, series: list[Series], wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [graded(assessor, one, wanted) for one in series[:3]]
    solid_part, graded_at_once = assessors.solid_part, []

    def spoiled(volume: Volume, outline: Any) -> Any:
        if abs(outline.centre_ras - series[1].placed[0].ras).max() < 9:
            raise IndexError("a bug")
        return solid_part(volume, outline)

    real = assessor.assess_all
    monkeypatch.setattr(assessors, "solid_part", spoiled)
    monkeypatch.setattr(assessor, "assess_all", lambda cts, *more: graded_at_once.append(len(cts)) or real(cts, *more))
    first, second, third = in_one_go(assessor, series[:3], wanted, refused=0)
    assert graded_at_once == [3, 1, 1, 1]
    assert (second.series["status"], second.series["sentence"]) == ("failed", "IndexError: a bug")
    assert second.nodules == []
    assert_same([first, third], [alone[0], alone[2]])
    # Of the one that could be graded nothing is kept that belongs to another.
    assert {row["id"] for one in (first, third) for row in one.nodules} == {series[0].id, series[2].id}


def test_outlines_are_the_same_voxel_for_voxel(assessor: Assessor, series: list[Series]) -> None:
    marked = [assessor.marked(one.ct, one.placed) for one in series[:3]]
    for ct, found in zip(marked, assessor.assess_all(marked, heatmaps=False), strict=True):
        alone = list(assessor.assess(ct.prepared, [one.point for one in ct.marked], heatmaps=False))
        assert [one.point for one in found] == [one.point for one in alone]
        assert [one.warnings for one in found] == [one.warnings for one in alone]
        for one, other in zip(found, alone, strict=True):
            assert (one.nodule.outline.probability.array == other.nodule.outline.probability.array).all()
            assert (one.nodule.stack.pixels == other.nodule.stack.pixels).all()
