"""A cohort on Ray Data: which workers there are, what becomes of a series whose worker dies, where results go."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

from ..errors import NoduleRiskError
from ..results.cohort_tables import FAILED
from .data_set import DataSet
from .grading import LARGE, LOST, Grader, MemoryShortError, Starts, Wanted, series_row
from .manifest import Series
from .memory import ROOM_MB

#: Ray's tasks that hand out the series need a processor, too: workers that ask for all of them wait for ever.
CPUS_A_WORKER, CPUS_TO_SPARE = 0.5, 1
#: A Ray of our own counts that processor beside the computer's, and tells so by a resource of this name.
SPARE = "nodulerisk_to_spare"
#: Workers that share a GPU: while one reads a CT, the others grade.
WORKERS_A_GPU = 4
#: Series that each of these reads at a time, and grades in one go, as far as its memory allows.
TOGETHER_ON_GPU = 4
#: A Ray of our own holds rows of tables and no voxels in its shared memory.
OBJECT_STORE_BYTES = 128 * 2**20
#: What a series is told that no computer has the memory for, in GB.
TOO_LARGE = (
    "It needs {:.1f} GB of memory, and no computer here has more than {:.1f} GB to spare: close other programs or take "
    "a larger computer, then try it with --again failed."
)


@dataclass(frozen=True)
class Crew:
    """The workers that grade at the same time.

    Attributes
    ----------
    count : int
    room_mb : float
        Memory that each may take.
    gpus : float
        Share of a GPU that each takes.
    together : int
        Series that are in each at a time, if there is memory for them.
    """

    count: int
    room_mb: float
    gpus: float = 0.0
    together: int = 1


@contextmanager
def ray_running(address: str | None, workers: int | None = None) -> Iterator[Any]:
    """Ray, connected to a cluster or started on this computer for as long as the block runs; it reports to nobody.

    Raises
    ------
    NoduleRiskError
        If there is no cluster at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Its core writes to the terminal about workers that are started again, which is what it is there for.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data

    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if ray.is_initialized():
        yield ray
        return
    if address:
        try:
            ray.init(address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise NoduleRiskError(
                f"There is no Ray cluster at {address} ({error}): start one, or leave it out."
            ) from error
    else:
        count = max(workers or 0, processors())
        # By name: RAY_ADDRESS in the environment would else lead to another one.
        ray.init(
            "local",
            num_cpus=count + CPUS_TO_SPARE,
            resources={SPARE: CPUS_TO_SPARE},
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **quiet,
        )
    try:
        # Ray's own words on lost workers go to standard output, which is the results'.
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()


def processors() -> int:
    """Processors of this computer that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def crew_of(
    nodes: Sequence[dict[str, Any]],
    room_mb: float,
    device: str,
    workers: int | None = None,
    together: int | None = None,
) -> Crew:
    """As many workers as the cluster's processors or GPUs and memory allow.

    Parameters
    ----------
    nodes : sequence of dict
        ``ray.nodes()``.
    room_mb : float
        Memory of each worker.
    device : str
        As ``Assessor`` takes it.
    workers : int, optional
        Fewer, if fewer are wanted.
    together : int, optional
        Series in a worker at a time; ``TOGETHER_ON_GPU`` or one.

    Raises
    ------
    NoduleRiskError
        If no computer has so much memory, or none of them a GPU that is asked for.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = sum(one.get("GPU", 0) for one in alive)
    on_gpu = device.startswith("cuda") or (device == "auto" and gpus > 0)
    if on_gpu and not gpus:
        raise NoduleRiskError("Ray finds no GPU here: use --device cpu.")
    fitting = sum(int(one.get("memory", 0) / 1e6 // room_mb) for one in alive)
    if fitting < 1:
        raise NoduleRiskError(
            f"A worker needs {room_mb / 1e3:.1f} GB of memory, and no computer here has more than "
            f"{_most_mb(nodes) / 1e3:.1f} GB to spare: close other programs or leave the largest CTs out."
        )
    # Two workers a processor that Ray counts, but one for that which hands out the series.
    at_most = int((sum(one.get("CPU", 0) for one in alive) - CPUS_TO_SPARE) / CPUS_A_WORKER)
    wished = int(gpus * WORKERS_A_GPU) if on_gpu else int(sum(one.get("CPU", 0) - one.get(SPARE, 0) for one in alive))
    count = max(min(workers or wished, wished if on_gpu else at_most, at_most, fitting), 1)
    together = together or (TOGETHER_ON_GPU if on_gpu else 1)
    return Crew(count, room_mb, 1 / WORKERS_A_GPU if on_gpu else 0.0, together)


def _most_mb(nodes: Sequence[dict[str, Any]]) -> float:
    """The memory of the computer that has most of it."""
    return max((node["Resources"].get("memory", 0) / 1e6 for node in nodes if node["Alive"]), default=0.0)


def run(
    series: Sequence[Series],
    data_set: DataSet,
    wanted: Wanted,
    address: str | None = None,
    workers: int | None = None,
    together: int | None = None,
    done: Callable[[dict[str, Any]], None] = lambda row: None,
) -> None:
    """Grade series and write them to the data set, on this computer or on a cluster.

    Those that need more memory than an ordinary worker has come last, with as many workers as fit then; those
    that fit into no computer fail.

    Parameters
    ----------
    series : sequence of Series
        Those that the data set does not hold.
    data_set : DataSet
    wanted : Wanted
    address : str, optional
        Of a Ray cluster.
    workers : int, optional
        Fewer than there could be.
    together : int, optional
        Series in each at a time, instead of what suits its device.
    done : callable
        Given the row of each series once it is graded.

    Raises
    ------
    NoduleRiskError
        If there is no cluster, no memory for a single worker, the data set cannot be written, or Ray ends.
    """
    by_id = {one.id: one for one in series}
    with ray_running(address, workers) as ray:
        some, room_mb = list(series), ROOM_MB
        while some:
            large: dict[str, dict[str, Any]] = {}
            crew = crew_of(ray.nodes(), room_mb, wanted.device, workers, together)
            for row, nodules in _graded(ray, some, wanted, crew):
                if row["status"] == LARGE:
                    large[row["id"]] = row
                else:
                    data_set.add(row, nodules)
                    done(row)
            most_mb, room_mb, some = _most_mb(ray.nodes()), 0.0, []
            for row in sorted(large.values(), key=lambda row: row["needed_mb"]):
                if row["needed_mb"] <= most_mb:
                    some.append(by_id[row["id"]])
                    room_mb = row["needed_mb"]
                else:
                    sentence = TOO_LARGE.format(row["needed_mb"] / 1e3, most_mb / 1e3)
                    row |= {"status": FAILED, "sentence": sentence}
                    data_set.add(row, [])
                    done(row)
            data_set.commit()


def _graded(
    ray: Any, series: Sequence[Series], wanted: Wanted, crew: Crew
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The rows of each series once, in the order in which they are graded."""
    left = {one.id: one for one in series}
    stream = _from_afar if ray.util.client.ray.is_connected() else _streamed
    for graded in stream(ray, series, replace(wanted, room_mb=crew.room_mb, together=crew.together), crew):
        row, nodules = json.loads(graded)
        # Ray grades a series again whose rows were lost with a computer.
        if left.pop(row["id"], None):
            yield row, nodules
    for one in left.values():
        yield series_row(one, wanted, status=FAILED, sentence=LOST), []


def _streamed(ray: Any, series: Sequence[Series], wanted: Wanted, crew: Crew) -> Iterator[str]:
    import pyarrow

    # Ray tells at length of workers that it starts again; what matters stands in the table.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.actor_task_retry_on_errors = [MemoryShortError]
    # Ray starts workers and their tasks again for ever, and not only when one was lost while it graded: how often a
    # series was begun is what counts.
    starts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Starts).remote()
    rows = ray.data.from_arrow(pyarrow.table({"series": [one.to_json() for one in series]}))
    graded = rows.repartition(target_num_rows_per_block=1).map_batches(
        Grader,
        fn_constructor_args=(wanted, starts),
        batch_size=1,
        batch_format="pyarrow",
        # One waits at each worker, since Ray Data looks only every tenth of a second who is done. It is not begun: what
        # ends the worker is not counted against it.
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            initial_size=crew.count,
            max_size=crew.count,
            max_tasks_in_flight_per_actor=crew.together + 1,
            max_concurrent_calls_per_actor=crew.together,
            enable_true_multi_threading=crew.together > 1,
        ),
        num_cpus=CPUS_A_WORKER,
        num_gpus=crew.gpus or None,
        memory=int(crew.room_mb * 1e6),
    )
    try:
        for batch in graded.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from batch["graded"].to_pylist()
    except ray.exceptions.RayError as error:
        why = " ".join(str(error).split())[-300:]
        raise NoduleRiskError(
            f"Ray has stopped (... {why}). What is done is kept: the same command goes on once the cause is mended."
        ) from error


class _There:
    """Ray Data's stream in a process of the cluster: it does not run through ``ray://``."""

    def __init__(self, series: Sequence[Series], wanted: Wanted, crew: Crew) -> None:
        import ray
        import ray.data

        self._rows = _streamed(ray, series, wanted, crew)

    def next(self) -> str | None:
        """The next series' rows; ``None`` at the end."""
        return next(self._rows, None)


def _from_afar(ray: Any, series: Sequence[Series], wanted: Wanted, crew: Crew) -> Iterator[str]:
    there = ray.remote(num_cpus=0)(_There).remote(list(series), wanted, crew)
    while (row := ray.get(there.next.remote())) is not None:
        yield row
