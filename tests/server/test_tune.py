"""The server learns a Space, and answers in it."""

from __future__ import annotations

import time
from pathlib import Path

from starlette.testclient import TestClient

from labeled import labeled_collection
from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings


def client_of(path: Path, **settings) -> TestClient:
    app = make_app([str(path)], ServerSettings(**settings))
    return TestClient(app, base_url="http://localhost/api/v1/")


def run_job(client: TestClient, **fields) -> dict:
    job = client.post("jobs", json={"kind": "tune", **fields}).json()
    while job["state"] in {"waiting", "running"}:
        time.sleep(0.02)
        job = client.get(f"jobs/{job['id']}").json()
    return job


def test_a_job_learns_a_space_that_the_next_search_uses(tmp_path):
    path = tmp_path / "c"
    labeled_collection(path)
    with client_of(path) as client:
        result = run_job(client, purpose="anything", name="mine")["result"]
        assert result["stored"]
        assert result["filled"] == 90
        assert result["new_images"]["gain"]["interval"][0] > 0
        assert result["verdict"].startswith("Better")

        example = {"positive": [{"id": 0}], "space": "mine", "k": 5}
        answer = client.post("search", json=example).json()
        assert answer["matches"][0]["distance"] == 0
        spaces = client.get("collections").json()["collections"][0]["spaces"]
        assert [space["name"] for space in spaces] == ["numbers", "mine"]
        assert "tuned for anything" in spaces[1]["title"]
        learned = spaces[1]["learned"]
        assert (learned["base"], learned["purpose"]) == ("numbers", "anything")
        assert learned["verdict"] == result["verdict"]
        assert learned["new_images"] == result["new_images"]
        assert spaces[0]["learned"] is None

        again = run_job(client, purpose="anything", name="mine")
        assert again["state"] == "failed"
        assert "another name" in again["error"]
        wrong = client.post("jobs", json={"kind": "tune", "purpose": "everything"})
        assert wrong.status_code == 422


def test_a_read_only_server_learns_nothing(tmp_path):
    path = tmp_path / "c"
    labeled_collection(path)
    with client_of(path, read_only=True) as client:
        body = {"kind": "tune", "purpose": "anything"}
        assert client.post("jobs", json=body).status_code == 403
