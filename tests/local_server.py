"""A real local HTTP server whose responses can be made to fail."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lookalike.io import downloads

BODY = random.Random(0).randbytes(100_000)
SHA = hashlib.sha256(BODY).hexdigest()


@dataclass
class Fault:
    """The failure of one response."""

    status: int | None = None  # sent instead of the file
    cut: int | None = None  # bytes of the body sent before the connection is closed
    stall_s: float = 0.0  # silence before the body
    location: str | None = None  # the target of a redirect
    retry_after: str | None = None  # the pause asked for


@dataclass
class Asked:
    """One request and its response."""

    path: str
    headers: Message
    status: int = 0
    sent: int = 0  # bytes of the body


@dataclass
class LocalFile:
    """A served file; each request uses up the first of its faults."""

    body: bytes
    etag: str | None = '"one"'
    last_modified: str | None = None
    ranges: bool = True
    announce: bool = True  # send Content-Length
    pause_s: float = 0.0  # between pieces of 4 KiB
    skew: int = 0  # bytes by which a partial response misses the requested range
    faults: list[Fault] = field(default_factory=list)


class LocalServer(ThreadingHTTPServer):
    """Serves ``files`` by path and records every request in ``asked``."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, LocalFile] = {}
        self.asked: list[Asked] = []
        self.running = 0  # requests that wait for their bodies
        self.most_running = 0
        self.lock = threading.Lock()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def serve(self, path: str, body: bytes, **options) -> str:
        self.files[path] = LocalFile(body, **options)
        return self.url(path)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request that waits for its body."""
        with self.lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            yield
        finally:
            with self.lock:
                self.running -= 1

    def sent(self) -> int:
        """Return the bytes of bodies sent so far."""
        return sum(asked.sent for asked in self.asked)

    def handle_error(self, request, client_address) -> None:
        """Print nothing: clients that disconnect are part of the tests."""


def names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def local_server() -> Iterator[LocalServer]:
    """Run a server that downloads reach without a proxy, and retry without pauses."""
    server = LocalServer()
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "http_proxy",
            "HTTP_PROXY",
            "all_proxy",
            "ALL_PROXY",
            "LOOKALIKE_OFFLINE",
        ):
            patch.delenv(name, raising=False)
        patch.setattr(downloads, "RETRY_PAUSES_S", (0.0, 0.0, 0.0))
        try:
            yield server
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def start_download(url: str, target: Path, sha256: str) -> subprocess.Popen:
    """Start the download in a new process."""
    code = "import sys; from pathlib import Path; from lookalike.io.downloads import download; "
    code += "download(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3])"
    environment = {**os.environ, "PYTHONPATH": str(Path(downloads.__file__).parents[2])}
    command = [sys.executable, "-c", code, url, str(target), sha256]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


class _Handler(BaseHTTPRequestHandler):
    server: LocalServer

    def do_GET(self) -> None:
        asked = Asked(urlsplit(self.path).path, self.headers)
        self.server.asked.append(asked)
        file = self.server.files.get(asked.path)
        fault = file.faults.pop(0) if file is not None and file.faults else Fault()
        asked.status = 404 if file is None else fault.status or 0
        if asked.status:
            self._state(asked.status, fault)
        elif file is not None:
            self._file(file, fault, asked)

    def _state(self, status: int, fault: Fault) -> None:
        self.send_response(status)
        if fault.location is not None:
            self.send_header("Location", fault.location)
        if fault.retry_after is not None:
            self.send_header("Retry-After", fault.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, file: LocalFile, fault: Fault, asked: Asked) -> None:
        start = self._start(file)
        if start is not None and start >= len(file.body):
            asked.status = 416
            self._state(416, Fault())
            return
        asked.status = 200 if start is None else 206
        first = 0 if start is None else start + file.skew
        self.send_response(asked.status)
        if start is not None:
            self.send_header(
                "Content-Range", f"bytes {first}-{len(file.body) - 1}/{len(file.body)}"
            )
        for name, value in (("ETag", file.etag), ("Last-Modified", file.last_modified)):
            if value is not None:
                self.send_header(name, value)
        if file.announce:
            self.send_header("Content-Length", str(len(file.body) - first))
        self.end_headers()
        with self.server.counted():
            time.sleep(fault.stall_s)
        self._body(file.body[first:][: fault.cut], file.pause_s, asked)

    def _start(self, file: LocalFile) -> int | None:
        """Return the first requested byte, or None if the whole file is sent."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        same = condition is None or condition in {file.etag, file.last_modified}
        return int(found[1]) if found and file.ranges and same else None

    def _body(self, body: bytes, pause_s: float, asked: Asked) -> None:
        for at in range(0, len(body), 4096):
            piece = body[at : at + 4096]
            # Counted first, as the client may have all pieces before this thread goes on.
            asked.sent += len(piece)
            self.wfile.write(piece)
            time.sleep(pause_s)

    def log_message(self, format, *args) -> None:  # noqa: A002  # the name in the standard library
        """Print nothing."""
