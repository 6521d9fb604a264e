"""Run a server until it receives a signal to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from lookalike.errors import InputError
from lookalike.server.problems import Problem, problem_response, server_busy
from lookalike.server.state import ServerState

__all__ = ["bind", "serve"]

_MAX_HEADER_BYTES = 1 << 15
_HEADER_SECONDS = 10
_SHUTDOWN_SECONDS = 10
# Long, because a request sent at the moment that an idle connection is closed fails.
_KEEP_ALIVE_SECONDS = 60
_MAX_CONNECTIONS = 512
_BACKLOG = 2048
# Copying a larger body takes as long as a call of the system.
_MAX_JOINED_BYTES = 1 << 16
_OWN_ADDRESSES = ("127.0.0.1", "::1")


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free port.

    Raises
    ------
    InputError
        If the port is in use, or the host does not belong to this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio sets TCP_NODELAY, which sends responses at once, only on sockets whose protocol is
        # given explicitly.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise InputError(
            f"The host {host!r} is unknown: {error.strerror or error}. "
            "Use an address of this machine."
        ) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise InputError(
            f"The port {port} of {host} cannot be used: {error.strerror or error}. "
            "Stop the program that uses it, or choose another port with --port; "
            "0 takes any free port."
        ) from error
    return listening


def serve(
    app: FastAPI, listening: socket.socket, *, on_start: Callable[[], None]
) -> None:
    """Answer requests until Ctrl-C or SIGTERM; requests in progress are completed.

    Parameters
    ----------
    app
        The app, from `make_app`.
    listening
        The socket, from `bind`.
    on_start
        Called when the server accepts requests.
    """
    state: ServerState = app.state.lookalike
    config = uvicorn.Config(
        app,
        http=_HeaderLimits,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=[*_OWN_ADDRESSES, *state.settings.trusted_proxies],
        root_path=state.settings.root_path,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    _QuietServer(config, on_start, state).run([listening])


class _HeaderLimits(HttpToolsProtocol):
    """Limits the size of a request's headers and the time until they are complete.

    uvicorn has no such options for httptools, and none for the time at all; see
    docs/decisions/0018-server.md. The responses that uvicorn itself gives are problems too.
    """

    _timer: asyncio.TimerHandle | None = None
    _in_headers = False
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._update_timer()

    def data_received(self, data: bytes) -> None:
        # The first part of the headers is not counted here: uvicorn reads a limited number of bytes
        # at a time, and `on_headers_complete` measures the complete headers.
        if self._in_headers:
            self._header_bytes += len(data)
        else:
            self._header_bytes = 0
        super().data_received(data)
        is_too_large = self._header_bytes > _MAX_HEADER_BYTES
        if self._in_headers and is_too_large:
            self.send_400_response("The headers are too large.")
        self._update_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        self._in_headers = False
        size = len(self.url)
        for name, value in self.headers:
            size += len(name)
            size += len(value)
        if size > _MAX_HEADER_BYTES:
            raise ValueError("the headers are too large")  # uvicorn answers with 400
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        reason = msg.rstrip(".")
        problem = Problem(
            400,
            "Bad request",
            f"The request is not valid HTTP: {reason}. Send HTTP/1.1.",
        )
        response = problem_response(problem, instance="")
        lines = [b"HTTP/1.1 400 Bad Request"]
        for name, value in (*response.raw_headers, (b"connection", b"close")):
            lines.append(name + b": " + value)
        head = b"\r\n".join(lines)
        self.transport.write(head + b"\r\n\r\n" + bytes(response.body))
        self.transport.close()

    def _start_asgi_task(
        self, cycle: RequestResponseCycle, app: ASGI3Application
    ) -> None:
        if app is service_unavailable:
            app = _too_many_connections
        joined = _JoinedWrites(cycle.transport, self.loop)
        cycle.transport = joined  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)

    def _update_timer(self) -> None:
        """Run the timer while the connection waits for a request's headers."""
        cycle = self.cycle
        is_idle = cycle is None or cycle.response_complete
        is_answering = not self._in_headers and not is_idle
        if is_answering:
            self._stop_timer()
        elif self._timer is None:
            close = self.transport.close
            self._timer = self.loop.call_later(_HEADER_SECONDS, close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _JoinedWrites:
    """The transport of one response, which sends its headers and the start of its body at once.

    uvicorn writes them one after the other. Each write takes a call of the system, and the client
    wakes up for both.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        self._has_begun = False

    def write(self, data: bytes) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._head = data
            # A stream may have nothing to send for a while.
            self._loop.call_soon(self._flush)
            return
        head = self._head
        if head is not None and len(data) <= _MAX_JOINED_BYTES:
            self._head = None
            self._transport.write(head + data)
            return
        self._flush()
        self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _flush(self) -> None:
        head = self._head
        if head is None:
            return
        self._head = None
        if not self._transport.is_closing():
            self._transport.write(head)


async def _too_many_connections(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request beyond the limit of connections."""
    problem = server_busy("The server has too many connections. Try again in a moment.")
    problem.headers["Connection"] = "close"
    response = problem_response(problem, instance=scope["path"])
    await response(scope, receive, send)


class _QuietServer(uvicorn.Server):
    """Treats a signal to stop as a normal end, instead of raising it again."""

    def __init__(
        self, config: uvicorn.Config, on_start: Callable[[], None], state: ServerState
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._state = state

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.force_exit = self.should_exit
        self.should_exit = True
        self._state.closing = True
