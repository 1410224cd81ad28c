"""Who may come in, and what every answer carries; before sessions that are stand-ins."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="LEFT OUT: the front of the page; it needs pip install 'NoduleRisk[browser]'")
from aiohttp import DummyCookieJar, WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

from NoduleRiskLib.browser import front
from NoduleRiskLib.browser.front import Front
from NoduleRiskLib.browser.sessions import Running
from NoduleRiskLib.browser.start import PASS
from NoduleRiskLib.errors import NoduleRiskError

MOST_BYTES = 100_000
TOKEN = "the-right-token"


class Process:
    """Stands in for a session's process."""

    def __init__(self) -> None:
        self.here = True

    def is_alive(self) -> bool:
        return self.here


class Pipe:
    def close(self) -> None:
        pass


class FakeSessions:
    """Sessions whose process is one small server in this one; three at most."""

    def __init__(self, port: int) -> None:
        self._port, self.running, self.grader_alive = port, {}, True

    def find(self, cookie: str) -> Running | None:
        return self.running.get(cookie)

    async def start(self) -> tuple[str, Running]:
        if len(self.running) >= 3:
            raise NoduleRiskError("All 3 places are taken.")
        name = f"session-{len(self.running)}"
        one = Running(name, f"secret of {name}", Process(), Pipe())
        one.port = self._port
        self.running[f"cookie-{name}"] = one
        return f"cookie-{name}", one

    def end_idle(self) -> None:
        pass

    def end_all(self) -> None:
        self.running.clear()


FAKES = web.AppKey("fakes", FakeSessions)


async def _echo(request: web.Request) -> web.StreamResponse:
    """Behind the front: who asks, with which secret, and how much was sent."""
    if request.path == "/ws":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.headers[PASS]}: {message.data}")
        return socket
    sent = 0
    async for piece in request.content.iter_chunked(4096):
        sent += len(piece)
    return web.json_response(
        {
            "pass": request.headers.get(PASS),
            "path": request.raw_path,
            "sent": sent,
            "cookie": request.headers.get("Cookie"),
        }
    )


@asynccontextmanager
async def running(token: str = "") -> Any:
    """A client that keeps no cookies by itself, and the front."""
    behind = web.Application(client_max_size=2**30)
    behind.router.add_route("*", "/{path:.*}", _echo)
    async with TestServer(behind) as upstream:
        fakes = FakeSessions(upstream.port)
        app = Front(fakes, token, MOST_BYTES).app  # type: ignore[arg-type]
        app[FAKES] = fakes
        async with TestClient(TestServer(app), cookie_jar=DummyCookieJar()) as client:
            yield client


def run(test: Callable[[Any], Awaitable[None]], token: str = "") -> None:
    async def all_of_it() -> None:
        async with running(token) as client:
            await test(client)

    asyncio.run(all_of_it())


async def cookie(client: Any, path: str = "/", **more: Any) -> str:
    answer = await client.get(path, allow_redirects=False, **more)
    return "; ".join(one.output([], "").strip().split(";")[0] for one in answer.cookies.values())


def test_every_answer_forbids_what_is_not_ours() -> None:
    async def test(client: Any) -> None:
        mine = {"Cookie": await cookie(client)}
        for path, headers in (("/", {}), ("/anything", mine), ("/nowhere", {}), ("/alive", {})):
            answer = await client.get(path, headers=headers)
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path
            assert answer.headers["X-Frame-Options"] == "DENY"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "http" not in policy and "*" not in policy

    run(test)


def test_the_page_names_no_other_server() -> None:
    async def test(client: Any) -> None:
        text = await (await client.get("/")).text()
        assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", text)

    run(test)


def test_two_browsers_have_two_sessions_and_nobody_else_s_cookie_opens_one() -> None:
    async def test(client: Any) -> None:
        one, other = await cookie(client), await cookie(client)
        told = [await (await client.get("/x", headers={"Cookie": each})).json() for each in (one, other)]
        assert told[0]["pass"] != told[1]["pass"]
        assert told[0]["cookie"] is None
        for wrong in ("", one[:-1], f"{one.partition('=')[0]}=cookie-guess"):
            assert (await client.get("/x", headers={"Cookie": wrong})).status == 404
        again = await client.get("/", headers={"Cookie": one})
        assert not again.cookies, "a reload keeps the session"

    run(test)


def test_cookies_are_not_for_scripts_and_other_sites() -> None:
    async def test(client: Any) -> None:
        (found,) = (await client.get("/")).cookies.values()
        assert found["httponly"] and found["samesite"] == "Lax"
        (found,) = (await client.get("/", headers={"X-Forwarded-Proto": "https"})).cookies.values()
        assert found["secure"]

    run(test)


def test_places_are_bounded_and_those_inside_go_on() -> None:
    async def test(client: Any) -> None:
        first = await cookie(client)
        answers = await asyncio.gather(*(client.get("/") for _ in range(200)))
        assert sorted({answer.status for answer in answers}) == [200, 503]
        assert sum(answer.status == 200 for answer in answers) == 2
        assert (await client.get("/x", headers={"Cookie": first})).status == 200

    run(test)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", ""])
def test_without_a_token_only_this_computer_s_names_are_answered(host: str) -> None:
    async def test(client: Any) -> None:
        assert (await client.get("/", headers={"Host": host})).status in (400, 421)

    run(test)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://["])
def test_other_sites_pages_are_refused(origin: str) -> None:
    async def test(client: Any) -> None:
        mine = {"Cookie": await cookie(client), "Origin": origin}
        assert (await client.get("/x", headers=mine)).status == 403
        assert (await client.post("/upload", headers=mine, data=b"x")).status == 403
        with pytest.raises(WSServerHandshakeError):
            await client.ws_connect("/ws", headers=mine)

    run(test)


@pytest.mark.parametrize(
    ("site", "mode", "what", "status"),
    [
        ("cross-site", "navigate", "document", 200),
        ("cross-site", "no-cors", "image", 403),
        ("cross-site", "navigate", "iframe", 403),
        ("same-site", "no-cors", "script", 403),
        ("same-origin", "cors", "empty", 200),
        ("none", "navigate", "document", 200),
    ],
)
def test_a_link_from_another_site_opens_the_page_and_its_images_start_nothing(
    site: str, mode: str, what: str, status: int
) -> None:
    async def test(client: Any) -> None:
        said = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": what}
        assert (await client.get("/", headers=said)).status == status
        assert len(client.server.app[FAKES].running) == (status == 200)

    run(test)


def test_a_fault_is_told_with_all_headers_and_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [RuntimeError("secret"), NoduleRiskError("<script>")]

    async def start(self: FakeSessions) -> None:
        raise faults.pop(0)

    monkeypatch.setattr(FakeSessions, "start", start)

    async def test(client: Any) -> None:
        for status in (500, 503):
            answer = await client.get("/")
            assert answer.status == status
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert not re.search("secret|<script>", await answer.text())

    run(test)


def test_who_does_not_know_the_token_sees_nothing() -> None:
    async def test(client: Any) -> None:
        for path in ("/", "/x", "/alive", "/?token=", "/?token=wrong", "/?token=the-right-toke", "/x?token=" + TOKEN):
            answer = await client.get(path)
            assert answer.status == 401, path
            assert not answer.cookies
        assert (await client.post("/login", data={"token": "wrong"})).status == 401
        with pytest.raises(WSServerHandshakeError):
            await client.ws_connect("/ws")

    run(test, TOKEN)


def test_the_token_is_shown_once_and_leaves_the_address() -> None:
    async def test(client: Any) -> None:
        for login in (
            client.get(f"/?token={TOKEN}", allow_redirects=False),
            client.post("/login", data={"token": TOKEN}, allow_redirects=False),
        ):
            answer = await login
            assert (answer.status, answer.headers["Location"]) == (303, "/")
            (found,) = answer.cookies.values()
            assert TOKEN not in found.value
            page = await client.get("/", headers={"Cookie": f"{found.key}={found.value}", "Host": "reader.example"})
            assert page.status == 200

    run(test, TOKEN)


def test_the_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(front.hmac, "compare_digest", lambda *both: compared.append(both) or False)

    async def test(client: Any) -> None:
        await client.get("/?token=wrong")

    run(test, TOKEN)
    assert compared == [(b"wrong", TOKEN.encode())]


def test_an_upload_over_the_bound_is_refused_before_it_is_read() -> None:
    async def test(client: Any) -> None:
        mine = {"Cookie": await cookie(client)}
        assert (await client.post("/upload", headers=mine, data=bytes(MOST_BYTES + 1))).status == 413
        answer = await client.post("/upload", headers=mine, data=bytes(MOST_BYTES))
        assert (await answer.json())["sent"] == MOST_BYTES
        assert (await client.post("/login", data={"token": "x" * 100_000})).status == 413

    run(test)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_reading_and_uploads_is_passed_on(method: str) -> None:
    async def test(client: Any) -> None:
        mine = {"Cookie": await cookie(client)}
        assert (await client.request(method, "/x", headers=mine)).status == 404
        assert (await client.post("/x", headers=mine)).status == 404

    run(test)


def test_messages_go_both_ways_and_tabs_are_bounded() -> None:
    async def test(client: Any) -> None:
        mine = {"Cookie": await cookie(client), "Origin": f"http://{client.host}:{client.port}"}
        sockets = [await client.ws_connect("/ws", headers=mine) for _ in range(front.TABS)]
        await sockets[0].send_str("hello")
        assert await sockets[0].receive_str() == "secret of session-0: hello"
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect("/ws", headers=mine)
        assert refused.value.status == 429
        for one in sockets:
            await one.close()
        # Those places are free again.
        for _ in range(50):
            try:
                await (await client.ws_connect("/ws", headers=mine)).close()
                return
            except WSServerHandshakeError:
                await asyncio.sleep(0.02)
        raise AssertionError

    run(test)


def test_a_session_that_does_not_answer_is_told() -> None:
    async def test(client: Any) -> None:
        mine = {"Cookie": await cookie(client)}
        fakes = client.server.app[FAKES]
        next(iter(fakes.running.values())).port = 1
        assert (await client.get("/x", headers=mine)).status == 502

    run(test)
