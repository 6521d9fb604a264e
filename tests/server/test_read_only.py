"""A server that only reads its collections."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import lookalike
from command import lookalike as command
from live import serving
from lookalike.errors import InputError
from lookalike.projection.map import make_map
from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings
from lookalike.store.table import Table

READ_ONLY = ServerSettings(read_only=True, remote_refresh_seconds=0.1)
BASE = "http://localhost/api/v1/"


@pytest.fixture(scope="module")
def without_map(sample, tmp_path_factory):
    """A collection that no other test uses."""
    path = tmp_path_factory.mktemp("read-only") / "c"
    lookalike.index(sample, path, models=["pixels"])
    return path


@pytest.fixture
def own(without_map, tmp_path):
    """A collection without a map that the test may change."""
    return Path(shutil.copytree(without_map, tmp_path / "own"))


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return the size and the times of a folder and of everything in it."""
    times = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        stat = path.stat()
        times[str(path)] = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return times


def finish(client, job: dict[str, object]) -> dict[str, object]:
    """Return a job once it has ended."""
    while job["state"] in {"waiting", "running"}:
        time.sleep(0.02)
        job = client.get(f"jobs/{job['id']}").json()
    return job


def use(client, image: Path) -> None:
    """Send each kind of request that a read-only server of a collection without a map answers."""
    found = client.post("search", json={"positive": [{"id": 0}], "k": 3}).json()
    row = found["matches"][0]["id"]
    assert client.get(f"rows/{row}/thumbnail").status_code == 200
    assert client.get("rows").status_code == 200
    assert client.get("failures").status_code == 200
    with image.open("rb") as file:
        assert client.post("search", files={"image": file}).status_code == 200
    assert client.get("map").status_code == 404
    job = client.post("jobs", json={"kind": "evaluate"}).json()
    assert finish(client, job)["state"] == "done"
    assert "spaces" in client.get("evaluation").json()


def test_jobs_that_change_a_collection_are_refused(own):
    data_folder = own.parent / "data"
    settings = ServerSettings(read_only=True, new_collections=data_folder)
    with TestClient(make_app([str(own)], settings), base_url=BASE) as client:
        for request in (
            {"kind": "index", "root": 0},
            {"kind": "index", "root": 0, "create": True, "collection": "new"},
            {"kind": "index", "root": 0, "prune": True},
            {"kind": "map", "rebuild": True},
        ):
            answer = client.post("jobs", json=request)
            assert answer.status_code == 403, request
            problem = answer.json()
            assert problem["title"] == "Read-only server"
            assert (
                f"a job of kind {request['kind']} would change one" in problem["detail"]
            )
        assert client.get("jobs").json() == {"jobs": []}
        assert client.get("roots").json() == {"roots": [], "new_collections": None}
        assert client.get("collections").json()["collections"][0]["read_only"] is True
        responses = client.get("openapi.json").json()["paths"]["/api/v1/jobs"]["post"]
        assert "read-only" in responses["responses"]["403"]["description"]
    assert not data_folder.exists()


def test_other_servers_say_that_they_are_not_read_only(server):
    assert server.api.get("collections").json()["collections"][0]["read_only"] is False


def test_roots_and_read_only_exclude_each_other(own, sample):
    with pytest.raises(InputError, match="either --root or --read-only"):
        ServerSettings(read_only=True, roots=(sample,))
    done = command(
        "serve", "-c", own, "--read-only", "--root", sample, "--port", "0", status=2
    )
    assert "either --root or --read-only" in done.stderr


def test_nothing_is_written_to_the_folder(own, query):
    before = listing(own)
    with serving("-c", own, "--read-only") as live:
        use(live.api, query)
    assert listing(own) == before


def test_a_stored_map_is_read_and_stays(own):
    make_map(Table.open(own), method="pca")
    before = listing(own)
    with TestClient(make_app([str(own)], READ_ONLY), base_url=BASE) as client:
        answer = client.get("map", params={"method": "pca"})
    assert answer.status_code == 200
    assert listing(own) == before


def test_a_folder_without_write_permission_is_served(own, query):
    folders = [own, *(path for path in own.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        with TestClient(make_app([str(own)], READ_ONLY), base_url=BASE) as client:
            use(client, query)
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_nothing_is_written_to_object_storage(
    sample, query, object_store, faulty_store
):
    address = object_store.uri("served")
    lookalike.index(sample, address, models=["pixels"])
    faulty_store.requests.clear()
    with TestClient(make_app([address], READ_ONLY), base_url=BASE) as client:
        use(client, query)
    assert {request.method for request in faulty_store.requests} <= {"GET", "HEAD"}


def test_object_storage_is_checked_at_its_own_interval(
    sample, object_store, faulty_store
):
    address = object_store.uri("served")
    lookalike.index(sample, address, models=["pixels"])
    # Many checks at the interval of folders would fall into the time of this test.
    settings = ServerSettings(refresh_seconds=0.02, remote_refresh_seconds=1.0)
    with TestClient(make_app([address], settings), base_url=BASE):
        faulty_store.requests.clear()
        start = time.monotonic()
        deadline = start + 60
        time.sleep(1.5)
        while len(faulty_store.lists) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        seen = len(faulty_store.lists)
        elapsed = time.monotonic() - start
    # A check lists once or twice.
    checks = int(elapsed) + 1
    assert 2 <= seen <= 2 * checks
