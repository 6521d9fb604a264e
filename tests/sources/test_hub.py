"""Images in repositories of a hub are found by its lists of files, and read by its addresses."""

from __future__ import annotations

import pytest

import lookalike
from hub_repository import ROOT
from lookalike.errors import SourceError
from lookalike.sources import open_source, open_uri, read_uri, uri_exists
from made import picture


@pytest.fixture
def pets(hub_repository):
    """A repository of five images."""
    for number, name in enumerate(
        ["cat/1.jpg", "cat/2 é.jpg", "cat/3.png", "dog/1.jpg", "top.jpg"]
    ):
        hub_repository.files[name] = picture((30 * number, 0, 99))
    hub_repository.files["README.md"] = b"pets"
    return hub_repository


def index(path, *sources):
    return lookalike.index(sources, path, models=["pixels"])


def test_a_repository_is_indexed(pets, tmp_path):
    report = index(tmp_path / "c", ROOT)
    assert (report.added, report.failed, report.incomplete) == (5, 0, [])
    assert report.skipped.other_kinds == {"md": 1}
    source = open_source([f"{ROOT}/"])
    assert [(item.uri, item.label) for item in source] == [
        (f"{ROOT}/cat/1.jpg", "cat"),
        (f"{ROOT}/cat/2 é.jpg", "cat"),
        (f"{ROOT}/cat/3.png", "cat"),
        (f"{ROOT}/dog/1.jpg", "dog"),
        (f"{ROOT}/top.jpg", None),
    ]

    # Unchanged files are not read, and a changed one is, whether it is large or not.
    pets.requests.clear()
    assert index(tmp_path / "c", ROOT).unchanged == 5
    assert not any("/resolve/" in path for _, path in pets.requests)
    for name in ("cat/1.jpg", "cat/3.png"):
        changed = bytearray(pets.files[name])
        changed[-3] ^= 1
        pets.files[name] = bytes(changed)
    del pets.files["dog/1.jpg"]
    report = index(tmp_path / "c", ROOT)
    assert (report.updated, report.removed, report.unchanged) == (2, 1, 2)


def test_single_files_and_folders(pets):
    uri = f"{ROOT}@main/cat/2 é.jpg"
    (item,) = open_source([uri])
    assert (item.uri, item.label) == (uri, "cat")
    assert item.read() == read_uri(uri) == pets.files["cat/2 é.jpg"]
    with open_uri(uri) as file:
        assert file.read() == pets.files["cat/2 é.jpg"]
    assert uri_exists(uri)
    assert uri_exists(f"{ROOT}/cat")
    assert not uri_exists(f"{ROOT}/ca")
    assert open_source([f"{ROOT}/cat"]).count() == 3
    with pytest.raises(FileNotFoundError, match="EntryNotFound"):
        read_uri(f"{ROOT}/missing.jpg")


def test_faults_are_retried_and_lost_pages_remove_nothing(pets, tmp_path):
    pets.faults += [503, 429]
    assert index(tmp_path / "c", ROOT).added == 5
    del pets.files["cat/1.jpg"]
    source = open_source([ROOT])
    items = iter(source)
    next(items)
    pets.faults += [503] * 3
    *_, last = items
    assert last.uri == f"{ROOT}/"
    with pytest.raises(Exception, match="broke off after image 1: the hub answers 503"):
        last.read()
    assert source.completed() == {}


def test_a_private_repository_needs_a_token(pets, monkeypatch, tmp_path):
    pets.token = "secret"
    with pytest.raises(SourceError, match="HF_TOKEN"):
        open_source([ROOT])
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    assert open_source([ROOT]).count() == 5
    monkeypatch.setenv("HF_TOKEN", "other")
    with pytest.raises(SourceError, match="401"):
        open_source([ROOT])
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert read_uri(f"{ROOT}/cat/3.png") == pets.files["cat/3.png"]


@pytest.mark.parametrize("name", ["LOOKALIKE_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(pets, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(SourceError, match="forbids the network"):
        open_source([ROOT])
    assert pets.requests == []


def test_errors(pets, monkeypatch, tmp_path):
    with pytest.raises(SourceError, match="names no repository"):
        open_source(["hf://pets"])
    with pytest.raises(SourceError, match=r"404.*RepoNotFound"):
        open_source(["hf://datasets/ann/no-such-pets"])
    with pytest.raises(SourceError, match="no images under"):
        index(tmp_path / "c", f"{ROOT}/nothing")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="the hub cannot be reached"):
        open_source([ROOT])
