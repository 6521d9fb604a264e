"""What is sent to a live server: too much, too slow, too many, or none of what it should be."""

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


def test_a_body_that_is_too_large_is_refused(collection):
    with bounded(collection, max_upload=100_000) as live:
        assert "more than 0.0953674 MB" in problem(
            live.api.post("uploads", files={"image": bytes(200_000)}), 413
        )

        def endless():
            yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            for _ in range(40):
                yield bytes(10_000)

        problem(live.api.post("uploads", content=endless(), headers=FORM), 413)
        assert (
            live.api.post(
                "search", content=bytes(150_000), headers={"content-type": "application/json"}
            ).status_code
            == 413
        )
        assert live.search(plus=[{"id": 3}]).status_code == 200


def test_a_length_that_lies_is_refused(server):
    for length in (b"99999999999999999999999", b"-5", b"1e3", b"1\r\nContent-Length: 2"):
        head = (
            b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
            + length
        )
        answer = raw(server, head + b"\r\n\r\n{}")
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
    assert server.api.get("health").status_code == 200


def test_slow_requests_time_out(collection):
    """A body that comes drop by drop gets 408; headers that never end, a closed connection."""
    with bounded(collection, body_seconds=1.0) as live:
        head = b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9"
        start = time.monotonic()
        assert raw(live, head + b"\r\n\r\n{").startswith(b"HTTP/1.1 408")
        assert time.monotonic() - start < 10
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
        "a large header that comes at once",
        "a large address",
        "many headers",
        "TLS",
        "NUL",
    ],
)
def test_what_is_no_sound_http_is_refused(server, request_):
    answer = raw(server, request_)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))
    assert server.api.get("health").status_code == 200


def png(width: int, height: int) -> bytes:
    """Return a PNG of one colour that is far smaller than its pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    rows = zlib.compress(b"\0" * (height * (1 + width // 8)), 9)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_bombs_and_what_is_no_picture_are_refused(server, query):
    cases = {
        "a bomb": png(30_000, 30_000),
        "an empty file": b"",
        "text": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "a cut picture": query.read_bytes()[:2000],
        "a program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }
    for name, data in cases.items():
        for path in ("uploads", "search"):
            detail = problem(server.api.post(path, files={"image": data}), 422)
            assert "cannot be decoded as an image" in detail, name
    assert "megapixels" in problem(
        server.api.post("uploads", files={"image": cases["a bomb"]}), 422
    )


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"files": [("image", b"x")] * 18},
        {"files": [("picture", b"x")]},
        {"files": [("image", b"x")], "data": {"path": "/etc/passwd"}},
        {"files": [("image", b"x")], "data": {"query": '{"plus": [{"image": 5}]}'}},
        {"files": [("image", b"x")], "data": {"query": "{"}},
        {
            "content": b"--x\r\nContent-Disposition: form-data; name",
            "headers": FORM,
        },
        {"content": b"nothing of the kind", "headers": FORM},
        {"content": b"--x", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"[" * 100_000, "headers": JSON},
        {"content": b"{}", "headers": {"content-type": "text/plain"}},
    ],
)
def test_forms_that_are_none_are_refused(server, form):
    answer = server.api.post("search", **form)
    assert answer.status_code in {415, 422}
    problem(answer, answer.status_code)


def test_headers_of_a_usual_size_are_taken(server):
    request = (
        b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: "
        + b"x" * 20_000
    )
    assert raw(server, request + b"\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_a_question_that_is_too_large_is_refused(server, query):
    """Whether it comes alone or beside a picture."""
    question = json.dumps({"plus": [{"image": 0}], "where": "x" * (1 << 20)})
    sent = {"files": {"image": query.read_bytes()}, "data": {"query": question}}
    for body in ({"content": question, "headers": JSON}, sent):
        assert "expected at most 1,048,576" in problem(server.api.post("search", **body), 413)


def test_placing_on_a_map_waits_behind_pictures_and_searching_by_rows_does_not(collection):
    with bounded(collection, workers=1, queue_size=0) as live, ThreadPoolExecutor(1) as other:
        large = other.submit(live.api.post, "search", files={"image": png(7000, 7000)})
        answers = []
        while not large.done() and 503 not in answers:
            assert live.search(plus=[{"id": 3}]).status_code == 200
            answers.append(live.api.post("map/place", json={"plus": [{"id": 3}]}).status_code)
        assert 503 in answers
        assert large.result().status_code in {200, 503}


def test_two_hundred_uploads_at_once_are_each_answered(collection, sample):
    """Two threads and four places to wait: each request gets its own matches, or is told to come again."""
    pictures = sorted(sample.glob("*/*.jpg"))
    with bounded(collection, workers=2, queue_size=4) as live:
        client = httpx.Client(
            base_url=live.api.base_url, timeout=120, limits=httpx.Limits(max_connections=200)
        )

        def send(number: int) -> tuple[int, bool]:
            path = pictures[number % len(pictures)]
            answer = client.post(
                "search", files={"image": path.read_bytes() + bytes(number)}, data={}
            )
            if answer.status_code == 503:
                return 503, answer.headers["retry-after"] == "1"
            told = answer.json()
            sha256 = hashlib.sha256(path.read_bytes() + bytes(number)).hexdigest()
            return answer.status_code, told["matches"][0]["uri"] == str(path) and told[
                "uploads"
            ] == [sha256]

        with client, ThreadPoolExecutor(200) as pool:
            answers = Counter(pool.map(send, range(200)))
        assert set(answers) <= {(200, True), (503, True)}
        assert answers[200, True] >= 6
        assert sum(answers.values()) == 200
        assert live.search(plus=[{"id": 3}]).status_code == 200


def test_large_bodies_at_once_are_bounded_together(collection):
    """Twenty clients hold what they send at the last byte: no more than eight bodies are taken in."""
    size = 1 << 20
    with bounded(collection, max_upload=size, body_seconds=8) as live:
        head = (
            "POST /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {size}\r\n\r\n"
        ).encode()
        start = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        answers: list[bytes] = []

        def send() -> None:
            answers.append(raw(live, head + start + bytes(size - len(start) - 1)))

        threads = [threading.Thread(target=send) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kinds = Counter(answer[9:12] for answer in answers)
        assert set(kinds) <= {b"503", b"408", b""}
        assert kinds[b"408"] <= 8
        assert kinds[b"503"] >= 1
        assert live.search(plus=[{"id": 3}]).status_code == 200
