"""Checks that every request passes before its route, and headers that every response carries.

From the outside in: `SecurityHeaders`, `HostCheck`, Starlette's `CORSMiddleware` if pages of other
origins are allowed, `AccessCheck` and `BodyLimits`. docs/api.md describes the rules for users.
"""

from __future__ import annotations

import asyncio
import re
import time
from abc import ABC, abstractmethod

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.server.problems import Problem, problem_response, server_busy
from lookalike.server.settings import API, OPEN_PATHS, ServerSettings
from lookalike.server.tokens import cookie_token, is_valid_token

__all__ = [
    "AccessCheck",
    "BodyLimits",
    "HostCheck",
    "SecurityHeaders",
    "add_middleware",
    "host_name",
]

# The bodies of all requests together may take this multiple of the largest body.
_MAX_BODIES = 8
_DRAIN_SECONDS = 2.0
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# A host name or a bracketed IPv6 address, and a port.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]@:/?#,]+))(?::[0-9]*)?")

_PAGE_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_COMMON_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


def add_middleware(app: FastAPI, settings: ServerSettings) -> None:
    """Add all checks to an app."""
    # Starlette runs the middleware that is added last first.
    app.add_middleware(BodyLimits, settings=settings)
    app.add_middleware(AccessCheck, settings=settings)
    if settings.origins:
        app.add_middleware(
            _Cors,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.add_middleware(HostCheck, settings=settings)
    app.add_middleware(SecurityHeaders, settings=settings)


class _Cors(CORSMiddleware):
    """Starlette's CORSMiddleware, which refuses a preflight request with a problem."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the response to a preflight request."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        problem = Problem(
            400,
            "Cross-site request",
            "Pages of this origin cannot send this request: its origin, method or headers are not "
            "allowed. To allow an origin, start the server with --allow-origin ORIGIN.",
            headers={"Vary": "Origin"},
        )
        return problem_response(problem, instance="")


class SecurityHeaders:
    """Add the headers that prevent browsers from misusing a response.

    They replace no header that the response already has.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._origins = settings.origins
        self._page_headers = _security_headers(_PAGE_POLICY)
        self._data_headers = _security_headers(_DATA_POLICY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _path(scope)
        is_page = path == "/" or path.startswith("/static/")
        security_headers = self._data_headers
        if is_page:
            security_headers = self._page_headers
        resource_policy = self._resource_policy(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                names = {name for name, _ in headers}
                headers.append(resource_policy)
                for name, value in security_headers:
                    if name not in names:
                        headers.append((name, value))
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _resource_policy(self, scope: Scope) -> tuple[bytes, bytes]:
        """Let pages of allowed origins load a response, and no others."""
        policy = b"same-origin"
        if self._origins:
            headers = Headers(scope=scope)
            if headers.get("origin") in self._origins:
                policy = b"cross-origin"
        return b"cross-origin-resource-policy", policy


class _RequestCheck(ABC):
    """Middleware that refuses the requests for which `check` returns a problem."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            problem = self.check(scope, headers)
            if problem is not None:
                await _refuse(problem, scope, receive, send)
                return
        await self._app(scope, receive, send)

    @abstractmethod
    def check(self, scope: Scope, headers: Headers) -> Problem | None:
        """Return the reason to refuse a request, or None."""


class HostCheck(_RequestCheck):
    """Refuse requests under another host name, such as one that was rebound to this machine.

    Starlette's TrustedHostMiddleware does not handle IPv6 addresses, upper case and repeated Host
    headers, and does not answer with a problem.
    """

    def check(self, scope: Scope, headers: Headers) -> Problem | None:  # noqa: ARG002
        """Return a problem unless the request has one Host header with an accepted name."""
        accepted = self._settings.hosts
        hosts = headers.getlist("host")
        name = ""
        if hosts:
            first = hosts[0]
            name = host_name(first)
        is_accepted = accepted is None or name in accepted
        if is_accepted and len(hosts) == 1:
            return None
        return _unknown_host(name)


class AccessCheck(_RequestCheck):
    """Refuse requests from pages of other sites, and requests without the token."""

    def check(self, scope: Scope, headers: Headers) -> Problem | None:
        """Return a problem if the request comes from another site or lacks the token."""
        method = scope["method"]
        if method not in _SAFE_METHODS:
            problem = self._check_origin(headers)
            if problem is not None:
                return problem
        return self._check_token(scope, headers)

    def _check_origin(self, headers: Headers) -> Problem | None:
        origin = headers.get("origin")
        if origin in self._settings.origins:
            return None
        host = headers.get("host", "")
        is_own_page = origin is None or _is_same_host(origin, host)
        site = headers.get("sec-fetch-site", "none")
        if is_own_page and site in {"same-origin", "none"}:
            return None
        return Problem(
            403,
            "Cross-site request",
            "Pages of another site cannot use this server. "
            "To allow one, start the server with --allow-origin ORIGIN.",
        )

    def _check_token(self, scope: Scope, headers: Headers) -> Problem | None:
        path = _path(scope)
        settings = self._settings
        if settings.token is None or not _needs_token(path):
            return None
        authorization = headers.get("authorization", "")
        scheme, _, credentials = authorization.partition(" ")
        is_bearer = scheme.lower() == "bearer"
        sent = credentials.strip() if is_bearer else cookie_token(scope, headers)
        if is_valid_token(settings, sent):
            return None
        return Problem(
            401,
            "Token required",
            "The request has no valid token. Send the header Authorization: Bearer TOKEN, or open "
            "/?token=TOKEN in a browser. The token is the one that the server was started with, or "
            "the one that it printed.",
            headers={"WWW-Authenticate": "Bearer"},
        )


class BodyLimits:
    """Limit the size and the duration of each request body, and the size of all bodies together."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._max_bytes = settings.max_upload
        self._seconds = settings.body_seconds
        self._bytes_in_memory = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not _has_body(headers):
            await self._app(scope, receive, send)
            return
        if self._is_too_long(headers):
            problem = self._too_large()
            await _refuse(problem, scope, receive, send)
            return
        body = _LimitedBody(receive, self)
        try:
            await self._app(scope, body, send)
        finally:
            self._bytes_in_memory -= body.received

    def _is_too_long(self, headers: Headers) -> bool:
        length = headers.get("content-length", "")
        if not length.isdigit():
            return False
        # Python does not convert numbers of thousands of digits.
        first_digits = length[:20]
        size = int(first_digits)
        return size > self._max_bytes

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "Content too large",
            f"The request body has more than {self._max_bytes / (1 << 20):g} MB. Send a smaller "
            "image, or start the server with --max-upload MB.",
            headers={"Connection": "close"},
        )

    def _too_slow(self) -> Problem:
        return Problem(
            408,
            "Request timeout",
            f"The request body did not arrive within {self._seconds:g} seconds. Send it again.",
            headers={"Connection": "close"},
        )


class _LimitedBody:
    """The body of one request; exceeding a limit raises a Problem, which the app answers.

    Attributes
    ----------
    received
        The number of bytes so far.
    """

    def __init__(self, receive: Receive, limits: BodyLimits) -> None:
        self.received = 0
        self._receive = receive
        self._limits = limits
        start = time.monotonic()
        self._deadline = start + limits._seconds
        self._ended = False

    async def __call__(self) -> Message:
        """Return the next part of the body."""
        if self._ended:
            return await self._receive()
        remaining = self._deadline - time.monotonic()
        try:
            async with asyncio.timeout(remaining):
                message = await self._receive()
        except TimeoutError:
            self._ended = True
            raise self._limits._too_slow() from None
        self._ended = not message.get("more_body", False)
        data = message.get("body", b"")
        await self._count(len(data))
        return message

    async def _count(self, size: int) -> None:
        limits = self._limits
        self.received += size
        limits._bytes_in_memory += size
        if limits._bytes_in_memory > _MAX_BODIES * limits._max_bytes:
            detail = (
                "The server is receiving other large requests. Try again in a moment."
            )
            raise server_busy(detail)
        if self.received > limits._max_bytes:
            if not self._ended:
                await _drain(self._receive)
            raise limits._too_large()


def host_name(host: str) -> str:
    """Return the lower-case name in a Host header, or "" if the header is malformed."""
    parsed = _HOST.fullmatch(host)
    if parsed is None:
        return ""
    address, name = parsed.groups()
    return (address or name).lower()


def _unknown_host(name: str) -> Problem:
    return Problem(
        421,
        "Unknown host name",
        f"The server does not accept the host name {name[:100]!r}. Use the address that it "
        "printed, or start it with --allow-host NAME.",
    )


def _needs_token(path: str) -> bool:
    if path in OPEN_PATHS:
        return False
    if path == "/metrics":
        return True
    return path.startswith(f"{API}/")


def _is_same_host(origin: str, host: str) -> bool:
    """Compare without the scheme, because a proxy may handle TLS."""
    _, _, origin_host = origin.partition("://")
    return origin_host.lower() == host.lower()


def _path(scope: Scope) -> str:
    """Return the path without the prefix of a proxy."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "")
    return path.removeprefix(prefix)


def _security_headers(content_policy: str) -> list[tuple[bytes, bytes]]:
    headers = {**_COMMON_HEADERS, "content-security-policy": content_policy}
    encoded = []
    for name, value in headers.items():
        name_bytes = name.encode()
        value_bytes = value.encode()
        header = (name_bytes, value_bytes)
        encoded.append(header)
    return encoded


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a problem instead of calling the app."""
    headers = Headers(scope=scope)
    if _has_body(headers):
        await _drain(receive)
    path = scope["path"]
    response = problem_response(problem, instance=path)
    await response(scope, receive, send)


def _has_body(headers: Headers) -> bool:
    if "transfer-encoding" in headers:
        return True
    length = headers.get("content-length", "0")
    return length != "0"


async def _drain(receive: Receive) -> None:
    """Discard the rest of a body for a short time.

    A client that is still sending reads the response only afterwards.
    """
    is_complete = False
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while not is_complete:
                message = await receive()
                is_complete = not message.get("more_body", False)
    except TimeoutError:
        pass
