"""A real S3-compatible server in a process of its own, and a proxy with faults before it.

The fixtures `object_store` and `faulty_store` of ``conftest.py`` set the environment, so that both
sources and tables at ``s3://`` uris reach the server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

from running_server import running

# The names of a page of a listing.
PAGE_SIZE = 20

# The server looks who asks, and does not verify the signature.
_SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=none"
)

# The host by whose name the server is asked as Google Cloud Storage is.
_GOOGLE_HOST = "localhost"

# The server ends itself within this time of the end of the test run.
_POLL_S = 0.5
_START_TIMEOUT_S = 60


def write_server(folder: Path) -> None:
    """Start the server, and write its address to the file ``endpoint`` of a new folder."""
    folder.mkdir()
    # Under xdist, the controller is the parent of all workers, and ends last.
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    lifetime = os.getppid() if is_worker else os.getpid()
    command = [sys.executable, __file__, str(folder), str(lifetime)]
    # Pages of a real store have 1,000 names.
    environment = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE_SIZE)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )

    deadline = time.monotonic() + _START_TIMEOUT_S
    while not (folder / "endpoint").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((folder / "log").read_text())
        time.sleep(0.02)
    # The server outlives this worker. Popen would warn about a process that nobody waited for.
    process.returncode = 0


def serve(folder: Path, lifetime: int) -> None:
    """Serve until the process with the id `lifetime` has ended."""
    from moto.moto_server import threaded_moto_server

    threaded_moto_server.DomainDispatcherApplication = _application()
    server = threaded_moto_server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    part = folder / "endpoint.part"
    part.write_text(f"http://{host}:{port}")
    part.rename(folder / "endpoint")
    while _is_running(lifetime):
        time.sleep(_POLL_S)


def _application() -> type:
    """Return the server's application, which also answers requests to Google Cloud Storage.

    Writes under a condition are atomic, as those of the real stores are. The server itself examines
    the condition and writes in two steps, between which another request may write.
    """
    from moto.server import DomainDispatcherApplication

    turn = threading.Lock()

    class Application(DomainDispatcherApplication):
        def __call__(self, environ, start_response):
            if environ["HTTP_HOST"].startswith(_GOOGLE_HOST):
                _rename_google_headers(environ)
                start_response = partial(_start_google_response, start_response)
            conditions = {"HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"}
            is_write = environ["REQUEST_METHOD"] in {"PUT", "POST"}
            if not is_write or conditions.isdisjoint(environ):
                return super().__call__(environ, start_response)
            with turn:
                return super().__call__(environ, start_response)

    return Application


def _rename_google_headers(environ) -> None:
    """Give a request to the XML API of Google Cloud Storage the headers of one to S3."""
    environ["HTTP_AUTHORIZATION"] = _SIGNATURE
    source = environ.pop("HTTP_X_GOOG_COPY_SOURCE", None)
    if source is not None:
        environ["HTTP_X_AMZ_COPY_SOURCE"] = source
    # Generation 0 is that of an object that does not exist.
    if environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None) == "0":
        environ["HTTP_IF_NONE_MATCH"] = "*"


def _start_google_response(start_response, status, headers, exc_info=None):
    generation = ("x-goog-generation", "1")
    return start_response(status, [*headers, generation], exc_info)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


@dataclass
class ObjectStore:
    """A bucket of its own for a test, and the environment that reaches it."""

    endpoint: str
    bucket: str

    def uri(self, key: str = "") -> str:
        """Return the uri of an object, or of the bucket."""
        return f"s3://{self.bucket}/{key}"

    def create(self) -> None:
        self._request("PUT", f"/{self.bucket}")

    def put(self, key: str, content: bytes | Path) -> str:
        """Write an object, and return its uri."""
        if isinstance(content, Path):
            content = content.read_bytes()
        self._request("PUT", f"/{self.bucket}/{quote(key)}", content)
        return self.uri(key)

    def put_folder(self, folder: Path, prefix: str = "") -> None:
        """Write all files of a folder, at any depth."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(prefix + path.relative_to(folder).as_posix(), path)

    def delete(self, key: str) -> None:
        self._request("DELETE", f"/{self.bucket}/{quote(key)}")

    def environment(self) -> dict[str, str]:
        """Return the usual variables for the endpoint and its credentials."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
        }

    def google_environment(self) -> dict[str, str]:
        """Return the variables that reach the bucket at ``gs://``."""
        server = urlsplit(self.endpoint)
        endpoint = f"http://{_GOOGLE_HOST}:{server.port}"
        account = {
            "gcs_base_url": endpoint,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        return {
            "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account),
            # Lance reads this one for every kind of store.
            "AWS_ALLOW_HTTP": "true",
            "GOOGLE_BASE_URL": endpoint,
        }

    def _request(self, method: str, path: str, content: bytes = b"") -> None:
        server = urlsplit(self.endpoint)
        connection = HTTPConnection(server.hostname or "", server.port, timeout=60)
        try:
            connection.request(method, path, content, {"Authorization": _SIGNATURE})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {response.status} {answer!r}")


@dataclass(frozen=True)
class Request:
    """A request that the proxy received."""

    method: str
    path: str  # quoted, without the query
    query: str

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and "list-type=2" in self.query

    @property
    def is_read(self) -> bool:
        return self.method == "GET" and not self.is_list


@dataclass(frozen=True)
class StoreFault:
    """The failure of one response: a status in its place, or a connection cut in its body."""

    status: int | None = None
    is_cut: bool = False


@dataclass
class FaultProxy:
    """What the proxy does, and what it has seen.

    Attributes
    ----------
    latency_s
        The pause before each response.
    fail
        Called with each request and its number from 0; returns the fault of its response.
    requests
        All requests.
    most_at_once
        The most requests that were open at the same time.
    """

    target: str
    latency_s: float = 0.0
    fail: Callable[[Request, int], StoreFault | None] = lambda _request, _number: None
    requests: list[Request] = field(default_factory=list)
    most_at_once: int = 0
    open_requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def lists(self) -> list[Request]:
        return [request for request in self.requests if request.is_list]

    @property
    def reads(self) -> list[Request]:
        return [request for request in self.requests if request.is_read]

    def begin(self, request: Request) -> int:
        """Record a request, and return its number."""
        with self.lock:
            self.requests.append(request)
            self.open_requests += 1
            self.most_at_once = max(self.most_at_once, self.open_requests)
            return len(self.requests) - 1

    def end(self) -> None:
        with self.lock:
            self.open_requests -= 1


def one_in(
    count: int, fault: StoreFault
) -> Callable[[Request, int], StoreFault | None]:
    """Return a `fail` function that fails every `count`-th request, beginning with the first."""

    def fail(_request: Request, number: int) -> StoreFault | None:
        return fault if number % count == 0 else None

    return fail


@contextmanager
def fault_proxy(target: str) -> Iterator[tuple[str, FaultProxy]]:
    """Run a proxy before a server; yield its address, and the settings to change."""
    proxy = FaultProxy(target)
    server = _ProxyServer(("127.0.0.1", 0), _Handler)
    server.proxy = proxy
    with running(server):
        yield f"http://127.0.0.1:{server.server_port}", proxy


class _ProxyServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: FaultProxy

    def handle_error(self, request, client_address) -> None:
        """Print nothing: clients that disconnect are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _ProxyServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        proxy = self.server.proxy
        parts = urlsplit(self.path)
        request = Request(self.command, parts.path, parts.query)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        number = proxy.begin(request)
        try:
            time.sleep(proxy.latency_s)
            fault = proxy.fail(request, number) or StoreFault()
            if fault.status is not None:
                self._send(fault.status, {"Content-Length": "0"}, b"")
            else:
                self._forward(body, is_cut=fault.is_cut)
        finally:
            proxy.end()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def _forward(self, body: bytes, *, is_cut: bool) -> None:
        target = urlsplit(self.server.proxy.target)
        connection = HTTPConnection(target.hostname or "", target.port, timeout=60)
        headers = dict(self.headers.items())
        headers.pop("Connection", None)
        try:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        headers = _end_to_end(response)
        if self.command != "HEAD":
            headers["Content-Length"] = str(len(content))
        if is_cut:
            self.close_connection = True
            content = content[: len(content) // 2]
        self._send(response.status, headers, content)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args) -> None:  # noqa: A002  # the name in the standard library
        """Print nothing."""


def _end_to_end(response: HTTPResponse) -> dict[str, str]:
    """Return the headers that a proxy passes on."""
    own = {"connection", "transfer-encoding"}
    return {k: v for k, v in response.getheaders() if k.lower() not in own}


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
