"""A live server survives requests that are too large, too slow, too many or malformed."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from live import bounded, problem, raw

JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
PART_HEADERS = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
)
SEARCH = {"positive": [{"id": 3}]}


def test_a_body_above_the_limit_is_refused(collection):
    def endless():
        yield PART_HEADERS
        for _ in range(40):
            yield bytes(10_000)

    with bounded(collection, max_upload=100_000) as live:
        announced = live.api.post("uploads", files={"image": bytes(200_000)})
        assert "more than 0.0953674 MB" in problem(announced, 413)
        problem(live.api.post("uploads", content=endless(), headers=FORM), 413)
        problem(live.api.post("search", content=bytes(150_000), headers=JSON), 413)
        assert live.search(**SEARCH).status_code == 200


def test_an_invalid_content_length_is_refused(server):
    for length in (
        b"99999999999999999999999",
        b"-5",
        b"1e3",
        b"1\r\nContent-Length: 2",
    ):
        request = (
            b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Length: " + length + b"\r\n\r\n{}"
        )
        assert raw(server, request).startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
    assert server.api.get("health").status_code == 200


@pytest.mark.slow
def test_slow_requests_time_out(collection):
    """A slow body gets a 408; the connection of endless headers is closed."""
    with bounded(collection, body_seconds=1.0) as live:
        headers = (
            b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        )
        start = time.monotonic()
        assert raw(live, headers + b"{").startswith(b"HTTP/1.1 408")
        assert time.monotonic() - start < 25  # 30 without the setting
        assert raw(live, b"GET /api/v1/health HTTP/1.1\r\nHost: loc", 30) == b""
        assert live.api.get("health").status_code == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 50_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(200),
        b"GET / HTTP/1.1\r\nHost: local\0host\r\n\r\n",
    ],
    ids=[
        "a large header",
        "a large header in one packet",
        "a large address",
        "many headers",
        "TLS",
        "NUL",
    ],
)
def test_malformed_http_is_refused(server, request_):
    response = raw(server, request_)
    assert response == b"" or response.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))
    assert server.api.get("health").status_code == 200


def test_headers_of_usual_size_are_accepted(server):
    start = (
        b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: "
    )
    assert raw(server, start + b"x" * 20_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 200")


def png(width: int, height: int) -> bytes:
    """Return a PNG of one color; the file is much smaller than its pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (height * (1 + width // 8)), 9)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.slow
def test_bombs_and_files_that_are_not_images_are_refused(server, query):
    files = {
        "a bomb": png(30_000, 30_000),
        "an empty file": b"",
        "text": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "a truncated image": query.read_bytes()[:2000],
        "a program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }
    for name, data in files.items():
        for path in ("uploads", "search"):
            detail = problem(server.api.post(path, files={"image": data}), 422)
            assert "cannot be decoded as an image" in detail, name
    bomb = server.api.post("uploads", files={"image": files["a bomb"]})
    assert "megapixels" in problem(bomb, 422)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"files": [("image", b"x")] * 18},
        {"files": [("picture", b"x")]},
        {"files": [("image", b"x")], "data": {"path": "/etc/passwd"}},
        {"files": [("image", b"x")], "data": {"query": '{"positive": [{"image": 5}]}'}},
        {"files": [("image", b"x")], "data": {"query": "{"}},
        {"content": b"--x\r\nContent-Disposition: form-data; name", "headers": FORM},
        {"content": b"not a form", "headers": FORM},
        {"content": b"--x", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"[" * 100_000, "headers": JSON},
        {"content": b"{}", "headers": {"content-type": "text/plain"}},
    ],
)
def test_malformed_bodies_are_refused(server, form):
    response = server.api.post("search", **form)
    assert response.status_code in {415, 422}
    problem(response, response.status_code)


def test_json_above_one_megabyte_is_refused(server, query):
    """Alone, and beside an image."""
    body = json.dumps({"positive": [{"image": 0}], "where": "x" * (1 << 20)})
    alone = server.api.post("search", content=body, headers=JSON)
    files = {"image": query.read_bytes()}
    beside_an_image = server.api.post("search", files=files, data={"query": body})
    for response in (alone, beside_an_image):
        assert "expected at most 1,048,576" in problem(response, 413)


@pytest.mark.slow
def test_placing_on_a_map_queues_behind_images_but_searching_by_rows_does_not(
    collection,
):
    with (
        bounded(collection, workers=1, queue_size=0) as live,
        ThreadPoolExecutor(1) as other,
    ):
        large = other.submit(live.api.post, "search", files={"image": png(7000, 7000)})
        metrics = ""
        while "lookalike_image_requests_in_progress 1.0" not in metrics:
            metrics = httpx.get(live.url.join("metrics")).text
        assert live.search(**SEARCH).status_code == 200
        assert live.api.post("map/place", json=SEARCH).status_code == 503
        assert large.result().status_code == 200


@pytest.mark.slow
def test_two_hundred_uploads_at_once_are_each_answered(collection, sample):
    """With room for six requests, each gets its own matches or a 503."""
    images = sorted(sample.glob("*/*.jpg"))
    with bounded(collection, workers=2, queue_size=4) as live:
        limits = httpx.Limits(max_connections=200)
        client = httpx.Client(base_url=live.api.base_url, timeout=120, limits=limits)

        def send(number: int) -> tuple[int, bool]:
            """Return the status, and whether the response is right."""
            path = images[number % len(images)]
            # Trailing zeros make each upload unique.
            data = path.read_bytes() + bytes(number)
            response = client.post("search", files={"image": data}, data={})
            if response.status_code == 503:
                return 503, response.headers["retry-after"] == "1"
            body = response.json()
            own_match = body["matches"][0]["uri"] == str(path)
            own_upload = body["uploads"] == [hashlib.sha256(data).hexdigest()]
            return response.status_code, own_match and own_upload

        with client, ThreadPoolExecutor(200) as threads:
            responses = Counter(threads.map(send, range(200)))
        assert set(responses) <= {(200, True), (503, True)}
        assert responses[200, True] >= 6
        assert sum(responses.values()) == 200
        assert live.search(**SEARCH).status_code == 200


@pytest.mark.slow
def test_large_bodies_are_bounded_together(collection):
    """Twenty clients withhold their last byte: the server keeps at most eight bodies."""
    size = 1 << 20
    with bounded(collection, max_upload=size, body_seconds=8) as live:
        headers = (
            "POST /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {size}\r\n\r\n"
        )
        body = PART_HEADERS + bytes(size - len(PART_HEADERS) - 1)
        responses: list[bytes] = []

        def send() -> None:
            responses.append(raw(live, headers.encode() + body))

        threads = [threading.Thread(target=send) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = Counter(response[9:12] for response in responses)
        assert set(statuses) <= {b"503", b"408", b""}
        assert statuses[b"408"] <= 8
        assert statuses[b"503"] >= 1
        assert live.search(**SEARCH).status_code == 200
