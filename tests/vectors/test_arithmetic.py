"""Unit length, combination and blocked distances equal plain float64 arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.types import DEFAULT_GAMMA
from lookalike.vectors import combine, distance_blocks, unit_length


def test_unit_length():
    scaled = unit_length(np.array([[3, 4], [0, 0], [-2, 0]], np.float32))
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(
        scaled, np.array([[0.6, 0.8], [0, 0], [-1, 0]], np.float32)
    )


@settings(deadline=None)
@given(
    st.lists(
        st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            min_size=3,
            max_size=3,
        ),
        max_size=6,
    )
)
def test_rows_of_any_length_are_scaled_to_unit_length(rows):
    x = np.array(rows, np.float32).reshape(-1, 3)
    before = x.copy()
    scaled = unit_length(x)
    assert scaled.shape == x.shape
    lengths = np.linalg.norm(scaled.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, x.any(axis=1), atol=1e-6)
    assert (np.sign(scaled) * np.sign(x) >= 0).all()
    assert (x == before).all()


@pytest.mark.parametrize(
    ("memory", "blocks"), [(0, 5), (2 * 8 * 3000, 3), (1 << 26, 1)]
)
def test_squared_distances_in_blocks(memory, blocks):
    """The gallery is longer than one tile."""
    random = np.random.default_rng(0)
    queries, gallery = (
        random.normal(size=(n, 6)).astype(np.float16) for n in (5, 3000)
    )
    gallery[7] = queries[2]
    parts = list(distance_blocks(queries, gallery, memory=memory))
    assert len(parts) == blocks
    assert [row for part, _ in parts for row in range(part.start, part.stop)] == [
        0,
        1,
        2,
        3,
        4,
    ]
    squares = np.concatenate([block for _, block in parts])
    expected = (
        (queries[:, None].astype(np.float64) - gallery.astype(np.float64)) ** 2
    ).sum(axis=2)
    np.testing.assert_allclose(squares, expected, atol=1e-12)
    assert squares[2, 7] == 0
    assert (squares >= 0).all()


def test_combine_subtracts_gamma_times_the_negative_mean():
    """The positive side is a mean. The negative one is a mean from a sum of weights of 1 on."""
    plus = np.array([[1, 0, 0], [0, 1, 0]], np.float16)
    minus = np.array([[0, 0, 4], [0, 0, 0]], np.float16)
    np.testing.assert_allclose(combine(plus, [1, 3]), [0.25, 0.75, 0])
    for weights, negative_weights, gamma, expected in (
        ([2, 6], [1, 1], 1, [0.25, 0.75, -2]),
        ([2, 6], [3, 1], 1, [0.25, 0.75, -3]),
        ([2, 6], [3, 1], 0.4, [0.25, 0.75, -1.2]),
        ([1, 3], [0.5, 0.5], 0.4, [0.25, 0.75, -0.8]),
        # Below a sum of 1, the weights are absolute.
        ([1, 3], [0.5, 0.25], 0.4, [0.25, 0.75, -0.8]),
        ([1, 3], [0.1, 0.25], 0.4, [0.25, 0.75, -0.16]),
        ([1, 3], [0.1, 0.25], 0, [0.25, 0.75, 0]),
    ):
        combined = combine(plus, weights, minus, negative_weights, gamma)
        np.testing.assert_allclose(combined, expected)
    default = combine(plus[:1], [5], minus[:1], [1])
    np.testing.assert_allclose(default, [1, 0, -4 * DEFAULT_GAMMA])
    np.testing.assert_allclose(combine(plus, [1, 1], minus[:0], []), [0.5, 0.5, 0])
