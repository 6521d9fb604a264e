"""An access log: one line per request, in the Common Log Format with the seconds at its end."""

from __future__ import annotations

import sys
import time
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LogRequests"]

_TIME_FORMAT = "%d/%b/%Y:%H:%M:%S +0000"
# The other characters of a path are percent-encoded, so that a path cannot forge a line.
_PATH_CHARACTERS = "/:@!$&()*+,;=~%"


class LogRequests:
    """Middleware that prints a line for each request to standard error.

    The line has no query, which may hold the token. The status of a request whose client left
    before the response began is ``-``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = "-"
        size = 0

        async def send_and_count(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = str(message["status"])
            body = message.get("body", b"")
            size += len(body)
            await send(message)

        try:
            await self._app(scope, receive, send_and_count)
        finally:
            seconds = time.perf_counter() - start
            line = _format(scope, status, size, seconds)
            print(line, file=sys.stderr, flush=True)  # noqa: T201 (the log)


def _format(scope: Scope, status: str, size: int, seconds: float) -> str:
    client, _ = scope.get("client") or ("-", 0)
    moment = time.strftime(_TIME_FORMAT, time.gmtime())
    method = scope["method"]
    path = quote(scope["path"], safe=_PATH_CHARACTERS)
    version = scope["http_version"]
    request = f'"{method} {path} HTTP/{version}"'
    return f"{client} - - [{moment}] {request} {status} {size} {seconds:.4f}"
