"""Pruning in steps: the rows that may be among the nearest, found from a part of their numbers.

The rows are turned to their principal axes, so that the first coordinates hold most of a distance.
The first step reads a short prefix of all rows. The second reads a longer prefix of the rows that
are left. Each excludes the rows whose least possible distance exceeds that of k known rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lookalike.types import Places, VectorsF16, VectorsF32
from lookalike.vectors.arithmetic import to_float32
from lookalike.vectors.batch_scan import BatchScan, ProjectedBatch
from lookalike.vectors.prefixes import (
    REST_COORDINATES,
    Bounds,
    FloatsF32,
    LongPrefix,
    ProjectedRows,
    ShortPrefix,
    project,
    relative_rounding,
)
from lookalike.vectors.principal_axes import PrincipalAxes
from lookalike.vectors.products import map_in_threads, row_tiles

__all__ = [
    "FIRST_STEP_SHARE",
    "FirstStep",
    "StepwisePruner",
    "axis_count",
    "long_length",
    "pruning_limit",
]

# The long prefix has this share of the numbers, and takes the same share of their memory. Of short
# vectors it takes more, so that it holds enough of a distance.
LONG_SHARE = 1 / 4
LEAST_LONG = 96
MOST_LONG = 512
# Rows whose distance is computed at once, times k: k of them bound the distance of the k nearest.
PROMISING = 2
# The lowest bounds are looked for in this number of groups of rows.
GROUPS = 1 << 10
# The first step succeeds if it leaves at most one row of this many.
FIRST_STEP_SHARE = 4
# Many queries are pruned together until they may leave this number of rows.
MOST_LEFT = 1 << 23
LEAST_AT_ONCE = 32
# Their limits come from one row of this many, or of fewer where a search is for many rows.
SAMPLED_SHARE = 16
LEAST_SAMPLED = 8
# Fewer are pruned one by one.
LEAST_TOGETHER = 8


class FirstStep(NamedTuple):
    """The length of the short prefix, and the largest number that it holds well."""

    length: int
    largest: float


class StepwisePruner:
    """The rows of an index as prefixes along their principal axes.

    Parameters
    ----------
    vectors
        float16 ``[n, dim]``, not copied.
    max_square
        The largest square of a row's length.
    axes
        As many as `axis_count` returns.
    first_step
        What the first step reads.
    """

    def __init__(
        self,
        vectors: VectorsF16,
        max_square: float,
        axes: PrincipalAxes,
        first_step: FirstStep,
    ) -> None:
        self._vectors = vectors
        count, dim = vectors.shape
        self._axes = axes
        self._max_square = max_square
        # No row is longer, relative to the mean.
        mean_length = float(np.linalg.norm(axes.mean))
        max_length = float(np.sqrt(max_square)) + mean_length
        self._short = ShortPrefix(count, first_step.length, first_step.largest)
        self._long = LongPrefix(count, long_length(dim), max_length)
        batch_axes = min(first_step.length, axis_count(dim))
        self._batch_scan = BatchScan(self._long, batch_axes)
        for part, tile in row_tiles(vectors):
            rows = project(axes, tile, max_square)
            self._short.fill(part, rows)
            self._long.fill(part, rows)
            self._batch_scan.fill(part, rows)

    @property
    def nbytes(self) -> int:
        """The bytes of memory in addition to the vectors."""
        parts = (self._short, self._long, self._batch_scan)
        sizes = [part.nbytes for part in parts]
        return sum(sizes)

    def prune(
        self, query: VectorsF16, k: int, places: Places | None = None
    ) -> Places | None:
        """Return a few rows that include the k nearest to a query.

        Parameters
        ----------
        query
            float16 ``[dim]``.
        k
            1 to the number of rows to choose from.
        places
            The rows to choose from; None for all.

        Returns
        -------
        places
            intp ``[m]``, ascending; None if too many rows are about equally near.
        """
        query_f32 = to_float32(query)
        projected = self._project_queries(query_f32[np.newaxis])
        bounds = self._short.bounds(projected)
        if places is not None:
            bounds = bounds.at(places)
        most_left = len(bounds.lowest) // FIRST_STEP_SHARE
        return self._prune(query_f32, projected, bounds, k, places, most_left)

    def prune_many(self, queries: VectorsF16, k: int) -> list[Places | None]:
        """Return the answer of `prune` for each query, at least one."""
        count = len(queries)
        if count < LEAST_TOGETHER:
            return [self.prune(query, k) for query in queries]
        row_count = len(self._vectors)
        most_left = row_count // FIRST_STEP_SHARE
        most = max(LEAST_AT_ONCE, MOST_LEFT // max(1, most_left))
        found: list[Places | None] = []
        for first in range(0, count, most):
            end = first + most
            found += self._prune_some(queries[first:end], k)
        return found

    def _prune_some(self, queries: VectorsF16, k: int) -> list[Places | None]:
        """Prune for a few queries, which share each reading of the rows."""
        queries_f32 = to_float32(queries)
        projected = self._project_queries(queries_f32)
        batch = self._batch_scan.batch(projected)
        limits = self._sampled_limits(queries_f32, projected, batch, k)
        candidates = self._batch_scan.within(batch, limits)
        most_left = len(self._vectors) // FIRST_STEP_SHARE

        def prune_one(number: int) -> Places | None:
            if limits[number] == -np.inf:
                return None
            query = queries_f32[number]
            one = projected.row(number)
            places, bounds = candidates[number]
            return self._prune(query, one, bounds, k, places, most_left)

        every_query = range(len(queries))
        pruned = map_in_threads(prune_one, every_query)
        without_limit = np.flatnonzero(limits == -np.inf)
        for number in without_limit.tolist():
            pruned[number] = self.prune(queries[number], k)
        return pruned

    def _sampled_limits(
        self,
        queries: VectorsF32,
        projected: ProjectedRows,
        batch: ProjectedBatch,
        k: int,
    ) -> FloatsF32:
        """Return the limit of each query that a part of the rows gives, float32 ``[m]``.

        It is minus infinity where the true one would leave too many rows.
        """
        row_count = len(self._vectors)
        most_steps = row_count // (LEAST_SAMPLED * k)
        step = max(1, min(SAMPLED_SHARE, most_steps))
        sample = slice(0, row_count, step)
        lowest = self._batch_scan.bounds(batch, sample)
        sample_count = -(-row_count // step)
        most_left = sample_count // FIRST_STEP_SHARE

        def limit_of(number: int) -> float:
            error = float(batch.errors[number])
            bounds = Bounds(lowest[number, :sample_count], error)
            promising = _promising(bounds.lowest, PROMISING * k)
            places = step * promising
            kth_square = self._kth_square(queries[number], places, k)
            limit = pruning_limit(kth_square, projected.row(number))
            left = bounds.within(limit)
            return limit if len(left) <= most_left else -np.inf

        every_query = range(batch.count)
        limits = map_in_threads(limit_of, every_query)
        return np.array(limits, np.float32)

    def _prune(
        self,
        query: VectorsF32,
        projected: ProjectedRows,
        bounds: Bounds,
        k: int,
        places: Places | None,
        most_left: int,
    ) -> Places | None:
        # The distances of a few rows that seem near bound that of the k-th nearest.
        promising = _promising(bounds.lowest, PROMISING * k)
        if places is not None:
            promising = places[promising]
        kth_square = self._kth_square(query, promising, k)
        limit = pruning_limit(kth_square, projected)

        # First step.
        left = bounds.within(limit)
        if places is not None:
            left = places[left]
        if len(left) > most_left:
            return None

        # Second step.
        long_bounds = self._long.bounds(projected, left)
        positions = long_bounds.within(limit)
        return left[positions]

    def _kth_square(self, query: VectorsF32, places: Places, k: int) -> float:
        """Return the square of the k-th smallest distance of some rows, rounded up."""
        rows = self._vectors[places]
        differences = to_float32(rows)
        differences -= query
        squares = np.einsum("nd,nd->n", differences, differences)
        last = k - 1
        partitioned = np.partition(squares, last)
        kth = float(partitioned[last])
        rounding = relative_rounding(len(query))
        return kth * (1 + rounding)

    def _project_queries(self, queries: VectorsF32) -> ProjectedRows:
        squares = np.einsum("nd,nd->n", queries, queries)
        largest = float(squares.max())
        max_square = self._max_square + largest
        return project(self._axes, queries, max_square)


def long_length(dim: int) -> int:
    """Return the length of the prefix in the second step."""
    share = int(LONG_SHARE * dim)
    # Never more than three eighths.
    most_of_short = 3 * dim // 8
    least = min(LEAST_LONG, most_of_short)
    length = max(share, least)
    return min(length, MOST_LONG)


def axis_count(dim: int) -> int:
    """Return the number of axes that the prefixes use."""
    return long_length(dim) - REST_COORDINATES


def pruning_limit(kth_square: float, query: ProjectedRows) -> float:
    """Return the largest lower bound of a row among the nearest, up to the prefix's error."""
    # Bounds lack the square of the query's length.
    query_square = float(query.squares[0])
    difference = kth_square - query_square
    return difference + query.slack


def _promising(lowest: FloatsF32, count: int) -> Places:
    """Return the places of rows with low bounds; not always those with the lowest."""
    row_count = len(lowest)
    if count >= row_count:
        return np.arange(row_count)
    depth = row_count // GROUPS
    last = count - 1
    if depth < 2 or count > GROUPS // 4:
        partitioned = np.argpartition(lowest, last)
        return partitioned[:count]

    # Of the groups with the smallest minima, the row of each.
    grouped_count = depth * GROUPS
    grouped = lowest[:grouped_count].reshape(depth, GROUPS)
    minima = grouped.min(axis=0)
    partitioned = np.argpartition(minima, last)
    groups = partitioned[:count]
    candidates = grouped[:, groups]
    rows = candidates.argmin(axis=0)
    places: Places = rows * GROUPS + groups
    return places
