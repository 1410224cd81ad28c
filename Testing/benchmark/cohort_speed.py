"""What a cohort costs against a plain loop, and what more workers and more series at a time bring.

``python -m Testing.benchmark.cohort_speed`` is the plain loop: series (JSON, one a line) in, the moments at which each
was done out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from NoduleRiskLib import __version__
from NoduleRiskLib.cohort.data_set import DataSet
from NoduleRiskLib.cohort.demo import NODULES
from NoduleRiskLib.cohort.grading import Wanted, graded
from NoduleRiskLib.cohort.manifest import Series
from NoduleRiskLib.cohort.running import run
from NoduleRiskLib.imaging.volume import Volume, write_nrrd
from NoduleRiskLib.networks import model_package
from NoduleRiskLib.phantom.chest_ct import chest_ct
from NoduleRiskLib.results import read_cohort

from .timing import Figure, Part, markdown

CTS, FEW = 60, 32
#: So many phantoms are made, which takes seconds; the other CTs are these with noise of their own.
PHANTOMS = 6


@dataclass
class Course:
    """When each series was done (s from the start)."""

    begun: float = field(default_factory=time.monotonic)
    times: list[float] = field(default_factory=list)

    def __call__(self, row: dict[str, Any]) -> None:
        self.times.append(time.monotonic() - self.begun)

    def seconds_a_series(self, at_a_time: int = 1) -> float:
        """Without the start: from the moment when as many were done as are begun at a time, to the last."""
        return (self.times[-1] - self.times[at_a_time - 1]) / (len(self.times) - at_a_time)


#: What grades series, and how many it begins at a time.
Way = tuple[Callable[[Sequence[Series], Path], Course], int]


def speed(folder: Path) -> Part:
    """One and two workers, one and two plain loops over the same CTs."""
    ways: dict[str, Way] = {
        "plain loop": (partial(loops, 1), 1),
        "two plain loops side by side": (partial(loops, 2), 2),
        "one worker": (partial(course, workers=1), 1),
        "two workers": (partial(course, workers=2), 2),
    }
    lines, rate = raced(folder, CTS, ways)
    reached = rate["one worker"] / rate["two workers"]
    there_is = rate["plain loop"] / rate["two plain loops side by side"]
    figures = (
        Figure("two workers against one", reached, 1.7, "times", more=True),
        Figure("the same of two plain loops: what two processes reach on this machine", there_is, 1.7, "times", True),
        Figure("two workers' part of what two processes reach", 100 * reached / there_is, 100, "%", more=True),
        Figure("one worker against a plain loop", 100 * (rate["one worker"] / rate["plain loop"] - 1), 10, "% longer"),
    )
    return Part(f"{CTS} synthetic CTs with five nodules each", lines, figures)


def together(folder: Path) -> Part:
    """A worker that grades up to four series in one go, against one that grades them one by one."""
    ways: dict[str, Way] = {
        "one at a time": (partial(course, workers=1, together=1), 1),
        "up to four at a time": (partial(course, workers=1, together=4), 4),
    }
    lines, rate = raced(folder, FEW, ways)
    how_much = rate["one at a time"] / rate["up to four at a time"]
    differ = differences(*(read_cohort(folder / f"out-{number}-0").nodules for number in range(2)))
    figures = (
        Figure("one at a time against up to four, on a CPU", how_much, 0.95, "times", more=True),
        Figure("grades that differ by more than 0.00001", differ, 0, ""),
    )
    return Part(f"{FEW} synthetic CTs with five nodules each, one worker", lines, figures)


def raced(folder: Path, count: int, ways: dict[str, Way]) -> tuple[str, dict[str, float]]:
    """A table of ways, and seconds a series: half of the CTs in this order, the rest in the opposite one.

    A load that grows or shrinks meanwhile then meets all alike.
    """
    series = chests(folder / "cts", count)
    half = count // 2
    took: dict[str, list[Course]] = {name: [] for name in ways}
    for turn, order in enumerate((list(ways), list(ways)[::-1])):
        for name in order:
            out = folder / f"out-{list(ways).index(name)}-{turn}"
            took[name].append(ways[name][0](series[turn * half : (turn + 1) * half], out))
    each = {name: [one.seconds_a_series(ways[name][1]) for one in of] for name, of in took.items()}
    rate = {name: sum(of) / len(of) for name, of in each.items()}
    lines = [
        [
            name,
            ", ".join(f"{one.times[0]:.1f} s" for one in of),
            f"{rate[name]:.2f} s ({', '.join(f'{one:.2f}' for one in each[name])})",
            f"{sum(one.times[-1] for one in of):.0f} s",
        ]
        for name, of in took.items()
    ]
    return markdown(["way", "until the first is done", "a series after that (both halves)", "in all"], lines), rate


def course(series: Sequence[Series], out: Path, workers: int, together: int | None = None) -> Course:
    """A cohort, into a data set of its own."""
    with DataSet(out, {"NoduleRisk": __version__}) as data_set:
        took = Course()
        run(series, data_set, wanted(), workers=workers, together=together, done=took)
    return took


def loops(count: int, series: Sequence[Series], out: Path) -> Course:
    """So many plain loops side by side, each a process of its own with its share of the series."""
    took = Course()
    begun = [
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    for number, process in enumerate(begun):
        assert process.stdin is not None
        process.stdin.write("\n".join(one.to_json() for one in series[number::count]))
        process.stdin.close()
    # The clock is the same for all processes.
    done = [moment for process in begun if process.stdout for moment in json.load(process.stdout)]
    took.times = sorted(moment - took.begun for moment in done)
    assert len(took.times) == len(series) and not any(process.wait() for process in begun)
    return took


def chests(folder: Path, count: int) -> list[Series]:
    """Synthetic chest CTs with five nodules each."""
    folder.mkdir(parents=True, exist_ok=True)
    phantoms = [chest_ct(seed) for seed in range(min(PHANTOMS, count))]
    made = []
    for number in range(count):
        volume, nodules = phantoms[number % PHANTOMS]
        noise = np.random.default_rng(number).integers(-4, 5, volume.array.shape, np.int16)
        file = folder / f"chest-{number:03d}.nrrd"
        write_nrrd(file, Volume(volume.array + noise, volume.ijk_to_ras))
        made.append(Series(file.stem, str(file), placed=tuple(one.point for one in nodules[:NODULES])))
    return made


def differences(these: Any, those: Any) -> int:
    """Numbers of two tables of nodules that differ by more than rounding."""
    left, right = (one.set_index(["id", "number"]).sort_index().select_dtypes("number") for one in (these, those))
    return int((~np.isclose(left, right, rtol=1e-5, atol=1e-5, equal_nan=True)).sum())


def wanted() -> Wanted:
    """The shipped package on the CPU."""
    return Wanted(str(model_package.SHIPPED), model_package.load().digest, "cpu")


def main() -> None:
    """The plain loop."""
    import torch

    from NoduleRiskLib import Assessor

    series = [Series.from_json(line) for line in sys.stdin]
    torch.set_num_threads(1)
    assessor, told = Assessor(None, "cpu"), []
    for one in series:
        assert graded(assessor, one, wanted()).series["status"] == "done"
        told.append(time.monotonic())
    print(json.dumps(told))


if __name__ == "__main__":
    main()
