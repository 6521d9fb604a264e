"""Interrupted downloads and how they continue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local_server import BODY, SHA, Fault, names, start_download
from lookalike.errors import DownloadError
from lookalike.io import downloads
from lookalike.io.downloads import download


def interrupt_download(server, target: Path, body: bytes, **options) -> str:
    """Leave a partial file with the first 40,960 bytes of the body."""
    url = server.serve(
        "/f", body, faults=[Fault(cut=40_960)] + [Fault(cut=0)] * 3, **options
    )
    with pytest.raises(DownloadError, match="broke off after 40960 of 100000 bytes"):
        download(url, target, sha256=SHA)
    return url


def test_interrupted_download_resumes_with_a_range(server, target):
    url = server.serve("/f", BODY, faults=[Fault(cut=40_960)])
    download(url, target, sha256=SHA)
    assert target.read_bytes() == BODY
    assert [asked.headers["Range"] for asked in server.asked] == [None, "bytes=40960-"]
    assert server.asked[1].headers["If-Range"] == '"one"'
    assert server.sent() == len(BODY)


@pytest.mark.parametrize(
    ("etag", "last_modified", "condition"),
    [
        (None, "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ('W/"weak"', None, None),
        (None, None, None),
    ],
)
def test_interrupted_download_resumes_without_an_etag(
    server, target, etag, last_modified, condition
):
    url = server.serve(
        "/f", BODY, etag=etag, last_modified=last_modified, faults=[Fault(cut=4096)]
    )
    download(url, target, sha256=SHA)
    assert server.asked[1].headers["If-Range"] == condition
    assert server.sent() == len(BODY)


def test_next_call_continues_where_the_last_one_stopped(server, target):
    url = server.serve("/f", BODY, faults=[Fault(cut=50_000)] + [Fault(cut=0)] * 3)
    with pytest.raises(
        DownloadError,
        match=r"broke off after 50000 of 100000 bytes.*Run again to continue",
    ) as caught:
        download(url, target, sha256=SHA)
    assert str(target) in str(caught.value)
    assert not target.exists()
    server.asked.clear()
    seen: list[int] = []
    download(url, target, sha256=SHA, progress=lambda done, _total: seen.append(done))
    assert target.read_bytes() == BODY
    assert server.sent() == 50_000
    assert seen[0] == 50_000


def test_partial_file_is_not_trusted_without_hash_and_validator(server, target):
    url = server.serve("/f", BODY, etag=None, faults=[Fault(cut=4096)])
    assert download(url, target, sha256=None).read_bytes() == BODY
    assert server.asked[1].headers["Range"] is None


def test_download_restarts_without_range_support(server, target):
    url = server.serve("/f", BODY, ranges=False, faults=[Fault(cut=40_960)])
    assert download(url, target, sha256=SHA).read_bytes() == BODY
    assert server.asked[1].status == 200


def test_download_restarts_if_the_file_changed(server, target):
    url = interrupt_download(server, target, bytes(len(BODY)), etag='"old"')
    server.serve("/f", BODY, etag='"new"')
    assert download(url, target, sha256=SHA).read_bytes() == BODY
    assert server.asked[-1].status == 200


def test_partial_file_of_another_url_is_not_continued(server, target):
    interrupt_download(server, target, bytes(len(BODY)))
    assert (
        download(server.serve("/two", BODY), target, sha256=None).read_bytes() == BODY
    )


def test_wrong_range_is_refused(server, target):
    url = server.serve("/f", BODY, skew=100, faults=[Fault(cut=40_960)] * 4)
    with pytest.raises(DownloadError, match="the server sent others"):
        download(url, target, sha256=SHA)
    server.files["/f"].skew = 0
    assert download(url, target, sha256=SHA).read_bytes() == BODY


def test_too_long_partial_file_is_discarded(server, target):
    url = interrupt_download(server, target, BODY)
    with target.with_name("file.bin.part").open("ab") as part:
        part.write(bytes(2 * len(BODY)))
    assert download(url, target, sha256=SHA).read_bytes() == BODY
    assert 416 in [asked.status for asked in server.asked]


def test_complete_partial_file_needs_no_request(server, target):
    url = interrupt_download(server, target, BODY)
    target.with_name("file.bin.part").write_bytes(BODY)
    server.asked.clear()
    assert download(url, target, sha256=SHA).read_bytes() == BODY
    assert server.asked == []


@pytest.mark.parametrize("info", ["", "[]", "{}", '{"url": 1}'])
def test_damaged_part_info_restarts_the_download(server, target, info):
    url = interrupt_download(server, target, BODY)
    target.with_name("file.bin.part.json").write_text(info)
    assert download(url, target, sha256=SHA).read_bytes() == BODY


@pytest.mark.parametrize(
    "fault",
    [Fault(status=503), Fault(status=500), Fault(status=429), Fault(stall_s=0.4)],
)
def test_transient_failures_are_retried(server, target, fault, monkeypatch):
    monkeypatch.setattr(downloads, "SILENCE_S", 0.15)
    assert (
        download(
            server.serve("/f", BODY, faults=[fault]), target, sha256=SHA
        ).read_bytes()
        == BODY
    )
    # On a busy machine, a request after the stall may exceed the short timeout as well.
    assert len(server.asked) == 2 or fault.stall_s > 0


def test_attempts_are_spaced(server, target, monkeypatch):
    monkeypatch.setattr(downloads, "RETRY_PAUSES_S", (0.2,))
    start = time.monotonic()
    with pytest.raises(DownloadError, match="HTTP 503"):
        download(
            server.serve("/f", BODY, faults=[Fault(status=503)] * 2), target, sha256=SHA
        )
    assert time.monotonic() - start >= 0.2


def test_interrupt_keeps_the_received_bytes(server, target):
    def interrupt(done: int, _total: int | None) -> None:
        if done > 40_000:
            raise KeyboardInterrupt

    url = server.serve("/f", BODY, pause_s=0.001)
    with pytest.raises(KeyboardInterrupt):
        download(url, target, sha256=SHA, progress=interrupt)
    assert not target.exists()
    received = target.with_name("file.bin.part").stat().st_size
    assert received > 40_000
    assert download(url, target, sha256=SHA).read_bytes() == BODY
    assert server.asked[1].headers["Range"] == f"bytes={received}-"


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no SIGINT to send to another process"
)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_killed_process_leaves_the_received_bytes_and_no_lock(server, target, how):
    url = server.serve("/f", BODY, pause_s=0.02)
    process = start_download(url, target, SHA)
    part = target.with_name("file.bin.part")
    while not part.exists() or part.stat().st_size < 8192:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    assert process.wait(timeout=120) != 0
    received = part.stat().st_size
    assert 0 < received < len(BODY)
    server.files["/f"].pause_s = 0
    assert download(url, target, sha256=SHA).read_bytes() == BODY
    assert server.asked[1].headers["Range"] == f"bytes={received}-"
    assert names(target.parent) == ["file.bin"]


def test_resumed_part_is_hashed(server, target):
    url = interrupt_download(server, target, BODY)
    with target.with_name("file.bin.part").open("rb+") as part:
        part.write(b"damaged")
    with pytest.raises(DownloadError, match="not the promised file"):
        download(url, target, sha256=SHA)
    assert names(target.parent) == []


def test_full_disk_error_names_the_needed_space(server, small_disk):
    target = small_disk / "file.bin"
    url = server.serve("/f", BODY)
    with pytest.raises(
        DownloadError, match=rf"disk of the folder {small_disk} is full: .* more bytes"
    ):
        download(url, target, sha256=SHA)
    assert not target.exists()
    subprocess.run(["mount", "-o", "remount,size=256k", str(small_disk)], check=True)
    assert download(url, target, sha256=SHA).read_bytes() == BODY
    assert server.sent() < 2 * len(BODY)
    assert server.asked[1].status == 206


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
