"""One thread that does all slow work in turn; its results are delivered where, and when, the caller polls."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol


class Tell(Protocol):
    """Asks for a call to be made where the worker is polled, then raises ``Cancelled`` if the task is cancelled."""

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None: ...


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """Raised inside work, by ``tell``, after ``Task.cancel``."""


class Task:
    """A piece of work: ``cancel`` it, or read whether it has ``ended``."""

    def __init__(self, ended: Callable[[BaseException | None], None]) -> None:
        self.ended = False
        self.cancelled = threading.Event()
        self.at_end = ended

    def cancel(self) -> None:
        """End the work at its next ``tell``; the calls that it asked for until then are still made."""
        self.cancelled.set()


class Worker:
    """Work done in its order on one thread of its own, which starts with the first.

    Nothing here calls back from that thread: ``poll`` makes the calls that work asked for, on the thread that polls.
    """

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[tuple[Task, Callable[[Tell], None]] | None] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._unfinished: list[Task] = []
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether there is work whose ``ended`` has not been called yet."""
        return bool(self._unfinished)

    def do(
        self, work: Callable[[Tell], None], ended: Callable[[BaseException | None], None] = lambda error: None
    ) -> Task:
        """Take on a piece of work.

        Parameters
        ----------
        work : callable
            Runs on the worker's thread and is given ``tell``.
        ended : callable
            Called by ``poll``, last: with the exception that ended the work, ``Cancelled`` among them, or ``None``.
        """
        task = Task(ended)
        self._unfinished.append(task)
        self._todo.put((task, work))
        if self._thread is None:
            # A daemon: a computation that nobody can interrupt must not keep the application from closing.
            self._thread = threading.Thread(
                target=_run, args=(self._todo, self._calls, self._end), name="NoduleRisk", daemon=True
            )
            self._thread.start()
        return task

    def poll(self, limit_s: float = 0.015) -> None:
        """Make the calls that work asked for, for about that long; the rest waits for the next poll."""
        end = time.monotonic() + limit_s
        while not self._calls.empty():
            self._calls.get()()
            if time.monotonic() > end:
                break

    def stop(self) -> None:
        """Cancel everything, make no more calls, and let the thread end."""
        for task in self._unfinished:
            task.cancel()
        self._unfinished.clear()
        self._todo.put(None)
        # New queues: what that thread still asks for is never called, and the next work starts another thread.
        self._thread, self._todo, self._calls = None, queue.SimpleQueue(), queue.SimpleQueue()

    def _end(self, task: Task, error: BaseException | None) -> None:
        task.ended = True
        if task in self._unfinished:
            self._unfinished.remove(task)
            task.at_end(error)


def _run(
    todo: queue.SimpleQueue[tuple[Task, Callable[[Tell], None]] | None],
    calls: queue.SimpleQueue[Callable[[], None]],
    end: Callable[[Task, BaseException | None], None],
) -> None:
    while (item := todo.get()) is not None:
        task, work = item
        error: BaseException | None = None
        try:
            if task.cancelled.is_set():
                raise Cancelled
            work(_Teller(task, calls))
        except BaseException as raised:
            error = raised
        calls.put(partial(end, task, error))


class _Teller:
    def __init__(self, task: Task, calls: queue.SimpleQueue[Callable[[], None]]) -> None:
        self._task, self._calls = task, calls

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None:
        # First the call: what is finished when the user cancels is not lost.
        self._calls.put(partial(function, *arguments))
        if self._task.cancelled.is_set():
            raise Cancelled
