"""A ranking that compares all images is computed beside the requests, which do not wait for it."""

from __future__ import annotations

import threading

import pytest
from starlette.testclient import TestClient

from lookalike.retrieval.context import ContextRanking
from lookalike.server import fits
from lookalike.server.app import make_app


@pytest.fixture
def client(copied):
    app = make_app([str(copied)])
    # An unexpected error is a response.
    options = {"base_url": "http://localhost", "raise_server_exceptions": False}
    with TestClient(app, **options) as client:
        yield client


class HeldFit:
    """Holds each computation of the ranking until it is released."""

    def __init__(self, monkeypatch) -> None:
        self.begun = self.completed = 0
        # After the first quarter; by the test; however it ends.
        self.reached = threading.Event()
        self.released, self.ended = threading.Event(), threading.Event()
        refit = ContextRanking.refit

        def held(ranking, stored, state, progress=None):
            self.begun += 1
            progress(1, 4)
            self.reached.set()
            self.released.wait()
            try:
                progress(2, 4)
                fitted = refit(ranking, stored, state, progress)
                self.completed += 1
                return fitted
            finally:
                self.ended.set()

        monkeypatch.setattr(ContextRanking, "refit", held)
        monkeypatch.setattr(fits, "_WAIT_SECONDS", 0.0)


def search(client, ranking, path="search"):
    body = {"positive": [{"id": 0}], "ranking": ranking}
    fields = {"searches": [body]} if path == "search/batch" else body
    return client.post(f"/api/v1/{path}", json=fields)


def test_searches_do_not_wait_for_a_ranking(client, monkeypatch):
    held = HeldFit(monkeypatch)
    try:
        first = search(client, "context")
        assert first.status_code == 503
        assert first.json()["title"] == "Ranking not ready"
        assert int(first.headers["retry-after"]) > 0
        assert search(client, "plain").status_code == 200
        assert search(client, "centered").status_code == 200
        assert held.reached.wait(timeout=60)
        (result,) = search(client, "context", "search/batch").json()["results"]
        assert "25% of that is done" in result["problem"]["detail"]
        assert held.begun == 1
    finally:
        held.released.set()
    monkeypatch.setattr(fits, "_WAIT_SECONDS", 60.0)
    assert search(client, "context").json()["matches"][0]["id"] == 0
    assert held.begun == 1
    assert search(client, "context").status_code == 200


def test_a_ranking_that_fails_is_tried_again(client, monkeypatch):
    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(ContextRanking, "refit", fail)
        assert search(client, "context").status_code == 500
    assert search(client, "context").status_code == 200


def test_a_server_that_ends_does_not_wait_for_a_ranking(client, monkeypatch):
    held = HeldFit(monkeypatch)
    assert search(client, "context").status_code == 503
    assert held.reached.wait(timeout=60)
    client.app.state.lookalike.close()
    held.released.set()
    assert held.ended.wait(timeout=60)
    assert held.completed == 0
