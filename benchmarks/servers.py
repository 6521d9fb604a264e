"""Servers in processes of their own: of a collection, and of objects in memory.

As a command it serves objects like S3, and writes the bytes of each response to a file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

# The objects of a listing's page, as in S3.
_PAGE_OBJECTS = 1000


@contextmanager
def collection_server(
    collection: str | os.PathLike[str],
) -> Iterator[tuple[str, psutil.Process, float]]:
    """Run ``lookalike serve``; yield its address, its process and the seconds of its start."""
    start = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "lookalike",
        "serve",
        "--port",
        "0",
        "-c",
        str(collection),
    ]
    with _started(command, r"Serving at (\S+)") as (address, process):
        yield address, psutil.Process(process.pid), time.perf_counter() - start


class Traffic(NamedTuple):
    """The responses of an object server, and their bytes."""

    requests: int
    bytes_sent: int


class ObjectServer:
    """A running server of objects like S3.

    Attributes
    ----------
    endpoint
        Its address.
    environment
        The variables that lead Lance, obstore and boto3 to it.
    """

    def __init__(self, endpoint: str, log: Path) -> None:
        self.endpoint = endpoint
        self.environment = {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
        }
        self._log = log

    def traffic(self) -> Traffic:
        """Return what was sent so far."""
        sizes = self._log.read_text().split()
        return Traffic(len(sizes), sum(map(int, sizes)))

    def client(self) -> Any:
        """Return a boto3 client."""
        import boto3

        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1")


@contextmanager
def object_server(folder: Path) -> Iterator[ObjectServer]:
    """Run a server of objects in memory; its log lies in `folder`."""
    log = folder / "responses"
    log.touch()
    command = [sys.executable, __file__, str(log)]
    with _started(command, r"Serving at (\S+)") as (endpoint, _):
        yield ObjectServer(endpoint, log)


@contextmanager
def _started(
    command: list[str], pattern: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a server; yield the address that it prints, and its process."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            address = next(
                match[1]
                for line in process.stdout or ()
                if (match := re.match(pattern, line))
            )
            yield address, process
        finally:
            process.terminate()


Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def _counted(application: Application, log: Path) -> Application:
    """Return a WSGI application that writes the length of each response to a file."""

    def respond(
        environment: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        body = b"".join(application(environment, start_response))
        with log.open("a") as file:
            file.write(f"{len(body)}\n")
        return [body]

    return respond


def _serve_objects(log: Path) -> None:
    import logging

    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = str(_PAGE_OBJECTS)
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = _counted(DomainDispatcherApplication(create_backend_app), log)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(f"Serving at http://127.0.0.1:{server.port}")
    server.serve_forever()


if __name__ == "__main__":
    _serve_objects(Path(sys.argv[1]))
