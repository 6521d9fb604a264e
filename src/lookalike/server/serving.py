"""Run a server until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from lookalike.errors import InputError
from lookalike.server.state import State

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
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
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
    # What a client sends wrong is told to the client.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,
        http=_Hasty,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        root_path=app.state.lookalike.settings.root_path,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _Server(config, started, app.state.lookalike).run([taken])


class _Hasty(H11Protocol):
    """Ends connections whose request does not begin in time: uvicorn itself would wait for its headers for ever."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._waiting is not None:
            self._waiting.cancel()

    def _watch(self) -> None:
        begun = self.conn.their_state is not h11.IDLE
        if begun and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        elif not begun and self._waiting is None:
            self._waiting = self.loop.call_later(_HEADER_SECONDS, self.transport.close)


class _Server(uvicorn.Server):
    """Ends quietly: a signal to stop is no error, and is not raised again."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None], state: State) -> None:
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
