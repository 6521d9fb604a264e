"""Run a server until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lookalike.errors import InputError
from lookalike.server.state import ServerState

__all__ = ["bind", "serve"]

# Headers of all kinds that a request may have; more is refused with 400.
_HEADER_BYTES = 1 << 15
_HEADER_SECONDS = 10
_GRACE_SECONDS = 10
# How long a connection stays without a request: long, for one that ends just as the next is sent takes that with it.
_IDLE_SECONDS = 60
_CONNECTIONS = 512


def bind(host: str, port: int) -> socket.socket:
    """Take a port, 0 for any that is free.

    Raises
    ------
    InputError
        If it is taken, or the host is not this machine's.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Named, for asyncio sends at once, and does not wait for more to send, only where it knows that this is TCP.
        taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise InputError(
            f"The host {host!r} is not known: {error.strerror or error}. Give one of this machine."
        ) from error
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(2048)
    except OSError as error:
        taken.close()
        raise InputError(
            f"The port {port} of {host} cannot be used: {error.strerror or error}. "
            "Stop what uses it, or give another with --port; 0 takes any that is free."
        ) from error
    return taken


def serve(app: FastAPI, taken: socket.socket, *, started: Callable[[], None]) -> None:
    """Answer requests until Ctrl-C or SIGTERM; those in flight are finished.

    Parameters
    ----------
    app
        What `make_app` gave.
    taken
        What `bind` gave.
    started
        Called once requests are answered.
    """
    config = uvicorn.Config(
        app,
        http=_Bounded,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        root_path=app.state.lookalike.settings.root_path,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _Server(config, started, app.state.lookalike).run([taken])


class _Bounded(HttpToolsProtocol):
    """Ends connections whose request does not begin in time, or begins with too much: uvicorn itself takes any."""

    _waiting: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        # What is read at a time is bounded; the head that it ends, by its own measure.
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._head_bytes > _HEADER_BYTES:
            self.send_400_response("The headers are too large.")
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        if (
            len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            > _HEADER_BYTES
        ):
            raise ValueError("the headers are too large")  # answered with 400
        super().on_headers_complete()

    def _watch(self) -> None:
        begun = not self._in_head and self.cycle is not None and not self.cycle.response_complete
        if begun:
            self._stop_waiting()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(_HEADER_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class _Server(uvicorn.Server):
    """Ends quietly: a signal to stop is no error, and is not raised again."""

    def __init__(
        self, config: uvicorn.Config, started: Callable[[], None], state: ServerState
    ) -> None:
        super().__init__(config)
        self._started, self._state = started, state

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.force_exit = self.should_exit
        self.should_exit = True
        self._state.closing = True
