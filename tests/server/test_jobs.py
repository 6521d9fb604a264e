"""Jobs do what the library does, report their progress, and can be cancelled."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
import time
from typing import Literal

import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

import lookalike
from live import serving, serving_process
from lookalike.evaluation.evaluate import evaluate
from lookalike.projection.map import make_map
from lookalike.server.app import make_app
from lookalike.server.jobs.builtin import BUILTIN_JOBS
from lookalike.server.jobs.index import IndexBody, IndexJob
from lookalike.server.jobs.pace import Pace
from lookalike.server.jobs.queue import Job, JobQueue
from lookalike.server.registry import CollectionRegistry
from lookalike.server.schemas import JobBody
from lookalike.server.settings import ServerSettings
from lookalike.store.table import Table


@pytest.fixture
def own(sample, tmp_path):
    """A collection of four labels in pixel space, which a test may change."""
    folders = [sample / label for label in ("cat", "car", "butterfly", "teapot")]
    lookalike.index(folders, tmp_path / "own", models=["pixels"])
    return tmp_path / "own"


def events(live, job: str) -> list[tuple[str, dict]]:
    """Return all events of a job: their names and the job at that time."""
    with live.api.stream("GET", f"jobs/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = "".join(stream.iter_text())
    parsed = []
    for part in text.split("\n\n"):
        if part.startswith("event"):
            name, data = part.split("\n")
            fields = json.loads(data.removeprefix("data: "))
            parsed.append((name.removeprefix("event: "), fields))
    return parsed


def begin(live, **body) -> dict:
    response = live.api.post("jobs", json=body)
    assert response.status_code == 202, response.text
    job = response.json()
    assert response.headers["location"] == f"/api/v1/jobs/{job['id']}"
    return job


def test_an_evaluation_reports_progress_and_keeps_its_result(own):
    with serving("-c", own) as live:
        assert live.api.get("evaluation").status_code == 404
        job = begin(live, kind="evaluate", spaces=["pixels"])
        *progress, (name, last) = events(live, job["id"])
        assert name == "done"
        assert {name for name, _ in progress} <= {"progress"}
        assert (last["done"], last["total"]) == (20, 20)
        expected = json.loads(
            json.dumps(evaluate(Table.open(own), spaces=["pixels"]).to_dict())
        )
        assert live.api.get("evaluation").json() == last["result"] == expected
        assert [job["id"] for job in live.api.get("jobs").json()["jobs"]] == [job["id"]]


@pytest.mark.slow
def test_a_map_is_the_librarys_and_places_queries(own, query):
    with serving("-c", own) as live:
        missing = live.api.get("map", params={"method": "pca"})
        assert (missing.status_code, missing.json()["title"]) == (404, "Map not found")
        job = begin(live, kind="map", method="pca")
        assert events(live, job["id"])[-1][0] == "done"

        served = live.api.get("map", params={"method": "pca"}).json()
        made = make_map(Table.open(own), method="pca")
        assert served["ids"] == made.ids.tolist()
        positions = made.unit_square().round(5)
        assert served["x"] == positions[:, 0].tolist()
        assert served["y"] == positions[:, 1].tolist()
        rows = live.api.get("rows").json()["rows"]
        labels = [served["labels"][index] for index in served["label"]]
        assert labels == [row["label"] for row in rows]
        assert served["facts"]["fidelity"] == made.fidelity

        # The map is linear: the vector of a row, placed like a new one, has the row's position.
        for at in (0, 7):
            body = {"positive": [{"id": served["ids"][at]}], "method": "pca"}
            point = live.api.post("map/place", json=body).json()
            assert point["x"] == pytest.approx(served["x"][at], abs=0.01)
            assert point["y"] == pytest.approx(served["y"][at], abs=0.01)
        files = {"image": query.read_bytes()}
        data = {"query": '{"positive": [{"image": 0}], "method": "pca"}'}
        point = live.api.post("map/place", files=files, data=data).json()
        at = [row["uri"] for row in rows].index(str(query))
        assert point["x"] == pytest.approx(served["x"][at], abs=0.01)


@pytest.mark.slow
def test_a_root_is_indexed_and_searchable_at_once(own, sample):
    with serving("-c", own, "--root", sample / "car", "--root", sample / "cat") as live:
        assert live.api.get("roots").json()["roots"] == [
            {"root": 0, "path": str(sample / "car"), "images": 5},
            {"root": 1, "path": str(sample / "cat"), "images": 5},
        ]
        job = begin(live, kind="index", root=1)
        result = events(live, job["id"])[-1][1]["result"]
        assert (result["added"], result["unchanged"]) == (0, 5)
        missing = live.api.post("jobs", json={"kind": "index", "root": 2})
        assert (missing.status_code, missing.json()["title"]) == (404, "Root not found")


@pytest.mark.slow
def test_an_index_job_reports_a_withheld_sweep_and_takes_a_yes(own, sample, tmp_path):
    images = shutil.copytree(sample / "car", tmp_path / "images" / "usb")
    root = images.parent
    with serving("-c", own, "--root", root) as live:
        events(live, begin(live, kind="index", root=0)["id"])
        for image in images.iterdir():
            image.unlink()
        result = events(live, begin(live, kind="index", root=0)["id"])[-1][1]["result"]
        assert result["withheld"] == [
            {"folder": str(root), "reason": "empty", "missing": 5, "images": 5}
        ]
        job = begin(live, kind="index", root=0, prune=True)
        result = events(live, job["id"])[-1][1]["result"]
        assert (result["withheld"], result["removed"]) == ([], 5)


@pytest.mark.slow
def test_a_failed_job_says_why_and_the_next_one_runs(own, tmp_path):
    (tmp_path / "empty").mkdir()
    with serving("-c", own, "--root", tmp_path / "empty") as live:
        name, job = events(live, begin(live, kind="index", root=0)["id"])[-1]
        assert (name, job["state"]) == ("failed", "failed")
        assert "There are no images under" in job["error"]
        assert (
            events(live, begin(live, kind="map", method="pca")["id"])[-1][0] == "done"
        )


def test_jobs_can_be_cancelled(own, sample):
    """A waiting job is cancelled at once, a running one soon."""
    with serving("-c", own, "--root", sample) as live:
        running = begin(live, kind="index", root=0)
        waiting = begin(live, kind="map")
        assert begin(live, kind="map")["id"] == waiting["id"], (
            "an equal job was started twice"
        )
        assert live.api.delete(f"jobs/{waiting['id']}").json()["state"] == "cancelled"

        live.api.delete(f"jobs/{running['id']}")
        name, job = events(live, running["id"])[-1]
        assert job["state"] in {"cancelled", "done"}
        assert name == ("done" if job["state"] == "done" else "failed")
        assert live.api.get("rows", params={"limit": 1}).json()["total"] >= 20
        assert live.api.delete("jobs/none").status_code == 404


@pytest.mark.slow
def test_a_running_job_does_not_delay_shutdown(own):
    with serving_process("-c", own) as live:
        begin(live, kind="map")
        job = begin(live, kind="evaluate")["id"]
        with live.api.stream("GET", f"jobs/{job}/events") as stream:
            parts = stream.iter_text()
            next(parts)
            start = time.monotonic()
            live.process.terminate()
            for _ in parts:
                pass
        assert live.stop(None) == (0, "")
        assert time.monotonic() - start < 60


count_router = APIRouter()


@count_router.get("/counting")
async def get_counting() -> dict:
    return {"possible": True}


class CountBody(JobBody):
    kind: Literal["count"]
    upto: int


class CountJob:
    """Counts: a kind of job that is defined by this class alone."""

    body = CountBody
    router = count_router
    changes_collection = False

    def prepare(self, state, body):
        state.registry.view(body.collection)

        def work(job):
            job.total = body.upto
            for _ in range(body.upto):
                job.advance(1)
            return {"counted": body.upto}

        return work


def test_a_new_kind_of_job_needs_one_class_and_its_registration(own):
    app = make_app([str(own)], job_kinds=[*BUILTIN_JOBS, CountJob()])
    with TestClient(app, base_url="http://localhost/api/v1/") as client:
        job = client.post("jobs", json={"kind": "count", "upto": 3}).json()
        with client.stream("GET", f"jobs/{job['id']}/events") as stream:
            last = "".join(stream.iter_text()).strip().split("\n\n")[-1]
        event, data = last.split("\n")
        assert event == "event: done"
        fields = json.loads(data.removeprefix("data: "))
        assert (fields["kind"], fields["asked"]) == ("count", {"upto": 3})
        assert (fields["done"], fields["total"]) == (3, 3)
        assert fields["result"] == {"counted": 3}

        # The body is validated, the route is served, and both are described.
        invalid = client.post("jobs", json={"kind": "count", "upto": "three"})
        assert invalid.status_code == 422
        assert "upto" in invalid.json()["detail"]
        assert client.get("counting").json() == {"possible": True}
        description = client.get("openapi.json").json()
        assert "/api/v1/counting" in description["paths"]
        assert "CountBody" in description["components"]["schemas"]
        kinds = description["components"]["schemas"]["JobRequest"]["discriminator"][
            "mapping"
        ]
        assert set(kinds) >= {"count", "evaluate", "index", "map"}


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """The user's data folder, without any collection yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "lookalike"


@pytest.mark.slow
def test_a_server_without_a_collection_makes_one_of_a_root(sample, data_folder):
    with serving("--root", sample / "car", "--root", sample / "cat") as live:
        assert "No collection yet" in live.output
        assert live.api.get("collections").json()["collections"] == []
        missing = live.api.get("rows")
        assert (missing.status_code, missing.json()["title"]) == (
            404,
            "Collection not found",
        )
        roots = live.api.get("roots").json()
        assert [root["images"] for root in roots["roots"]] == [0, 0]
        assert roots["new_collections"] == str(data_folder)

        job = begin(live, kind="index", collection="My cars", root=0, create=True)
        *progress, (name, last) = events(live, job["id"])
        assert (name, last["result"]["added"], last["total"]) == ("done", 5, 5)
        assert {fields["state"] for _, fields in progress} <= {"waiting", "running"}
        (served,) = live.api.get("collections").json()["collections"]
        assert (served["name"], served["images"]) == ("My cars", 5)
        assert Table.open(data_folder / "My cars").count() == 5

        again = {"kind": "index", "collection": "My cars", "root": 1, "create": True}
        assert live.api.post("jobs", json=again).status_code == 409
        counts = live.api.get("roots", params={"collection": "My cars"}).json()["roots"]
        assert [root["images"] for root in counts] == [5, 0]
    # The next server finds it without being told.
    with serving() as live:
        (served,) = live.api.get("collections").json()["collections"]
        assert (served["name"], served["images"]) == ("My cars", 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../up",
        "a/b",
        "a\\b",
        "/etc",
        "C:x",
        "-x",
        "x.",
        "x ",
        "a\nb",
        "x" * 65,
        None,
    ],
)
def test_a_name_that_is_no_plain_name_makes_nothing(own, sample, data_folder, name):
    app = make_app(
        [str(own)], ServerSettings(roots=(sample / "cat",), new_collections=data_folder)
    )
    body = {"kind": "index", "collection": name, "root": 0, "create": True}
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.post("/api/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["title"]) == (422, "Invalid name")
        assert client.get("/api/v1/jobs").json()["jobs"] == []
    assert not data_folder.exists()


def test_a_server_without_a_folder_for_collections_makes_none(own, sample):
    app = make_app([str(own)], ServerSettings(roots=(sample / "cat",)))
    body = {"kind": "index", "collection": "new", "root": 0, "create": True}
    with TestClient(app, base_url="http://localhost") as client:
        assert client.post("/api/v1/jobs", json=body).status_code == 404


@pytest.mark.slow
def test_a_collection_made_in_a_terminal_is_served_too(sample, data_folder):
    with serving() as live:
        lookalike.index(sample / "cat", data_folder / "cats", models=["pixels"])
        end = time.monotonic() + 120
        while not (served := live.api.get("collections").json()["collections"]):
            assert time.monotonic() < end
            time.sleep(0.1)
        assert [one["name"] for one in served] == ["cats"]


def test_a_collection_that_is_made_while_it_is_discovered_is_served_once(
    own, monkeypatch
):
    registry = CollectionRegistry([], watched=own.parent)

    def exists(folder) -> bool:
        if folder != own:
            return False
        # At this moment the job that makes the collection serves it.
        registry.add(folder)
        return True

    monkeypatch.setattr(Table, "exists", exists)
    registry.refresh()
    assert list(registry.collections) == ["own"]


class SelfCancellingJob(Job):
    """A job that is cancelled at its 30th image."""

    def advance(self, count: int) -> None:
        if self.done + count >= 30:
            self.cancel()
        super().advance(count)


def test_a_cancelled_run_says_what_it_added(own, sample):
    app = make_app([str(own)], ServerSettings(roots=(sample,)))
    state = app.state.lookalike
    state.registry.refresh()
    work = IndexJob().prepare(state, IndexBody(kind="index", root=0))
    job = SelfCancellingJob("index", {}, work)
    job.run()
    assert job.state == "cancelled"
    images = Table.open(own).count()
    assert images > 20
    assert job.result == {"added": images - 20, "failed": 0, "images": images}


def test_a_job_that_is_being_cancelled_can_be_started_again():
    jobs = JobQueue()
    has_begun = threading.Event()
    may_proceed = threading.Event()

    def work(job: Job) -> dict:
        has_begun.set()
        assert may_proceed.wait(120)
        job.advance(1)
        return {"counted": job.done}

    cancelled = jobs.add("count", {}, work)
    assert has_begun.wait(120)
    cancelled.cancel()
    again = jobs.add("count", {}, work)
    may_proceed.set()
    end = time.monotonic() + 120
    while not again.ended:
        assert time.monotonic() < end, "the second job did not end in time"
        time.sleep(0.01)
    assert (cancelled.state, again.state) == ("cancelled", "done")
    assert again.result == {"counted": 1}


def test_a_pace_is_the_rate_of_late_and_the_time_left():
    pace = Pace()
    assert (pace.rate, pace.seconds_left(0, 100)) == (None, None)
    for second in range(61):
        # Ten images a second for half a minute, then two.
        pace.mark(second, min(10 * second, 240 + 2 * second))
    assert pace.rate == pytest.approx(2)
    assert pace.seconds_left(360, 460) == pytest.approx(50)
    assert pace.seconds_left(360, None) is None
    assert pace.seconds_left(500, 460) == 0


def test_the_pace_of_a_job_is_that_of_its_step(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    seen = []

    def work(job: Job) -> dict:
        for step, total in (("long", 1000), ("short", 40)):
            for done in range(0, 40, 10):
                job.report(step, done, total)
                fields = job.to_dict()
                seen.append((fields["done"], fields["rate"], fields["seconds_left"]))
        return {}

    Job("steps", {}, work).run()
    assert seen[3] == (30, 10, 97)
    # The second step starts from 0: its pace is not that of a job that goes backward.
    assert seen[4:6] == [(0, None, None), (10, 10, 3)]


@pytest.mark.slow
def test_a_stored_map_is_prepared_as_soon_as_the_server_runs(own):
    make_map(Table.open(own))
    app = make_app([str(own)])
    with TestClient(app, base_url="http://localhost"):
        view = app.state.lookalike.registry.view(None)
        end = time.monotonic() + 60
        while not view.derived:
            assert time.monotonic() < end, "nothing was prepared"
            time.sleep(0.05)


@pytest.mark.slow
def test_opening_a_map_prepares_the_place_of_the_first_query(own):
    make_map(Table.open(own), method="pca")
    app = make_app([str(own)])
    with TestClient(app, base_url="http://localhost") as client:
        view = app.state.lookalike.registry.view(None)
        assert view.derived == {}
        assert client.get("/api/v1/map", params={"method": "pca"}).status_code == 200
        end = time.monotonic() + 60
        while not view.derived:
            assert time.monotonic() < end, "nothing was prepared"
            time.sleep(0.05)
