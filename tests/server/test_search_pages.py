"""Pages of one search by a cursor, many searches at once, and images without examples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

import lookalike
from lookalike.retrieval import candidates, pages
from lookalike.retrieval.query import RowQuery
from lookalike.server.app import make_app
from lookalike.store import ann
from lookalike.types import Neighbors
from lookalike.vectors.exact import ExactIndex

SPACES = ["pixels", "efficientnet-lite0-int8"]
# The rows that an index finds, instead of a hundred.
POOL_ROWS = 20


@pytest.fixture(scope="module")
def path(sample, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "c"
    lookalike.index(sample, path, models=SPACES)
    return path


@pytest.fixture(scope="module")
def client(path) -> Iterator[TestClient]:
    app = make_app([str(path)])
    with TestClient(app, base_url="http://localhost") as running:
        yield running


def search(client: TestClient, *images: Path, status: int = 200, **query: object):
    if images:
        files = [("image", (image.name, image.read_bytes())) for image in images]
        data = {"query": json.dumps(query)} if query else None
        response = client.post("/api/v1/search", files=files, data=data)
    else:
        response = client.post("/api/v1/search", json=query)
    assert response.status_code == status, response.text
    return response.json()


def ids_of(answer) -> list[int]:
    return [match["id"] for match in answer["matches"]]


# Images without examples


@pytest.mark.slow
def test_an_image_without_positive_examples_is_one(client, path, sample):
    cat = sample / "cat" / "cat_0001.jpg"
    car = sample / "car" / "car_0001.jpg"
    expected = lookalike.search(path, cat, k=7).ids.tolist()
    assert ids_of(search(client, cat, k=7)) == expected
    assert ids_of(search(client, cat, k=7, positive=[])) == expected

    both = lookalike.search(path, [cat, car], k=7).ids.tolist()
    assert ids_of(search(client, cat, car, k=7)) == both
    away = lookalike.search(path, cat, negative=car, k=45)
    found = search(client, cat, car, k=45, negative=[{"image": 1}])
    distances = [match["distance"] for match in found["matches"]]
    assert distances == away.distances.tolist()
    problem = search(client, cat, negative=[{"image": 0}], status=422)
    assert problem["title"] == "Empty query"


# Pages


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"unique": True},
        {"where": "label != 'cat'"},
        {"max_distance": 3000.0},
        {"exclude_self": True},
        {"ranking": "centered", "unique": True},
        {"ranking": "context", "where": "label != 'cat'", "exclude_self": True},
    ],
)
def test_pages_follow_each_other(client, options):
    whole = search(client, positive=[{"id": 3}], k=45, **options)
    assert whole["next"] is None
    collected: list[dict] = []
    cursor = None
    for _ in range(45):
        page = search(client, positive=[{"id": 3}], k=7, cursor=cursor, **options)
        collected += page["matches"]
        cursor = page["next"]
        if cursor is None:
            break
    assert collected == whole["matches"]
    assert [match["rank"] for match in collected] == list(range(1, len(collected) + 1))


def nearest_with_gaps(view, space, query, k, *, leave_out, where=None):
    """Miss every fifth row, others in a search for more rows than for fewer."""
    if k > POOL_ROWS:
        return None
    ids, stored = view.vectors(space, where)
    missed = 0 if k <= 10 else 1
    is_found = (ids % 5 != missed) & ~np.isin(ids, leave_out)
    index = ExactIndex(ids[is_found], stored[is_found])
    return Neighbors(*index.search(query, k), recall=0.8)


@pytest.mark.parametrize("ranking", ["plain", "centered", "context"])
@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("size", [7, 12, 30])
def test_pages_of_an_index_hold_each_row_once(
    client, monkeypatch, ranking, unique, size
):
    """Pages within the rows that an index finds, across the border, and beyond it."""
    options = {"ranking": ranking, "unique": unique, "exclude_self": True}
    whole = search(client, positive=[{"id": 3}], k=45, **options)
    monkeypatch.setattr(ann, "nearest", nearest_with_gaps)
    for module in (pages, candidates):
        monkeypatch.setattr(module, "POOL_ROWS", POOL_ROWS)
    page = search(client, positive=[{"id": 3}], k=size, **options)
    assert page["exact"] == (size > POOL_ROWS)
    collected = ids_of(page)
    while page["next"] is not None:
        cursor = page["next"]
        page = search(client, positive=[{"id": 3}], k=size, cursor=cursor, **options)
        collected += ids_of(page)
    assert sorted(collected) == sorted(ids_of(whole))


def test_a_page_may_have_another_size_and_an_upload_may_take_the_place_of_its_file(
    client, sample
):
    image = sample / "cat" / "cat_0001.jpg"
    whole = ids_of(search(client, image, k=45))
    first = search(client, image, k=5)
    second = search(
        client, positive=[{"upload": first["uploads"][0]}], k=20, cursor=first["next"]
    )
    assert ids_of(first) + ids_of(second) == whole[:25]


def test_a_cursor_of_another_query_is_refused(client):
    cursor = search(client, positive=[{"id": 3}], k=5)["next"]
    for other in (
        {"positive": [{"id": 4}]},
        {"positive": [{"id": 3, "weight": 2.0}]},
        {"positive": [{"id": 3}], "negative": [{"id": 5}]},
        {"positive": [{"id": 3}], "gamma": 0.5},
        {"positive": [{"id": 3}], "unique": True},
        {"positive": [{"id": 3}], "where": "width > 1"},
        {"positive": [{"id": 3}], "space": SPACES[1]},
        {"positive": [{"id": 3}], "max_distance": 1.0},
    ):
        problem = search(client, **other, k=5, cursor=cursor, status=422)
        assert problem["title"] == "Invalid cursor"
        assert "another query" in problem["detail"]
    for text in ("", "x", "é", cursor[:-9], "eyJhIjogMX0="):
        problem = search(client, positive=[{"id": 3}], cursor=text, status=422)
        assert problem["title"] == "Invalid cursor"


def test_a_cursor_of_an_older_version_is_refused(sample, tmp_path):
    shutil.copytree(sample / "cat", tmp_path / "in")
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    with TestClient(
        make_app([str(tmp_path / "c")]), base_url="http://localhost"
    ) as client:
        cursor = search(client, positive=[{"id": 0}], k=2)["next"]
        assert (
            len(search(client, positive=[{"id": 0}], k=2, cursor=cursor)["matches"])
            == 2
        )
        lookalike.index(sample / "car", tmp_path / "c")
        registry = client.app.state.lookalike.registry
        registry.collection(None).refresh(force=True)
        problem = search(client, positive=[{"id": 0}], k=2, cursor=cursor, status=409)
        assert problem["title"] == "Stale cursor"
        assert "Search again without the cursor" in problem["detail"]


# Batches


def batch(client: TestClient, searches: list, *images: Path, status: int = 200):
    if images:
        files = [("image", (image.name, image.read_bytes())) for image in images]
        data = {"query": json.dumps({"searches": searches})}
        response = client.post("/api/v1/search/batch", files=files, data=data)
    else:
        response = client.post("/api/v1/search/batch", json={"searches": searches})
    assert response.status_code == status, response.text
    return response.json()


def test_each_search_of_a_batch_has_the_answer_that_it_has_alone(client, sample):
    images = sorted(sample.rglob("*_0001.jpg"))
    searches = [
        {"positive": [{"image": number}], "k": 3 + number, "space": SPACES[number % 2]}
        for number in range(len(images))
    ]
    searches.append({"positive": [{"image": 2}, {"id": 5}], "negative": [{"image": 0}]})
    searches.append({"positive": [{"id": 7}], "unique": True, "where": "width > 10"})
    results = batch(client, searches, *images)["results"]
    for number, (fields, result) in enumerate(zip(searches, results, strict=True)):
        assert result["problem"] is None
        if number < len(images):
            own = {**fields, "positive": [{"image": 0}]}
            alone = search(client, images[number], **own)
        elif "negative" in fields:
            alone = search(client, *images[:3], **fields)
        else:
            alone = search(client, **fields)
        assert result["answer"]["matches"] == alone["matches"]
        assert result["answer"]["space"] == alone["space"]


def test_a_failing_search_of_a_batch_has_a_problem_of_its_own(client, sample, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    searches = [
        {"positive": [{"id": 3}]},
        {"positive": [{"id": 99_999}]},
        {"positive": [{"image": 1}]},
        {"positive": [{"image": 0}]},
        {"positive": [{"image": 2}]},
        {"positive": [{"id": 3}], "k": 0},
        {"positive": [{"id": 3}], "kk": 1},
        {"positive": []},
        {"positive": [{"id": 3}], "space": "nope"},
        {"positive": [{"id": 3}], "where": "labl = 1"},
        {"positive": [{"id": 3}], "cursor": "x"},
    ]
    good = sample / "cat" / "cat_0001.jpg"
    results = batch(client, searches, good, broken)["results"]
    statuses = [
        result["problem"]["status"] if result["problem"] else 200 for result in results
    ]
    assert statuses == [200, 404, 422, 200, 422, 422, 422, 422, 404, 422, 422]
    for result in results:
        assert (result["answer"] is None) != (result["problem"] is None)
    assert results[2]["problem"]["title"] == "Unreadable image"
    assert results[2]["problem"]["instance"] == "/api/v1/search/batch"
    assert results[5]["problem"]["errors"][0]["where"] == "k"


def test_a_batch_has_limits(client, sample):
    image = sample / "cat" / "cat_0001.jpg"
    many = [{"positive": [{"id": 3}], "k": 1}] * 64
    assert len(batch(client, many)["results"]) == 64
    for searches in ([], [*many, many[0]], [1]):
        problem = batch(client, searches, status=422)
        assert problem["title"] == "Invalid request"
    assert len(batch(client, many[:1], *[image] * 64)["results"]) == 1
    batch(client, many[:1], *[image] * 65, status=422)


def test_a_batch_of_rows_equals_the_library(client, path):
    searches = [{"positive": [{"id": row}], "k": 5} for row in range(20)]
    results = batch(client, searches)["results"]
    for row, result in enumerate(results):
        expected = lookalike.search(path, RowQuery(row), k=5).ids.tolist()
        assert ids_of(result["answer"]) == expected
