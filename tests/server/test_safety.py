"""Attacks on a live server: each is refused as it should be, and the server lives on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

import lookalike
from live import Live, bounded, serving

JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
WILD_IDS = ("99999", str(2**63 - 1), str(2**63), "9" * 400, "-1", "1.5", "abc", "..%2f..%2fetc%2fpasswd", "0%00", "%27")
CLAUSES = (
    "1 = 1",
    "_rowid = 1",
    "sha256 is not null",
    "label = 'cat'; drop table",
    "uri in (select 1)",
    "label = 'x' or _rowid > 0",
)


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
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    told = answer.json()
    assert told["status"] == status
    return told["detail"]


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:8765", True),
        ("[::1]:80", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8765", False),
        ("evil.example@localhost:x", False),
        ("", False),
    ],
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(server, host, known):
    for path in ("", "api/v1/collections", "api/v1/health", "metrics"):
        answer = get(server, path, host=host)
        assert (answer.status_code == 200) == known
        if not known:
            assert "does not answer to the name" in problem(answer, 421)


def test_two_host_headers_are_refused(server):
    answer = raw(server, b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))


def test_a_name_may_be_allowed(collection):
    with serving("-c", collection, "--allow-host", "pictures.example") as live:
        assert get(live, "api/v1/health", host="pictures.example").status_code == 200
        assert get(live, "api/v1/health", host="other.example").status_code == 421


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://localhost:1"}, False),
    ],
)
def test_pages_of_other_sites_may_change_nothing(server, headers, allowed):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"plus": [{"id": 3}]}
    for method, path, body in (
        ("POST", "search", sent),
        ("POST", "jobs", {"kind": "nothing"}),
        ("DELETE", "jobs/none", None),
    ):
        answer = server.api.request(method, path, json=body, headers=named)
        assert (answer.status_code == 403) != allowed
        if not allowed:
            assert "another site" in problem(answer, 403)


def test_its_own_page_may(server):
    own = f"http://127.0.0.1:{server.url.port}"
    answer = server.api.post("search", json={"plus": [{"id": 3}]}, headers={"Origin": own})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_origin_may_be_allowed_and_no_other(collection):
    with serving("-c", collection, "--allow-origin", "https://mine.example") as live:
        mine, other = ({"Origin": f"https://{name}.example"} for name in ("mine", "other"))
        asked = {**mine, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        before = live.api.options("search", headers=asked)
        assert before.status_code == 204
        assert before.headers["access-control-allow-origin"] == "https://mine.example"
        answer = live.api.post("search", json={"plus": [{"id": 3}]}, headers={**mine, "Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://mine.example")
        assert live.api.post("search", json={"plus": [{"id": 3}]}, headers=other).status_code == 403
        assert "access-control-allow-origin" not in live.api.get("health", headers=other).headers


def test_every_answer_forbids_what_browsers_might_do_with_it(server):
    for path, policy in (
        ("", "script-src 'self'"),
        ("static/none.js", "frame-ancestors 'none'"),
        ("api/v1/collections", "sandbox"),
        ("api/v1/rows/0/original", "sandbox"),
        ("api/v1/nothing", "default-src 'none'"),
    ):
        headers = get(server, path).headers
        assert policy in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


def test_a_server_for_others_wants_a_token(collection):
    with serving("-c", collection, "--host", "0.0.0.0") as live:
        token = live.url.params["token"]
        assert len(token) >= 32
        for path in ("api/v1/collections", "api/v1/rows/0/thumbnail", "api/v1/openapi.json", "metrics"):
            assert "token" in problem(get(live, path), 401)
            assert get(live, path, authorization="Bearer wrong").status_code == 401
            assert get(live, path, cookie="lookalike=wrong").status_code == 401
            assert get(live, path, authorization=f"Bearer {token}").status_code == 200
        assert get(live, "api/v1/health").status_code == 200
        assert httpx.get(live.url.copy_set_param("token", "wrong")).status_code == 401
        with httpx.Client() as browser:
            opened = browser.get(live.address, follow_redirects=True)
            assert (opened.status_code, opened.url.query) == (200, b"")
            cookie = opened.history[0].headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert browser.get(live.url.join("api/v1/collections")).status_code == 200


def test_a_token_of_ones_own(collection):
    with serving("-c", collection, "--token", "my own & secret") as live:
        assert get(live, "api/v1/collections").status_code == 401
        assert get(live, "api/v1/collections", authorization="Bearer my own & secret").status_code == 200
        with httpx.Client(follow_redirects=True) as browser:
            browser.get(live.url.join("/").copy_set_param("token", "my own & secret"))
            assert browser.get(live.url.join("api/v1/collections")).status_code == 200


def test_a_body_that_is_too_large_is_refused(collection):
    with bounded(collection, max_upload=100_000) as live:
        assert "more than 0.0953674 MB" in problem(live.api.post("uploads", files={"image": bytes(200_000)}), 413)

        def endless():
            for _ in range(40):
                yield bytes(10_000)

        problem(live.api.post("uploads", content=endless(), headers=FORM), 413)
        assert (
            live.api.post("search", content=bytes(150_000), headers={"content-type": "application/json"}).status_code
            == 413
        )
        assert live.search(plus=[{"id": 3}]).status_code == 200


def test_a_length_that_lies_is_refused(server):
    for length in (b"99999999999999999999999", b"-5", b"1e3", b"1\r\nContent-Length: 2"):
        head = b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " + length
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
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 50_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(200),
        b"GET / HTTP/1.1\r\nHost: local\0host\r\n\r\n",
    ],
    ids=["a large header", "a large address", "many headers", "TLS", "NUL"],
)
def test_what_is_no_sound_http_is_refused(server, request_):
    answer = raw(server, request_)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))
    assert server.api.get("health").status_code == 200


def png(width: int, height: int) -> bytes:
    """Return a PNG of one colour that is far smaller than its pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

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
            assert "cannot be searched by" in detail, name
    assert "megapixels" in problem(server.api.post("uploads", files={"image": cases["a bomb"]}), 422)


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


@pytest.mark.parametrize(
    "row", ["99999", str(2**63 - 1), str(2**63), "9" * 400, "-1", "1.5", "abc", "..%2f..%2fetc%2fpasswd", "0%00", "%27"]
)
def test_forged_ids_lead_nowhere(server, row):
    for path in ("", "/thumbnail", "/original"):
        assert server.api.get(f"rows/{row}{path}").status_code in {404, 422}
    answer = server.api.post(
        "search", content=f'{{"plus": [{{"id": {json.dumps(row)}}}]}}', headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422


def test_nothing_that_a_client_names_is_opened(server, query):
    """Neither a path, nor an address, nor a clause of the store's language."""
    for example in (
        {"uri": str(query)},
        {"path": str(query)},
        {"url": "http://localhost/"},
        {"id": 1, "path": "x"},
        str(query),
    ):
        assert server.search(plus=[example]).status_code == 422
    assert server.search(plus=[{"upload": str(query)}]).status_code == 422
    for where in (
        "1 = 1",
        "_rowid = 1",
        "sha256 is not null",
        "label = 'cat'; drop table",
        "uri in (select 1)",
        "label = 'x' or _rowid > 0",
    ):
        problem(server.search(plus=[{"id": 3}], where=where), 422)
        problem(server.api.get("rows", params={"where": where}), 422)
    for name in ("../drawn", "/etc", "drawn/", "drawn\0"):
        assert server.api.get("rows", params={"collection": name}).status_code == 404
    for path in ("static/../app.py", "static/%2e%2e/app.py", "static//etc/passwd", "static/..%2fapp.py"):
        answer = raw(server, f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404"), path


@pytest.fixture
def row_of_a_file(tmp_path):
    """A collection of one picture, its file and its row's id."""
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "picture.jpg"
    Image.effect_noise((400, 300), 60).convert("RGB").save(file)
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    return tmp_path / "c", file, int(lookalike.Collection.open(tmp_path / "c").vectors("pixels")[0][0])


def test_only_what_was_indexed_is_ever_sent(row_of_a_file, tmp_path):
    """The file is exchanged for a secret, a link to one, a pipe, a folder, what begins like a picture: 404 each."""
    collection, file, row = row_of_a_file
    good = file.read_bytes()
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"s" * len(good))
    other = tmp_path / "other.jpg"
    other.write_bytes(b"\xff\xd8\xff" + b"<script>alert(1)</script>".ljust(len(good) - 3))
    exchanges = {
        "a secret": lambda: file.write_bytes(secret.read_bytes()),
        "a link to a secret": lambda: file.symlink_to(secret),
        "a link to another picture": lambda: file.symlink_to(other),
        "a link to nothing": lambda: file.symlink_to(tmp_path / "none"),
        "a pipe": lambda: os.mkfifo(file),
        "a folder": file.mkdir,
        "nothing": lambda: None,
    }
    with serving("-c", collection) as live:
        whole = live.api.get(f"rows/{row}/original")
        assert (whole.status_code, whole.headers["content-type"], whole.content) == (200, "image/jpeg", good)
        assert whole.headers["content-disposition"] == "inline; filename*=UTF-8''picture.jpg"
        file.unlink()
        for name, exchange in exchanges.items():
            exchange()
            answer = live.api.get(f"rows/{row}/original")
            assert "not what was indexed" in problem(answer, 404), name
            small = live.api.get(f"rows/{row}/thumbnail", params={"size": 512})
            assert Image.open(io.BytesIO(small.content)).size == (160, 120), name
            if file.is_dir():
                file.rmdir()
            elif os.path.lexists(file):
                file.unlink()
        file.symlink_to(tmp_path / "moved.jpg")
        (tmp_path / "moved.jpg").write_bytes(good)
        assert live.api.get(f"rows/{row}/original").content == good, (
            "the same picture behind a link is what was indexed"
        )


def test_a_picture_in_a_text_is_not_sent(tmp_path):
    """A file that a decoder takes for a picture is sent only under a picture's type."""
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "in" / "page.html.bmp")
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    row = int(lookalike.Collection.open(tmp_path / "c").vectors("pixels")[0][0])
    with serving("-c", tmp_path / "c") as live:
        answer = live.api.get(f"rows/{row}/original")
        assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("image/bmp", "nosniff")


def test_two_hundred_uploads_at_once_are_each_answered(collection, sample):
    """Two threads and four places to wait: each request gets its own matches, or is told to come again."""
    pictures = sorted(sample.glob("*/*.jpg"))
    with bounded(collection, workers=2, waiting=4) as live:
        client = httpx.Client(base_url=live.api.base_url, timeout=120, limits=httpx.Limits(max_connections=200))

        def send(number: int) -> tuple[int, bool]:
            path = pictures[number % len(pictures)]
            answer = client.post("search", files={"image": path.read_bytes() + bytes(number)}, data={})
            if answer.status_code == 503:
                return 503, answer.headers["retry-after"] == "1"
            told = answer.json()
            sha256 = hashlib.sha256(path.read_bytes() + bytes(number)).hexdigest()
            return answer.status_code, told["matches"][0]["uri"] == str(path) and told["uploads"] == [sha256]

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
