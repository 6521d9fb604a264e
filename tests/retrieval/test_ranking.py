"""The rankings that compare other vectors equal their definitions, computed row by row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from lookalike.evaluation.evaluate import evaluate
from lookalike.retrieval.query import RowQuery, VectorQuery, as_queries
from lookalike.retrieval.ranking import resolve_ranking
from lookalike.retrieval.search import Searcher, SearchRequest
from lookalike.store import ann, tuning
from lookalike.vectors.exact import ExactIndex
from made import SPACE, add_rows, clusters, make_collection

NEIGHBORS = 10
RANKINGS = ["centered", "context"]


def unit(vector):
    length = np.linalg.norm(vector)
    return vector / length if length > 1e-6 else np.zeros_like(vector)


def center(rows):
    return np.array([unit(row - rows.mean(axis=0)) for row in rows])


def move(vector, others):
    """Return a vector, moved half-way towards the ten nearest of some others."""
    cosines = others @ vector
    nearest = np.argsort(-cosines, kind="stable")[:NEIGHBORS]
    weights = np.maximum(cosines[nearest], 0)
    return unit(vector + unit(weights @ others[nearest]))


def smooth(rows, left_out=None):
    """Return centered rows, each moved towards the others, one of them left out."""
    moved = []
    for place, row in enumerate(rows):
        others = [other for other in range(len(rows)) if other not in (place, left_out)]
        moved.append(move(row, rows[others]) if others else row)
    return np.array(moved)


def reference(rows, query, ranking):
    """Return the distance of each row to a query, by the definition of a ranking."""
    mean = rows.mean(axis=0)
    centered, target = center(rows), unit(query - mean)
    if ranking == "context":
        centered = smooth(centered)
        target = move(target, centered)
    distances = np.linalg.norm(centered - target, axis=1)
    if ranking == "context":
        keep_nearest(distances, rows, query)
    return distances


def keep_nearest(distances, rows, query):
    """Bring the row whose own vector is nearest to the front."""
    nearest = np.linalg.norm(rows - query, axis=1).argmin()
    distances[nearest] = distances.min()


@pytest.fixture(scope="module")
def vectors():
    """Vectors near six corners, with a large part in common."""
    found, _ = clusters(6, 20, dim=24)
    found = found + np.float32(0.4)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def table(vectors, tmp_path_factory):
    path = tmp_path_factory.mktemp("ranking") / "c"
    labels = [str(number % 6) for number in range(len(vectors))]
    table = make_collection(path, vectors[:1])
    table.delete(table.vectors(SPACE)[0])
    add_rows(table, vectors, labels=labels)
    return table


def searching(table):
    """Return a Searcher of made vectors, which no network computes."""
    return Searcher(table, embedder=SimpleNamespace(model=table.models[SPACE]))


def stored(table):
    ids, matrix = table.vectors(SPACE)
    return ids, matrix.astype(np.float64)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_a_search_equals_the_definition(table, ranking):
    ids, rows = stored(table)
    searcher = searching(table)
    for number in range(5):
        query = np.random.default_rng(number).normal(0.3, 1, rows.shape[1])
        query = unit(query).astype(np.float16)
        expected = reference(rows, query.astype(np.float64), ranking)
        request = SearchRequest(as_queries(VectorQuery(query)), k=30, ranking=ranking)
        found = searcher.search(request)
        places = np.searchsorted(ids, found.ids)
        np.testing.assert_allclose(found.distances, expected[places], atol=2e-3)
        assert found.distances[-1] <= np.sort(expected)[29] + 4e-3
        if ranking == "context":
            assert places[0] == np.linalg.norm(rows - query, axis=1).argmin()
        (many,) = searcher.search_many([VectorQuery(query)], k=30, ranking=ranking)
        assert many.ids.tolist() == found.ids.tolist()
        plain = searcher.search(SearchRequest(request.positive, k=30))
        assert plain.ids.tolist() != found.ids.tolist()


@pytest.mark.parametrize("ranking", RANKINGS)
def test_filters_and_exclusions_hold(table, ranking):
    ids, _ = stored(table)
    searcher = searching(table)

    def search(row, **options):
        positive = as_queries(RowQuery(int(ids[row])))
        return searcher.search(SearchRequest(positive, ranking=ranking, **options))

    everything = search(7, k=120)
    assert len(everything) == 120
    filtered = search(7, k=20, where="label = '1'", exclude_self=True)
    expected = [
        match.id for match in everything if match.label == "1" and match.id != ids[7]
    ]
    assert filtered.ids.tolist() == expected
    largest = float(everything.distances[9])
    near = search(7, k=120, max_distance=largest)
    assert near.ids.tolist() == everything.ids[:10].tolist()
    negative = as_queries(RowQuery(int(ids[8])))
    away = search(7, k=120, negative=negative, gamma=1)
    assert away.ids.tolist().index(ids[8]) > everything.ids.tolist().index(ids[8])


def test_an_evaluation_leaves_the_query_out(table):
    """By the definition: without the query, rows near it are moved to others."""
    _, rows = stored(table)
    labels = np.arange(len(rows)) % 6
    centered = center(rows)
    hits, precisions = [], []
    for place in range(len(rows)):
        moved = smooth(centered, left_out=place)
        others = np.arange(len(rows)) != place
        query = move(centered[place], moved[others])
        distances = np.linalg.norm(moved - query, axis=1)
        distances[place] = np.inf
        without = rows.copy()
        without[place] = np.inf
        keep_nearest(distances, without, rows[place])
        order = np.argsort(distances, kind="stable")[:-1]
        relevant = labels[order] == labels[place]
        hits.append(relevant[0])
        ranks = np.flatnonzero(relevant) + 1
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    (scores,) = evaluate(table, rankings="context", resamples=1).spaces
    assert scores.metrics["precision_at_1"].value == pytest.approx(np.mean(hits))
    assert scores.metrics["map"].value == pytest.approx(np.mean(precisions), abs=2e-3)


def test_an_evaluation_compares_rankings(table):
    plain, context = evaluate(table, rankings=["plain", "context"], resamples=50).spaces
    assert (plain.title, context.title) == (SPACE, f"{SPACE}, context")
    assert not plain.differences
    gain = context.metrics["map"].value - plain.metrics["map"].value
    assert context.differences["map"].value == pytest.approx(gain)


@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("count", [1, 2, 3, 11])
def test_few_rows_are_ranked(tmp_path, vectors, ranking, count):
    table = make_collection(tmp_path / "c", vectors[:count])
    ids, rows = stored(table)
    request = SearchRequest(as_queries(RowQuery(int(ids[0]))), k=20, ranking=ranking)
    found = searching(table).search(request)
    assert sorted(found.ids) == ids.tolist()
    expected = reference(rows, rows[0], ranking)
    places = np.searchsorted(ids, found.ids)
    np.testing.assert_allclose(found.distances, expected[places], atol=2e-3)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_equal_rows_are_equally_far(tmp_path, vectors, ranking):
    equal = np.repeat(vectors[:1], 30, axis=0)
    table = make_collection(tmp_path / "c", equal)
    ids, _ = stored(table)
    request = SearchRequest(as_queries(RowQuery(int(ids[4]))), k=30, ranking=ranking)
    found = searching(table).search(request)
    assert found.ids.tolist() == ids.tolist()
    assert (found.distances == found.distances[0]).all()


@pytest.mark.parametrize("ranking", RANKINGS)
def test_new_rows_are_seen(tmp_path, vectors, ranking):
    table = make_collection(tmp_path / "c", vectors[:60])
    searcher = searching(table)
    query = VectorQuery(vectors[100].astype(np.float16))
    request = SearchRequest(as_queries(query), k=80, ranking=ranking)
    before = searcher.search(request)
    add_rows(table, vectors[60:70])
    after = searcher.search(request)
    assert (len(before), len(after)) == (60, 70)
    assert after.ids.tolist() == searching(table).search(request).ids.tolist()


def test_rankings_are_fitted_once_for_each_version(table, vectors, monkeypatch):
    """Also when searches by several rankings alternate, and begin at the same time."""
    fitted = []

    def count_fits(name):
        ranking = resolve_ranking(name)
        refit = ranking.refit

        def fit_and_count(*arguments):
            fitted.append(name)
            return refit(*arguments)

        monkeypatch.setattr(ranking, "refit", fit_and_count)

    for name in RANKINGS:
        count_fits(name)
    searcher = searching(table)
    query = as_queries(VectorQuery(vectors[100].astype(np.float16)))
    requests = [SearchRequest(query, ranking=name) for name in RANKINGS * 4]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(searcher.search, requests))
    assert sorted(fitted) == sorted(RANKINGS)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """A larger table with an index of several partitions."""
    path = tmp_path_factory.mktemp("indexed") / "c"
    table = make_collection(path, clusters(12, 250, dim=24)[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_PARTITION_ROWS", 400)
        index = tuning.build_index(table, SPACE)
    sample = tuning.draw_sample(table, SPACE, 24)
    tuning.tune(table, SPACE, index, 0.99, sample)
    return table


@pytest.mark.parametrize("ranking", RANKINGS)
def test_an_index_finds_the_candidates(indexed, ranking):
    assert ann.current_tuning(indexed, SPACE) is not None
    searcher = searching(indexed)
    ids, _ = indexed.vectors(SPACE)
    shared = 0
    for row in ids[:40].tolist():
        positive = as_queries(RowQuery(row))
        near = searcher.search(SearchRequest(positive, ranking=ranking))
        exact = searcher.search(SearchRequest(positive, ranking=ranking, exact=True))
        assert near.recall is not None
        assert exact.recall is None
        shared += len(np.intersect1d(near.ids, exact.ids))
    assert shared >= 0.9 * 400


def test_the_graph_of_neighbors_equals_a_full_comparison(monkeypatch):
    from lookalike.vectors import neighbors

    rows = np.random.default_rng(0).normal(size=(70, 8)).astype(np.float16)
    monkeypatch.setattr(neighbors, "_BLOCK_ROWS", 16)
    graph = neighbors.neighbor_graph(rows, 5)
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    np.fill_diagonal(exact, -np.inf)
    expected = np.argsort(-exact, axis=1)[:, :5]
    assert graph.places.tolist() == expected.tolist()
    np.testing.assert_allclose(
        graph.cosines, np.take_along_axis(exact, expected, axis=1), rtol=1e-5
    )
    assert neighbors.neighbor_graph(rows[:1], 5).places.shape == (1, 0)


def test_an_index_gives_all_its_vectors():
    matrix = np.eye(3, dtype=np.float16)
    index = ExactIndex(np.arange(3), matrix)
    assert (index.matrix == matrix).all()
