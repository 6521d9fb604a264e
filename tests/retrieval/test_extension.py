"""A new ranking and a new kind of query are classes of their own: no other file changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import lookalike
from lookalike.errors import InputError
from lookalike.evaluation.evaluate import evaluate
from lookalike.retrieval import ranking as rankings
from lookalike.retrieval.query import Encoder, RowQuery, WeightedQuery, as_queries
from lookalike.retrieval.ranking import Candidates, Ranking, register
from lookalike.retrieval.search import SearchRequest
from lookalike.store.view import View
from lookalike.types import Ids, Neighbors, VectorsF16

DEPTH = 20


class ByCoordinate(Ranking):
    """Re-scores the nearest rows by one coordinate of their vectors."""

    def candidate_count(self, k: int) -> int:
        return max(k, DEPTH)

    def rank(self, query: VectorsF16, candidates: Candidates, k: int) -> Neighbors:
        scores = candidates.vectors()[:, 0]
        order = np.lexsort((candidates.ids, scores))[:k]
        return Neighbors(
            candidates.ids[order], candidates.distances[order], candidates.recall
        )


class AsFound(Ranking):
    """Keeps the order of the candidates, as the plain ranking does."""

    def rank(self, query: VectorsF16, candidates: Candidates, k: int) -> Neighbors:
        return Neighbors(
            candidates.ids[:k], candidates.distances[:k], candidates.recall
        )


@dataclass(frozen=True)
class MiddleQuery:
    """A query by the middle between two rows."""

    first: int
    second: int

    def encode(self, encoder: Encoder) -> VectorsF16:
        both = [
            encoder.row_vector(row).astype(np.float64)
            for row in (self.first, self.second)
        ]
        return np.mean(both, axis=0).astype(np.float16)

    def own_rows(self, view: View) -> Ids:
        return np.array([self.first, self.second], np.int64)


@pytest.fixture(scope="module")
def collection(sample_in_int8):
    return lookalike.Collection.open(sample_in_int8)


@pytest.fixture
def by_coordinate(monkeypatch):
    """Register the ranking by its name, for one test."""
    monkeypatch.setattr(rankings, "_RANKINGS", dict(rankings._RANKINGS))
    register("by-coordinate", ByCoordinate())
    return "by-coordinate"


def order_of(collection, space, row, ids, matrix):
    """Return the answer of `ByCoordinate` to a row, by NumPy alone."""
    distances = np.linalg.norm(
        matrix.astype(np.float64) - matrix[row].astype(np.float64), axis=1
    )
    nearest = np.lexsort((ids, distances))
    head = nearest[:DEPTH]
    return ids[head[np.lexsort((ids[head], matrix[head, 0]))]], ids[nearest[DEPTH:]]


@pytest.mark.parametrize("space", ["efficientnet-lite0-int8", "pixels"])
def test_a_search_uses_a_registered_ranking(collection, by_coordinate, space):
    ids, matrix = collection.table.vectors(space)
    searcher = collection.searcher(space)
    for row in (0, 7, 44):
        query = as_queries(RowQuery(int(ids[row])))
        head, _ = order_of(collection, space, row, ids, matrix)
        found = searcher.search(SearchRequest(query, k=5, ranking=by_coordinate))
        assert found.ids.tolist() == head[:5].tolist()
        (many,) = searcher.search_many(
            [RowQuery(int(ids[row]))], k=5, ranking=by_coordinate
        )
        assert many.ids.tolist() == head[:5].tolist()
    plain = searcher.search(SearchRequest(query, k=5))
    assert plain.ids.tolist() != head[:5].tolist()


def test_an_evaluation_measures_a_registered_ranking(collection, by_coordinate):
    """Precision at 1 is the share of queries whose first match, the query left out, is alike."""
    ids, matrix = collection.table.vectors("pixels")
    labels = collection.table.take(ids, ["label"])["label"].to_pylist()
    hits = 0
    for row in range(len(ids)):
        others = np.arange(len(ids)) != row
        distances = np.linalg.norm(
            matrix.astype(np.float64) - matrix[row].astype(np.float64), axis=1
        )
        distances[row] = np.inf
        head = np.lexsort((ids, distances))[:DEPTH]
        assert others[head].all()
        first = head[np.lexsort((ids[head], matrix[head, 0]))][0]
        hits += labels[first] == labels[row]

    view = collection.table
    (scores,) = evaluate(
        view, spaces="pixels", rankings=by_coordinate, resamples=1
    ).spaces
    assert scores.metrics["precision_at_1"].value == pytest.approx(hits / len(ids))
    (plain,) = evaluate(view, spaces="pixels", resamples=1).spaces
    assert (
        plain.metrics["precision_at_1"].value != scores.metrics["precision_at_1"].value
    )


def test_a_ranking_that_keeps_the_order_has_the_plain_figures(collection):
    """The path for any ranking and the faster one of the plain ranking agree."""
    view = collection.table
    plain = evaluate(view).spaces
    for scores, expected in zip(
        evaluate(view, rankings=AsFound()).spaces, plain, strict=True
    ):
        assert (scores.ranking, expected.ranking) == ("AsFound", "plain")
        assert scores.to_dict() == expected.to_dict()


def test_an_unknown_ranking_is_named(collection):
    request = SearchRequest(as_queries(RowQuery(0)), ranking="best")
    with pytest.raises(InputError, match="'best' is unknown; expected one of plain"):
        collection.searcher().search(request)


def test_a_new_kind_of_query_is_searched_by(collection):
    ids = collection.table.vectors("pixels")[0].tolist()
    middle = MiddleQuery(ids[3], ids[20])
    expected = collection.search(
        [RowQuery(ids[3]), RowQuery(ids[20])], space="pixels", k=45
    )
    found = collection.search(middle, space="pixels", k=45)
    assert found.ids.tolist() == expected.ids.tolist()

    rest = collection.search(middle, space="pixels", k=45, exclude_self=True)
    assert set(found.ids) - set(rest.ids) == {ids[3], ids[20]}
    weighted = [WeightedQuery(middle, 2), RowQuery(ids[5])]
    assert (
        len(collection.search(weighted, negative=MiddleQuery(ids[1], ids[2]), k=7)) == 7
    )
    (many,) = collection.search_many([middle], space="pixels", k=45)
    assert many.ids.tolist() == found.ids.tolist()
