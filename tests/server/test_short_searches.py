"""A search shorter than a change of threads runs in the event loop, any other in a thread."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from lookalike.server import short_searches
from lookalike.server.app import make_app

ROW = {"positive": [{"id": 0}], "space": "pixels"}


@pytest.fixture(scope="module")
def client(collection):
    app = make_app([str(collection)])
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def search(client, body):
    """Return the response of a search, and how many threads it took part in."""
    state = client.app.state.lookalike
    pools = state.read_pool, state.image_pool
    before = sum(pool.finished for pool in pools)
    response = client.post("/api/v1/search", json=body)
    assert response.status_code == 200, response.text
    return response.json(), sum(pool.finished for pool in pools) - before


def test_a_search_by_a_row_takes_no_thread_and_has_the_same_answer(client, monkeypatch):
    short, threads = search(client, ROW)
    assert threads == 0
    # In a larger Space it takes a thread.
    monkeypatch.setattr(short_searches, "_MAX_NUMBERS", 0)
    long, threads = search(client, ROW)
    assert threads == 1
    assert short["matches"] == long["matches"]
    assert short["next"] == long["next"]


@pytest.mark.parametrize(
    "option",
    [
        {"where": "label = 'cat'"},
        {"unique": True},
        {"ranking": "centered"},
        {"k": 101},
        {"positive": [{"id": row} for row in range(5)]},
        {"positive": [{"id": 0, "region": [0, 0, 50, 50]}]},
    ],
    ids=lambda option: next(iter(option)),
)
def test_a_search_that_may_read_or_compare_more_takes_a_thread(client, option):
    _, threads = search(client, {**ROW, **option})
    assert threads == 1


def test_a_further_page_takes_a_thread(client):
    first, _ = search(client, ROW)
    _, threads = search(client, {**ROW, "cursor": first["next"]})
    assert threads == 1


def test_several_spaces_are_searched_in_the_event_loop_too(client):
    spaces = {"positive": [{"id": 0}], "spaces": ["pixels", "efficientnet-lite0-int8"]}
    answer, threads = search(client, spaces)
    assert threads == 0
    assert answer["matches"][0]["id"] == 0
