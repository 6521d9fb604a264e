"""Clients that go away: the server counts no 500 and prints no traceback."""

from __future__ import annotations

import socket
import struct
import time

import httpx
import numpy as np
import pytest
from PIL import Image

import lookalike
from live import serving

FORM = (
    b"Host: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: 9000000\r\n\r\n"
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
)
CHUNKED = (
    b"Host: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\n"
)


@pytest.fixture
def large(tmp_path):
    """A collection of one file of 27 MB."""
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (3000, 3000, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "in" / "large.bmp")
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    return tmp_path / "c", tmp_path / "in" / "large.bmp"


def leave(live, request: bytes, *, received: int = 0, reset: bool = False) -> None:
    """Send bytes, receive some, and close the connection, with RST if `reset` is set."""
    with socket.create_connection(live.socket_address, 20) as connection:
        connection.sendall(request)
        if received:
            assert connection.recv(received)
        if reset:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@pytest.mark.slow
def test_clients_that_go_away_are_no_errors(large):
    collection, file = large
    data = file.read_bytes()
    body = FORM.split(b"\r\n\r\n", 1)[1] + data + b"\r\n--x--\r\n"
    whole = (
        b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )
    with serving("-c", collection) as live:
        job = live.api.post("jobs", json={"kind": "map"}).json()["id"]
        events = f"GET /api/v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        original = b"GET /api/v1/rows/0/original HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for reset in (False, True):
            # During the upload of an image, of a query and of JSON.
            for path in (b"uploads", b"search", b"map/place"):
                start = b"POST /api/v1/" + path + b" HTTP/1.1\r\n"
                leave(live, start + FORM, reset=reset)
                leave(live, start + FORM + bytes(100_000), reset=reset)
            for path in (b"search", b"jobs", b"session"):
                start = b"POST /api/v1/" + path + b" HTTP/1.1\r\n"
                leave(live, start + CHUNKED, reset=reset)
            # During a search, a download and a stream of events.
            leave(live, whole, reset=reset)
            leave(live, original, received=1000, reset=reset)
            leave(live, events.encode(), received=10, reset=reset)

        metrics = ""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            metrics = httpx.get(live.url.join("metrics")).text
            if 'route="/rows/{row}/original",status="200"} 2.0' in metrics:
                break
            time.sleep(0.1)
        assert 'route="/uploads",status="400"} 4.0' in metrics
        assert 'route="/session",status="400"} 2.0' in metrics
        assert 'status="500"' not in metrics
        downloaded = live.api.get("rows/0/original").content
        assert downloaded == data
        assert live.search(positive=[{"id": 0}]).status_code == 200
        assert live.stop() == (0, "")
