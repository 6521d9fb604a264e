"""Search by several images and by rows, positive and negative, with weights."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import lookalike
from command import lookalike as run
from command import lookalike_json
from lookalike import Collection
from lookalike.errors import InputError
from lookalike.retrieval.query import RowQuery, VectorQuery, WeightedQuery
from lookalike.retrieval.search import Searcher, SearchRequest
from lookalike.store.table import Table
from lookalike.types import DEFAULT_GAMMA


@pytest.fixture(scope="module")
def collection(sample_in_float):
    return Collection.open(sample_in_float)


@pytest.fixture(scope="module")
def images(sample):
    return [
        sample / label / f"{label}_0002.jpg" for label in ("butterfly", "cat", "car")
    ]


def plain(collection, space, positive, negative=(), gamma=DEFAULT_GAMMA, *, unit):
    """Return ids and distances in order, by NumPy alone; the sides are lists of (id, weight)."""
    ids, vectors = collection.table.vectors(space)
    matrix = vectors.astype(np.float64)
    of = dict(zip(ids.tolist(), matrix, strict=True))

    def total(side):
        return sum(weight * of[row] for row, weight in side)

    def weight_of(side):
        return sum(weight for _, weight in side)

    query = total(positive) / weight_of(positive)
    query = query - gamma * total(negative) / max(1, weight_of(negative))
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
    away = lookalike.search(collection, images[:2], negative=images[1], k=5, gamma=1)
    assert "cat" not in away.labels


def test_gamma_and_the_weight_of_a_lone_negative_scale_it(collection, images):
    """Each step takes the butterfly's match further from the car that is avoided."""

    def distance_to_negative(gamma, weight=1.0):
        negative = [WeightedQuery(images[2], weight)]
        found = lookalike.search(
            collection, images[0], negative=negative, gamma=gamma, k=45
        )
        return found.distances[found.uris.index(str(images[2]))]

    by_gamma = [distance_to_negative(gamma) for gamma in (0, 0.1, 0.4, 1)]
    assert by_gamma == sorted(by_gamma)
    assert len(set(by_gamma)) == 4
    without = lookalike.search(collection, images[0], k=45)
    assert by_gamma[0] == without.distances[without.uris.index(str(images[2]))]
    # Half the weight is half of gamma; above 1, a lone weight changes nothing more.
    assert distance_to_negative(0.4, 0.5) == distance_to_negative(0.2)
    assert distance_to_negative(0.4, 5) == distance_to_negative(0.4)
    assert by_gamma[1] == distance_to_negative(DEFAULT_GAMMA)


@pytest.mark.parametrize("space", ["efficientnet-lite0", "pixels"])
@pytest.mark.parametrize("gamma", [0, 0.4, 1.5])
def test_gamma_equals_a_plain_computation(collection, space, gamma):
    ids = collection.table.vectors(space)[0].tolist()
    negative = WeightedQuery(RowQuery(ids[20]), 0.5)
    found = lookalike.search(
        collection, RowQuery(ids[3]), negative=negative, gamma=gamma, k=45, space=space
    )
    unit = space != "pixels"
    expected, distances = plain(
        collection, space, [(ids[3], 1)], [(ids[20], 0.5)], gamma, unit=unit
    )
    assert found.ids.tolist() == expected
    np.testing.assert_allclose(found.distances, distances, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("space", ["efficientnet-lite0", "pixels"])
@pytest.mark.parametrize("rows", [[3], [3, 14, 27]])
def test_queries_that_cancel_each_other_are_refused(collection, space, rows):
    """Three vectors minus the same three leave rounding errors instead of zeros."""
    positive = [RowQuery(row) for row in rows]
    negative = positive[::-1]
    with pytest.raises(InputError, match="cancel each other"):
        lookalike.search(collection, positive, negative=negative, gamma=1, space=space)
    vector = Searcher(collection.table, space).row_vector(3)
    opposite = [VectorQuery(vector), VectorQuery(-vector)]
    with pytest.raises(InputError, match="cancel each other"):
        lookalike.search(collection, opposite, space=space)


def test_a_black_image_is_a_query_like_any_other(collection):
    """Its vector in pixel space is zero, and cancels nothing."""
    black = Image.new("RGB", (64, 64))
    once = lookalike.search(collection, black, space="pixels")
    twice = lookalike.search(collection, [black, black], space="pixels")
    assert twice.uris == once.uris
    assert twice.distances.tolist() == once.distances.tolist()


def test_exclude_self_omits_every_query(collection, images):
    found = lookalike.search(collection, images[:2], negative=RowQuery(3), k=45)
    rest = lookalike.search(
        collection, images[:2], negative=RowQuery(3), k=45, exclude_self=True
    )
    own = {str(path) for path in images[:2]} | {found.uris[found.ids.tolist().index(3)]}
    assert rest.uris == [uri for uri in found.uris if uri not in own]


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
    for row in ("3", 1.5, None):
        with pytest.raises(InputError, match=f"no row {row!r}"):
            lookalike.search(collection, RowQuery(row))
    for weight in (0, -1, float("inf"), float("nan"), "2", None):
        with pytest.raises(
            InputError, match=r"has the weight .*; expected a number above 0"
        ):
            lookalike.search(collection, [WeightedQuery(images[0], weight)])
    for option in ("gamma", "max_distance"):
        for value in (-0.1, float("inf"), float("nan"), "1"):
            with pytest.raises(InputError, match=f"{option} = .*expected a finite"):
                lookalike.search(collection, RowQuery(3), **{option: value})
    for vector, problem in (
        ([1, 2], r"the shape \[2\]; expected \[1280\]"),
        (["a"] * 1280, "holds <U1; expected real numbers"),
        ([1e9] * 1280, "not finite in float16"),
    ):
        with pytest.raises(InputError, match=problem):
            lookalike.search(collection, VectorQuery(vector))


def test_the_command_takes_several_and_negative_images(collection, images):
    words = ["search", *images[:2], "-c", collection.path, "-k", 6]
    without = lookalike_json(*words)
    answers = [without["matches"]]
    for gamma in (None, 0.7):
        options = ["--negative", images[2]]
        keywords = {}
        if gamma is not None:
            options += ["--gamma", gamma]
            keywords["gamma"] = gamma
        answer = lookalike_json(*words, *options)
        expected = lookalike.search(
            collection, images[:2], negative=images[2], k=6, **keywords
        )
        assert [match["id"] for match in answer["matches"]] == expected.ids.tolist()
        distances = [match["distance"] for match in answer["matches"]]
        assert distances == expected.distances.tolist()
        assert answer["matches"] not in answers
        answers.append(answer["matches"])
    done = run("search", *images, "-c", collection.path, "--save", "out.png", status=2)
    assert "The query is 3 images" in done.stderr
