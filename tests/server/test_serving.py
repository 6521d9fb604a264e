"""How the command starts and ends, and what it does when a collection changes beneath it."""

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
from live import serving
from lookalike.indexing.run import IndexSettings
from lookalike.server.serving import bind
from lookalike.store.table import Table


def until(condition, seconds: float = 20.0):
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)
    return found


@pytest.fixture
def own(sample, tmp_path):
    """A collection of five cats, to be changed."""
    lookalike.index(sample / "cat", tmp_path / "own", models=["pixels"])
    return tmp_path / "own"


def total(live) -> int | None:
    answer = live.api.get("rows", params={"limit": 1})
    return answer.json()["total"] if answer.status_code == 200 else None


def test_it_says_how_much_it_serves_and_where(server):
    assert re.search(
        r"^45 images, ready in \d+\.\d s\. Press Ctrl-C to stop\.$", server.output, re.MULTILINE
    )
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", server.address)


def test_answers_are_sent_at_once():
    """The system keeps back the end of an answer until its beginning is acknowledged, unless it is told not to."""

    async def accepted() -> int:
        come = asyncio.get_running_loop().create_future()
        taken = bind("127.0.0.1", 0)
        async with await asyncio.start_server(
            lambda _, answering: come.set_result(answering), sock=taken
        ):
            _, asking = await asyncio.open_connection(*taken.getsockname())
            answering = await come
            at_once = answering.get_extra_info("socket").getsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY
            )
            for end in (asking, answering):
                end.close()
                await end.wait_closed()
            return at_once

    with ThreadPoolExecutor(1) as apart:  # a browser's tests leave a loop running in this thread
        assert apart.submit(asyncio.run, accepted()).result() == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_without_an_error(own, how):
    with serving("-c", own) as live:
        assert total(live) == 5
        assert live.stop(how) == (0, "")


def test_a_request_in_flight_is_finished(own, sample):
    """Half of a picture is sent, the server is told to end, and the rest is sent: the answer comes."""
    picture = (sample / "cat" / "cat_0001.jpg").read_bytes()
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        + picture
        + b"\r\n--x--\r\n"
    )
    head = (
        "POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with serving("-c", own) as live, socket.create_connection(live.socket_address) as connection:
        connection.sendall(head + body[:100])
        until(lambda: total(live) == 5)
        live.process.terminate()
        until(lambda: _refuses(live.socket_address))
        connection.sendall(body[100:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"rank":1' in answer
        assert live.stop(None) == (0, "")


def _refuses(place) -> bool:
    try:
        socket.create_connection(place, 1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_port_that_is_taken_is_an_error_that_says_so(own):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "-c", own, "--port", port, status=2)
    assert f"port {port} of 127.0.0.1 cannot be used" in " ".join(done.stderr.split())
    assert "choose another port with --port" in " ".join(done.stderr.split())


def test_a_collection_or_root_that_is_not_there_is_an_error(own, tmp_path):
    assert "does not exist" in run("serve", "-c", tmp_path / "none", status=2).stderr
    told = run("serve", "-c", own, "--root", tmp_path / "none", "--port", 0, status=2).stderr
    assert "is not a folder" in " ".join(told.split())


def test_what_another_process_indexes_is_found_without_a_restart(own, sample):
    with serving("-c", own) as live:
        before = live.api.get("collections").json()["collections"][0]["version"]
        assert total(live) == 5
        run("index", sample / "car", "-c", own)
        until(lambda: total(live) == 10)
        row = live.api.get("rows", params={"where": "label = 'car'"}).json()["rows"][0]["id"]
        found = live.search(positive=[{"id": row}], k=1).json()["matches"][0]
        assert (found["id"], found["label"], found["distance"]) == (row, "car", 0)
        assert live.api.get("collections").json()["collections"][0]["version"] > before
        run("remove", sample / "cat", "-c", own)
        until(lambda: total(live) == 5)


def test_answers_never_mix_two_versions(own, sample, tmp_path):
    """While pictures are added, each answer is of one version: every cat is in it, once."""
    stop, wrong, seen = threading.Event(), [], set()

    def ask(live) -> None:
        with httpx.Client(base_url=live.api.base_url) as api:
            while not stop.is_set():
                answer = api.post("search", json={"positive": [{"id": 0}], "k": 1000})
                if answer.status_code != 200:
                    wrong.append(answer.text)
                    continue
                labels = [match["label"] for match in answer.json()["matches"]]
                seen.add(len(labels))
                if labels.count("cat") != 5:
                    wrong.append(labels)

    with serving("-c", own) as live:
        threads = [threading.Thread(target=ask, args=(live,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for label in ("car", "butterfly"):
            lookalike.index(sample / label, own, settings=IndexSettings(commit_rows=1, batch=1))
            until(lambda: total(live) == Table.open(own).count())
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(seen) > 1


def test_a_collection_that_vanishes_is_a_problem_until_it_is_back(own, tmp_path):
    with serving("-c", own) as live:
        own.rename(tmp_path / "elsewhere")
        until(lambda: live.api.get("rows").status_code == 503)
        told = live.search(positive=[{"id": 0}])
        assert (told.status_code, told.headers["retry-after"]) == (503, "5")
        assert "cannot be read now" in told.json()["detail"]
        assert live.api.get("health").status_code == 200
        listed = live.api.get("collections").json()
        assert (listed["collections"], listed["unavailable"][0]["where"]) == ([], "own")
        (tmp_path / "elsewhere").rename(own)
        until(lambda: total(live) == 5)


def test_a_collection_that_is_made_anew_in_its_place_is_read_anew(own, sample):
    with serving("-c", own) as live:
        assert total(live) == 5
        shutil.rmtree(own)
        lookalike.index([sample / "car", sample / "cat"], own, models=["pixels"])
        until(lambda: total(live) == 10)
        assert live.search(positive=[{"id": 0}], k=10).status_code == 200
