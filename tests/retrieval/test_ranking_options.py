"""Each ranking with each option of a search equals NumPy alone, row by row."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from lookalike.errors import SpaceError
from lookalike.retrieval import loaded
from lookalike.retrieval.query import RowQuery, VectorQuery, WeightedQuery, as_queries
from lookalike.retrieval.search import Searcher, SearchRequest
from lookalike.store import ann, tuning
from lookalike.store.table import Table
from lookalike.types import Model
from made import SPACE, add_rows, clusters, make_collection

RANKINGS = ["plain", "centered", "context"]
COUNT = 90
# Ranks of rows that are nearer to each other than this may differ by rounding.
TOLERANCE = 3e-3


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)


def towards(targets, others):
    """Return targets, each moved half-way towards its ten best among others, not itself."""
    cosines = targets @ others.T
    if targets is others:
        np.fill_diagonal(cosines, -np.inf)
    best = np.argsort(-cosines, axis=1)[:, :10]
    weights = np.maximum(np.take_along_axis(cosines, best, axis=1), 0)
    return unit(targets + unit(np.einsum("nk,nkd->nd", weights, others[best])))


def distances_to(rows, query, ranking, is_searched=None):
    """Return the distance of each row to a query by the definition of a ranking."""
    plain = np.linalg.norm(rows - query, axis=1)
    if ranking == "plain":
        return plain
    mean = rows.mean(axis=0)
    rows, query = unit(rows - mean), unit(query - mean)[np.newaxis]
    if ranking == "context":
        rows = towards(rows, rows)
        query = towards(query, rows)
    distances = np.linalg.norm(rows - query, axis=1)
    if ranking == "context":
        # Of the rows that are searched, the one whose own vector is nearest stays first.
        if is_searched is None:
            is_searched = np.ones(len(rows), bool)
        searched = np.flatnonzero(is_searched)
        nearest = searched[plain[searched].argmin()]
        distances[nearest] = distances[searched].min()
    return distances


def rows_near_corners(count, seed=0):
    found, _ = clusters(6, -(-count // 6), dim=24, seed=seed)
    return unit(found[:count] + np.float32(0.4))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Six labels, and a copy of the vector and the content of every ninth image."""
    path = tmp_path_factory.mktemp("options") / "c"
    vectors = rows_near_corners(COUNT)
    vectors[4::9] = vectors[3::9]
    labels = [str(number % 6) for number in range(COUNT)]
    table = make_collection(path, vectors[:1])
    table.delete(table.vectors(SPACE)[0])
    add_rows(table, vectors, labels=labels)
    return table


def searcher_of(table, space=SPACE):
    model = SimpleNamespace(model=table.models[space])
    return Searcher(table, space, embedder=model)


@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("negative", [(), (10, 23)])
@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("where", [None, "label in ('1', '3', '4')"])
@pytest.mark.parametrize("share", [None, 0.4])
def test_options_equal_numpy(table, ranking, negative, unique, where, share):
    ids, stored = table.vectors(SPACE)
    rows = stored.astype(np.float64)
    query = 0.7 * rows[7] + 0.3 * rows[13]
    if negative:
        query -= 0.5 * rows[list(negative)].mean(axis=0)
    query = unit(query).astype(np.float16).astype(np.float64)
    labels = np.arange(COUNT) % 6
    is_searched = np.isin(labels, [1, 3, 4]) if where else labels >= 0
    is_searched[[7, 13, *negative]] = False
    distances = distances_to(rows, query, ranking, is_searched)
    limit = np.quantile(distances[is_searched], share) if share else None
    if limit is not None:
        is_searched &= distances <= limit
    contents = stored.view(np.uint16)
    expected = []
    for place in np.argsort(distances, kind="stable"):
        copies = (contents == contents[place]).all(axis=1)
        is_copy = unique and any(copies[other] for other in expected)
        if is_searched[place] and not is_copy:
            expected.append(place)

    request = SearchRequest(
        [
            WeightedQuery(RowQuery(int(ids[7])), 0.7),
            WeightedQuery(RowQuery(int(ids[13])), 0.3),
        ],
        as_queries([RowQuery(int(ids[row])) for row in negative]),
        k=12,
        gamma=0.5,
        where=where,
        max_distance=limit,
        exclude_self=True,
        unique=unique,
        ranking=ranking,
    )
    found = searcher_of(table).search(request)
    assert abs(len(found) - min(12, len(expected))) <= (limit is not None)
    places = np.searchsorted(ids, found.ids)
    np.testing.assert_allclose(found.distances, distances[places], atol=TOLERANCE)
    best = distances[expected[: len(found)]]
    np.testing.assert_allclose(np.sort(distances[places]), best, atol=TOLERANCE)
    assert is_searched[places].sum() >= len(places) - (limit is not None)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_a_batch_equals_numpy(table, ranking):
    ids, stored = table.vectors(SPACE)
    rows = stored.astype(np.float64)
    queries = rows_near_corners(9, seed=3).astype(np.float16)
    answers = searcher_of(table).search_many(
        [VectorQuery(query) for query in queries], k=20, ranking=ranking
    )
    for query, found in zip(queries, answers, strict=True):
        distances = distances_to(rows, query.astype(np.float64), ranking)
        places = np.searchsorted(ids, found.ids)
        np.testing.assert_allclose(found.distances, distances[places], atol=TOLERANCE)
        nearest = np.sort(distances)[:20]
        np.testing.assert_allclose(found.distances, nearest, atol=TOLERANCE)


@pytest.fixture
def two_spaces(tmp_path):
    """A Space of all images, one of every other, and one of none."""
    vectors = rows_near_corners(COUNT, seed=1)
    models = [
        Model(name, "numbers", "pixels", (1, 1), 24) for name in ("all", "half", "none")
    ]
    table = Table.create(tmp_path / "c", models)
    for names, part in ((["all"], vectors[::2]), (["all", "half"], vectors[1::2])):
        first = table.count()
        columns = {
            "uri": [
                f"/pictures/{first + number:03}.jpg" for number in range(len(part))
            ],
            "sha256": [vector.tobytes()[:32] for vector in part],
            "spaces": [names] * len(part),
            **{name: part[:, ::-1] if name == "half" else part for name in names},
        }
        table.upsert(columns, replace=True)
    return table


@pytest.mark.parametrize("ranking", RANKINGS)
def test_each_space_is_ranked_by_its_own_rows(two_spaces, ranking):
    query = rows_near_corners(8, seed=2)[7].astype(np.float16)
    for space, count in (("all", COUNT), ("half", COUNT // 2)):
        ids, stored = two_spaces.vectors(space)
        assert len(ids) == count
        distances = distances_to(
            stored.astype(np.float64), query.astype(np.float64), ranking
        )
        request = SearchRequest(as_queries(VectorQuery(query)), k=200, ranking=ranking)
        found = searcher_of(two_spaces, space).search(request)
        assert sorted(found.ids) == ids.tolist()
        places = np.searchsorted(ids, found.ids)
        np.testing.assert_allclose(found.distances, distances[places], atol=TOLERANCE)
    with pytest.raises(SpaceError, match="is empty"):
        searcher_of(two_spaces, "none").search(request)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_rows_deleted_under_a_searcher_are_seen_after_a_refresh(
    table, tmp_path, ranking
):
    """The version that is open answers as before; the next one has the other rows alone."""
    own = make_collection(tmp_path / "c", rows_near_corners(COUNT))
    ids, _ = own.vectors(SPACE)
    reading = Table.open(own.path)
    searcher = searcher_of(reading)
    query = as_queries(VectorQuery(rows_near_corners(1)[0].astype(np.float16)))
    request = SearchRequest(query, k=200, ranking=ranking)
    before = searcher.search(request)
    own.delete(before.ids[:5])
    assert searcher.search(request).ids.tolist() == before.ids.tolist()
    reading.refresh()
    after = searcher.search(request)
    assert set(after.ids) == set(ids) - set(before.ids[:5])
    _, stored = reading.vectors(SPACE)
    expected = distances_to(
        stored.astype(np.float64),
        rows_near_corners(1)[0].astype(np.float16).astype(np.float64),
        ranking,
    )
    np.testing.assert_allclose(after.distances, np.sort(expected), atol=TOLERANCE)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """A Space with a tuned index."""
    found, _ = clusters(12, 60, dim=24)
    path = tmp_path_factory.mktemp("indexed") / "c"
    table = make_collection(path, found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_PARTITION_ROWS", 200)
        index = tuning.build_index(table, SPACE)
    sample = tuning.draw_sample(table, SPACE, 16)
    tuning.tune(table, SPACE, index, 0.9, sample)
    assert ann.current_tuning(table, SPACE) is not None
    return table


@pytest.mark.parametrize("ranking", RANKINGS)
def test_approximate_search_equals_numpy_among_the_rows_it_finds(
    indexed, monkeypatch, ranking
):
    """With a filter and excluded rows: no other rows, and the distances of the definition."""
    ids, stored = indexed.vectors(SPACE)
    rows = stored.astype(np.float64)
    is_searched = np.arange(len(rows)) < 360
    is_searched[30] = False
    distances = distances_to(rows, rows[30], ranking, is_searched)
    end = indexed.take(ids, ["uri"])["uri"].to_pylist()[360]
    request = SearchRequest(
        as_queries(RowQuery(int(ids[30]))),
        k=10,
        where=f"uri < '{end}'",
        exclude_self=True,
        ranking=ranking,
    )
    # Otherwise, the rows of the filter are all compared.
    monkeypatch.setattr(loaded, "SUBSET_ROWS", 10)
    answer = searcher_of(indexed).search(request)
    places = np.searchsorted(ids, answer.ids)
    assert answer.recall is not None
    assert places.max() < 360
    assert 30 not in places
    np.testing.assert_allclose(answer.distances, distances[places], atol=TOLERANCE)
    allowed = np.delete(distances[:360], 30)
    tenth = np.sort(allowed)[9]
    assert np.mean(answer.distances <= tenth + TOLERANCE) >= 0.8


def test_a_row_that_comes_during_an_approximate_search_is_left_out(
    indexed, monkeypatch
):
    """Another thread may move the table on between the fit and the search of the index."""
    ids, _ = indexed.vectors(SPACE)
    request = SearchRequest(as_queries(RowQuery(int(ids[30]))), ranking="centered")
    searcher = searcher_of(indexed)
    before = searcher.search(request)
    find = ann.nearest

    def find_a_newer_row(*arguments, **options):
        found = find(*arguments, **options)
        newer = np.append(found.ids, ids[-1] + 1000)
        return found._replace(ids=newer)

    monkeypatch.setattr(ann, "nearest", find_a_newer_row)
    assert searcher.search(request).ids.tolist() == before.ids.tolist()
