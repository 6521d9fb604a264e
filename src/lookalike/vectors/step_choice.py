"""Whether pruning in steps pays for some rows, and the length of its first step, by a trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from lookalike.types import Distances, Ids, VectorsF16
from lookalike.vectors.arithmetic import to_float32
from lookalike.vectors.prefixes import LongPrefix, ShortPrefix, largest_number, project
from lookalike.vectors.principal_axes import PrincipalAxes
from lookalike.vectors.stepwise import (
    FIRST_STEP_SHARE,
    FirstStep,
    StepwisePruner,
    axis_count,
    long_length,
    pruning_limit,
)

__all__ = ["fit_pruner"]

# Lengths of the short prefix to choose from.
SHORT_LENGTHS = (32, 64, 96, 120, 160, 240)
# Rows that the trial prunes, and those of them that are its queries.
TRIAL_ROWS = 1 << 13
TRIAL_QUERIES = 24
TRIAL_K = 20
# A row takes as long as this number of bytes more than it has: when all are read in turn, and when
# it is one of a few.
SCAN_OVERHEAD = 96
GATHER_OVERHEAD = 2500
# Pruning in steps has to take less than this share of one scan of all numbers in int8.
MOST_COST = 0.7
_TRIAL_SEED = 0

RowCounts = npt.NDArray[np.float64]
SearchMany = Callable[[VectorsF16, int], tuple[Ids, Distances]]


def fit_pruner(
    vectors: VectorsF16, max_square: float, search_many: SearchMany
) -> StepwisePruner | None:
    """Return a pruner of rows, or None where reading all numbers takes about as long.

    Parameters
    ----------
    vectors
        float16 ``[n, dim]``.
    max_square
        The largest square of a row's length.
    search_many
        Searches the rows exactly, by some queries and k.
    """
    row_count, dim = vectors.shape
    if long_length(dim) <= SHORT_LENGTHS[0]:
        return None
    axes = PrincipalAxes.of(vectors, axis_count(dim))
    trial = _Trial(vectors, max_square, search_many, axes)
    best: FirstStep | None = None
    best_cost = MOST_COST * row_count * (dim + SCAN_OVERHEAD)
    for length in SHORT_LENGTHS:
        if length >= long_length(dim):
            break
        first_step = trial.first_step(length)
        cost = trial.cost(first_step)
        if cost < best_cost:
            best = first_step
            best_cost = cost
    if best is None:
        return None
    return StepwisePruner(vectors, max_square, axes, best)


class _Trial:
    """A sample of the rows, some of which are queries with known distances to their nearest."""

    def __init__(
        self,
        vectors: VectorsF16,
        max_square: float,
        search_many: SearchMany,
        axes: PrincipalAxes,
    ) -> None:
        row_count, dim = vectors.shape
        generator = np.random.default_rng(_TRIAL_SEED)
        sample_count = min(row_count, TRIAL_ROWS)
        places = generator.choice(row_count, sample_count, replace=False)
        sample = vectors[places]
        queries = sample[:TRIAL_QUERIES]
        _, distances = search_many(queries, TRIAL_K)
        kth_squares = distances[:, -1] ** 2

        self._row_count = row_count
        self._dim = dim
        self._rows = project(axes, to_float32(sample), max_square)
        projected = project(axes, to_float32(queries), 2 * max_square)
        numbers = range(len(queries))
        self._queries = [projected.row(number) for number in numbers]
        pairs = zip(kth_squares.tolist(), self._queries, strict=True)
        self._limits = [pruning_limit(square, query) for square, query in pairs]

        # Rows that the second step leaves.
        self._long_length = long_length(dim)
        every_row = np.arange(sample_count)
        largest = largest_number(self._rows.coordinates)
        prefix = LongPrefix(sample_count, self._long_length, largest)
        prefix.fill(slice(0, sample_count), self._rows)
        bounds = (prefix.bounds(query, every_row) for query in self._queries)
        self._left_by_long = self._count(bound.lowest - bound.error for bound in bounds)

    def first_step(self, length: int) -> FirstStep:
        """Return a first step that reads prefixes of a length."""
        prefixes = self._rows.prefixes(length)
        largest = largest_number(prefixes)
        return FirstStep(length, largest)

    def cost(self, first_step: FirstStep) -> float:
        """Return the bytes that a search reads, with the time that each row takes as bytes."""
        sample_count = len(self._rows.squares)
        length = first_step.length
        prefix = ShortPrefix(sample_count, length, first_step.largest)
        prefix.fill(slice(0, sample_count), self._rows)
        bounds = (prefix.bounds(query) for query in self._queries)
        left = self._count(bound.lowest - bound.error for bound in bounds)

        scan = self._row_count * (length + SCAN_OVERHEAD)
        long_bytes = 2 * self._long_length + GATHER_OVERHEAD
        row_bytes = 2 * self._dim + GATHER_OVERHEAD
        steps = scan + left * long_bytes + self._left_by_long * row_bytes
        # Where the first step leaves too many, all rows are compared completely.
        complete = scan + self._row_count * 2 * self._dim
        succeeds = left <= self._row_count / FIRST_STEP_SHARE
        costs = np.where(succeeds, steps, complete)
        return float(costs.mean())

    def _count(self, lowest_of_queries: Iterable[npt.NDArray[np.float32]]) -> RowCounts:
        """Return the number of all rows that are left for each query, as the sample has it."""
        sample_count = len(self._rows.squares)
        pairs = zip(lowest_of_queries, self._limits, strict=True)
        counts = [np.count_nonzero(lowest <= limit) for lowest, limit in pairs]
        scale = self._row_count / sample_count
        scaled: RowCounts = scale * np.array(counts)
        return scaled
