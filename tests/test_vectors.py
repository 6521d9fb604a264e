"""Nearest neighbours are those of plain float64 arithmetic, whatever the rounding and the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike import vectors
from lookalike.vectors import distance_blocks, nearest, unit_length


def oracle(query, gallery, k, ids):
    differences = gallery.astype(np.float64) - query.astype(np.float64)
    distances = np.sqrt((differences**2).sum(axis=1))
    order = np.lexsort((ids, distances))[:k]
    return order, distances[order]


def agree(query, gallery, k, ids):
    rows, distances = nearest(query, gallery, k, ids=ids)
    expected_rows, expected = oracle(query, gallery, k, ids)
    assert rows.tolist() == expected_rows.tolist()
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    assert distances.dtype == np.float64


@st.composite
def searches(draw):
    """A query and a gallery in which many rows are equal, or nearly."""
    dim, n = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    pool = random.normal(size=(draw(st.integers(1, 6)), dim)) * 10.0 ** draw(st.integers(-3, 3))
    gallery = pool[random.integers(0, len(pool), n)]
    gallery = gallery * (1 + draw(st.sampled_from([0, 1e-7, 1e-3])) * random.normal(size=(n, 1)))
    query = pool[0] * draw(st.sampled_from([0.5, 1.0, -1.0]))
    return query.astype(np.float32), gallery.astype(np.float32), random.permutation(n).astype(np.int64)


@settings(max_examples=300, deadline=None)
@given(searches(), st.integers(1, 50))
def test_the_nearest_are_those_of_brute_force(search, k):
    query, gallery, ids = search
    agree(query, gallery, k, ids)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_change_nothing(monkeypatch, block):
    random = np.random.default_rng(0)
    gallery = random.normal(size=(100, 12)).astype(np.float32)
    gallery[50:] = gallery[:50]
    monkeypatch.setattr(vectors, "_BLOCK", block)
    for k in (1, 5, 99, 100, 500):
        agree(gallery[3], gallery, k, random.permutation(100))


def test_rows_at_one_distance_are_ordered_by_id():
    gallery = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0.5, 0]], np.float32)
    rows, distances = nearest(np.zeros(2, np.float32), gallery, 4, ids=np.array([40, 10, 30, 20, 99]))
    assert rows.tolist() == [4, 1, 3, 2]
    assert distances.tolist() == [0.5, 1, 1, 1]


def test_a_difference_that_rounding_hides_decides():
    """In float32 all squares of distances from 4096 + 2^-13 are equal."""
    gallery = (np.float32(4096) + np.arange(40, dtype=np.float32)[::-1, None] * 2**-11).astype(np.float32)
    agree(np.array([4096], np.float32), gallery, 3, np.arange(40))


def test_rows_near_twice_the_query_are_not_lost():
    """There |x|^2 and 2 x.q cancel, and rounding is at its worst."""
    random = np.random.default_rng(0)
    for _ in range(3000):
        query = random.normal(size=3).astype(np.float32)
        gallery = (2 * query + 1e-7 * np.linalg.norm(query) * random.normal(size=(40, 3))).astype(np.float32)
        agree(query, gallery, 1, np.arange(40))


@pytest.mark.parametrize(("n", "k", "count"), [(3, 5, 3), (3, 3, 3), (3, 1, 1), (0, 4, 0)])
def test_no_more_rows_than_there_are(n, k, count):
    rows, distances = nearest(np.ones(2, np.float32), np.ones((n, 2), np.float32), k, ids=np.arange(n))
    assert len(rows) == len(distances) == count


def test_a_vector_is_at_no_distance_from_itself():
    gallery = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    for row in range(20):
        rows, distances = nearest(gallery[row], gallery, 1, ids=np.arange(20))
        assert (rows.tolist(), distances.tolist()) == ([row], [0.0])


def test_unit_length():
    scaled = unit_length(np.array([[3, 4], [0, 0], [-2, 0]], np.float32))
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, np.array([[0.6, 0.8], [0, 0], [-1, 0]], np.float32))


@settings(deadline=None)
@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3), max_size=6)
)
def test_rows_of_any_size_come_to_length_one(rows):
    x = np.array(rows, np.float32).reshape(-1, 3)
    before = x.copy()
    scaled = unit_length(x)
    assert scaled.shape == x.shape
    lengths = np.linalg.norm(scaled.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, x.any(axis=1), atol=1e-6)
    assert (np.sign(scaled) * np.sign(x) >= 0).all()
    assert (x == before).all()


@pytest.mark.parametrize(("memory", "blocks"), [(0, 5), (2 * 8 * 3000, 3), (1 << 26, 1)])
def test_squared_distances_by_blocks(memory, blocks):
    """The gallery is longer than what is converted at a time."""
    random = np.random.default_rng(0)
    queries, gallery = (random.normal(size=(n, 6)).astype(np.float16) for n in (5, 3000))
    gallery[7] = queries[2]
    parts = list(distance_blocks(queries, gallery, memory=memory))
    assert len(parts) == blocks
    assert [row for part, _ in parts for row in range(part.start, part.stop)] == [0, 1, 2, 3, 4]
    squares = np.concatenate([block for _, block in parts])
    expected = ((queries[:, None].astype(np.float64) - gallery.astype(np.float64)) ** 2).sum(axis=2)
    np.testing.assert_allclose(squares, expected, atol=1e-12)
    assert squares[2, 7] == 0
    assert (squares >= 0).all()
