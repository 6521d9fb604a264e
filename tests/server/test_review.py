"""Reviews over REST: a job, and its parts in pages."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient

from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings
from lookalike.store.table import Table
from lookalike.types import Model
from made import SPACE, add_rows, clusters

BASE = "http://localhost/api/v1/"


@pytest.fixture
def table(tmp_path) -> Table:
    """Three corners with a wrong label."""
    vectors, corner = clusters(3, 20)
    labels = [f"corner {number}" for number in corner]
    labels[4] = "corner 0"
    model = Model(SPACE, "numbers", "pixels", (1, 1), vectors.shape[1])
    table = Table.create(tmp_path / "c", [model])
    add_rows(table, vectors, labels=labels)
    return table


def test_a_job_reviews_and_its_parts_are_read_in_pages(table):
    app = make_app([table.path], ServerSettings(refresh_seconds=0.05))
    with TestClient(app, base_url=BASE) as client:
        missing = client.get("review")
        assert missing.status_code == 404
        assert missing.json()["title"] == "Review not found"
        job = client.post("jobs", json={"kind": "review"}).json()
        while job["state"] in {"waiting", "running"}:
            time.sleep(0.02)
            job = client.get(f"jobs/{job['id']}").json()
        sizes = {"clusters": 3, "outliers": 0, "labels": 1, "diverse": 60}
        assert job["result"] == sizes

        page = client.get("review").json()
        assert {part["part"]: part["total"] for part in page["parts"]} == sizes
        assert [group["total"] for group in page["groups"]] == [20, 20, 20]
        assert len(page["groups"][0]["images"]) == 12
        assert (page["images"], page["is_outdated"]) == (60, False)

        cluster = {"group": 1, "limit": 15}
        members = client.get("review", params=cluster).json()
        assert len(members["groups"][0]["images"]) == members["next"] == 15
        assert client.get("review", params={"group": 3}).status_code == 404

        [doubtful] = client.get("review", params={"part": "labels"}).json()["groups"]
        [image] = doubtful["images"]
        assert (image["label"], image["suggested"]) == ("corner 0", "corner 1")
        assert 3 <= image["agreeing"] <= image["neighbors"]
        diverse = {"part": "diverse", "limit": 5}
        first = client.get("review", params=diverse).json()
        rest = client.get("review", params={**diverse, "offset": first["next"]}).json()
        assert len(first["groups"][0]["images"]) == 5
        assert len(rest["groups"][0]["images"]) == 5
        assert rest["next"] == 10

        table.remove([image["uri"]])
        deadline = time.monotonic() + 30
        while not page["is_outdated"] and time.monotonic() < deadline:
            page = client.get("review", params={"part": "labels"}).json()
        assert page["groups"][0]["images"] == []


def test_a_review_that_fits_nothing_fails_with_the_reason(table):
    app = make_app([table.path], ServerSettings())
    with TestClient(app, base_url=BASE) as client:
        wrong = client.post("jobs", json={"kind": "review", "clusters": 0})
        assert wrong.status_code == 422
        job = client.post("jobs", json={"kind": "review", "clusters": 61}).json()
        while job["state"] in {"waiting", "running"}:
            time.sleep(0.02)
            job = client.get(f"jobs/{job['id']}").json()
        assert job["state"] == "failed"
        assert "a whole number from 1 to 60" in job["error"]
