"""The processes behind the front: one for each browser's session, in bounds, and one that holds the model."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import secrets
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..errors import NoduleRiskError
from .start import FirstCt, Start
from .uploads import Limits

#: Sessions are forked from a process that has imported everything once: they start at once and share its memory.
_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
#: How long a session may take until it serves, seconds.
START_S = 120.0
#: Who has no tab open for that long has left, seconds; a reload takes less.
LEFT_S = 10.0


class Grader:
    """The process that holds the model.

    Parameters
    ----------
    package : Path or None
    device : str
        As ``Assessor`` takes them.

    Raises
    ------
    NoduleRiskError
        If the package does not verify or the device cannot be used.
    """

    def __init__(self, package: Path | None, device: str) -> None:
        from . import grader

        context = multiprocessing.get_context("spawn")
        self.key = secrets.token_bytes(32)
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=grader.run, args=(self.key, package, device, theirs), daemon=True)
        self.process.start()
        theirs.close()
        try:
            self.address, self.device = self._pipe.recv()
        except EOFError:
            raise NoduleRiskError("The model could not be loaded; the lines above say why.") from None
        if not self.address:
            raise NoduleRiskError(self.device)

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self.process.is_alive()

    def stop(self) -> None:
        """End the process."""
        self._pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


class Running:
    """One session's process, as the front knows it.

    Attributes
    ----------
    name : str
        Public: tells the page whether its session is still the same.
    secret : str
        Goes with every request that the front passes on.
    port : int
    sockets : int
        How many tabs are connected.
    used : float
        When the reader did something last (``time.monotonic``).
    """

    def __init__(self, name: str, secret: str, process: Any, pipe: Connection) -> None:
        self.name, self.secret, self.process, self._pipe = name, secret, process, pipe
        self.port, self.sockets, self.used = 0, 0, time.monotonic()

    async def ready(self) -> bool:
        """Wait until it serves; whether it does."""
        try:
            if await asyncio.to_thread(self._pipe.poll, START_S):
                self.port = self._pipe.recv()
        except EOFError:
            pass
        return bool(self.port)

    def use(self) -> None:
        """The reader did something."""
        self.used = time.monotonic()

    @property
    def unused_s(self) -> float:
        """Seconds since the reader did something."""
        return time.monotonic() - self.used

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        return bool(self.process.is_alive())

    def end(self) -> None:
        """End it; its folder goes with it."""
        self._pipe.close()


class Sessions:
    """All sessions by the secret that their browser keeps in a cookie.

    Parameters
    ----------
    grader : Grader
    ct, root
        As ``Start`` has them.
    folder : Path
        Where each session gets a folder of its own.
    most : int
        How many there may be.
    idle_s : float
        After how long without a reader's doing one ends.
    limits : Limits
    """

    def __init__(
        self,
        grader: Grader,
        ct: FirstCt | None,
        root: Path | None,
        folder: Path,
        most: int,
        idle_s: float,
        limits: Limits,
    ) -> None:
        self._grader, self._ct, self._root, self._folder = grader, ct, root, folder
        self._most, self._idle_s, self._limits = most, idle_s, limits
        self._running: dict[str, Running] = {}
        self._starting = asyncio.Lock()
        self._context: Any = multiprocessing.get_context(_METHOD)
        if _METHOD == "forkserver":
            self._context.set_forkserver_preload([f"{__package__}.session"])

    @property
    def grader_alive(self) -> bool:
        """Whether the model's process is there; without it no session can grade."""
        return self._grader.alive

    def find(self, cookie: str) -> Running | None:
        """A browser's session, if it is still there."""
        one = self._running.get(cookie)
        if one and not one.alive:
            logging.warning("NoduleRisk: session %s ended by itself", one.name)
            del self._running[cookie]
            return None
        return one

    async def start(self) -> tuple[str, Running]:
        """A new session and its cookie.

        Raises
        ------
        NoduleRiskError
            If there are as many as there may be, or it does not start.
        """
        # One after the other: who asks for many at once waits in line, and is refused at the bound.
        async with self._starting:
            for cookie in list(self._running):
                self.find(cookie)
            if len(self._running) >= self._most:
                self._end_left()
            if len(self._running) >= self._most:
                raise NoduleRiskError(
                    f"All {self._most} places are taken: try again when another reader has left, or start the server "
                    "with more --sessions."
                )
            cookie = secrets.token_urlsafe(32)
            # A large CT takes a moment on its way, and other readers' requests shall not wait for it.
            one = await asyncio.to_thread(self._started)
            if not await one.ready():
                one.end()
                raise NoduleRiskError("The session could not be started; the server's log says why.")
            self._running[cookie] = one
            return cookie, one

    def _started(self) -> Running:
        name, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._folder))
        of_grader = (self._grader.address, self._grader.key, self._grader.device)
        start = Start(name, secret, *of_grader, self._ct, self._root, folder, self._limits)
        mine, theirs = self._context.Pipe()
        process = self._context.Process(target=_run, args=(start, theirs), daemon=True)
        process.start()
        theirs.close()
        return Running(name, secret, process, mine)

    def end_idle(self) -> None:
        """End what nobody has used for a while."""
        for cookie, one in list(self._running.items()):
            if one.unused_s > self._idle_s:
                one.end()
                del self._running[cookie]

    def _end_left(self) -> None:
        """End the session that has been without a tab for the longest: its place is needed."""
        left = [cookie for cookie, one in self._running.items() if not one.sockets and one.unused_s > LEFT_S]
        if left:
            self._running.pop(max(left, key=lambda cookie: self._running[cookie].unused_s)).end()

    def end_all(self) -> None:
        """End every session."""
        for one in self._running.values():
            one.end()
        self._running.clear()


def _run(start: Start, pipe: Connection) -> None:
    # Late: the process that calls this one's class draws nothing and stays small.
    from .session import run

    run(start, pipe)
