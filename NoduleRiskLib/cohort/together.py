"""Several series at once in one worker: who may be in it at the same time, and one grading for all that wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .memory import WORKER_MB, forget_peak

if TYPE_CHECKING:
    from ..assessor import Assessor, MarkedVolume
    from ..results.assessment import Assessment


class Room:
    """A worker's room: series come in in their order, no more at a time than its memory holds.

    Parameters
    ----------
    room_mb : float
        Memory that the worker may take, networks included.

    Attributes
    ----------
    drawing : Lock
        Held by whoever writes pages: matplotlib draws in one thread at a time.
    """

    def __init__(self, room_mb: float) -> None:
        self.drawing = threading.Lock()
        self._most_mb = room_mb - WORKER_MB
        self._changed = threading.Condition()
        self._inside, self._taken_mb, self._alone = 0, 0.0, False
        self._came = self._let_in = 0

    @contextmanager
    def entered(self, alone: bool = False) -> Iterator[None]:
        """Be in the room, with nobody else if ``alone``: what may end the process must not take neighbours along."""
        with self._changed:
            ticket, self._came = self._came, self._came + 1
            self._changed.wait_for(lambda: ticket == self._let_in and not self._alone and not (alone and self._inside))
            if not self._inside:
                forget_peak()
            self._let_in += 1
            self._inside, self._alone = self._inside + 1, alone
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._inside, self._alone = self._inside - 1, False
                self._changed.notify_all()

    @contextmanager
    def memory(self, needed_mb: float) -> Iterator[None]:
        """Hold what a series needs (as ``memory.needed_mb`` tells it) once it is free, or nobody else holds any."""
        voxels_mb = max(needed_mb - WORKER_MB, 0.0)
        with self._changed:
            self._changed.wait_for(lambda: not self._taken_mb or self._taken_mb + voxels_mb <= self._most_mb)
            self._taken_mb += voxels_mb
        try:
            yield
        finally:
            with self._changed:
                self._taken_mb -= voxels_mb
                self._changed.notify_all()


class Together:
    """An assessor for several threads: while it grades, those that come wait, and are graded in one go after that.

    Nobody waits for others to come. If a CT spoils the grading of all, each is graded by itself.

    Parameters
    ----------
    assessor : Assessor
    """

    def __init__(self, assessor: Assessor) -> None:
        self._assessor = assessor
        self._waiting: list[tuple[MarkedVolume, Future[list[Assessment]]]] = []
        self._adding, self._grading = threading.Lock(), threading.Lock()

    def assess(self, ct: Any, points: Any = (), heatmaps: bool = True, outlines: Any = None) -> list[Assessment]:
        """As ``Assessor.assess``, all points at once; ``heatmaps`` is the same for all who call."""
        from ..imaging.lung_mask import lung_mask

        marked = self._assessor.marked(ct, points, outlines)
        # The longest of what is looked at once per CT: it is kept, and holds up nobody here.
        lung_mask(marked.prepared.volume)
        mine: Future[list[Assessment]] = Future()
        with self._adding:
            self._waiting.append((marked, mine))
        with self._grading:
            # Whoever graded before may have taken it along.
            if not mine.done():
                with self._adding:
                    taken, self._waiting = self._waiting, []
                self._grade(taken, heatmaps)
        return mine.result()

    def _grade(self, taken: Sequence[tuple[MarkedVolume, Future[list[Assessment]]]], heatmaps: bool) -> None:
        try:
            all_found = self._assessor.assess_all([marked for marked, _ in taken], heatmaps)
            for (_, future), found in zip(taken, all_found, strict=True):
                future.set_result(found)
        # Whatever it is, it may be one CT's, who alone is told it.
        except Exception:
            for marked, future in taken:
                try:
                    future.set_result(self._assessor.assess_all([marked], heatmaps)[0])
                except Exception as error:
                    future.set_exception(error)
        finally:
            # Nobody waits for ever if the process is told to end.
            for _, future in taken:
                future.cancel()
