"""The one port that browsers see: who may come in, whose session it is, which headers all answers have."""

from __future__ import annotations

import asyncio
import hmac
import html
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from ..errors import NoduleRiskError
from .sessions import Running, Sessions
from .start import PASS
from .uploads import too_much

#: Vue compiles the page's template in the browser, which needs eval; every script is a file of ours all the same.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
#: Names by which this computer calls itself: a page from elsewhere whose name was made to point here has another.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: So many tabs of one session at most, and of all sessions together.
TABS, SOCKETS = 6, 64
#: How often idle sessions are looked for, seconds.
SWEEP_S = 5.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Front:
    """Serves the page, and passes on to its session whatever a browser asks.

    Parameters
    ----------
    sessions : Sessions
    token : str
        What a browser must show once; empty: nothing, and only this computer's own names are answered to.
    most_bytes : int
        Of an upload.
    """

    def __init__(self, sessions: Sessions, token: str, most_bytes: int) -> None:
        self._sessions, self._token, self._most_bytes = sessions, token, most_bytes
        self._logins: set[str] = set()
        self._sockets = 0
        #: Why the server ended by itself; empty: it did not.
        self.fault = ""
        self._suffix = secrets.token_hex(3)
        self._index = _index()
        self.app = web.Application(middlewares=[self._answer], client_max_size=2**14)
        self.app.add_routes(
            [
                web.get("/", self._page),
                web.post("/login", self._login),
                web.get("/alive", self._alive),
                web.get("/ws", self._socket),
                web.route("*", "/{path:.*}", self._pass_on),
            ]
        )
        self.app.cleanup_ctx.append(self._client)

    async def _client(self, app: web.Application) -> object:
        # Sessions are on loopback, so neither a proxy of the system's nor its cookies have a part in it.
        self._http = aiohttp.ClientSession(
            auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=None)
        )
        sweeping = asyncio.ensure_future(self._sweep())
        yield
        sweeping.cancel()
        await self._http.close()
        self._sessions.end_all()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._sessions.end_idle()
            if not self._sessions.grader_alive:
                self.fault = "The process that holds the model has ended: start the server again."
                raise web.GracefulExit

    # --- who may come in

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what is not allowed, and put the headers on every answer."""
        try:
            response = self._refused(request) or await handler(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=error.reason)
        except NoduleRiskError as error:
            response = _told(503, str(error))
        except (aiohttp.ClientError, ConnectionError):
            response = web.Response(status=502, text="The session does not answer.")
        except Exception:
            logging.exception("NoduleRisk")
            response = web.Response(status=500, text="The server made a mistake; its log says more.")
        if not response.prepared:
            response.headers.update(HEADERS)
            if request.path.startswith(("/assets/", "/__trame", "/nodulerisk/")) and response.status == 200:
                response.headers["Cache-Control"] = "no-cache"
        return response

    def _refused(self, request: web.Request) -> web.StreamResponse | None:
        host = _split(f"//{request.host}").hostname or ""
        if not self._token and host not in LOOPBACK:
            return web.Response(status=421, text="This server answers on this computer only.")
        origin = request.headers.get("Origin")
        if (origin is not None and _split(origin).netloc != request.host) or _from_elsewhere(request):
            return web.Response(status=403, text="Requests come from this server's own page only.")
        if self._token and request.cookies.get(self._cookie("login")) not in self._logins and request.path != "/login":
            given = request.query.get("token", "") if request.path == "/" else ""
            if given:
                return self._logged_in(request, given)
            return _told(401, "Show the token that the server printed when it was started.", form=True)
        return None

    async def _login(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        return self._logged_in(request, str(form.get("token", "")))

    def _logged_in(self, request: web.Request, given: str) -> web.StreamResponse:
        if not hmac.compare_digest(given.strip().encode(), self._token.encode()):
            return _told(401, "This is another token: take the one that the server printed when it was started.", True)
        # The address bar and the history shall not keep the token.
        response: web.StreamResponse = web.Response(status=303, headers={"Location": "/"})
        login = secrets.token_urlsafe(32)
        self._logins.add(login)
        self._set_cookie(request, response, "login", login)
        return response

    def _cookie(self, what: str) -> str:
        # Cookies are shared by all ports of a host, and a server that was started again knows none of the old ones.
        return f"nodulerisk-{what}-{self._suffix}"

    def _set_cookie(self, request: web.Request, response: web.StreamResponse, what: str, value: str) -> None:
        # Lax and not Strict: a link from another site must find the session, not start one in its place.
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(self._cookie(what), value, httponly=True, samesite="Lax", secure=secure, path="/")

    # --- whose session it is

    def _session(self, request: web.Request) -> Running | None:
        return self._sessions.find(request.cookies.get(self._cookie("session"), ""))

    async def _page(self, request: web.Request) -> web.StreamResponse:
        one, response = self._session(request), web.Response(text=self._index, content_type="text/html")
        if one is None:
            cookie, one = await self._sessions.start()
            self._set_cookie(request, response, "session", cookie)
        one.use()
        return response

    async def _alive(self, request: web.Request) -> web.StreamResponse:
        one = self._session(request)
        return web.json_response({"session": one.name if one else ""})

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        one = self._session(request)
        if one is None:
            raise web.HTTPNotFound
        if request.method not in ("GET", "HEAD") and not (request.method == "POST" and request.path == "/upload"):
            raise web.HTTPNotFound
        if (request.content_length or 0) > self._most_bytes:
            return web.json_response({"error": too_much(self._most_bytes)}, status=413)
        one.use()
        headers = {
            name: request.headers[name] for name in ("Content-Type", "Content-Length") if name in request.headers
        }
        url = f"http://127.0.0.1:{one.port}{request.rel_url.raw_path}"
        async with self._http.request(
            request.method,
            URL(url, encoded=True).with_query(request.rel_url.query),
            headers={**headers, PASS: one.secret},
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for name in ("Content-Type", "Content-Length", "Content-Disposition", "Content-Encoding"):
                if name in answer.headers:
                    response.headers[name] = answer.headers[name]
            response.headers.update(HEADERS)
            await response.prepare(request)
            async for piece in answer.content.iter_chunked(2**16):
                await response.write(piece)
            await response.write_eof()
            return response

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        one = self._session(request)
        if one is None:
            raise web.HTTPNotFound
        if request.headers.get("Origin") is None:
            raise web.HTTPForbidden
        if one.sockets >= TABS or self._sockets >= SOCKETS:
            raise web.HTTPTooManyRequests
        one.sockets += 1
        self._sockets += 1
        try:
            theirs = web.WebSocketResponse(max_msg_size=2**24, heartbeat=20, compress=False)
            await theirs.prepare(request)
            async with self._http.ws_connect(
                f"http://127.0.0.1:{one.port}/ws", headers={PASS: one.secret}, max_msg_size=0, compress=0
            ) as ours:
                await _joined(theirs, ours, one)
            return theirs
        finally:
            one.sockets -= 1
            one.use()
            self._sockets -= 1


async def _joined(theirs: web.WebSocketResponse, ours: aiohttp.ClientWebSocketResponse, one: Running) -> None:
    """Pass messages both ways until either side ends."""

    async def pump(source: object, sink: object, used: bool) -> None:
        async for message in source:  # type: ignore[attr-defined]
            if used:
                one.use()
            if message.type is aiohttp.WSMsgType.BINARY:
                await sink.send_bytes(message.data)  # type: ignore[attr-defined]
            elif message.type is aiohttp.WSMsgType.TEXT:
                await sink.send_str(message.data)  # type: ignore[attr-defined]

    pumps = [asyncio.ensure_future(pump(theirs, ours, True)), asyncio.ensure_future(pump(ours, theirs, False))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in pumps:
            task.cancel()
        with suppress(Exception):
            await ours.close()
        with suppress(Exception):
            await theirs.close()


def _split(url: str) -> SplitResult:
    """An address' parts; nothing of what is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _from_elsewhere(request: web.Request) -> bool:
    """Whether another site's page asks, other than by a link that the reader follows; browsers say so (W3C)."""
    site, mode, what = (request.headers.get(f"Sec-Fetch-{name}") for name in ("Site", "Mode", "Dest"))
    return site not in (None, "same-origin", "none") and (mode, what) != ("navigate", "document")


def _index() -> str:
    """The page that loads everything else: trame's own client, named by its index, and nothing of other servers."""
    from trame_client.module import vue3

    told = Path(vue3.www, "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r'src="(?:\./)?(assets/[^"]+\.js)"', told)
    styles = re.findall(r'href="(?:\./)?(assets/[^"]+\.css)"', told)
    links = "".join(f'<link rel="stylesheet" href="{one}">' for one in styles)
    modules = "".join(f'<script type="module" src="{one}"></script>' for one in scripts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>NoduleRisk</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,">{links}<script src="nodulerisk/socket.js"></script>'
        f'<script src="vue.global.js"></script>{modules}</head>'
        '<body><div id="app"><main><h1>NoduleRisk</h1><p>Starting …</p><p>Research use only</p></main></div></body>'
        "</html>"
    )


def _told(status: int, sentence: str, form: bool = False) -> web.Response:
    """A sentence as a page."""
    asking = (
        '<form method="post" action="/login"><label>Token <input name="token" type="password" autofocus></label> '
        "<button>Continue</button></form>"
        if form
        else ""
    )
    return web.Response(
        status=status,
        content_type="text/html",
        text=(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>NoduleRisk</title><style>'
            "body{font:16px/1.5 system-ui,sans-serif;background:#101418;color:#e8ecf0;margin:15vh auto;max-width:34em;"
            "padding:0 1em}input,button{font:inherit;padding:.3em .6em}</style></head>"
            f"<body><main><h1>NoduleRisk</h1><p>{html.escape(sentence)}</p>{asking}"
            "<p>Research use only</p></main></body></html>"
        ),
    )
