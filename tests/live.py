"""A real server in its own process, and requests to it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from command import COMMAND
from forked import Process, start_python

# The same server as the command's, with settings for which the command has no options.
_WITH_SETTINGS = """
import json, sys
from lookalike.server import serving
from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings

settings = ServerSettings(**json.loads(sys.argv[2]))
listening = serving.bind("127.0.0.1", 0)
address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
app = make_app([sys.argv[1]], settings)
serving.serve(app, listening, on_start=lambda: print("Serving at", address, flush=True))
"""


class Live:
    """A running server.

    Attributes
    ----------
    stopped
        Whether `stop` was called.
    output
        What the server printed while it started.
    address
        The address that it printed, with the token if it has one.
    api
        A client of the REST API.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.stopped = False
        self.output = ""
        for line in process.stdout:
            self.output += line
            if match := re.match(r"Serving at (\S+)", line):
                self.address = match[1]
                break
        else:
            errors = process.stderr.read()
            raise AssertionError(f"the server did not start:\n{self.output}\n{errors}")
        self.url = httpx.URL(self.address)
        self.api = httpx.Client(base_url=self.url.join("api/v1/"), timeout=60)

    @property
    def socket_address(self) -> tuple[str, int]:
        """The host and port to connect to."""
        return "127.0.0.1", self.url.port

    def search(self, **query: object) -> httpx.Response:
        return self.api.post("search", json=query)

    def stop(self, how: signal.Signals | None = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, if one is given, and wait; return the exit status and standard error."""
        self.stopped = True
        if how is not None:
            self.process.send_signal(how)
        try:
            _, errors = self.process.communicate(timeout=120)
        finally:
            self.process.kill()
        return self.process.returncode, errors


@contextmanager
def serving(*options: object, before: str = "") -> Iterator[Live]:
    """Run ``lookalike serve OPTIONS`` on a free port.

    `before` is a program that the server's process runs first.
    """
    program = f"{before}\nfrom lookalike.cli import main\nmain()"
    start = ["-c", program] if before else ["-m", "lookalike"]
    words = [*start, "serve", "--port", "0", *map(str, options)]
    with _running(start_python(words, env=_environment())) as live:
        yield live


@contextmanager
def serving_process(*options: object) -> Iterator[Live]:
    """Run ``lookalike serve OPTIONS`` on a free port, in an interpreter of its own."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    with _running(process) as live:
        yield live


@contextmanager
def bounded(collection: Path, **settings: object) -> Iterator[Live]:
    """Run a server of a collection with fields of `ServerSettings`."""
    words = ["-c", _WITH_SETTINGS, str(collection), json.dumps(settings)]
    with _running(start_python(words, env=_environment())) as live:
        yield live


def _environment() -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


@contextmanager
def _running(process: Process) -> Iterator[Live]:
    """Stop a server afterwards, and check that it ends without an error."""
    with process, ExitStack() as stack:
        try:
            live = Live(process)
            stack.callback(live.api.close)
            yield live
            if not live.stopped:
                assert process.poll() is None, (
                    f"the server ended:\n{process.stderr.read()}"
                )
                status, errors = live.stop()
                assert (status, errors) == (0, ""), errors
        finally:
            process.kill()


def raw(live: Live, request: bytes, seconds: float = 120.0) -> bytes:
    """Send bytes, and return everything received until the connection is closed."""
    with socket.create_connection(live.socket_address, seconds) as connection:
        connection.sendall(request)
        parts = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def get(live: Live, path: str, **headers: str) -> httpx.Response:
    """Send a GET request with headers; ``x_y`` stands for ``X-Y``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(live.url.join(path), headers=named)


def problem(response: httpx.Response, status: int) -> str:
    """Check that a response is a problem with a status, and return its detail."""
    content_type = response.headers["content-type"]
    expected = (status, "application/problem+json")
    assert (response.status_code, content_type) == expected, response.text
    body = response.json()
    assert body["status"] == status
    return body["detail"]
