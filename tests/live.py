"""A real server in a process of its own, and what tests ask of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from command import COMMAND

# The same server as the command's, with other bounds than it has options for.
_BOUNDED = """
import json, sys
from lookalike.server import serving
from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings
settings = ServerSettings(**json.loads(sys.argv[2]))
taken = serving.bind("127.0.0.1", 0)
address = f"http://127.0.0.1:{taken.getsockname()[1]}/"
serving.serve(make_app([sys.argv[1]], settings), taken, on_start=lambda: print("Serving at", address, flush=True))
"""


class Live:
    """A running server.

    Attributes
    ----------
    ended
        Whether it was told to end.
    address
        What it printed, with the token if it has one.
    api
        A client of its interface.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.ended, self.said = False, ""
        for line in process.stdout:
            self.said += line
            if found := re.match(r"Serving at (\S+)", line):
                self.address = found[1]
                break
        else:
            raise AssertionError(f"the server did not start:\n{self.said}\n{process.stderr.read()}")
        self.url = httpx.URL(self.address)
        self.api = httpx.Client(base_url=self.url.join("api/v1/"), timeout=60)

    @property
    def place(self) -> tuple[str, int]:
        """The host and port to connect to."""
        return "127.0.0.1", self.url.port

    def search(self, **question: object) -> httpx.Response:
        return self.api.post("search", json=question)

    def stop(self, how: signal.Signals | None = signal.SIGTERM) -> tuple[int, str]:
        """End it, or wait for its end if it was told to; return its exit status and what it said on standard error."""
        self.ended = True
        if how is not None:
            self.process.send_signal(how)
        try:
            _, errors = self.process.communicate(timeout=20)
        finally:
            self.process.kill()
        self.api.close()
        return self.process.returncode, errors


@contextmanager
def serving(*options: object) -> Iterator[Live]:
    """Run ``lookalike serve OPTIONS`` on a free port."""
    with _running([*COMMAND, "serve", "--port", "0", *map(str, options)]) as live:
        yield live


@contextmanager
def bounded(collection: Path, **settings: object) -> Iterator[Live]:
    """Run a server of a collection with some of its settings' fields."""
    with _running([sys.executable, "-c", _BOUNDED, str(collection), json.dumps(settings)]) as live:
        yield live


@contextmanager
def _running(command: list[str]) -> Iterator[Live]:
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    with process:
        try:
            live = Live(process)
            yield live
            if not live.ended:
                assert process.poll() is None, f"the server ended:\n{process.stderr.read()}"
                status, errors = live.stop()
                assert (status, errors) == (0, ""), errors
        finally:
            process.kill()


def raw(live: Live, request: bytes, seconds: float = 20.0) -> bytes:
    """Send bytes as they are, and return all that comes back until the connection ends."""
    with socket.create_connection(live.place, seconds) as connection:
        connection.sendall(request)
        parts = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def get(live: Live, path: str, **headers: str) -> httpx.Response:
    """Ask with headers of one's own; ``x_y`` stands for ``X-Y``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(live.url.join(path), headers=named)


def problem(answer: httpx.Response, status: int) -> str:
    """Check that an answer is a problem, and return what it says."""
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text
    told = answer.json()
    assert told["status"] == status
    return told["detail"]
