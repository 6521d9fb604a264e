"""Exact search equals plain float64 arithmetic for any rounding, tiles and threads."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.vectors import exact, products, to_float32
from lookalike.vectors.exact import ExactIndex


def oracle(query, vectors, k, ids):
    differences = vectors.astype(np.float64) - query.astype(np.float64)
    distances = np.sqrt((differences**2).sum(axis=1))
    order = np.lexsort((ids, distances))[:k]
    return ids[order], distances[order]


def agree(query, vectors, k, ids=None):
    """Compare a first and repeated searches, alone and among many, with brute force."""
    ids = np.arange(len(vectors)) if ids is None else ids
    index = ExactIndex(ids, vectors)
    expected_ids, expected = oracle(query, vectors, k, ids)
    many = index.search_many(np.stack([vectors[0], query, query]), k)
    with patch.multiple(exact, MIN_NUMBERS_TO_PRUNE=1, PRUNED_SHARE=1):
        pruning = ExactIndex(ids, vectors)
        alone = [index.search(query, k), *(pruning.search(query, k) for _ in range(2))]
    for found, distances in (
        *alone,
        (many[0][1], many[1][1]),
        (many[0][2], many[1][2]),
    ):
        assert found.tolist() == expected_ids.tolist()
        np.testing.assert_allclose(distances, expected, rtol=1e-12)
        assert distances.dtype == np.float64


@st.composite
def searches(draw):
    """Return a query, rows of which many are equal or nearly equal, and their ids."""
    dim, n = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    pool = random.normal(size=(draw(st.integers(1, 6)), dim)) * 10.0 ** draw(
        st.integers(-3, 3)
    )
    vectors = pool[random.integers(0, len(pool), n)]
    vectors = vectors * (
        1 + draw(st.sampled_from([0, 1e-3, 1e-2])) * random.normal(size=(n, 1))
    )
    query = pool[0] * draw(st.sampled_from([0.5, 1.0, -1.0]))
    return (
        query.astype(np.float16),
        vectors.astype(np.float16),
        random.permutation(n).astype(np.int64),
    )


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(searches(), st.integers(1, 50))
def test_nearest_rows_equal_brute_force(search, k):
    query, vectors, ids = search
    agree(query, vectors, k, ids)


@pytest.mark.parametrize("tile", [1, 7, 64, 1000])
def test_tiles_and_threads_do_not_change_the_answer(monkeypatch, tile):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(100, 12)).astype(np.float16)
    vectors[50:] = vectors[:50]
    monkeypatch.setattr(products, "TILE_ROWS", tile)
    monkeypatch.setattr(products, "MIN_NUMBERS_FOR_THREADS", 1)
    for k in (1, 5, 99, 100, 500):
        agree(vectors[3], vectors, k, random.permutation(100))


def test_rows_that_get_nearer_and_nearer():
    """Each row displaces an earlier one, so the candidates are pruned many times."""
    random = np.random.default_rng(0)
    far = np.linspace(4, 0.1, 9000)[:, np.newaxis]
    vectors = (far * random.normal(size=(9000, 24))).astype(np.float16)
    agree(np.zeros(24, np.float16), vectors, 3)


def test_many_equal_rows_are_ordered_by_id():
    vectors = np.ones((5000, 8), np.float16)
    agree(vectors[0], vectors, 4, np.random.default_rng(0).permutation(5000))


def test_long_vectors_are_not_summed_in_float16():
    """A sum in float16 would stop growing long before the three thousandth product."""
    random = np.random.default_rng(0)
    vectors = random.integers(0, 256, (300, 3072)).astype(np.float16)
    vectors[1:] = np.where(random.random((299, 3072)) < 0.001, vectors[1:], vectors[0])
    agree(vectors[0], vectors, 10)


@pytest.mark.parametrize("spread", [0.0, 0.3, 30.0], ids=["equal", "close", "apart"])
def test_repeated_searches_give_the_same_answer(monkeypatch, spread):
    """Repeated searches prune by the int8 copy, and stop where all rows are equally far."""
    random = np.random.default_rng(0)
    vectors = (1 + spread * random.normal(size=(1500, 800)) / 28).astype(np.float16)
    monkeypatch.setattr(exact, "MIN_NUMBERS_TO_PRUNE", 1)
    index = ExactIndex(np.arange(1500), vectors)
    for row in random.choice(1500, 30):
        ids, distances = index.search(vectors[row], 6)
        expected_ids, expected = oracle(vectors[row], vectors, 6, index.ids)
        assert ids.tolist() == expected_ids.tolist()
        np.testing.assert_allclose(distances, expected, rtol=1e-12)


def test_rows_with_the_largest_int8_error_are_found():
    """The nearest row has the largest int8 error; a slightly smaller bound would lose it."""
    vectors = np.full((21, 400), 100.5625, np.float16)
    vectors[13] = 100.4375
    vectors[:, 0] = 127
    query = np.full(400, 100, np.float16)
    query[0] = 127
    agree(query, vectors, 1)


def test_rows_at_equal_distance_are_ordered_by_id():
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0.5, 0]], np.float16)
    agree(np.zeros(2, np.float16), vectors, 4, np.array([40, 10, 30, 20, 99]))


def test_rows_near_twice_the_query_are_found():
    """There |x|^2 and 2 x.q cancel, so rounding has its largest effect."""
    random = np.random.default_rng(0)
    for _ in range(300):
        query = random.normal(size=3).astype(np.float16)
        vectors = (
            2 * query.astype(np.float32) * (1 + 1e-3 * random.normal(size=(40, 3)))
        ).astype(np.float16)
        agree(query, vectors, 1)


@pytest.mark.parametrize(
    ("n", "k", "count"), [(3, 5, 3), (3, 3, 3), (3, 1, 1), (0, 4, 0)]
)
def test_k_above_the_number_of_rows_returns_all(n, k, count):
    index = ExactIndex(np.arange(n), np.ones((n, 2), np.float16))
    ids, distances = index.search(np.ones(2, np.float16), k)
    assert len(index) == n
    assert len(ids) == len(distances) == count
    ids, distances = index.search_many(np.ones((2, 2), np.float16), k)
    assert ids.shape == distances.shape == (2, count)


def test_search_at_some_places_only():
    random = np.random.default_rng(0)
    vectors, ids = (
        random.normal(size=(500, 16)).astype(np.float16),
        random.permutation(500),
    )
    index = ExactIndex(ids, vectors)
    rows = np.sort(random.choice(500, 60, replace=False))
    found, distances = index.search(vectors[9], 7, places=rows)
    expected_ids, expected = oracle(vectors[9], vectors[rows], 7, ids[rows])
    assert found.tolist() == expected_ids.tolist()
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    assert len(index.search(vectors[9], 7, places=rows[:0])[0]) == 0


def test_a_vector_has_distance_zero_to_itself():
    vectors = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float16)
    index = ExactIndex(np.arange(20), vectors)
    for row in range(20):
        ids, distances = index.search(vectors[row], 1)
        assert (ids.tolist(), distances.tolist()) == ([row], [0.0])


def test_every_float16_keeps_its_value_as_float32():
    vectors = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    vectors = vectors[np.isfinite(vectors)]
    wide = to_float32(vectors)
    assert wide.dtype == np.float32
    assert np.array_equal(
        wide.view(np.uint32), vectors.astype(np.float32).view(np.uint32)
    )
