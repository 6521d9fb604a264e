"""Search by several images and by rows, positive and negative, with weights."""

from __future__ import annotations

import numpy as np
import pytest

import lookalike
from command import lookalike as run
from command import lookalike_json
from lookalike import Collection
from lookalike.errors import InputError
from lookalike.retrieval.query import RowQuery, WeightedQuery
from lookalike.retrieval.search import Searcher, SearchRequest
from lookalike.store.table import Table


@pytest.fixture(scope="module")
def collection(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("examples") / "c"
    lookalike.index(sample, path, models=["efficientnet-lite0", "pixels"])
    return Collection.open(path)


@pytest.fixture(scope="module")
def images(sample):
    return [
        sample / label / f"{label}_0002.jpg" for label in ("butterfly", "cat", "car")
    ]


def plain(collection, space, positive, negative=(), *, unit):
    """Return ids and distances in order, by NumPy alone; the sides are lists of (id, weight)."""
    ids, vectors = collection.table.vectors(space)
    matrix = vectors.astype(np.float64)
    of = dict(zip(ids.tolist(), matrix, strict=True))

    def mean(side):
        return sum(weight * of[row] for row, weight in side) / sum(
            weight for _, weight in side
        )

    query = mean(positive) - (mean(negative) if negative else 0)
    if unit:
        query = query / np.linalg.norm(query)
    distances = np.linalg.norm(
        matrix - query.astype(np.float16).astype(np.float64), axis=1
    )
    order = np.lexsort((ids, distances))
    return ids[order].tolist(), distances[order]


@pytest.mark.parametrize(
    ("space", "unit"), [("efficientnet-lite0", True), ("pixels", False)]
)
def test_weighted_queries_equal_a_plain_computation(collection, space, unit):
    ids = collection.table.vectors(space)[0].tolist()
    a, b, c, d = ids[3], ids[12], ids[20], ids[33]
    positive, negative = [(a, 1.0), (b, 2.5)], [(c, 1.0), (d, 0.5)]
    query = [RowQuery(a), WeightedQuery(RowQuery(b), 2.5)]
    for less, given in (
        ((), ()),
        (negative, [RowQuery(c), WeightedQuery(RowQuery(d), 0.5)]),
    ):
        matches = lookalike.search(collection, query, negative=given, k=45, space=space)
        expected, distances = plain(collection, space, positive, less, unit=unit)
        assert matches.ids.tolist() == expected
        np.testing.assert_allclose(matches.distances, distances, rtol=1e-3)


def test_a_row_and_its_image_are_the_same_query(collection, images):
    by_image = lookalike.search(collection, images[0], k=10)
    row = RowQuery(int(by_image.ids[0]))
    for query in (row, [row], [images[0]], WeightedQuery(row, 7.0)):
        found = lookalike.search(collection, query, k=10)
        assert found.ids.tolist() == by_image.ids.tolist()
        assert found.distances[0] == pytest.approx(0, abs=2e-3)


def test_a_row_has_one_vector_before_and_after_loading(collection):
    searcher = Searcher(Table.open(collection.path), "pixels")
    ids, vectors = collection.table.vectors("pixels")
    np.testing.assert_array_equal(searcher.row_vector(int(ids[7])), vectors[7])
    searcher.search(SearchRequest([WeightedQuery(RowQuery(int(ids[0])))]))
    np.testing.assert_array_equal(searcher.row_vector(int(ids[7])), vectors[7])


def test_two_classes_as_queries_match_both(collection, images):
    both = lookalike.search(collection, images[:2], k=10)
    assert set(both.labels) >= {"butterfly", "cat"}
    away = lookalike.search(collection, images[:2], negative=images[1], k=5)
    assert "cat" not in away.labels


def test_exclude_self_omits_every_query(collection, images):
    found = lookalike.search(collection, images[:2], negative=RowQuery(3), k=45)
    rest = lookalike.search(
        collection, images[:2], negative=RowQuery(3), k=45, exclude_self=True
    )
    gone = {str(path) for path in images[:2]} | {
        found.uris[found.ids.tolist().index(3)]
    }
    assert rest.uris == [uri for uri in found.uris if uri not in gone]


def test_distances_to_all_rows_equal_the_search(collection):
    searcher = Searcher(collection.table, "efficientnet-lite0")
    matches = searcher.search(SearchRequest([WeightedQuery(RowQuery(5))], k=45))
    ids, distances = searcher.distances(searcher.row_vector(5))
    assert sorted(ids.tolist()) == ids.tolist()
    by_id = dict(zip(ids.tolist(), distances, strict=True))
    np.testing.assert_allclose(
        [by_id[row] for row in matches.ids.tolist()], matches.distances, atol=1e-3
    )


def test_invalid_arguments_are_refused(collection, images):
    with pytest.raises(InputError, match="no row 99999 with a vector in"):
        lookalike.search(collection, RowQuery(99999))
    for wild in (-1, 2**70):
        with pytest.raises(InputError, match=f"no row {wild}"):
            lookalike.search(collection, [RowQuery(wild), RowQuery(1)])
    with pytest.raises(InputError, match="nothing to search by"):
        lookalike.search(collection, [], negative=images[0])
    for weight in (0, -1, float("inf"), float("nan")):
        with pytest.raises(
            InputError, match=r"has the weight .*; expected a number above 0"
        ):
            lookalike.search(collection, [WeightedQuery(images[0], weight)])
    with pytest.raises(InputError, match="cancel the positive"):
        lookalike.search(collection, RowQuery(3), negative=RowQuery(3))


def test_the_command_takes_several_and_negative_images(collection, images):
    told = lookalike_json(
        "search", *images[:2], "--negative", images[2], "-c", collection.path, "-k", 6
    )
    expected = lookalike.search(collection, images[:2], negative=images[2], k=6)
    assert [match["id"] for match in told["matches"]] == expected.ids.tolist()
    assert (
        told["matches"]
        != lookalike_json("search", *images[:2], "-c", collection.path, "-k", 6)[
            "matches"
        ]
    )
    done = run("search", *images, "-c", collection.path, "--save", "out.png", status=2)
    assert "3 images were given" in done.stderr
