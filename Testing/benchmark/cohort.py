"""``make cohort-trials``: what a cohort costs and what it survives, as Markdown.

``python -m Testing.benchmark.cohort [speed | together | kills | disk | thousand | nodes | memory ...]``
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from NoduleRiskLib.cohort.data_set import DataSet
from NoduleRiskLib.cohort.manifest import Series
from NoduleRiskLib.cohort.running import run
from NoduleRiskLib.results import read_cohort
from NoduleRiskLib.results.cohort_tables import DONE, REFUSED

from .cohort_series import manifest, small_series
from .cohort_speed import Course, speed, together, wanted
from .timing import Figure, Part, markdown

SMALL, MANY, BROKEN_EACH = 40, 1000, 20
SEED = 20


class Grown(Course):
    """A course, and the driver's memory (MB) when each series was done."""

    def __init__(self) -> None:
        super().__init__()
        self.memory_mb: list[float] = []

    def __call__(self, row: dict[str, Any]) -> None:
        super().__call__(row)
        self.memory_mb.append(resident_mb(os.getpid()))


def kills(folder: Path) -> Part:
    """SIGKILL of a worker, of the driver, and of both, at random times; in the end every series is there once."""
    series = small_series(folder / "cts", SMALL)
    rng = random.Random(SEED)
    lines, wrong = [], 0
    for what in ("a worker", "the driver", "a worker, then the driver"):
        out = folder / what.replace(" ", "-")
        seen, killed = Watched(out), 0
        with seen:
            while True:
                driver = started(folder, series, out)
                # Ten times in all: so often that most of the work is done between kills.
                if killed < 10 and wait_for_part(driver, out, rng.uniform(0, 12)):
                    if "worker" in what:
                        kill_worker(driver.pid, rng)
                    if "driver" in what:
                        time.sleep(rng.uniform(0, 2) if "then" in what else 0)
                        driver.kill()
                    killed += 1
                while what == "a worker" and killed < 10 and driver.poll() is None:
                    time.sleep(rng.uniform(1, 4))
                    killed += kill_worker(driver.pid, rng)
                if driver.wait() == 0:
                    break
        faults = seen.faults + misses(out, series)
        wrong += faults
        counts = read_cohort(out).series.status.value_counts().to_dict()
        lines.append([what, killed, seen.looks, counts, faults])
    table = markdown(["killed", "times", "looks at the tables meanwhile", "in the end", "faults"], lines)
    return Part(
        f"SIGKILL at random times, {SMALL} small series", table, (Figure("faults after SIGKILL", wrong, 0, ""),)
    )


def disk(folder: Path) -> Part:
    """A disk that fills up: the run stops with a sentence, and goes on once there is room."""
    series = small_series(folder / "cts", SMALL)
    out = folder / "disk"
    out.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(out)], check=True)
    try:
        with Watched(out / "results") as seen:
            first = started(folder, series, out / "results")
            _, told = first.communicate()
            there = len(read_cohort(out / "results").series)
            subprocess.run(["mount", "-o", "remount,size=64m", str(out)], check=True)
            second = started(folder, series, out / "results").wait()
        faults = seen.faults + misses(out / "results", series) + (first.returncode != 2) + (second != 0)
    finally:
        subprocess.run(["umount", str(out)], check=True)
    sentence = told.decode().strip().splitlines()[-1].replace(str(folder), "")
    table = markdown(
        ["run", "exit code", "series in the tables", "said"],
        [["on a disk of 160 kB", first.returncode, there, sentence], ["after it grew", second, len(series), ""]],
    )
    return Part("A full disk", table, (Figure("faults after a full disk", faults, 0, ""),))


def thousand(folder: Path) -> Part:
    """A thousand small series, every twentieth broken: rows with sentences, and a driver that does not grow."""
    series = small_series(folder / "cts", MANY, BROKEN_EACH)
    out = folder / "thousand"
    took = Grown()
    with DataSet(out, {}) as data_set:
        run(series, data_set, wanted(), workers=2, done=took)
    table = read_cohort(out).series
    refused = table[table.status == REFUSED]
    early = took.memory_mb[100]
    drift = 100 * max(abs(one / early - 1) for one in took.memory_mb[100:])
    unsaid = int((refused.sentence.str.len() < 20).sum()) + MANY // BROKEN_EACH - len(refused)
    lines = [
        ["series", len(table)],
        [DONE, int((table.status == DONE).sum())],
        ["refused, each with its sentence", len(refused)],
        ["kinds of sentences", refused.sentence.str.replace(r"[\w/.-]*series-\d+[\w.]*|\d+", "", regex=True).nunique()],
        ["driver's memory at series 100, and at the last", f"{early:.0f} MB, {took.memory_mb[-1]:.0f} MB"],
        ["seconds a series, two workers", f"{took.seconds_a_series(2):.2f}"],
    ]
    figures = (
        Figure("driver's memory from series 100 on", drift, 10, "% away"),
        Figure("broken series without a row and a sentence", unsaid + misses(out, series), 0, ""),
    )
    return Part(f"{MANY} small series, every {BROKEN_EACH}th broken", markdown(["", ""], lines), figures)


def nodes(folder: Path) -> Part:
    """Two Ray nodes on one machine, of which one is killed half-way."""
    from ray.cluster_utils import Cluster

    series = small_series(folder / "cts", SMALL)
    out = folder / "nodes"
    memory = {"memory": 8 * 10**9, "object_store_memory": 10**8}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False, **memory})
    second = cluster.add_node(num_cpus=2, **memory)
    cluster.wait_for_nodes()
    took, states = Course(), []

    def done(row: dict[str, Any]) -> None:
        took(row)
        states.append(row["status"])
        if len(states) == SMALL // 2:
            cluster.remove_node(second, allow_graceful=False)

    try:
        with DataSet(out, {}) as data_set:
            run(series, data_set, wanted(), cluster.address, 2, done=done)
    finally:
        cluster.shutdown()
    lines = [["series", len(states)], [DONE, states.count(DONE)], ["seconds in all", f"{took.times[-1]:.0f}"]]
    faults = misses(out, series) + SMALL - states.count(DONE)
    return Part("Two nodes, one killed half-way", markdown(["", ""], lines), (Figure("faults", faults, 0, ""),))


def memory(folder: Path) -> Part:
    """The most that a process holds, against a CT's voxels."""
    lines = []
    for slices in (100, 300, 500, 900):
        code = (
            "import numpy as np, torch, resource; torch.set_num_threads(1)\n"
            "from pathlib import Path\n"
            "from NoduleRiskLib import Assessor, Volume\n"
            "from NoduleRiskLib.cohort.grading import graded, Wanted\n"
            "from NoduleRiskLib.cohort.manifest import Series\n"
            "from NoduleRiskLib.imaging.points import Point\n"
            "from NoduleRiskLib.imaging.volume import write_nrrd\n"
            "from NoduleRiskLib.phantom.chest_ct import chest_ct\n"
            "import sys\n"
            "volume, nodules = chest_ct(); count = int(sys.argv[1])\n"
            "array = np.resize(np.pad(volume.array, ((0, 0), (108, 108), (56, 56)), constant_values=-1000), "
            "(count, 512, 512))\n"
            "m = volume.ijk_to_ras.copy(); m[:3, 3] = volume.to_ras(np.array((-56., -108, 0)))\n"
            "write_nrrd(Path(sys.argv[2]), Volume(array, m))\n"
            "points = tuple(one.point for one in nodules if volume.to_ijk(one.point_ras)[2] < count)\n"
            "del array, volume, nodules\n"
            "one = graded(Assessor(None, 'cpu'), Series('a', sys.argv[2], placed=points), Wanted('', '')).series\n"
            "print(one['status'], one['memory_mb'], one['needed_mb'], one['seconds'])\n"
        )
        told = subprocess.run(
            [sys.executable, "-c", code, str(slices), str(folder / "ct.nrrd")], capture_output=True, text=True
        )
        status, most, needed, seconds = told.stdout.split() if told.stdout else (told.stderr[-300:], 0, 0, 0)
        voxels = slices * 512 * 512 * 2 / 1e6
        lines.append([slices, f"{voxels:.0f} MB", f"{float(most):.0f} MB", f"{float(needed):.0f} MB", status, seconds])
    table = markdown(["slices of 512 x 512", "voxels", "most memory", "announced", "status", "seconds"], lines)
    return Part("Memory of a worker", table)


TRIALS: dict[str, Callable[[Path], Part]] = {
    "speed": speed,
    "together": together,
    "kills": kills,
    "disk": disk,
    "thousand": thousand,
    "nodes": nodes,
    "memory": memory,
}


class Watched:
    """Reads a data set over and over while the block runs, and counts what is not right."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.looks, self.faults = 0, 0

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.3):
            if (self._folder / "series").is_dir():
                self.looks += 1
                self.faults += twice_or_lost(self._folder)


def twice_or_lost(out: Path) -> int:
    """How many series stand in the tables twice, or with other nodules than they say."""
    there = read_cohort(out)
    rows = there.nodules.groupby("id").size().reindex(there.series.id).fillna(0).to_numpy()
    extra = int(there.series.id.duplicated().sum() + there.nodules.duplicated(["id", "number"]).sum())
    return extra + int((rows != there.series.nodules.to_numpy()).sum())


def misses(out: Path, series: list[Series]) -> int:
    """Series that are not in the tables once, in the end."""
    return len({one.id for one in series} ^ set(read_cohort(out).series.id)) + twice_or_lost(out)


def started(folder: Path, series: list[Series], out: Path) -> subprocess.Popen[bytes]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "NoduleRiskLib", "cohort", *manifest(folder, series), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--device", "cpu", "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def wait_for_part(driver: subprocess.Popen[bytes], out: Path, then: float) -> bool:
    """Wait until another part is there than at first, and a while longer; False if the driver ended before."""
    before = len(list(out.glob("series/part=*")))
    until = None
    while driver.poll() is None:
        if until is None and len(list(out.glob("series/part=*"))) > before:
            until = time.monotonic() + then
        if until is not None and time.monotonic() > until:
            return True
        time.sleep(0.05)
    return False


def kill_worker(driver: int, rng: random.Random) -> bool:
    """SIGKILL one of the processes of a driver's Ray that hold networks."""
    import psutil

    below = psutil.Process(driver).children(recursive=True) if psutil.pid_exists(driver) else []
    with suppress(psutil.Error):
        workers = [one for one in below if "Grader" in one.name() or "Grader" in " ".join(one.cmdline())]
        if workers:
            rng.choice(workers).send_signal(signal.SIGKILL)
            return True
    return False


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(names: list[str]) -> None:
    """Print the trials' tables and figures."""
    for name in names or TRIALS:
        with tempfile.TemporaryDirectory(prefix="cohort-") as folder:
            part = TRIALS[name](Path(folder))
        print(f"\n### {part.title}\n\n{part.table}\n", flush=True)
        for one in part.figures:
            reach = f"{'>=' if one.more else '<='} {one.reach:g} {one.unit}".strip()
            print(f"- {one.what}: {one.measured:.3g} (to reach: {reach}; {'yes' if one.met else 'no'})", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
