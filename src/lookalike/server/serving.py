"""Run a server until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from lookalike.errors import InputError

__all__ = ["bind", "serve"]

# Headers of all kinds that a request may have; more is refused with 400.
_HEADER_BYTES = 1 << 15
_GRACE_SECONDS = 10


def bind(host: str, port: int) -> socket.socket:
    """Take a port, 0 for any that is free.

    Raises
    ------
    InputError
        If it is taken, or the host is not this machine's.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        taken = socket.socket(family, socket.SOCK_STREAM)
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
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        root_path=app.state.lookalike.settings.root_path,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _Server(config, started).run([taken])


class _Server(uvicorn.Server):
    """Ends quietly: a signal to stop is no error, and is not raised again."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.force_exit = self.should_exit
        self.should_exit = True
