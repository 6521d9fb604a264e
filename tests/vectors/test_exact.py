"""Nearest neighbours are those of plain float64 arithmetic, whatever the rounding, the tiles and the threads."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.vectors import exact, to_float32
from lookalike.vectors.exact import ExactIndex


def oracle(query, halves, k, ids):
    differences = halves.astype(np.float64) - query.astype(np.float64)
    distances = np.sqrt((differences**2).sum(axis=1))
    order = np.lexsort((ids, distances))[:k]
    return ids[order], distances[order]


def agree(query, halves, k, ids=None):
    """Compare one query alone, first and again, and the same among many, with the plain computation."""
    ids = np.arange(len(halves)) if ids is None else ids
    made = ExactIndex(ids, halves)
    expected_ids, expected = oracle(query, halves, k, ids)
    many = made.search_many(np.stack([halves[0], query, query]), k)
    with patch.multiple(exact, MIN_NUMBERS_TO_PRUNE=1, PRUNED_SHARE=1):
        narrowing = ExactIndex(ids, halves)
        alone = [made.search(query, k), *(narrowing.search(query, k) for _ in range(2))]
    for found, distances in (*alone, (many[0][1], many[1][1]), (many[0][2], many[1][2])):
        assert found.tolist() == expected_ids.tolist()
        np.testing.assert_allclose(distances, expected, rtol=1e-12)
        assert distances.dtype == np.float64


@st.composite
def searches(draw):
    """A query and a gallery in which many rows are equal, or nearly."""
    dim, n = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    pool = random.normal(size=(draw(st.integers(1, 6)), dim)) * 10.0 ** draw(st.integers(-3, 3))
    halves = pool[random.integers(0, len(pool), n)]
    halves = halves * (1 + draw(st.sampled_from([0, 1e-3, 1e-2])) * random.normal(size=(n, 1)))
    query = pool[0] * draw(st.sampled_from([0.5, 1.0, -1.0]))
    return (
        query.astype(np.float16),
        halves.astype(np.float16),
        random.permutation(n).astype(np.int64),
    )


@settings(max_examples=300, deadline=None)
@given(searches(), st.integers(1, 50))
def test_the_nearest_are_those_of_brute_force(search, k):
    query, halves, ids = search
    agree(query, halves, k, ids)


@pytest.mark.parametrize("tile", [1, 7, 64, 1000])
def test_tiles_and_threads_change_nothing(monkeypatch, tile):
    random = np.random.default_rng(0)
    halves = random.normal(size=(100, 12)).astype(np.float16)
    halves[50:] = halves[:50]
    monkeypatch.setattr(exact, "TILE_ROWS", tile)
    monkeypatch.setattr(exact, "MIN_NUMBERS_FOR_THREADS", 1)
    for k in (1, 5, 99, 100, 500):
        agree(halves[3], halves, k, random.permutation(100))


def test_thousands_of_rows_that_come_nearer_and_nearer():
    """Each row displaces one found before: the candidates are thinned out many times over."""
    random = np.random.default_rng(0)
    far = np.linspace(4, 0.1, 9000)[:, np.newaxis]
    halves = (far * random.normal(size=(9000, 24))).astype(np.float16)
    agree(np.zeros(24, np.float16), halves, 3)


def test_many_equal_rows_are_all_looked_at():
    halves = np.ones((5000, 8), np.float16)
    agree(halves[0], halves, 4, np.random.default_rng(0).permutation(5000))


def test_long_vectors_are_summed_in_more_than_their_own_16_bits():
    """A sum in float16 would stop growing long before the three thousandth product."""
    random = np.random.default_rng(0)
    halves = random.integers(0, 256, (300, 3072)).astype(np.float16)
    halves[1:] = np.where(random.random((299, 3072)) < 0.001, halves[1:], halves[0])
    agree(halves[0], halves, 10)


@pytest.mark.parametrize("spread", [0.0, 0.3, 30.0], ids=["equal", "close", "apart"])
def test_who_asks_again_and_again_gets_the_same(monkeypatch, spread):
    """Rows are narrowed by their bytes; where they are all about as near as each other, that is given up."""
    random = np.random.default_rng(0)
    halves = (1 + spread * random.normal(size=(1500, 800)) / 28).astype(np.float16)
    monkeypatch.setattr(exact, "MIN_NUMBERS_TO_PRUNE", 1)
    made = ExactIndex(np.arange(1500), halves)
    for row in random.choice(1500, 30):
        ids, distances = made.search(halves[row], 6)
        expected_ids, expected = oracle(halves[row], halves, 6, made.ids)
        assert ids.tolist() == expected_ids.tolist()
        np.testing.assert_allclose(distances, expected, rtol=1e-12)


def test_rows_that_lose_the_most_as_bytes_are_not_passed_over():
    """The nearest row looks as far as it may, all others as near: a bound a little smaller would lose it."""
    halves = np.full((21, 400), 100.5625, np.float16)
    halves[13] = 100.4375
    halves[:, 0] = 127
    query = np.full(400, 100, np.float16)
    query[0] = 127
    agree(query, halves, 1)


def test_rows_at_one_distance_are_ordered_by_id():
    halves = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0.5, 0]], np.float16)
    agree(np.zeros(2, np.float16), halves, 4, np.array([40, 10, 30, 20, 99]))


def test_rows_near_twice_the_query_are_not_lost():
    """There |x|^2 and 2 x.q cancel, and rounding is at its worst."""
    random = np.random.default_rng(0)
    for _ in range(300):
        query = random.normal(size=3).astype(np.float16)
        halves = (2 * query.astype(np.float32) * (1 + 1e-3 * random.normal(size=(40, 3)))).astype(
            np.float16
        )
        agree(query, halves, 1)


@pytest.mark.parametrize(("n", "k", "count"), [(3, 5, 3), (3, 3, 3), (3, 1, 1), (0, 4, 0)])
def test_no_more_rows_than_there_are(n, k, count):
    made = ExactIndex(np.arange(n), np.ones((n, 2), np.float16))
    ids, distances = made.search(np.ones(2, np.float16), k)
    assert len(made) == n
    assert len(ids) == len(distances) == count
    ids, distances = made.search_many(np.ones((2, 2), np.float16), k)
    assert ids.shape == distances.shape == (2, count)


def test_some_rows_only():
    random = np.random.default_rng(0)
    halves, ids = random.normal(size=(500, 16)).astype(np.float16), random.permutation(500)
    made = ExactIndex(ids, halves)
    rows = np.sort(random.choice(500, 60, replace=False))
    found, distances = made.search(halves[9], 7, places=rows)
    expected_ids, expected = oracle(halves[9], halves[rows], 7, ids[rows])
    assert found.tolist() == expected_ids.tolist()
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    assert len(made.search(halves[9], 7, places=rows[:0])[0]) == 0


def test_a_vector_is_at_no_distance_from_itself():
    halves = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float16)
    made = ExactIndex(np.arange(20), halves)
    for row in range(20):
        ids, distances = made.search(halves[row], 1)
        assert (ids.tolist(), distances.tolist()) == ([row], [0.0])


def test_every_float16_is_widened_to_itself():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    wide = to_float32(halves)
    assert wide.dtype == np.float32
    assert np.array_equal(wide.view(np.uint32), halves.astype(np.float32).view(np.uint32))
