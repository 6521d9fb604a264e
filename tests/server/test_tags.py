"""The server tags images, and its answers show tags."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient

from classes import class_collection
from labeled import labeled_collection
from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings

CLASSES = {"/in/a.jpg": "airliner", "/in/b.jpg": "grand piano", "/in/c.jpg": "airliner"}


def client_of(path, **settings) -> TestClient:
    app = make_app([str(path)], ServerSettings(**settings))
    return TestClient(app, base_url="http://localhost/api/v1/")


def run_job(client, body):
    job = client.post("jobs", json=body).json()
    while job["state"] in {"waiting", "running"}:
        time.sleep(0.02)
        job = client.get(f"jobs/{job['id']}").json()
    return job


@pytest.fixture
def path(tmp_path):
    class_collection(tmp_path / "c", CLASSES)
    return tmp_path / "c"


def test_a_job_tags_images_and_answers_have_tags(path):
    with client_of(path) as client:
        (before,) = client.get("collections").json()["collections"]
        assert (before["tags"], before["tag_column"]) == ([], None)
        job = run_job(client, {"kind": "tag"})
        assert job["result"]["tagged"] == 3
        assert job["done"] == job["total"] == 3

        (after,) = client.get("collections").json()["collections"]
        assert after["tag_column"] == "tags"
        assert after["tags"][:2] == [
            {"label": "airliner", "count": 2},
            {"label": "airplane", "count": 2},
        ]
        assert {"name": "tags", "type": "tags", "values": []} in after["columns"]
        where = "tags contains 'airplane' and not tags contains 'piano'"
        body = {"positive": [{"id": 0}], "where": where}
        matches = client.post("search", json=body).json()["matches"]
        assert [match["tags"] for match in matches] == [["airplane", "airliner"]] * 2
        row = client.get("rows/1").json()
        assert row["tags"] == row["metadata"]["tags"] == ["piano", "grand piano"]


def test_a_job_removes_tags(path):
    with client_of(path) as client:
        body = {"kind": "tag", "remove": True}
        answer = client.post("jobs", json=body)
        assert answer.status_code == 422
        assert "no tags" in answer.json()["detail"]
        run_job(client, {"kind": "tag"})
        job = run_job(client, body)
        assert job["result"] == {"column": "tags", "images": 3}
        assert job["done"] == job["total"] == 3
        (after,) = client.get("collections").json()["collections"]
        assert (after["tags"], after["tag_column"]) == ([], None)
        filtered = {"positive": [{"id": 0}], "where": "tags contains 'airplane'"}
        assert client.post("search", json=filtered).status_code == 422
        assert client.get("rows/1").json()["tags"] == []


def test_a_collection_that_cannot_be_tagged_says_so_at_once(tmp_path):
    labeled_collection(tmp_path / "c")
    with client_of(tmp_path / "c") as client:
        answer = client.post("jobs", json={"kind": "tag"})
        assert answer.status_code == 422
        assert "no classifier" in answer.json()["detail"]


def test_a_read_only_server_tags_nothing(path):
    with client_of(path, read_only=True) as client:
        assert client.post("jobs", json={"kind": "tag"}).status_code == 403
