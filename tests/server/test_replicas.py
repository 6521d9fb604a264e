"""Several servers of one collection, each of which reads new versions by itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import lookalike
from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings

# The servers do not look for new versions by themselves during a test.
RARELY = ServerSettings(
    read_only=True, refresh_seconds=3600, remote_refresh_seconds=3600
)
BASE = "http://localhost/api/v1/"


@pytest.fixture
def images(sample, tmp_path):
    """A folder of ten images."""
    folder = tmp_path / "images"
    for label in ("cat", "car"):
        shutil.copytree(sample / label, folder / label)
    return folder


def replica(address: object) -> TestClient:
    return TestClient(make_app([str(address)], RARELY), base_url=BASE)


def page(client: TestClient, **query: object):
    return client.post("search", json={"positive": [{"id": 0}], "k": 3, **query})


def grow(sample: Path, images: Path, address: object) -> int:
    """Add five images, and return the id of one of them."""
    shutil.copytree(sample / "butterfly", images / "butterfly")
    lookalike.index(images, address, models=["pixels"])
    return 12


_IN_STORE = pytest.param("object storage", marks=pytest.mark.slow)


@pytest.fixture(params=["folder", _IN_STORE])
def address(request, images, tmp_path):
    """A collection of ten images, in a folder and in object storage."""
    made = str(tmp_path / "shared")
    if request.param == "object storage":
        made = request.getfixturevalue("object_store").uri("shared")
    lookalike.index(images, made, models=["pixels"])
    return made


def test_a_cursor_of_a_newer_version_is_answered(address, sample, images):
    with replica(address) as behind:
        assert page(behind).status_code == 200
        grow(sample, images, address)
        with replica(address) as ahead:
            first = page(ahead).json()
            second = page(ahead, cursor=first["next"]).json()
            # The other server had not read this version when the cursor arrived.
            answer = page(behind, cursor=first["next"])
            assert answer.status_code == 200, answer.text
            assert answer.json()["matches"] == second["matches"]


def test_a_cursor_of_an_older_version_is_stale(address, sample, images):
    with replica(address) as old:
        first = page(old).json()
        grow(sample, images, address)
        with replica(address) as ahead:
            stale = page(ahead, cursor=first["next"])
            assert (stale.status_code, stale.json()["title"]) == (409, "Stale cursor")


@pytest.mark.parametrize(
    "request_row",
    [
        lambda client, row: client.get(f"rows/{row}"),
        lambda client, row: client.get(f"rows/{row}/thumbnail"),
        lambda client, row: client.get(f"rows/{row}/original"),
        lambda client, row: page(client, positive=[{"id": row}]),
        lambda client, row: page(client, negative=[{"id": row}]),
        lambda client, row: client.post("distances", json={"positive": [{"id": row}]}),
    ],
    ids=["row", "thumbnail", "original", "positive", "negative", "distances"],
)
def test_a_row_of_a_newer_version_is_found(request_row, sample, images, tmp_path):
    address = tmp_path / "shared"
    lookalike.index(images, address, models=["pixels"])
    with replica(address) as behind:
        row = grow(sample, images, address)
        answer = request_row(behind, row)
        assert answer.status_code == 200, answer.text


def test_a_search_of_a_batch_finds_a_row_of_a_newer_version(sample, images, tmp_path):
    address = tmp_path / "shared"
    lookalike.index(images, address, models=["pixels"])
    with replica(address) as behind:
        row = grow(sample, images, address)
        searches = [{"positive": [{"id": row}]}]
        answer = behind.post("search/batch", json={"searches": searches}).json()
        assert answer["results"][0]["problem"] is None


def test_rows_that_never_existed_do_not_make_many_checks(
    images, object_store, faulty_store
):
    address = object_store.uri("shared")
    lookalike.index(images, address, models=["pixels"])
    with replica(address) as client:
        before = len(faulty_store.lists)
        for _ in range(20):
            assert client.get("rows/999").status_code == 404
        assert len(faulty_store.lists) - before <= 2 * 3


def test_an_upload_of_another_replica_is_sent_with_the_query(address, query):
    with replica(address) as one, replica(address) as other:
        with query.open("rb") as file:
            upload = one.post("uploads", files={"image": file}).json()["upload"]
        named = {"positive": [{"upload": upload}], "k": 3}
        expected = one.post("search", json=named).json()
        for path in ("search", "distances"):
            refused = other.post(path, json={"positive": [{"upload": upload}]})
            assert refused.status_code == 404
            assert refused.json()["title"] == "Upload not found"
            assert "Send the image with the query" in refused.json()["detail"]

        # As the page does.
        form = json.dumps({"positive": [{"image": 0}], "k": 3})
        with query.open("rb") as file:
            sent = other.post("search", files={"image": file}, data={"query": form})
        assert sent.json()["matches"] == expected["matches"]
        assert sent.json()["uploads"] == [upload]


def test_each_replica_is_ready_by_itself(address):
    with replica(address) as one, replica(address) as other:
        for client in (one, other):
            assert client.get("health").status_code == 200
            assert client.get("ready").json() == {"status": "ready"}


def test_a_token_is_the_same_for_all(address):
    settings = ServerSettings(read_only=True, token="one token for all")
    apps = [make_app([address], settings) for _ in range(2)]
    with (
        TestClient(apps[0], base_url=BASE) as one,
        TestClient(apps[1], base_url=BASE) as other,
    ):
        assert other.get("collections").status_code == 401
        signed_in = one.post("session", json={"token": "one token for all"})
        assert signed_in.status_code == 204
        # The cookie of one server opens the other.
        other.cookies = one.cookies
        assert other.get("collections").status_code == 200
