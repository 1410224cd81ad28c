"""One browser's session: a process with Slicer's scene, four views and the page; it ends with the process before it."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import shutil
import time
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import slicer  # noqa: F401 - first: what lacks it says so
import vtk
from aiohttp import web
from trame.app import get_server
from trame.ui.html import DivLayout
from trame_rca import module as views_module

from ..errors import NoduleRiskError
from ..panel.logic import NoduleRiskLogic
from . import controls
from .downloads import KINDS, download
from .drawing import PAUSE_S
from .remote_assessor import RemoteAssessor
from .start import PASS, Start
from .uploads import NOTHING_SENT, Inbox, unpacked
from .viewer import Viewer
from .work import Work

PAGE = Path(__file__).with_name("page")
#: How often the page is brought up to date, seconds; how long without a tab until what is being assessed is cancelled.
TICK_S, ALONE_S = 0.03, 10.0


def run(start: Start, parent: Connection) -> None:
    """Serve one session on a port of loopback, which ``parent`` is sent; ends when ``parent`` closes."""
    # The terminal's Ctrl-C is for the process before this one, whose end ends this.
    os.setsid()
    os.environ |= {"WSLINK_READY_MSG": "", "WSLINK_WS_COMPRESS": "0", "WSLINK_MAX_MSG_SIZE": str(2**24)}
    if not os.environ.get("DISPLAY"):
        # Drawn in memory; a server with a GPU and EGL names vtkEGLRenderWindow here.
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")
    # Of VTK's own future; what goes wrong here raises.
    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        asyncio.run(_serve(start, parent))
    except BaseException:
        # The process ends below without Python's own words.
        traceback.print_exc()
    finally:
        _end(start)


def _end(start: Start) -> None:
    shutil.rmtree(start.folder, ignore_errors=True)
    # Threads that draw or wait for the grader must not keep the process.
    os._exit(0)


async def _serve(start: Start, parent: Connection) -> None:
    session, gone = Session(start), asyncio.Event()
    server = session.server
    asyncio.get_running_loop().add_reader(parent.fileno(), gone.set)
    serving = asyncio.ensure_future(
        server.start(
            exec_mode="coroutine",
            host="127.0.0.1",
            port=0,
            timeout=0,
            open_browser=False,
            show_connection_info=False,
            handle_signals=False,
        )
    )
    await server.ready
    parent.send(server.port)
    ticking = asyncio.ensure_future(session.tick_for_ever())
    drawing = asyncio.ensure_future(session.viewer.drawing.draw_for_ever())
    await gone.wait()
    for one in (ticking, drawing, serving):
        one.cancel()
    # What asyncio would wait for now - encoders, a computation - nobody wants any more.
    _end(start)


class Session:
    """Ties scene, work and page together.

    Parameters
    ----------
    start : Start
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.server = get_server(start.name, client_type="vue3")
        self.server.enable_module(views_module)
        own = {"styles": ["nodulerisk/page.css"], "scripts": ["nodulerisk/page.js"]}
        self.server.enable_module({"serve": {"nodulerisk": str(PAGE)}, **own})
        self._dirty, self._tabs, self._alone_since, self._inboxes = True, 0, time.monotonic(), 0
        self.viewer = Viewer(self.server, self.changed)
        self.work = Work(self.viewer, NoduleRiskLogic(self._make_assessor), self.changed)
        self.server.controller.on_server_bind.add(self._bind)
        self.state = self.server.state
        self.state.update(controls.first_state(start.name, start.device, start.root is not None))
        #: What the page may call, by name.
        self.called = {
            name: self._attempted(function)
            for name, function in controls.triggers(self.work, self.state, start.root).items()
        }
        for name, function in self.called.items():
            self.server.trigger(name)(function)
        with DivLayout(self.server) as layout:
            layout.root.add_child((PAGE / "page.html").read_text(encoding="utf-8"))
        if start.ct:
            self.work.show(start.ct.volume, start.ct.files)
            self.work.look_first = start.ct.first

    def changed(self) -> None:
        """Something may look different now: with the next tick."""
        self._dirty = True

    async def tick_for_ever(self) -> None:
        """Make the calls that the worker asked for, and bring the page up to date where anything changed."""
        worker = self.work.logic.worker
        while True:
            worker.poll()
            if self.work.look_first and self._tabs and self.viewer.sized():
                first, self.work.look_first = self.work.look_first, None
                self.viewer.whole()
                self.viewer.near(first)
            if self._dirty:
                self._dirty = False
                self.work.read_scene()
                with self.state:
                    self.state.update(controls.shown(self.work, self.state.tab))
                await asyncio.sleep(PAUSE_S)
                # Otherwise the next turn reads it again, and shows that.
                if not self._dirty:
                    self.work.show_found()
            if self.work.state.task and not self._tabs and time.monotonic() - self._alone_since > ALONE_S:
                # Nobody looks any more.
                self.work.cancel()
            await asyncio.sleep(TICK_S)

    def _make_assessor(self, package: Any, device: str) -> Any:
        def told(before: int) -> None:
            self.work.before = before
            self.changed()

        one = self.start
        return RemoteAssessor(one.grader, one.key, one.device, self.work.wanted, told)

    def _attempted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A trigger whose ``NoduleRiskError`` becomes the sentence in the page."""

        def call(*arguments: Any) -> None:
            try:
                function(*arguments)
            except NoduleRiskError as error:
                self.work.state.error = str(error)
            except (LookupError, TypeError, ValueError, OverflowError) as error:
                # Not sent by our page.
                logging.warning("NoduleRisk: %s", error)
            self.changed()

        return call

    # --- requests

    def _bind(self, wslink_server: Any) -> None:
        app = wslink_server.app
        app.middlewares.append(self._guard)
        app._client_max_size = self.start.limits.bytes
        app.add_routes([web.get("/download/{kind}", self._download), web.post("/upload", self._upload)])

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get(PASS, "").encode(), self.start.secret.encode()):
            raise web.HTTPForbidden
        if request.path != "/ws":
            return await handler(request)
        self._tabs += 1
        try:
            # Drawn once more for a tab that is new.
            asyncio.get_running_loop().call_later(0.5, self.viewer.draw)
            return await handler(request)
        finally:
            self._tabs -= 1
            self._alone_since = time.monotonic()

    async def _download(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        if kind not in KINDS:
            raise web.HTTPNotFound
        try:
            return await download(self.work, kind, self.start.folder)
        except NoduleRiskError as error:
            return web.json_response({"error": str(error)}, status=409)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        self._inboxes += 1
        sent, unpack = (self.start.folder / f"{kind}-{self._inboxes}" for kind in ("sent", "ct"))
        try:
            inbox = Inbox(sent, self.start.limits)
            await _receive(request, inbox)
            place = await asyncio.to_thread(unpacked, inbox, Inbox(unpack, self.start.limits))
        except NoduleRiskError as error:
            shutil.rmtree(unpack, ignore_errors=True)
            return web.json_response({"error": str(error)}, status=400)
        except OSError as error:
            shutil.rmtree(unpack, ignore_errors=True)
            told = f"The server cannot keep this upload ({error.strerror or error}): tell who runs it."
            return web.json_response({"error": told}, status=507)
        finally:
            shutil.rmtree(sent, ignore_errors=True)
        self.work.open(place, unpack, prior=request.query.get("prior") == "1")
        return web.json_response({})


async def _receive(request: web.Request, inbox: Inbox) -> None:
    """Write a form's files as they come."""
    if not request.content_type.startswith("multipart/"):
        raise NoduleRiskError(NOTHING_SENT)
    try:
        form = await request.multipart()
        while (part := await form.next()) is not None:
            if not getattr(part, "filename", None):
                continue
            with inbox.new_file(part.filename).open("wb") as file:
                while piece := await part.read_chunk(2**20):
                    inbox.count(len(piece))
                    file.write(piece)
    except (ValueError, AssertionError, web.HTTPException) as error:
        raise NoduleRiskError("This upload is broken or was cut off: send it again.") from error
