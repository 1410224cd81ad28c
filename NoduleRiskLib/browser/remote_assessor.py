"""The grader process as a session sees it: an assessor like ``NoduleRiskLib.assessor.Assessor``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Client
from typing import TYPE_CHECKING, Any

from ..errors import NoduleRiskError
from ..imaging.points import Point
from ..imaging.volume import Volume
from ..panel.worker import Cancelled
from .grader import ASSESS, CANCEL, ENDED, FOUND, PLACE, PREPARE

if TYPE_CHECKING:
    from ..results.assessment import Assessment

#: How often a waiting call looks whether it is still wanted, seconds.
LOOK_S = 0.1


class RemoteAssessor:
    """Asks the grader; its methods are called on the session's worker thread only.

    Parameters
    ----------
    address, key
        As ``grader.run`` has them.
    device_name : str
        What people call the device in use.
    wanted : callable
        Whether the running call is still wanted; otherwise it is cancelled there, and ``Cancelled`` raised here.
    told : callable
        Is given how many jobs lie before this session's: 0 while its own is done.
    """

    def __init__(
        self, address: str, key: bytes, device_name: str, wanted: Callable[[], bool], told: Callable[[int], None]
    ) -> None:
        self.device_name = device_name
        self._wanted, self._told = wanted, told
        self._connection = Client(address, authkey=key)
        self._prepared = ""
        self._number = 0
        self._unread: dict[int, list[tuple[Any, ...]]] = {}

    def prepare(self, ct: Volume) -> str:
        """Send a CT, unless the grader has it; returns its digest, which ``assess`` takes."""
        if self._prepared != ct.digest:
            self._prepared = ""
            for _ in self._ask(PREPARE, ct):
                pass
            self._prepared = ct.digest
        return self._prepared

    def assess(
        self, ct: Any, points: Sequence[Point] = (), heatmaps: bool = True, outlines: Any = None
    ) -> Iterator[Assessment]:
        """As ``Assessor.assess``; ``ct`` was given to ``prepare``."""
        if not isinstance(ct, str):
            self.prepare(ct)
        return self._ask(ASSESS, points, heatmaps, outlines)

    def _ask(self, *message: Any) -> Iterator[Assessment]:
        self._number += 1
        number, ended = self._number, False
        self._unread[number] = []
        self._connection.send((number, *message))
        try:
            while not ended:
                what, *more = self._next(number)
                if what == PLACE:
                    self._told(more[0])
                elif what == FOUND:
                    yield more[0]
                elif what == ENDED:
                    ended = True
                    sentence, users = more
                    if sentence:
                        raise NoduleRiskError(sentence) if users else RuntimeError(sentence)
        finally:
            # Whoever has what it needs asks no further, and reads nothing more of it.
            del self._unread[number]
            if not ended:
                with suppress(OSError):
                    self._connection.send((number, CANCEL))

    def _next(self, number: int) -> tuple[Any, ...]:
        """The next message about a job; those about others are kept for them."""
        while not self._unread[number]:
            while not self._connection.poll(LOOK_S):
                if not self._wanted():
                    raise Cancelled
            of, *message = self._connection.recv()
            if of in self._unread:
                self._unread[of].append(tuple(message))
        return self._unread[number].pop(0)
