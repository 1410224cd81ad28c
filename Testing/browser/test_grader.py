"""What readers would lose if the model's queue lost a job, told a wrong place, or worked on for who has left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Listener
from typing import Any

import numpy as np
import pytest

from NoduleRiskLib.browser.grader import Client, Queue
from NoduleRiskLib.browser.remote_assessor import RemoteAssessor
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.panel.worker import Cancelled

KEY = b"key"


class SlowAssessor:
    """Stands in for the networks: says which CT and point it was, once it may."""

    def __init__(self) -> None:
        self.may = threading.Semaphore(0)
        #: Beside each answer, as a heatmap is: more than a socket keeps for one who does not read.
        self.beside = ""
        self.begun = threading.Event()
        self.prepared: list[str] = []
        self.assessed: list[str] = []

    def prepare(self, volume: Volume) -> Volume:
        self.prepared.append(volume.name)
        return volume

    def assess(self, ct: Volume, points: list[Point], heatmaps: bool, outlines: Any) -> Iterator[str]:
        for point in points:
            if point.label == "outside":
                raise NoduleRiskError("outside the CT.")
            self.begun.set()
            self.may.acquire()
            self.assessed.append(f"{ct.name} {point.label}")
            yield self.assessed[-1] + self.beside


@pytest.fixture
def assessor() -> SlowAssessor:
    return SlowAssessor()


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def connect(assessor: SlowAssessor, queue: Queue) -> Iterator[Callable[..., RemoteAssessor]]:
    threading.Thread(target=queue.run, daemon=True).start()
    listener = Listener(authkey=KEY)

    def accept() -> None:
        while True:
            try:
                client = Client(listener.accept(), queue, assessor)  # type: ignore[arg-type]
            except (AuthenticationError, OSError, EOFError):
                continue
            threading.Thread(target=client.listen, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()

    def made(
        wanted: Callable[[], bool] = lambda: True, told: Callable[[int], None] = lambda n: None, key: bytes = KEY
    ) -> RemoteAssessor:
        return RemoteAssessor(listener.address, key, "CPU", wanted, told)

    yield made
    listener.close()


def ct(name: str) -> Volume:
    return Volume(np.full((2, 2, 2), ord(name[0]), np.int16), np.eye(4), name)


def points(*labels: str) -> list[Point]:
    return [Point(label, (0.0, 0.0, 0.0)) for label in labels]


def heard(queue: Queue) -> None:
    """Wait until the grader's side has heard that its job is not wanted any more."""
    for _ in range(1000):
        if all(job.cancelled.wait(0.01) for job in list(queue._jobs)):
            return
    raise AssertionError("nobody heard it")


def test_a_ct_is_sent_once_and_each_session_has_its_own(connect, assessor) -> None:
    assessor.may.release(10)
    one, other = connect(), connect()
    assert list(one.assess(ct("a"), points("1", "2"))) == ["a 1", "a 2"]
    assert list(other.assess(ct("b"), points("3"))) == ["b 3"]
    assert list(one.assess(one.prepare(ct("a")), points("4"))) == ["a 4"]
    assert assessor.prepared == ["a", "b"]


def test_what_is_asked_meanwhile_mixes_nothing_up(connect, assessor) -> None:
    """The panel's logic asks for a drawn outline while the others of the same run are still coming."""
    assessor.may.release(10)
    one = connect()
    running = one.assess(ct("a"), points("1", "2", "3"))
    assert next(running) == "a 1"
    assert list(one.assess(one.prepare(ct("a")), points("drawn"))) == ["a drawn"]
    assert list(running) == ["a 2", "a 3"]


def test_who_waits_is_told_the_place(connect, assessor) -> None:
    told: list[int] = []
    one, other = connect(), connect(told=told.append)
    first = one.assess(ct("a"), points("1"))
    thread = threading.Thread(target=lambda: list(first))
    thread.start()
    # Whose job is first is settled then.
    assert assessor.begun.wait(20)
    waiting = threading.Thread(target=lambda: list(other.assess(ct("b"), points("2"))))
    waiting.start()
    for _ in range(500):
        if 1 in told:
            break
        time.sleep(0.01)
    assert 1 in told
    assessor.may.release(2)
    thread.join(20)
    waiting.join(20)
    assert told[-1] == 0
    assert assessor.assessed == ["a 1", "b 2"]


def test_who_leaves_is_not_worked_for(connect, assessor, queue) -> None:
    wanted = [True]
    leaving, staying = connect(wanted=lambda: wanted[0]), connect()
    running = leaving.assess(ct("a"), points(*"123456"))
    assessor.may.release()
    assert next(running) == "a 1"
    wanted[0] = False
    with pytest.raises(Cancelled):
        next(running)
    heard(queue)
    assessor.may.release(10)
    assert list(staying.assess(ct("b"), points("7"))) == ["b 7"]
    # The one under way may have been finished.
    assert len([one for one in assessor.assessed if one.startswith("a")]) <= 2


def test_a_session_that_dies_frees_the_queue(connect, assessor, queue) -> None:
    dying, staying = connect(), connect()
    running = dying.assess(ct("a"), points(*"123456"))
    assessor.may.release()
    next(running)
    dying._connection.close()
    heard(queue)
    assessor.may.release(10)
    assert list(staying.assess(ct("b"), points("7"))) == ["b 7"]


@pytest.mark.parametrize("cancels", [True, False])
def test_who_does_not_read_stops_nobody_else(connect, assessor, queue, cancels: bool) -> None:
    """A session reads only while it waits; what is found for it then must not wait for it on the model's thread."""
    assessor.beside = "x" * 8_000_000
    wanted, found = [True], []
    silent, other = connect(wanted=lambda: wanted[0]), connect()
    running = silent.assess(ct("a"), points(*"123"))
    assessor.may.release()
    next(running)
    if cancels:
        wanted[0] = False
        with pytest.raises(Cancelled):
            next(running)
        heard(queue)
    assessor.may.release(20)
    thread = threading.Thread(target=lambda: found.extend(other.assess(ct("b"), points("7"))), daemon=True)
    thread.start()
    thread.join(30)
    assert [one[:3] for one in found] == ["b 7"]
    wanted[0] = True
    assert [one[:3] for one in silent.assess(silent.prepare(ct("a")), points("8"))] == ["a 8"]
    assert ("a 3" in assessor.assessed) != cancels


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_a_connection_that_closes_while_it_writes_ends_itself_alone(assessor, queue, error: type[Exception]) -> None:
    class Closed:
        closed = False

        def recv(self) -> None:
            raise EOFError

        def send_bytes(self, message: Any) -> None:
            raise error

        def close(self) -> None:
            self.closed = True

    client = Client(Closed(), queue, assessor)  # type: ignore[arg-type]
    client.send(1, "place", 0)
    client.listen()
    client.send(1, "place", 0)
    assert client._connection.closed


def test_a_fault_is_told_and_the_next_job_runs(connect, assessor) -> None:
    assessor.may.release(10)
    one = connect()
    with pytest.raises(NoduleRiskError, match="outside the CT"):
        list(one.assess(ct("a"), points("outside")))
    assert list(one.assess(one.prepare(ct("a")), points("1"))) == ["a 1"]


def test_a_wrong_key_is_not_served(connect) -> None:
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        connect(key=b"wrong")
