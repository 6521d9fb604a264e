"""What every request passes before anything else, and what every answer carries."""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.server.problems import Problem, busy, response
from lookalike.server.settings import API, Settings

__all__ = ["COOKIE", "Guard", "host_name"]

COOKIE = "lookalike"
# Bodies of all requests together may take so many times the largest one.
_BODIES = 8
_DRAIN_SECONDS = 2.0
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]@:/?#,]+))(?::[0-9]*)?")

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as they are sent."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_PAGE_HEADERS = _raw({**_HEADERS, "Content-Security-Policy": _PAGE_POLICY})
_DATA_HEADERS = _raw({**_HEADERS, "Content-Security-Policy": _DATA_POLICY})


class Guard:
    """Refuse what does not come from where it should, or is too large or too slow; see docs/api.md.

    In this order: the Host header, where the request comes from, the token, the body as it arrives.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        headers = Headers(scope=scope)
        sender = _Sender(send, path, _shared(self._settings, headers))
        body = _Body(receive, self._settings, self)
        try:
            self._check(scope, path, headers, body)
            app = Response(status_code=204) if self._is_preflight(scope, headers) else self._app
            await app(scope, body, sender)
        except Problem as problem:
            await body.drain()
            await response(problem, scope["path"])(scope, receive, sender)
        finally:
            self._held -= body.received

    def take(self, count: int) -> None:
        """Count bytes that are held; refuse them if all requests together hold too many."""
        self._held += count
        if self._held > _BODIES * self._settings.max_upload:
            raise busy("The pictures of other requests are being taken in. Try again in a moment.")

    def _check(self, scope: Scope, path: str, headers: Headers, body: _Body) -> None:
        self._check_host(headers)
        if self._is_preflight(scope, headers):
            return
        if scope["method"] not in {"GET", "HEAD", "OPTIONS"}:
            self._check_origin(headers)
        self._check_token(path, headers)
        body.announced(headers)

    def _is_preflight(self, scope: Scope, headers: Headers) -> bool:
        """Tell whether a browser asks whether a page of an allowed origin may ask."""
        asked = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        return asked and headers.get("origin") in self._settings.origins

    def _check_host(self, headers: Headers) -> None:
        hosts = self._settings.hosts
        name = host_name(headers.get("host", ""))
        if len(headers.getlist("host")) != 1 or (hosts is not None and name not in hosts):
            raise Problem(
                421,
                "Not the name of this server",
                f"This server does not answer to the name {name[:100]!r}. "
                "Use the address that it printed, or start it with --allow-host NAME.",
            )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        own = (
            origin is None
            or _same_place(origin, headers.get("host", ""))
            or origin in self._settings.origins
        )
        site = headers.get("sec-fetch-site", "none")
        if not own or (
            site not in {"same-origin", "none"} and origin not in self._settings.origins
        ):
            raise Problem(
                403,
                "Not from another site",
                "A page of another site may not change or ask anything here. "
                "If it is yours, start the server with --allow-origin ORIGIN.",
            )

    def _check_token(self, path: str, headers: Headers) -> None:
        token = self._settings.token
        if (
            token is None
            or not (path.startswith(f"{API}/") or path == "/metrics")
            or path == f"{API}/health"
        ):
            return
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        given = shown.strip() if scheme.lower() == "bearer" else _cookie(headers)
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise Problem(
                401,
                "A token is needed",
                "Open the address that the server printed when it started, which ends in ?token=..., or send it in the "
                "header Authorization: Bearer TOKEN.",
                headers={"WWW-Authenticate": "Bearer"},
            )


class _Body:
    """A request's body as it arrives, within bounds of size and time.

    Attributes
    ----------
    received
        Bytes so far.
    """

    def __init__(self, receive: Receive, settings: Settings, guard: Guard) -> None:
        self.received = 0
        self._receive, self._most, self._guard = receive, settings.max_upload, guard
        self._until = time.monotonic() + settings.body_seconds
        self._seconds = settings.body_seconds
        self._ended = False

    def announced(self, headers: Headers) -> None:
        """Refuse a body that says beforehand that it is too large."""
        length = headers.get("content-length", "0")
        self._ended = length == "0" and "transfer-encoding" not in headers
        if length.isdigit() and int(length[:20]) > self._most:
            raise self._too_large()

    async def __call__(self) -> Message:
        """Return the next part of the body."""
        if self._ended:
            return await self._receive()
        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            self._ended = True
            raise Problem(
                408,
                "Too slow",
                f"The request's body did not arrive within {self._seconds:g} seconds. Send it again.",
                headers={"Connection": "close"},
            ) from None
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        count = len(message.get("body", b""))
        self.received += count
        self._guard.take(count)
        if self.received > self._most:
            await self.drain()
            raise self._too_large()
        return message

    async def drain(self) -> None:
        """Read on for a little while, and forget what comes: who still sends sees an answer only after that."""
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._ended:
                    message = await self._receive()
                    self._ended = message["type"] != "http.request" or not message.get(
                        "more_body", False
                    )
        except TimeoutError:
            pass

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "Too large",
            f"The request's body has more than {self._most / (1 << 20):g} MB. Send a smaller picture, "
            "or start the server with --max-upload MB.",
            headers={"Connection": "close"},
        )


class _Sender:
    """Adds to each answer the headers that keep it from being misused, but for those that it has already."""

    def __init__(self, send: Send, path: str, extra: dict[str, str]) -> None:
        self._send = send
        shown = path == "/" or path.startswith("/static/")
        # The first of a name holds.
        self._headers = [*_raw(extra), *(_PAGE_HEADERS if shown else _DATA_HEADERS)]

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            names = {name for name, _ in headers}
            for name, value in self._headers:
                if name not in names:
                    headers.append((name, value))
                    names.add(name)
            message["headers"] = headers
        await self._send(message)


def host_name(host: str) -> str:
    """Return the name in a Host header, in small letters, without port and brackets; an empty text if there is none."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def _shared(settings: Settings, headers: Headers) -> dict[str, str]:
    """Return the headers that let a page of an allowed origin ask and read the answer."""
    origin = headers.get("origin")
    if origin is None or origin not in settings.origins:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Vary": "Origin",
    }


def _same_place(origin: str, host: str) -> bool:
    """Tell whether an origin is the host asked, whatever the scheme: a proxy may have taken TLS off."""
    return origin.partition("://")[2].lower() == host.lower()


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
