"""A local Hugging Face hub with some files, served as the real one serves large files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from running_server import running


class HubServer(ThreadingHTTPServer):
    """Serves files by path (``/owner/name/resolve/revision/file``) and records requests."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.asked: list[str] = []
        # The bytes that each of the next GETs receives before the connection is closed.
        self.cuts: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub_server(path: str, body: bytes) -> Iterator[HubServer]:
    """Run a hub that has one file."""
    with hub_of({path: body}) as server:
        yield server


@contextmanager
def hub_of(files: dict[str, bytes]) -> Iterator[HubServer]:
    """Run a hub that has some files."""
    server = HubServer(files)
    with running(server):
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        files = self.server.files
        contents = {}
        for content in files.values():
            digest = hashlib.sha256(content).hexdigest()
            contents[f"/large/{digest}"] = content, digest
        # The hub redirects clients to another host for large files.
        if self.path in files:
            body = files[self.path]
            etag = hashlib.sha256(body).hexdigest()
            linked = {
                "X-Linked-Etag": f'"{etag}"',
                "X-Linked-Size": len(body),
                "X-Repo-Commit": "c0ffee" * 6 + "beef",
            }
            elsewhere = f"http://localhost:{self.server.server_port}/large/{etag}"
            self._send(302, {"Location": elsewhere, **linked})
        elif self.path in contents:
            body, etag = contents[self.path]
            self._send(200, {"ETag": f'"{etag}"'}, body)
        else:
            self._send(404, {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, headers: dict[str, object], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET" and body and self.server.cuts:
            self.wfile.write(body[: self.server.cuts.pop(0)])
            self.close_connection = True
        elif self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the standard library
        """Print nothing."""
