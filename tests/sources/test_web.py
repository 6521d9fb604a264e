"""Addresses of the web as a source, from a real local server."""

from __future__ import annotations

import io
import json
import pickle
import re

import numpy as np
import pytest
from PIL import Image

import lookalike
from command import lookalike as lookalike_command
from local_server import Fault, local_server
from lookalike.errors import ImageError, SourceError
from lookalike.indexing.run import IndexSettings
from lookalike.io import fetching
from lookalike.io.fetching import Fetcher, FetchLimits
from lookalike.sources import LocalSource, open_source, open_uri, read_uri, uri_exists
from lookalike.sources.web import WebSource


def make_image(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def server():
    with local_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _quick_fetchers(monkeypatch):
    """Fetchers of this process do not pause, and read little."""
    limits = FetchLimits(
        max_bytes=50_000, interval=0.0, total_s=2.0, silence_s=0.5, pauses=(0.0, 0.0)
    )
    for allow_private in (False, True):
        fetcher = Fetcher(allow_private=allow_private, limits=limits)
        monkeypatch.setitem(fetching._shared, allow_private, fetcher)


@pytest.fixture
def index(tmp_path):
    """A function that indexes paths of a private network, and returns the report."""

    def run_index(*paths, **options):
        options = {"allow_private": True} | options
        collection = tmp_path / "collection"
        return lookalike.index(paths, collection, models=["pixels"], **options)

    return run_index


@pytest.fixture
def rows(tmp_path):
    """A function that returns the rows of the collection by uri."""

    def read_rows():
        table = lookalike.Collection.open(tmp_path / "collection").table
        found = table.take(table.ids_under([""]), ["uri", "size", "mtime_ns", "label"])
        return {row["uri"]: row for row in found.to_pylist()}

    return read_rows


def counts(report) -> dict[str, int]:
    fields = report.to_dict()
    names = ("added", "updated", "unchanged", "removed", "failed")
    return {name: fields[name] for name in names if fields[name]}


# What is read


def test_a_list_mixes_addresses_and_paths(server, index, rows, tmp_path):
    near = tmp_path / "near.png"
    near.write_bytes(make_image(0))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside.png").write_bytes(make_image(1))
    far = server.serve("/cats%20%26%20dogs/far.png", make_image(2))
    top = server.serve("/top.png", make_image(3))
    urls = tmp_path / "urls.txt"
    urls.write_text(f"{far}\r\n  {top} \n\nnear.png\nfolder\n{far}\nmissing.png\n")

    report = index(f"@{urls}")
    assert counts(report) == {"added": 4, "failed": 1}
    assert report.failures[0][0].endswith("missing.png")
    found = rows()
    assert found[far]["label"] == "cats & dogs"
    assert found[top]["label"] is None
    assert found[top]["size"] == len(make_image(3))
    assert {str(near), str(tmp_path / "folder" / "inside.png")} <= set(found)
    assert len(server.asked) == 2


def test_an_address_is_read_once_and_on_request(server, index, rows):
    kept = server.serve("/kept.png", make_image(0))
    changing = server.serve("/changing.png", make_image(1))
    assert counts(index(kept, changing)) == {"added": 2}
    first_time = rows()[kept]["mtime_ns"]

    server.serve("/changing.png", make_image(2))
    server.asked.clear()
    assert counts(index(kept, changing)) == {"unchanged": 2}
    assert server.asked == []
    assert counts(index(kept, changing, refresh=True)) == {"updated": 2}
    assert len(server.asked) == 2
    assert rows()[changing]["size"] == len(make_image(2))
    assert rows()[kept]["mtime_ns"] > first_time
    assert counts(index(kept, changing)) == {"unchanged": 2}


def test_an_address_that_is_no_longer_named_stays(server, index, rows, tmp_path):
    addresses = [server.serve(f"/{i}.png", make_image(i)) for i in range(3)]
    urls = tmp_path / "urls.txt"
    urls.write_text("\n".join(addresses))
    index(f"@{urls}")
    urls.write_text(addresses[0])
    assert counts(index(f"@{urls}")) == {"unchanged": 1}
    assert set(rows()) == set(addresses)


def test_the_scheme_may_be_in_any_case(server, index, rows):
    address = server.serve("/a.png", make_image(0))
    index(address, address.replace("http", "HTTP"))
    assert list(rows()) == [address]


def test_labels_and_count(server):
    source = open_source(["https://a.example/x/1.png?b=/y/"], labels="none")
    assert [item.label for item in source] == [None]
    assert source.count() == 1
    labels = []
    for address in (
        "https://a.example/x/y/1.png?b=/z/",
        "https://a.example/1.png",
        "https://a.example",
        "https://a.example/%E4%B8%AD/1.png#/f/",
        "https://a.example//1.png",
    ):
        labels += [item.label for item in WebSource([address])]
    assert labels == ["y", None, None, "中", None]


def test_addresses_of_one_host_are_read_four_at_a_time(server, index):
    addresses = []
    for number in range(12):
        fault = Fault(stall_s=0.1)
        address = server.serve(f"/{number}.png", make_image(number), faults=[fault])
        addresses.append(address)
    settings = IndexSettings(threads=1)
    assert counts(index(*addresses, settings=settings)) == {"added": 12}
    assert server.most_running == 4


def test_items_can_be_sent_to_other_processes(server):
    address = server.serve("/a.png", make_image(0))
    (item,) = open_source([address], allow_private=True)
    assert pickle.loads(pickle.dumps(item)).read() == make_image(0)


# What fails


@pytest.mark.slow
def test_each_bad_address_is_a_failure_with_its_reason(server, index):
    good = server.serve("/good.png", make_image(0))
    whole = make_image(1)
    expected = {
        server.url("/missing.png"): "cannot be read: the server answered 404 Not Found",
        server.serve("/page.png", b"<html>Not an image</html>"): "not an image",
        server.serve("/half.png", whole[: len(whole) // 2]): "cut short",
        server.serve(
            "/endless.png", b"\0" * 20_000_000
        ): "longer than the 50,000 bytes",
        server.serve("/cut.png", whole, faults=[Fault(cut=99)] * 9): "broke off",
        "http://nowhere.invalid/a.png": "the host nowhere.invalid is unknown",
        "http://[::1/a.png": "not a valid address",
    }
    flaky = server.serve("/flaky.png", make_image(2), faults=[Fault(status=503)])
    slow = server.serve("/slow.png", b"\0" * 40_000, pause_s=0.5)
    report = index(good, *expected, slow, flaky)
    assert counts(report) == {"added": 2, "failed": len(expected) + 1}
    reasons = dict(report.failures)
    # On a busy machine, one pause may be longer than the wait for the next piece.
    assert re.search("not complete after 2 s|stopped sending", reasons[slow])
    for address, reason in expected.items():
        assert reason in reasons[address]

    # Content that was read is not read again; whatever could not be read is.
    server.asked.clear()
    server.serve("/missing.png", make_image(3))
    report = index(good, server.url("/missing.png"), server.url("/page.png"))
    assert counts(report) == {"added": 1, "unchanged": 1, "failed": 1}
    assert [asked.path for asked in server.asked] == ["/missing.png"]


@pytest.mark.slow
def test_an_address_that_fails_later_keeps_its_image(server, index, rows):
    address = server.serve("/a.png", make_image(0))
    index(address)
    del server.files["/a.png"]
    report = index(address, refresh=True)
    assert counts(report) == {"failed": 1}
    assert rows()[address]["size"] == len(make_image(0))
    server.serve("/a.png", make_image(0))
    assert counts(index(address)) == {"updated": 1}


def test_private_addresses_are_failures_unless_allowed(server, index, monkeypatch):
    address = server.serve("/a.png", make_image(0))
    report = index(address, allow_private=False)
    assert counts(report) == {"failed": 1}
    assert "not on the public internet" in report.failures[0][1]
    assert server.asked == []
    monkeypatch.setenv("LOOKALIKE_ALLOW_PRIVATE", "1")
    assert counts(index(address, allow_private=None)) == {"added": 1}


@pytest.mark.parametrize("rest", ["/x", "", "?q", "\\x", ":80/@/"])
def test_passwords_are_not_stored(index, tmp_path, rest):
    urls = tmp_path / "urls.txt"
    urls.write_text(f"https://a.example/@1.png\nhttps://ann:secret@b.example{rest}\n")
    with pytest.raises(SourceError, match=r"at b\.example.* has a user name") as caught:
        index(f"@{urls}")
    assert "secret" not in str(caught.value)


def test_other_kinds_of_addresses_are_refused(index):
    for address in ("ftp://a.example/1.png", "data:image/png;base64,iVBORw0KGgo="):
        with pytest.raises(SourceError, match="not fetched"):
            index(address)
    with pytest.raises(SourceError, match=r"not fetched\. Download"):
        LocalSource(["https://a.example/1.png"])


def test_without_the_network_a_list_is_refused(index, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_OFFLINE", "1")
    with pytest.raises(SourceError, match=r"1 addresses .* LOOKALIKE_OFFLINE"):
        index("https://a.example/1.png")


# Queries and files of rows


def test_an_address_can_be_searched_by(server, index, tmp_path, monkeypatch):
    addresses = [server.serve(f"/{i}.png", make_image(i)) for i in range(3)]
    index(*addresses)
    collection = tmp_path / "collection"
    with pytest.raises(ImageError, match="not on the public internet"):
        lookalike.search(collection, addresses[1])
    monkeypatch.setenv("LOOKALIKE_ALLOW_PRIVATE", "1")
    matches = lookalike.search(collection, addresses[1], k=2)
    assert matches.uris[0] == addresses[1]
    matches = lookalike.search(collection, addresses[1], k=3, exclude_self=True)
    assert addresses[1] not in matches.uris
    with pytest.raises(ImageError, match="404 Not Found"):
        lookalike.search(collection, server.url("/none"))


def test_the_command_reads_a_query_once(server, index, tmp_path):
    addresses = [server.serve(f"/{i}.png", make_image(i)) for i in range(3)]
    index(*addresses)
    server.asked.clear()
    found = lookalike_command(
        *("search", addresses[0], "-c", tmp_path / "collection", "--json"),
        *("--save", tmp_path / "matches.png"),
        env={"LOOKALIKE_ALLOW_PRIVATE": "1"},
    )
    assert json.loads(found.stdout)["matches"][0]["uri"] == addresses[0]
    assert (tmp_path / "matches.png").stat().st_size
    # The images of the matches are thumbnails.
    assert [asked.path for asked in server.asked] == ["/0.png"]


def test_files_of_rows_are_compared_with_the_web(server, index, tmp_path):
    addresses = [server.serve(f"/{i}.png", make_image(i)) for i in range(3)]
    index(*addresses)
    server.serve("/1.png", make_image(9))
    del server.files["/2.png"]
    checked = lookalike_command(
        *("check", "-c", tmp_path / "collection", "--files", "--json"),
        env={"LOOKALIKE_ALLOW_PRIVATE": "1"},
    )
    files = json.loads(checked.stdout)["files"]
    assert (files["same"], files["changed"], files["missing"]) == (1, 1, 1)


def test_uris_of_the_web_are_read_and_never_missing(server, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_ALLOW_PRIVATE", "1")
    address = server.serve("/1.png", make_image(0))
    assert read_uri(address) == make_image(0)
    with open_uri(address) as file:
        assert file.read() == make_image(0)
    with pytest.raises(FileNotFoundError):
        open_uri(server.url("/none"))
    server.asked.clear()
    assert uri_exists(server.url("/none"))
    assert server.asked == []


def test_metadata_joins_by_address(server, index, tmp_path):
    address = server.serve("/a.png", make_image(0))
    metadata = tmp_path / "metadata.csv"
    metadata.write_text(f"uri,price\n{address},3\n")
    assert index(address, metadata=metadata).metadata.images == 1


def test_the_command(server, tmp_path):
    """No private host without the option."""
    address = server.serve("/a/1.png", make_image(0))
    urls = tmp_path / "urls.txt"
    urls.write_text(address)
    arguments = [
        "index",
        f"@{urls}",
        "-c",
        tmp_path / "c",
        "--model",
        "pixels",
        "--json",
    ]
    refused = lookalike_command(*arguments, "--strict", status=1)
    assert json.loads(refused.stdout)["failed"] == 1
    assert server.asked == []
    done = lookalike_command(*arguments, "--allow-private")
    assert json.loads(done.stdout)["added"] == 1
    again = lookalike_command(*arguments, "--allow-private", "--refresh")
    assert json.loads(again.stdout)["updated"] == 1
