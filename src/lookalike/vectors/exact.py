"""Exact search in memory: the vectors of a Space as float16, compared with one query or many.

After the first search by one query, the index also keeps an int8 copy of the vectors. It is read
in half the time and shows which few rows are worth an exact comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.io.processors import cores
from lookalike.types import Distances, Ids, Places, VectorsF16, VectorsF32
from lookalike.vectors.arithmetic import to_float32

__all__ = ["ExactIndex"]

VectorsInt8 = npt.NDArray[np.int8]

# Rows that are converted to float32 at a time for many queries. The product still runs at full
# speed, and the rows stay in the processor's cache.
TILE_ROWS = 1 << 11
# One thread compares fewer numbers than this sooner than several.
MIN_NUMBERS_FOR_THREADS = 1 << 23
# In an index of fewer numbers, pruning takes as long as it saves.
MIN_NUMBERS_TO_PRUNE = 1 << 19
# Pruning has succeeded if it leaves at most one row of this many.
PRUNED_SHARE = 8
# Stop pruning after this many net failures: where all rows are about equally far, it never
# succeeds.
PRUNING_BUDGET = 8
# The difference between 1 and the next larger float32.
_FLOAT32_STEP = np.finfo(np.float32).eps


class ExactIndex:
    """Vectors and their ids, ready to be searched.

    Parameters
    ----------
    ids
        int64 ``[n]``; rows at equal distance are ordered by id.
    vectors
        float16 ``[n, dim]``. A contiguous array is not copied.
    """

    def __init__(self, ids: Ids, vectors: VectorsF16) -> None:
        self.ids = ids
        vectors = np.ascontiguousarray(vectors)
        self._vectors = vectors

        # |x|^2 of every row.
        squares = np.empty(len(vectors), np.float32)
        for part, tile in _tiles(vectors):
            np.einsum("nd,nd->n", tile, tile, out=squares[part])
        self._squares = squares
        largest = squares.max(initial=0)
        self._max_square = float(largest)

        self._was_searched = False
        self._pruning_budget = 0
        if vectors.size >= MIN_NUMBERS_TO_PRUNE:
            self._pruning_budget = PRUNING_BUDGET

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def matrix(self) -> VectorsF16:
        """All vectors, float16 ``[n, dim]``, in the order of `ids`."""
        return self._vectors

    def vectors(self, ids: Ids) -> VectorsF16 | None:
        """Return the vectors of some ids, float16 ``[m, dim]``, or None if one is missing.

        The ids of the index must rise.
        """
        own_ids = self.ids
        if not len(own_ids):
            return None
        last = len(own_ids) - 1
        places = own_ids.searchsorted(ids)
        places = np.minimum(places, last)
        found_ids = own_ids[places]
        is_found = found_ids == ids
        if is_found.all():
            return self._vectors[places]
        return None

    def distances(self, query: VectorsF16) -> Distances:
        """Return the distance of every row to a query, float64 ``[n]``, in float32 precision."""
        query_f64 = query.astype(np.float64)
        query_square = np.dot(query_f64, query_f64)
        rows = self._vectors
        products = _dot_products(query, rows)

        # |x - q|^2 = |x|^2 - 2 x.q + |q|^2
        doubled = products.astype(np.float64)
        doubled *= 2
        squares = self._squares - doubled
        squares += query_square

        # Rounding can make a square negative.
        squares = np.maximum(squares, 0)
        distances: Distances = np.sqrt(squares)
        return distances

    def search(
        self, query: VectorsF16, k: int, *, places: Places | None = None
    ) -> tuple[Ids, Distances]:
        """Return the ids of the k rows nearest to a query, and their Euclidean distances.

        Parameters
        ----------
        query
            float16 ``[dim]``.
        k
            The number of rows; all if there are fewer.
        places
            intp ``[m]``, the rows of the index to compare with; None for all.

        Returns
        -------
        ids, distances
            ``[min(k, n)]`` each, nearest first. The distances are computed in float64 from the
            differences.
        """
        vectors = self._vectors
        squares = self._squares
        tolerance = self._tolerance(query)
        if places is None:
            places = self._prune(query, k, tolerance)
        if places is not None:
            vectors = vectors[places]
            squares = squares[places]

        # |x|^2 - 2 x.q orders the rows as the distance does, up to the tolerance.
        products = _dot_products(query, vectors)
        doubled = 2 * products
        estimates = squares - doubled
        count = min(k, len(estimates))
        near = _smallest(estimates, count, tolerance)
        if places is not None:
            near = places[near]
        return self._rank(query, near, k)

    def search_many(self, queries: VectorsF16, k: int) -> tuple[Ids, Distances]:
        """Return the answer of `search` for each query.

        The vectors are read once for all queries, so that a query costs a fraction of a search of
        its own.

        Parameters
        ----------
        queries
            float16 ``[m, dim]``.
        k
            The number of rows of each; all if there are fewer.

        Returns
        -------
        ids, distances
            ``[m, min(k, n)]`` each.
        """
        k = min(k, len(self))
        queries_f32 = -2 * to_float32(queries)
        tolerances = np.array([self._tolerance(query) for query in queries], np.float32)
        candidates = _CandidateLists(k, tolerances)
        bounds = candidates.bounds
        # A view: it follows the bounds as they get lower.
        bounds_column = bounds[:, np.newaxis]
        many = 4 * k * len(queries)

        for part, tile in _tiles(self._vectors):
            estimates = queries_f32 @ tile.T
            estimates += self._squares[part]
            near = estimates <= bounds_column

            # In the first tile, and wherever many rows come near, the tile's own k-th rules out
            # most of them.
            if len(tile) > k and np.count_nonzero(near) > many:
                partitioned = np.partition(estimates, k - 1, axis=1)
                kth = partitioned[:, k - 1]
                np.minimum(bounds, kth + tolerances, out=bounds)
                near = estimates <= bounds_column

            numbers, columns = np.nonzero(near)
            places = columns + part.start
            near_estimates = estimates[numbers, columns]
            candidates.add(numbers, places, near_estimates)

        shape = (len(queries), k)
        ids = np.empty(shape, np.int64)
        distances = np.empty(shape)
        pairs = zip(queries, candidates.lists(), strict=True)
        for number, (query, places) in enumerate(pairs):
            ids[number], distances[number] = self._rank(query, places, k)
        return ids, distances

    @cached_property
    def _int8_copy(self) -> _Int8Copy:
        vectors = self._vectors
        squares = self._squares
        return _Int8Copy(vectors, squares)

    def _prune(self, query: VectorsF16, k: int, tolerance: float) -> Places | None:
        """Return a few rows that include the k nearest, or None where pruning does not pay."""
        row_count = len(self)
        most_rows = row_count // PRUNED_SHARE
        has_budget = self._pruning_budget > 0
        may_prune = self._was_searched and has_budget
        if not may_prune or k > most_rows:
            # Making the int8 copy takes as long as some searches, so that the first search does
            # without.
            self._was_searched = True
            return None

        int8_copy = self._int8_copy
        estimates, error = int8_copy.estimate(query)
        tolerance += 2 * error
        places = _smallest(estimates, k, tolerance)

        # A failure costs one of the budget, and a success wins one back.
        count = len(places)
        if count > most_rows:
            self._pruning_budget -= 1
            return None
        if self._pruning_budget < PRUNING_BUDGET:
            self._pruning_budget += 1
        return places

    def _tolerance(self, query: VectorsF16) -> float:
        """Return twice the rounding error of an estimate, so that no nearer row is missed."""
        query_f32 = to_float32(query)
        query_square = np.dot(query_f32, query_f32)
        largest = self._max_square + float(query_square)
        dim = len(query_f32)
        steps = 16 * np.sqrt(dim)
        rounding = steps * _FLOAT32_STEP
        tolerance = rounding * largest
        return float(tolerance)

    def _rank(self, query: VectorsF16, places: Places, k: int) -> tuple[Ids, Distances]:
        """Return ids and distances of the k nearest among a few rows, compared in float64."""
        # By way of float32, because NumPy converts float16 slowly.
        query_f32 = to_float32(query)
        near = self._vectors[places]
        near_f32 = to_float32(near)
        differences = near_f32.astype(np.float64)
        differences -= query_f32
        squares = np.einsum("nd,nd->n", differences, differences)
        distances = np.sqrt(squares)

        # By distance, and by id where distances are equal.
        ids = self.ids[places]
        order = np.lexsort((ids, distances))
        nearest = order[:k]
        return ids[nearest], distances[nearest]


class _Int8Copy:
    """Vectors rounded to int8, each row with its own scale, and the error of a product.

    With x = x' + dx and q = q' + dq, where x' and q' are the rounded vectors: x.q = x'.q' + dx.q
    + x'.dq. The last two terms are at most |dx| |q| + (|x| + |dx|) |dq|.
    """

    def __init__(self, vectors: VectorsF16, squares: npt.NDArray[np.float32]) -> None:
        self._squares = squares
        largest = squares.max(initial=0)
        self._max_length = float(np.sqrt(largest))

        # Each tile of rows is rounded by itself; the largest loss of all bounds the error.
        rows, dim = vectors.shape
        self._numbers = np.empty((rows, dim), np.int8)
        self._scales = np.empty(rows, np.float32)
        self._max_loss = 0.0
        for part, tile in _tiles(vectors):
            numbers, scales, losses = _round_to_int8(tile)
            self._numbers[part] = numbers
            self._scales[part] = scales
            largest_loss = float(losses.max())
            self._max_loss = max(self._max_loss, largest_loss)

    def estimate(self, query: VectorsF16) -> tuple[npt.NDArray[np.float32], float]:
        """Return |x|^2 - 2 x.q of each row, and its largest error before float32 rounding."""
        query_f32 = query.astype(np.float32)
        numbers, scales, losses = _round_to_int8(query_f32[np.newaxis])
        query_numbers = numbers[0]
        query_scale = scales[0]
        query_loss = float(losses[0])

        products = _dot_products(query_numbers, self._numbers)
        scales = 2 * query_scale * self._scales
        estimates = self._squares - products * scales

        query_square = np.dot(query_f32, query_f32)
        query_length = float(np.sqrt(query_square))
        row_error = query_length * self._max_loss
        query_error = (self._max_length + self._max_loss) * query_loss
        error = 2 * (row_error + query_error)
        return estimates, error


class _CandidateLists:
    """For each of some queries, the rows that may be among its k nearest.

    Attributes
    ----------
    bounds
        float32 ``[m]``, the estimate above which a row cannot be among the k nearest. The caller
        reads it and may lower it; it is lowered here whenever many rows have been added.
    """

    def __init__(self, k: int, tolerances: npt.NDArray[np.float32]) -> None:
        count = len(tolerances)
        self.bounds = np.full(count, np.inf, np.float32)
        self._k = k
        self._tolerances = tolerances
        # The lists are shortened when more rows than this have been added.
        self._most_added = 16 * k * count
        self._added = 0
        # Each row is a number of a query, a place in the index and an estimate, at one position
        # of three lists.
        no_places = np.empty(0, np.intp)
        no_estimates = np.empty(0, np.float32)
        self._numbers = [no_places]
        self._places = [no_places]
        self._estimates = [no_estimates]

    def add(
        self, numbers: Places, places: Places, estimates: npt.NDArray[np.float32]
    ) -> None:
        """Add rows: places in the index, each a candidate of the query with the given number."""
        self._numbers.append(numbers)
        self._places.append(places)
        self._estimates.append(estimates)
        added = self._added + len(numbers)
        self._added = added
        if added > self._most_added:
            self._tighten()

    def lists(self) -> list[Places]:
        """Return the candidates of each query."""
        self._tighten()
        numbers = self._numbers[0]
        places = self._places[0]
        # A list starts where the number of its query does.
        count = len(self.bounds)
        later_queries = np.arange(1, count)
        starts = np.searchsorted(numbers, later_queries)
        return np.split(places, starts)

    def _tighten(self) -> None:
        """Order the candidates by query and estimate; drop those behind the k-th of a query."""
        numbers = np.concatenate(self._numbers)
        places = np.concatenate(self._places)
        estimates = np.concatenate(self._estimates)
        order = np.lexsort((estimates, numbers))
        numbers = numbers[order]
        places = places[order]
        estimates = estimates[order]

        # Of a query with k candidates, the k-th is the new bound.
        every_query = np.arange(len(self.bounds))
        starts = np.searchsorted(numbers, every_query, "left")
        ends = np.searchsorted(numbers, every_query, "right")
        counts = ends - starts
        full = counts >= max(self._k, 1)
        kth_positions = starts[full] + self._k - 1
        kth = estimates[kth_positions]
        self.bounds[full] = kth + self._tolerances[full]

        within = estimates <= self.bounds[numbers]
        self._numbers = [numbers[within]]
        self._places = [places[within]]
        self._estimates = [estimates[within]]
        self._added = 0


def _round_to_int8(
    vectors: VectorsF32,
) -> tuple[VectorsInt8, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Round vectors to int8.

    Returns
    -------
    numbers
        int8 ``[n, dim]``.
    scales
        float32 ``[n]``: a row is about its numbers times its scale.
    losses
        float32 ``[n]``, the length of the difference, rounded up.
    """
    largest = vectors.max(axis=1)
    smallest = vectors.min(axis=1)
    magnitudes = np.maximum(largest, -smallest)
    scales = magnitudes / np.float32(127)
    scales[scales == 0] = 1

    columns = scales[:, np.newaxis]
    numbers = vectors / columns
    np.rint(numbers, out=numbers)
    rounded = numbers * columns

    # The length of the difference.
    differences = vectors - rounded
    squares = np.einsum("nd,nd->n", differences, differences)
    losses = np.sqrt(squares)
    losses *= np.float32(1.001)
    return numbers.astype(np.int8), scales, losses


def _tiles(vectors: VectorsF16) -> Iterator[tuple[slice, VectorsF32]]:
    for first in range(0, len(vectors), TILE_ROWS):
        end = first + TILE_ROWS
        rows = vectors[first:end]
        tile = to_float32(rows)
        count = len(rows)
        part = slice(first, first + count)
        yield part, tile


def _smallest(estimates: npt.NDArray[np.float32], k: int, tolerance: float) -> Places:
    """Return the places of the k smallest estimates, and of those within the tolerance."""
    count = len(estimates)
    if k == count:
        return np.arange(k)
    last = k - 1
    partitioned = np.partition(estimates, last)
    limit = partitioned[last]
    limit += tolerance
    near = estimates <= limit
    return np.flatnonzero(near)


def _dot_products(
    query: VectorsF16 | VectorsInt8, rows: VectorsF16 | VectorsInt8
) -> npt.NDArray[np.float32]:
    """Return the dot product of a query with each row, without converting the rows to float32."""
    if rows.size < MIN_NUMBERS_FOR_THREADS:
        return _dot_products_of_part(query, rows)

    def compare(part: VectorsF16 | VectorsInt8) -> npt.NDArray[np.float32]:
        return _dot_products_of_part(query, part)

    # Each thread compares its part of the rows.
    count = _thread_count()
    parts = np.array_split(rows, count)
    threads = _threads()
    products_of_parts = list(threads.map(compare, parts))
    return np.concatenate(products_of_parts)


def _dot_products_of_part(
    query: VectorsF16 | VectorsInt8, rows: VectorsF16 | VectorsInt8
) -> npt.NDArray[np.float32]:
    if not len(rows):
        return np.empty(0, np.float32)
    simsimd = _simsimd()
    contiguous = np.ascontiguousarray(query)
    one_query = contiguous[np.newaxis]
    table = simsimd.cdist(one_query, rows, "dot")
    products_of_queries = np.asarray(table, np.float32)
    products: npt.NDArray[np.float32] = products_of_queries[0]
    return products


@cache
def _simsimd() -> Any:
    import simsimd

    # Its kernel for processors with float16 arithmetic also sums in float16, which loses
    # thousands of products.
    simsimd.disable_capability("sapphire")
    return simsimd


@cache
def _thread_count() -> int:
    # Reading a container's quota takes a part of each search that can be measured.
    return cores()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_thread_count(), "compare")
