"""Duplicates over REST: a job, pages of groups, verdicts; no file is removed."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from lookalike.duplicates.find import find_duplicates
from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings
from lookalike.store.table import Table

BASE = "http://localhost/api/v1/"


@pytest.fixture
def own(copied, tmp_path) -> Path:
    return Path(shutil.copytree(copied, tmp_path / "c"))


def client_of(path: Path, **settings) -> TestClient:
    app = make_app([str(path)], ServerSettings(refresh_seconds=0.05, **settings))
    return TestClient(app, base_url=BASE)


def search(client: TestClient, **fields) -> dict:
    """Run the job, and return it once it has ended."""
    job = client.post("jobs", json={"kind": "duplicates", **fields}).json()
    while job["state"] in {"waiting", "running"}:
        time.sleep(0.02)
        job = client.get(f"jobs/{job['id']}").json()
    assert job["state"] == "done", job
    return job


def names(page: dict) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (
            group["keeper"]["name"],
            [(copy["name"], copy["tier"]) for copy in group["copies"]],
        )
        for group in page["groups"]
    ]


def test_a_job_finds_groups_that_are_read_in_pages(own):
    with client_of(own) as client:
        missing = client.get("duplicates")
        assert (missing.status_code, missing.json()["title"]) == (
            404,
            "Duplicates not found",
        )
        result = search(client)["result"]
        assert (result["groups"], result["copies"]) == (2, 2)

        page = client.get("duplicates").json()
        assert page["total"] == 2
        assert page["tiers"] == {"identical": 1, "copy": 1, "similar": 0}
        assert not page["is_outdated"]
        assert ("car_0001.jpg", [("car small.jpg", "copy")]) in names(page)
        [identical] = client.get("duplicates", params={"tier": "identical"}).json()[
            "groups"
        ]
        [copy] = identical["copies"]
        assert copy["explanation"] == "the same file, byte for byte"
        assert copy["content"] == identical["keeper"]["content"]

        first = client.get("duplicates", params={"limit": 1}).json()
        rest = client.get("duplicates", params={"offset": first["next"]}).json()
        assert names(first) + names(rest) == names(page)
        assert rest["next"] is None
        # Other answers show rows without the fields of duplicates.
        assert "tier" not in client.get("rows").json()["rows"][0]
        assert page["command"] == f"lookalike duplicates --apply trash -c {own}"


def test_a_verdict_hides_a_pair_until_it_is_forgotten(own):
    with client_of(own) as client:
        search(client)
        [group] = client.get("duplicates", params={"tier": "copy"}).json()["groups"]
        pair = [group["keeper"]["id"], group["copies"][0]["id"]]

        def judge(verdict: str, pairs: list[list[int]]):
            body = {"pairs": pairs, "verdict": verdict}
            return client.post("duplicates/verdicts", json=body)

        assert judge("different", [pair[::-1]]).json() == {"changed": 1}
        assert client.get("duplicates").json()["tiers"]["copy"] == 0
        assert search(client)["result"]["groups"] == 1
        assert judge("none", [pair]).json() == {"changed": 1}
        assert search(client)["result"]["groups"] == 2

        assert judge("different", [[pair[0], 10**6]]).status_code == 404
        assert judge("different", [[pair[0], pair[0]]]).status_code == 422
        assert judge("other", [pair]).status_code == 422


def test_removed_images_leave_the_groups(own):
    with client_of(own) as client:
        search(client)
        table = Table.open(own)
        found = find_duplicates(table)
        table.remove([found.groups[0].copies[0].uri])
        deadline = time.monotonic() + 10
        while client.get("duplicates").json()["total"] == 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.get("duplicates").json()["is_outdated"]


def test_a_read_only_server_finds_duplicates_and_refuses_verdicts(own):
    with client_of(own, read_only=True) as client:
        assert search(client)["result"]["groups"] == 2
        refused = client.post("duplicates/verdicts", json={"pairs": [[0, 1]]})
        assert refused.status_code == 403
        assert not (own / "verdicts.json").exists()
