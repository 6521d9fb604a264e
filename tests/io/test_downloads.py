"""Downloads from a real local server, and everything that can fail."""

from __future__ import annotations

import hashlib
import socket
import threading
import time

import pytest

from local_server import BODY, SHA, Fault, names, start_download
from lookalike.errors import DownloadError, InputError
from lookalike.io import files
from lookalike.io.downloads import download
from lookalike.io.files import file_lock

# Successful downloads


def test_download_leaves_only_the_complete_file(server, target):
    path = download(server.serve("/file.bin", BODY), target, sha256=SHA, size=len(BODY))
    assert path == target
    assert target.read_bytes() == BODY
    assert names(target.parent) == ["file.bin"]
    assert server.asked[0].headers["User-Agent"].startswith("lookalike/")


def test_hash_can_be_upper_case(server, target):
    assert (
        download(server.serve("/f", BODY), target, sha256=SHA.upper()).read_bytes()
        == BODY
    )


@pytest.mark.parametrize("announce", [True, False])
def test_any_content_is_accepted_without_a_hash(server, target, announce):
    url = server.serve("/f", BODY, announce=announce)
    assert download(url, target, sha256=None).read_bytes() == BODY


def test_empty_file_can_be_downloaded(server, target):
    empty = hashlib.sha256(b"").hexdigest()
    assert (
        download(server.serve("/f", b""), target, sha256=empty, size=0).read_bytes()
        == b""
    )


def test_redirect_is_followed(server, target):
    url = server.serve("/old", b"", faults=[Fault(status=302, location="/new")])
    server.serve("/new", BODY)
    assert download(url, target, sha256=SHA).read_bytes() == BODY


def test_progress_counts_up_to_the_total(server, target):
    seen: list[tuple[int, int | None]] = []
    download(
        server.serve("/f", BODY),
        target,
        sha256=SHA,
        progress=lambda *done: seen.append(done),
    )
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)


def test_total_is_none_if_the_server_does_not_send_it(server, target):
    seen: list[tuple[int, int | None]] = []
    url = server.serve("/f", BODY, announce=False)
    download(url, target, sha256=SHA, progress=lambda *done: seen.append(done))
    assert seen[-1] == (len(BODY), None)


# Existing targets


def test_correct_target_is_used_without_a_request(server, target, monkeypatch):
    url = server.serve("/f", BODY)
    download(url, target, sha256=SHA)
    server.asked.clear()
    monkeypatch.setenv("LOOKALIKE_OFFLINE", "1")
    assert download(url, target, sha256=SHA, size=len(BODY)) == target
    assert server.asked == []


@pytest.mark.parametrize("stale", [b"old", bytes(len(BODY))])
def test_wrong_target_is_replaced(server, target, stale):
    target.parent.mkdir()
    target.write_bytes(stale)
    download(server.serve("/f", BODY), target, sha256=SHA)
    assert target.read_bytes() == BODY


def test_size_decides_about_the_target_without_a_hash(server, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    url = server.serve("/f", BODY)
    assert download(url, target, sha256=None).read_bytes() == b"old"
    assert download(url, target, sha256=None, size=len(BODY)).read_bytes() == BODY


# Wrong bytes


def test_wrong_hash_is_refused_and_leaves_nothing(server, target):
    wrong = bytes(len(BODY))
    url = server.serve("/f", wrong)
    with pytest.raises(DownloadError) as caught:
        download(url, target, sha256=SHA)
    for part in (url, SHA, hashlib.sha256(wrong).hexdigest()):
        assert part in str(caught.value)
    assert names(target.parent) == []
    server.serve("/f", BODY)
    assert download(url, target, sha256=SHA).read_bytes() == BODY


def test_empty_hash_differs_from_none(server, target):
    with pytest.raises(DownloadError, match="not the promised file"):
        download(server.serve("/f", BODY), target, sha256="")


def test_wrong_size_is_refused_before_the_download(server, target):
    url = server.serve("/f", b"<html>Please log in</html>")
    with pytest.raises(DownloadError, match="expected 100000 bytes, got 26 bytes"):
        download(url, target, sha256=SHA, size=len(BODY))
    assert names(target.parent) == []


def test_endless_file_is_not_read_to_its_end(server, target):
    url = server.serve("/f", bytes(50_000_000), announce=False)
    with pytest.raises(DownloadError, match="expected 100000 bytes"):
        download(url, target, sha256=SHA, size=len(BODY))
    assert server.sent() < 40_000_000


# Failures


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_refused_request_is_not_repeated(server, target, status):
    url = server.serve("/f", BODY, faults=[Fault(status=status)])
    with pytest.raises(DownloadError, match=f"HTTP {status}") as caught:
        download(url, target, sha256=SHA)
    assert url in str(caught.value)
    assert str(target) in str(caught.value)
    assert len(server.asked) == 1


def test_unreachable_server_fails_at_once(server, target):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/f"
        with pytest.raises(DownloadError, match="cannot be reached") as caught:
            download(url, target, sha256=SHA)
    assert f"Put the file at {target} by hand" in str(caught.value)


def test_lost_network_is_retried(server, target):
    url = server.serve(
        "/f", BODY, faults=[Fault(status=302, location="http://127.0.0.1:1/f")] * 2
    )
    server.files["/f"].faults.insert(0, Fault(cut=40_960))
    assert download(url, target, sha256=SHA).read_bytes() == BODY


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/f", "file:///etc/passwd"])
def test_redirects_are_limited_to_http(server, target, location):
    url = server.serve("/f", BODY, faults=[Fault(status=302, location=location)])
    with pytest.raises(DownloadError):
        download(url, target, sha256=None)
    assert names(target.parent) == []


def test_offline_forbids_the_network(server, target, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_OFFLINE", "1")
    with pytest.raises(DownloadError, match="LOOKALIKE_OFFLINE") as caught:
        download(server.serve("/f", BODY), target, sha256=SHA)
    assert str(target) in str(caught.value)
    assert server.asked == []
    monkeypatch.setenv("LOOKALIKE_OFFLINE", "0")
    assert download(server.url("/f"), target, sha256=SHA).read_bytes() == BODY


def test_environment_proxy_is_used(server, target, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.serve("/f", BODY)
    assert download("http://nowhere.invalid/f", target, sha256=SHA).read_bytes() == BODY
    assert server.asked[0].headers["Host"] == "nowhere.invalid"


@pytest.mark.parametrize("proxy", ["socks9://127.0.0.1:1", "http://127.0.0.1:port"])
def test_unusable_environment_proxy_is_explained(server, target, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(
        DownloadError, match=r"proxy .* cannot be used: .*Correct https_proxy"
    ):
        download(server.serve("/f", BODY), target, sha256=SHA)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/f",
        "/etc/passwd",
        "http://",
        "http://host:port/",
        "http://example.org/a b",
        "http://example.org/\r\nX: y",
        "http://example.org/é",
    ],
)
def test_only_valid_http_urls_are_accepted(target, url):
    with pytest.raises(InputError, match="Give an http or https address"):
        download(url, target, sha256=None)


def test_folder_as_target_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        download("http://127.0.0.1/f", tmp_path, sha256=None)


# The disk


def test_file_in_place_of_the_folder_is_named(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match=r"cannot be written.*Check the folder"):
        download(server.serve("/f", BODY), tmp_path / "file" / "f", sha256=SHA)


# Concurrent downloads


def test_threads_download_the_same_file_once(server, target):
    url = server.serve("/f", BODY, pause_s=0.005)
    errors: list[DownloadError] = []

    def want() -> None:
        try:
            assert download(url, target, sha256=SHA).read_bytes() == BODY
        except DownloadError as error:
            errors.append(error)

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert server.sent() == len(BODY)
    assert names(target.parent) == ["file.bin"]


def test_processes_download_the_same_file_once(server, target):
    url = server.serve("/f", BODY, pause_s=0.02)
    processes = [start_download(url, target, SHA) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert target.read_bytes() == BODY
    assert server.sent() == len(BODY)
    assert names(target.parent) == ["file.bin"]


def test_lock_admits_one_thread_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_POLL_S", 0.0005)
    inside, most = 0, 0

    def visit() -> None:
        nonlocal inside, most
        for _ in range(20):
            with file_lock(tmp_path / "lock"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert names(tmp_path) == []
