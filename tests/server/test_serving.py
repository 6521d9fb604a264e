"""How the command starts and stops, and how it follows a collection that changes."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import lookalike
from command import lookalike as run
from live import problem, serving, serving_process
from lookalike.indexing.run import IndexSettings
from lookalike.server.serving import bind
from lookalike.store.table import Table


def until(condition, seconds: float = 120.0):
    """Wait until a condition is true, and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not become true in time"
        time.sleep(0.05)
    return value


@pytest.fixture
def own(sample, tmp_path):
    """A collection of five cats, which a test may change."""
    lookalike.index(sample / "cat", tmp_path / "own", models=["pixels"])
    return tmp_path / "own"


def total(live) -> int | None:
    """Return the number of rows, or None if the collection is unavailable."""
    response = live.api.get("rows", params={"limit": 1})
    return response.json()["total"] if response.status_code == 200 else None


def only_summary(live) -> dict:
    (summary,) = live.api.get("collections").json()["collections"]
    return summary


def test_it_prints_the_number_of_images_and_the_address(server):
    ready = r"^45 images, ready in \d+\.\d s\. Press Ctrl-C to stop\.$"
    assert re.search(ready, server.output, re.MULTILINE)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", server.address)


def test_responses_are_sent_without_delay():
    """With TCP_NODELAY, the end of a response does not wait until its start is acknowledged."""

    async def no_delay() -> int:
        accepted = asyncio.get_running_loop().create_future()
        listening = bind("127.0.0.1", 0)
        server = await asyncio.start_server(
            lambda _, writer: accepted.set_result(writer), sock=listening
        )
        async with server:
            _, client = await asyncio.open_connection(*listening.getsockname())
            connection = await accepted
            raw_socket = connection.get_extra_info("socket")
            option = raw_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for end in (client, connection):
                end.close()
                await end.wait_closed()
            return option

    # Browser tests leave a loop running in this thread.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, no_delay()).result() == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_without_an_error(own, how):
    with serving_process("-c", own) as live:
        assert total(live) == 5
        assert live.stop(how) == (0, "")


def test_a_request_in_progress_is_completed(own, sample):
    """The server is stopped in the middle of an upload, and still answers it."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        + (sample / "cat" / "cat_0001.jpg").read_bytes()
        + b"\r\n--x--\r\n"
    )
    headers = (
        "POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with (
        serving("-c", own) as live,
        socket.create_connection(live.socket_address) as connection,
    ):
        connection.sendall(headers.encode() + body[:100])
        until(lambda: total(live) == 5)
        live.process.terminate()
        until(lambda: _refuses(live.socket_address))
        connection.sendall(body[100:])
        response = b"".join(iter(lambda: connection.recv(65536), b""))
        assert response.startswith(b"HTTP/1.1 200")
        assert b'"rank":1' in response
        assert live.stop(None) == (0, "")


def _refuses(address) -> bool:
    try:
        socket.create_connection(address, 1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_port_in_use_is_an_error(own):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run("serve", "-c", own, "--port", port, status=2)
    message = " ".join(done.stderr.split())
    assert f"port {port} of 127.0.0.1 cannot be used" in message
    assert "choose another port with --port" in message


def test_a_missing_collection_or_root_is_an_error(own, tmp_path):
    assert "does not exist" in run("serve", "-c", tmp_path / "none", status=2).stderr
    done = run("serve", "-c", own, "--root", tmp_path / "none", "--port", 0, status=2)
    assert "is not a folder" in " ".join(done.stderr.split())


@pytest.mark.slow
def test_images_indexed_by_another_process_are_found_without_a_restart(own, sample):
    with serving("-c", own) as live:
        version = only_summary(live)["version"]
        assert total(live) == 5
        run("index", sample / "car", "-c", own)
        until(lambda: total(live) == 10)
        cars = live.api.get("rows", params={"where": "label = 'car'"}).json()["rows"]
        row = cars[0]["id"]
        (match,) = live.search(positive=[{"id": row}], k=1).json()["matches"]
        assert (match["id"], match["label"], match["distance"]) == (row, "car", 0)
        assert only_summary(live)["version"] > version
        run("remove", sample / "cat", "-c", own)
        until(lambda: total(live) == 5)


@pytest.mark.slow
def test_a_response_never_mixes_two_versions(own, sample):
    """While images are added, each response is of one version: it has every cat once."""
    stop = threading.Event()
    wrong, sizes = [], set()

    def search_until_stopped(live) -> None:
        with httpx.Client(base_url=live.api.base_url) as api:
            while not stop.is_set():
                response = api.post("search", json={"positive": [{"id": 0}], "k": 1000})
                if response.status_code != 200:
                    wrong.append(response.text)
                    continue
                labels = [match["label"] for match in response.json()["matches"]]
                sizes.add(len(labels))
                if labels.count("cat") != 5:
                    wrong.append(labels)

    with serving("-c", own) as live:
        threads = [
            threading.Thread(target=search_until_stopped, args=(live,))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for label in ("car", "butterfly"):
            lookalike.index(
                sample / label, own, settings=IndexSettings(commit_rows=1, batch=1)
            )
            until(lambda: total(live) == Table.open(own).count())
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(sizes) > 1


@pytest.mark.slow
def test_a_missing_collection_is_unavailable_until_it_is_back(own, tmp_path):
    with serving("-c", own) as live:
        own.rename(tmp_path / "elsewhere")
        until(lambda: live.api.get("rows").status_code == 503)
        response = live.search(positive=[{"id": 0}])
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert "cannot be read now" in response.json()["detail"]
        assert live.api.get("health").status_code == 200
        listed = live.api.get("collections").json()
        assert listed["collections"] == []
        assert listed["unavailable"][0]["where"] == "own"
        (tmp_path / "elsewhere").rename(own)
        until(lambda: total(live) == 5)


@pytest.mark.slow
def test_a_collection_replaced_in_its_folder_is_read_again(own, sample):
    with serving("-c", own) as live:
        assert total(live) == 5
        shutil.rmtree(own)
        lookalike.index([sample / "car", sample / "cat"], own, models=["pixels"])
        until(lambda: total(live) == 10)
        assert live.search(positive=[{"id": 0}], k=10).status_code == 200


@pytest.mark.slow
def test_ready_says_whether_every_collection_can_be_searched(own, sample, tmp_path):
    other = tmp_path / "other"
    lookalike.index(sample / "car", other, models=["pixels"])
    options = ("-c", own, "-c", other, "--token", "secret")
    with serving(*options) as live:
        assert live.api.get("ready").json() == {"status": "ready"}
        other.rename(tmp_path / "moved")
        until(lambda: live.api.get("ready").status_code == 503)
        refused = live.api.get("ready")
        detail = problem(refused, 503)
        assert "a collection cannot be read" in detail
        # A client without a token learns no name.
        assert "other" not in detail
        assert refused.headers["retry-after"] == "5"
        assert live.api.get("health").status_code == 200
        (tmp_path / "moved").rename(other)
        until(lambda: live.api.get("ready").status_code == 200)


def test_the_access_log_has_a_line_for_each_request(own):
    with serving("-c", own, "--access-log") as live:
        total(live)
        live.api.get("rows/%0d%0aforged%22?where=private")
        live.api.head("health", headers={"X-Forwarded-For": "10.1.2.3"})
        status, errors = live.stop()
    line = r'{} - - \[[^]]+ \+0000\] "{} HTTP/1\.1" {} \d+ \d+\.\d{{4}}'
    expected = [
        line.format(r"127\.0\.0\.1", "GET /api/v1/rows", 200),
        line.format(r"127\.0\.0\.1", "GET /api/v1/rows/%0D%0Aforged%22", 422),
        line.format(r"10\.1\.2\.3", "HEAD /api/v1/health", r"\d+"),
    ]
    assert status == 0
    lines = errors.splitlines()
    assert len(lines) == len(expected), errors
    for pattern, printed in zip(expected, lines, strict=True):
        assert re.fullmatch(pattern, printed)
