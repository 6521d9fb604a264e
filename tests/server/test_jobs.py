"""Jobs: what they do is what the command does, told as it goes."""

from __future__ import annotations

import json
import time

import pytest

import lookalike
from live import serving
from lookalike.evaluation.evaluate import evaluate
from lookalike.projection.map import make_map
from lookalike.store.table import Table


@pytest.fixture
def own(sample, tmp_path):
    """A collection of four labels in pixel space, to be changed."""
    folders = [sample / label for label in ("cat", "car", "butterfly", "teapot")]
    lookalike.index(folders, tmp_path / "own", models=["pixels"])
    return tmp_path / "own"


def events(live, job: str) -> list[tuple[str, dict]]:
    """Return a job's events until its last."""
    with live.api.stream("GET", f"jobs/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = "".join(stream.iter_text())
    parts = [part.split("\n") for part in text.split("\n\n") if part.startswith("event")]
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in parts
    ]


def begin(live, **asked) -> dict:
    answer = live.api.post("jobs", json=asked)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/v1/jobs/{answer.json()['id']}"
    return answer.json()


def test_an_evaluation_is_told_as_it_goes_and_kept(own):
    with serving("-c", own) as live:
        assert live.api.get("evaluation").status_code == 404
        job = begin(live, kind="evaluate", spaces=["pixels"])
        told = events(live, job["id"])
        assert told[-1][0] == "done"
        assert {name for name, _ in told[:-1]} <= {"progress"}
        assert (told[-1][1]["done"], told[-1][1]["total"]) == (20, 20)
        expected = json.loads(json.dumps(evaluate(Table.open(own), spaces=["pixels"]).to_dict()))
        assert live.api.get("evaluation").json() == told[-1][1]["result"] == expected
        assert [one["id"] for one in live.api.get("jobs").json()["jobs"]] == [job["id"]]


def test_a_map_is_the_librarys_and_places_what_is_asked(own, query):
    with serving("-c", own) as live:
        none = live.api.get("map", params={"method": "pca"})
        assert (none.status_code, none.json()["title"]) == (404, "Map not found")
        job = begin(live, kind="map", method="pca")
        assert events(live, job["id"])[-1][0] == "done"
        told = live.api.get("map", params={"method": "pca"}).json()
        plane = make_map(Table.open(own), method="pca")
        assert told["ids"] == plane.ids.tolist()
        places = plane.unit_square().round(5)
        assert [told["x"], told["y"]] == [places[:, 0].tolist(), places[:, 1].tolist()]
        rows = live.api.get("rows").json()["rows"]
        assert [told["labels"][index] for index in told["label"]] == [row["label"] for row in rows]
        assert told["facts"]["fidelity"] == plane.fidelity
        # The map is linear: a row's vector, placed as if it were new, lies where the row does.
        for at in (0, 7):
            question = {"plus": [{"id": told["ids"][at]}], "method": "pca"}
            place = live.api.post("map/place", json=question).json()
            assert place["x"] == pytest.approx(told["x"][at], abs=0.01)
            assert place["y"] == pytest.approx(told["y"][at], abs=0.01)
        files = {"image": query.read_bytes()}
        place = live.api.post(
            "map/place", files=files, data={"query": '{"plus": [{"image": 0}], "method": "pca"}'}
        )
        at = [row["uri"] for row in rows].index(str(query))
        assert place.json()["x"] == pytest.approx(told["x"][at], abs=0.01)


def test_a_root_is_indexed_and_searched_at_once(own, sample):
    with serving("-c", own, "--root", sample / "car", "--root", sample / "cat") as live:
        assert live.api.get("roots").json()["roots"] == [
            {"root": 0, "path": str(sample / "car")},
            {"root": 1, "path": str(sample / "cat")},
        ]
        job = begin(live, kind="index", root=1)
        done = events(live, job["id"])[-1][1]
        assert (done["result"]["added"], done["result"]["unchanged"]) == (0, 5)
        missing = live.api.post("jobs", json={"kind": "index", "root": 2})
        assert (missing.status_code, missing.json()["title"]) == (404, "Root not found")


def test_what_fails_says_why_and_the_next_job_is_done(own, tmp_path):
    (tmp_path / "empty").mkdir()
    with serving("-c", own, "--root", tmp_path / "empty") as live:
        name, told = events(live, begin(live, kind="index", root=0)["id"])[-1]
        assert (name, told["state"]) == ("failed", "failed")
        assert "There are no images under" in told["error"]
        assert events(live, begin(live, kind="map", method="pca")["id"])[-1][0] == "done"


def test_a_job_is_called_off(own, sample, tmp_path):
    """Of three jobs the first runs, and the others wait: one that waits ends at once, one that runs soon."""
    with serving("-c", own, "--root", sample) as live:
        running = begin(live, kind="index", root=0)
        waiting = begin(live, kind="map")
        assert begin(live, kind="map")["id"] == waiting["id"], "the same was begun twice"
        assert live.api.delete(f"jobs/{waiting['id']}").json()["state"] == "cancelled"
        live.api.delete(f"jobs/{running['id']}")
        name, told = events(live, running["id"])[-1]
        assert told["state"] in {"cancelled", "done"}
        assert name == ("done" if told["state"] == "done" else "failed")
        assert live.api.get("rows", params={"limit": 1}).json()["total"] >= 20
        assert live.api.delete("jobs/none").status_code == 404


def test_a_running_job_does_not_hold_up_the_end(own, sample):
    with serving("-c", own) as live:
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
        assert time.monotonic() - start < 15
