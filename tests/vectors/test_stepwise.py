"""Pruning in steps never excludes a row among the nearest, and answers stay the same."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from lookalike.vectors import batch_scan, exact, products, step_choice, stepwise
from lookalike.vectors.exact import ExactIndex
from lookalike.vectors.principal_axes import PrincipalAxes
from lookalike.vectors.stepwise import (
    FirstStep,
    StepwisePruner,
    axis_count,
    long_length,
)

DIM = 64


def spread(random, count, dim=DIM):
    """Return rows whose coordinates differ in width, turned at random."""
    widths = 1 / (1 + np.arange(dim))
    turned, _ = np.linalg.qr(random.normal(size=(dim, dim)))
    return (random.normal(size=(count, dim)) * widths) @ turned


def clustered(random, count):
    centers = spread(random, 12)
    return centers[random.integers(0, 12, count)] + 1e-3 * spread(random, count)


def uneven(random, count):
    """Return rows of very different lengths."""
    return spread(random, count) * 10.0 ** random.uniform(-4, 4, (count, 1))


ROWS = {
    "spread": spread,
    "clustered": clustered,
    "random": lambda random, count: random.normal(size=(count, DIM)),
    "equal": lambda random, count: np.ones((count, DIM)),
    "zeros": lambda random, count: np.zeros((count, DIM)),
    "few distinct": lambda random, count: spread(random, 5)[np.arange(count) % 5],
    "uneven": uneven,
    "huge": lambda random, count: np.clip(3e4 * spread(random, count), -65504, 65504),
    "tiny": lambda random, count: 1e-6 * spread(random, count),
    "far from zero": lambda random, count: 500 + spread(random, count),
    "one line": lambda random, count: np.outer(np.arange(count), np.ones(DIM)),
    "one outlier": lambda random, count: np.vstack(
        [spread(random, count - 1), np.full((1, DIM), 6e4)]
    ),
    "pixels": lambda random, count: random.integers(0, 256, (count, DIM)),
}


def oracle(query, vectors, k, ids):
    differences = vectors.astype(np.float64) - query.astype(np.float64)
    distances = np.sqrt((differences**2).sum(axis=1))
    order = np.lexsort((ids, distances))[:k]
    return ids[order], distances[order]


def pruner_of(vectors, length, largest=None):
    squares = (vectors.astype(np.float64) ** 2).sum(axis=1)
    axes = PrincipalAxes.of(vectors, axis_count(vectors.shape[1]))
    largest = float(np.abs(vectors).max()) if largest is None else largest
    return StepwisePruner(
        vectors, float(squares.max()), axes, FirstStep(length, largest)
    )


def queries_of(random, vectors):
    """Return rows, points between rows, the negative of a row, zero, and a point far away."""
    rows = vectors[random.choice(len(vectors), 4, replace=False)].astype(np.float64)
    between = (rows[0] + rows[1]) / 2
    away = np.clip(2 * rows[2] - rows[3], -65504, 65504)
    made = [*rows[:2], between, away, -rows[0], np.zeros(DIM), np.full(DIM, 1000.0)]
    return np.array(made).astype(np.float16)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("groups", [4, 1024], ids=["groups", "no groups"])
def test_all_nearest_rows_are_left(monkeypatch, name, groups):
    monkeypatch.setattr(stepwise, "FIRST_STEP_SHARE", 1)
    monkeypatch.setattr(stepwise, "GROUPS", groups)
    monkeypatch.setattr(stepwise, "LEAST_TOGETHER", 1)
    # Several blocks, the last of them not full.
    monkeypatch.setattr(batch_scan, "BLOCK_ROWS", 128)
    random = np.random.default_rng(0)
    vectors = ROWS[name](random, 400).astype(np.float16)
    queries = queries_of(random, vectors)
    pruners = [pruner_of(vectors, 12), pruner_of(vectors, 10, largest=0.01)]
    for pruner in pruners:
        for k in (1, 7, 400):
            together = pruner.prune_many(queries, k)
            for query, many in zip(queries, together, strict=True):
                _, distances = oracle(query, vectors, 400, np.arange(400))
                nearest = np.linalg.norm(
                    vectors.astype(np.float64) - query.astype(np.float64), axis=1
                )
                tied = np.flatnonzero(nearest <= distances[k - 1])
                for left in (pruner.prune(query, k), many):
                    assert np.isin(tied, left).all()
                    assert (np.diff(left) > 0).all()


def test_few_rows_are_left_where_a_few_axes_hold_most_of_a_distance():
    random = np.random.default_rng(1)
    widths = np.where(np.arange(DIM) < 5, 1, 0.03)
    vectors = (random.normal(size=(5000, DIM)) * widths).astype(np.float16)
    pruner = pruner_of(vectors, 14)
    left = [len(pruner.prune(query, 5)) for query in vectors[:20]]
    assert np.median(left) < 100
    assert pruner.nbytes <= 0.8 * vectors.nbytes


def test_a_query_whose_sample_leaves_too_many_rows_is_pruned_alone(monkeypatch):
    random = np.random.default_rng(7)
    # Of the second half, all rows are about equally far from each other.
    halves = [clustered(random, 1500), 0.5 * random.normal(size=(1500, DIM))]
    vectors = np.vstack(halves).astype(np.float16)
    pruner = pruner_of(vectors, 14)
    scan = pruner._batch_scan
    within, given = scan.within, []
    monkeypatch.setattr(
        scan, "within", lambda batch, some: given.append(some) or within(batch, some)
    )
    queries = vectors[[0, 1, 2, 3, 4, 2900, 2901, 2902]]
    together = pruner.prune_many(queries, 3)
    is_alone = np.isneginf(given[0])
    assert is_alone.tolist() == [False] * 5 + [True] * 3
    for query, many in zip(queries[5:], together[5:], strict=True):
        alone = pruner.prune(query, 3)
        assert (alone is None) == (many is None)
        assert alone is None or alone.tolist() == many.tolist()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["spread", "clustered", "uneven", "pixels"])
def test_answers_with_steps_equal_brute_force(monkeypatch, name, threads):
    if threads > 1:
        # Each part of the rows in a thread of its own, and each query after the other.
        monkeypatch.setattr(products, "MIN_NUMBERS_FOR_THREADS", 1)
        monkeypatch.setattr(products, "_thread_count", lambda: threads)
        monkeypatch.setattr(exact, "MIN_NUMBERS_FOR_THREADS", 1)
    monkeypatch.setattr(stepwise, "FIRST_STEP_SHARE", 1)
    monkeypatch.setattr(step_choice, "MOST_COST", np.inf)
    monkeypatch.setattr(step_choice, "SHORT_LENGTHS", (10, 14))
    monkeypatch.setattr(exact, "MIN_NUMBERS_TO_PRUNE", 1)
    random = np.random.default_rng(2)
    vectors = ROWS[name](random, 900).astype(np.float16)
    ids = random.permutation(900)
    index = ExactIndex(ids, vectors)
    assert index.prepare_steps()
    # Enough for several groups, in steps of unequal size.
    monkeypatch.setattr(stepwise, "LEAST_AT_ONCE", 33)
    monkeypatch.setattr(stepwise, "MOST_LEFT", 1)
    queries = np.tile(queries_of(random, vectors), (11, 1))
    places = np.sort(random.choice(900, 300, replace=False))
    many = index.search_many(queries, 9)
    for number, query in enumerate(queries):
        expected_ids, expected = oracle(query, vectors, 9, ids)
        assert many[0][number].tolist() == expected_ids.tolist()
    few = index.search_many(queries[:3], 9)
    assert few[0].tolist() == many[0][:3].tolist()
    for number, query in enumerate(queries[:7]):
        expected_ids, expected = oracle(query, vectors, 9, ids)
        alone = index.search(query, 9)
        for found, distances in (alone, (many[0][number], many[1][number])):
            assert found.tolist() == expected_ids.tolist()
            np.testing.assert_allclose(distances, expected, rtol=1e-12)
        expected_ids, _ = oracle(query, vectors[places], 9, ids[places])
        found, _ = index.search(query, 9, places=places)
        assert found.tolist() == expected_ids.tolist()
    # Also of numbers that pruning is not made for.
    assert len(index.search(queries[0], 900)[0]) == 900
    assert len(index.search(queries[0], 0)[0]) == 0
    assert index.search_many(queries[:0], 3)[0].shape == (0, 3)


def test_steps_are_not_taken_where_all_rows_are_equally_far():
    random = np.random.default_rng(3)
    vectors = random.normal(size=(800, 160)).astype(np.float16)
    assert not ExactIndex(np.arange(800), vectors).prepare_steps()


@pytest.mark.parametrize("dim", [1, 9, 24, long_length(400)])
def test_short_vectors_have_no_steps(dim):
    vectors = np.random.default_rng(4).normal(size=(100, dim)).astype(np.float16)
    index = ExactIndex(np.arange(100), vectors)
    index.prepare_steps()
    ids, _ = index.search(vectors[7], 1)
    assert ids.tolist() == [7]


def test_steps_are_prepared_in_the_background_after_some_searches(monkeypatch):
    monkeypatch.setattr(exact, "MIN_NUMBERS_FOR_STEPS", 1)
    prepared = threading.Event()
    monkeypatch.setattr(
        step_choice, "fit_pruner", lambda *_: prepared.set() or pruner_of(vectors, 12)
    )
    vectors = spread(np.random.default_rng(5), 500).astype(np.float16)
    index = ExactIndex(np.arange(500), vectors)
    for _ in range(exact.SEARCHES_BEFORE_STEPS):
        index.search(vectors[0], 3)
    # A command with a few searches spends no time on them.
    assert not prepared.is_set()
    index.search(vectors[0], 3)
    assert prepared.wait(60)
    assert index.prepare_steps()
    assert index.search(vectors[3], 1)[0].tolist() == [3]


def test_searching_a_few_times_imports_no_steps():
    code = """if True:
        import sys
        import numpy as np
        from lookalike.vectors.exact import ExactIndex
        index = ExactIndex(np.arange(9), np.eye(9, dtype=np.float16))
        for _ in range(3):
            index.search(np.ones(9, np.float16), 2)
        assert "lookalike.vectors.step_choice" not in sys.modules
        assert "lookalike.vectors.stepwise" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_pruner_that_fails_too_often_is_dropped(monkeypatch):
    """An outlier that the trial does not see can make bounds useless; the int8 copy still helps."""
    monkeypatch.setattr(exact, "MIN_NUMBERS_TO_PRUNE", 1)
    random = np.random.default_rng(6)
    vectors = spread(random, 500).astype(np.float16)
    vectors[0] = 60000
    index = ExactIndex(np.arange(500), vectors)
    monkeypatch.setattr(
        step_choice, "fit_pruner", lambda *_: pruner_of(vectors, 12, 0.5)
    )
    assert index.prepare_steps()
    for _ in range(exact.PRUNING_BUDGET + 3):
        found, _ = index.search(vectors[9], 4)
        assert found.tolist() == oracle(vectors[9], vectors, 4, index.ids)[0].tolist()
    assert index._pruner is None
