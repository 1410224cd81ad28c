"""The one process that holds the model: it assesses for all sessions, one job after the other."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ..errors import NoduleRiskError

if TYPE_CHECKING:
    from ..assessor import Assessor, PreparedVolume

#: Messages between a session and the grader: the job's number in its session, one of these words, what stands beside.
PREPARE, ASSESS, CANCEL = "prepare", "assess", "cancel"  # volume | points, heatmaps, outlines | nothing
PLACE, FOUND, ENDED = "place", "found", "ended"  # jobs before this one | assessment | sentence, whether a user's fault


class Job:
    """One message's work for one session.

    Parameters
    ----------
    client : Client
    number : int
        By which the session knows it.
    work : callable
        Called on the worker's thread.
    """

    def __init__(self, client: Client, number: int, work: Callable[[Job], None]) -> None:
        self.client, self.number, self.work = client, number, work
        self.cancelled = threading.Event()

    def tell(self, *message: Any) -> None:
        """Send the session a message about this job."""
        self.client.send(self.number, *message)


class Queue:
    """Jobs in the order in which they came; every session is told how many lie before its own."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._changed = threading.Condition()

    def add(self, job: Job) -> None:
        """Put a job at the end."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        self._tell()

    def run(self) -> None:
        """Do jobs for ever; the one that is being done is the first of the queue."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._jobs))
                job = self._jobs[0]
            try:
                if not job.cancelled.is_set():
                    job.work(job)
                job.tell(ENDED, "", True)
            except NoduleRiskError as error:
                job.tell(ENDED, str(error), True)
            except Exception as error:
                logging.exception("NoduleRisk")
                job.tell(ENDED, f"{type(error).__name__}: {error}".splitlines()[0], False)
            with self._changed:
                self._jobs.remove(job)
            self._tell()

    def drop(self, client: Client, number: int | None = None) -> None:
        """End one of a session's jobs, or all: at once what waits, after the next nodule what runs."""
        with self._changed:
            for job in self._jobs:
                if job.client is client and number in (None, job.number):
                    job.cancelled.set()

    def _tell(self) -> None:
        with self._changed:
            for before, job in enumerate(self._jobs):
                job.tell(PLACE, before)


class Client:
    """A session's connection: reads what it asks for, keeps its CT prepared, sends it what was found.

    A session reads only while it waits for something. What it is sent therefore waits in a queue of its own: the thread
    that assesses, which all sessions share, never waits for a reader.
    """

    def __init__(self, connection: Connection, queue: Queue, assessor: Assessor) -> None:
        self._connection, self._queue, self._assessor = connection, queue, assessor
        self._prepared: PreparedVolume | None = None
        self._outgoing: SimpleQueue[memoryview | None] = SimpleQueue()

    def listen(self) -> None:
        """Take messages until the session has gone; then nothing of it is kept."""
        sending = threading.Thread(target=self._send_for_ever, daemon=True)
        sending.start()
        try:
            self._take_messages()
        finally:
            self._queue.drop(self)
            self._prepared = None
            self._outgoing.put(None)
            # Closed only then: its number may at once be another session's.
            sending.join()
            self._connection.close()

    def _take_messages(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                number, what, *more = self._connection.recv()
                if what == CANCEL:
                    self._queue.drop(self, number)
                else:
                    work = partial(self._prepare if what == PREPARE else self._assess, *more)
                    self._queue.add(Job(self, number, work))

    def send(self, *message: Any) -> None:
        """Send a message as soon as the session reads, if it is still there; returns at once."""
        self._outgoing.put(ForkingPickler.dumps(message))

    def _send_for_ever(self) -> None:
        # TypeError: what a connection says that was closed while it wrote.
        with suppress(OSError, TypeError):
            while (message := self._outgoing.get()) is not None:
                self._connection.send_bytes(message)

    def _prepare(self, volume: Any, job: Job) -> None:
        self._prepared = None
        self._prepared = self._assessor.prepare(volume)

    def _assess(self, points: Any, heatmaps: bool, outlines: Any, job: Job) -> None:
        for assessment in self._assessor.assess(self._prepared, points, heatmaps, outlines):
            if job.cancelled.is_set():
                return
            job.tell(FOUND, assessment)


def run(key: bytes, package: Path | None, device: str, started: Connection) -> None:
    """Load the model, then serve sessions until the process that started this one has gone.

    Parameters
    ----------
    key : bytes
        Who does not know it is not served.
    package, device
        As ``Assessor`` takes them.
    started : Connection
        Is sent where sessions connect and the device's name, or "" and the sentence of a ``NoduleRiskError``; its
        other end closes when all ends.
    """
    from ..assessor import Assessor

    # The terminal's Ctrl-C is for the process that started this one, whose end ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assessor = Assessor(package, device)
    except NoduleRiskError as error:
        started.send(("", str(error)))
        return
    queue = Queue()
    threading.Thread(target=queue.run, name="assess", daemon=True).start()
    listener = Listener(authkey=key)
    started.send((listener.address, assessor.device_name))

    def accept() -> None:
        while True:
            with suppress(AuthenticationError, OSError, EOFError):
                client = Client(listener.accept(), queue, assessor)
                threading.Thread(target=client.listen, daemon=True).start()

    threading.Thread(target=accept, name="accept", daemon=True).start()
    with suppress(EOFError, OSError):
        started.recv()
