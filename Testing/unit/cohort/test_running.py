"""What a cohort would lose with a worker: on a real Ray, with workers that grade nothing and die on demand."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from NoduleRiskLib.cohort import running
from NoduleRiskLib.cohort.data_set import DataSet
from NoduleRiskLib.cohort.grading import LARGE, LOST, Graded, Grader, MemoryShortError, Wanted, series_row
from NoduleRiskLib.cohort.manifest import Series
from NoduleRiskLib.cohort.memory import WORKER_MB
from NoduleRiskLib.results import read_cohort

#: What becomes of a series of that name.
DIES_ONCE, DIES, SHORT_ONCE, SHORT, BIG = "dies-once", "dies", "short-once", "short", "big"


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One Ray for all tests here: it takes seconds to start."""
    with running.ray_running(None, 2) as started:
        yield started


def test_there_are_no_more_workers_than_processors(ray: Any) -> None:
    """A third on two processors holds 2.7 GB more and makes nothing faster."""
    assert running.crew_of(ray.nodes(), 1, "cpu").count == max(2, running.processors())


def toy(folder: Path) -> type:
    """A worker without networks; defined in a function, it travels to the workers' processes by itself."""

    class Toy(Grader):
        def __init__(self, wanted: Wanted, starts: Any) -> None:
            self._keep(wanted, starts)

        def _grade(self, series: Series) -> Graded:
            # So that others are in the worker when it dies.
            time.sleep(0.3 * (self._wanted.together > 1))
            with (folder / "inside").open("a") as file:
                file.write(f"{self._room._inside}")
            first = not (folder / series.id).exists()
            with (folder / series.id).open("a") as file:
                file.write("x")
            kind = series.id.partition("_")[0]
            if kind == DIES or (kind == DIES_ONCE and first):
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == SHORT or (kind == SHORT_ONCE and first):
                raise MemoryShortError("no more")
            if kind == BIG and self._wanted.room_mb < WORKER_MB + 3000:
                return Graded(series_row(series, self._wanted, status=LARGE, needed_mb=WORKER_MB + 3000), [])
            row = series_row(series, self._wanted, status="done", nodules=1, needed_mb=self._wanted.room_mb)
            return Graded(row, [{"id": series.id, "number": 1}])

    return Toy


@pytest.mark.parametrize(
    ("together", "kinds"),
    [
        (1, (*["good"] * 12, DIES_ONCE, DIES, SHORT_ONCE, SHORT, BIG)),
        (4, (*["good"] * 12, DIES, SHORT_ONCE)),
    ],
)
def test_every_series_is_one_row_whatever_its_worker_does(
    ray: Any, tmp_path: Path, wanted: Wanted, monkeypatch: pytest.MonkeyPatch, together: int, kinds: tuple[str, ...]
) -> None:
    tries = tmp_path / "tries"
    tries.mkdir()
    monkeypatch.setattr(running, "Grader", toy(tries))
    series = [Series(f"{kind}_{number}", "/ct") for number, kind in enumerate(kinds)]
    told: list[str] = []
    with DataSet(tmp_path / "out", {}) as data_set:
        running.run(series, data_set, wanted, None, 2, together, lambda row: told.append(row["id"]))
    cohort = read_cohort(tmp_path / "out")
    assert sorted(cohort.series.id) == sorted(told) == sorted(one.id for one in series)
    by_kind = {one.id.partition("_")[0]: one for one in cohort.series.itertuples()}
    assert {kind for kind, row in by_kind.items() if row.status == "failed"} == {DIES, SHORT} & set(kinds)
    assert by_kind[DIES].sentence == LOST
    if SHORT in kinds:
        assert by_kind[SHORT].sentence.startswith("Memory ran short three times")
    if BIG in kinds:
        # The one that needs more came last, to a worker that may take as much.
        assert by_kind[BIG].needed_mb == pytest.approx(WORKER_MB + 3000)
    assert Counter(cohort.nodules.id) == Counter(one.id for one in cohort.series.itertuples() if one.status == "done")
    # How often more than they are begun anyway: nothing more than three times.
    least = {DIES_ONCE: 2, DIES: 3, SHORT_ONCE: 2, SHORT: 3, BIG: 2, "good": 1}
    more = {one.id: len((tries / one.id).read_text()) - least[one.id.partition("_")[0]] for one in series}
    assert more[next(name for name in more if name.startswith(f"{DIES}_"))] == 0
    # A neighbour of one that dies was in its worker once: what was begun before is alone.
    assert set(more.values()) <= ({0} if together == 1 else {0, 1})
    assert int(max((tries / "inside").read_text())) == together


def test_ray_tells_nobody_that_it_is_used(ray: Any) -> None:
    from ray._common.usage import usage_lib

    assert not usage_lib.usage_stats_enabled()
