"""Exact search in memory: the vectors of a Space as float16, compared with one query or many.

After the first search by one query, the index also keeps an int8 copy of the vectors. It is read
in half the time and shows which few rows are worth an exact comparison. An index that is searched
often replaces the copy by steps, which read a tenth of it.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lookalike.types import Distances, Ids, Places, VectorsF16
from lookalike.vectors.arithmetic import to_float32
from lookalike.vectors.products import (
    FLOAT32_STEP,
    MIN_NUMBERS_FOR_THREADS,
    Int8Rows,
    dot_products,
    map_in_threads,
    row_tiles,
    smallest,
    squared_distances,
)
from lookalike.vectors.sorted_ids import places_of_ids

if TYPE_CHECKING:
    from lookalike.vectors.stepwise import StepwisePruner

__all__ = ["ExactIndex"]

# In an index of fewer numbers, pruning takes as long as it saves.
MIN_NUMBERS_TO_PRUNE = 1 << 19
# In an index of fewer numbers, the int8 copy is read as soon as steps are taken.
MIN_NUMBERS_FOR_STEPS = 1 << 24
# Searches after which the steps are prepared, which takes as long as some hundred of them.
SEARCHES_BEFORE_STEPS = 16
# Pruning has succeeded if it leaves at most one row of this many.
PRUNED_SHARE = 8
# Stop pruning after this many net failures: where all rows are about equally far, it never
# succeeds.
PRUNING_BUDGET = 8
# Of fewer selected rows than one of this many, all are compared.
SELECTED_SHARE = 16


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
        for part, tile in row_tiles(vectors):
            np.einsum("nd,nd->n", tile, tile, out=squares[part])
        self._squares = squares
        largest = squares.max(initial=0)
        self._max_square = float(largest)

        # Calls of `search` and `search_many`.
        self._searches = 0
        self._int8_rows: Int8Rows | None = None
        self._pruner: StepwisePruner | None = None
        self._steps_lock = threading.Lock()
        self._has_tried_steps = vectors.size < MIN_NUMBERS_FOR_STEPS
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
        places, is_found = places_of_ids(ids, self.ids)
        if is_found.all() and len(self):
            return self._vectors[places]
        return None

    def distances(self, query: VectorsF16) -> Distances:
        """Return the distance of every row to a query, float64 ``[n]``, in float32 precision."""
        query_f64 = query.astype(np.float64)
        query_square = np.dot(query_f64, query_f64)
        rows = self._vectors
        products = dot_products(query, rows)

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
        self._count_search()
        pruned = self._prune(query, k, places)
        if pruned is not None:
            places = pruned
        return self._nearest_among(query, k, places)

    def nearest_of_few(
        self, query: VectorsF16, k: int, places: Places
    ) -> tuple[Ids, Distances]:
        """Return the answer of `search` among a few rows, in less time."""
        count = len(places)
        if count > k:
            rows = self._vectors[places]
            squares = squared_distances(query, rows)
            last = k - 1
            partitioned = np.partition(squares, last)
            # Each square is off by a share of itself.
            dim = len(query)
            rounding = 16 * math.sqrt(dim) * FLOAT32_STEP
            limit = partitioned[last] * (1 + 2 * rounding)
            near = squares <= limit
            places = places[near]
        return self._rank(query, places, k)

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
        count = len(queries)
        self._count_search()
        pruner = self._pruner
        pruned: list[Places | None] = [None] * count
        may_prune = count > 0 and self._may_prune(k, len(self))
        if pruner is not None and may_prune:
            pruned = pruner.prune_many(queries, k)

        # Queries for which too many rows are about equally near are compared with all.
        unpruned = [number for number in range(count) if pruned[number] is None]
        if len(unpruned) == count:
            return self._search_all(queries, k)
        shape = (count, k)
        ids = np.empty(shape, np.int64)
        distances = np.empty(shape)
        if unpruned:
            ids[unpruned], distances[unpruned] = self._search_all(queries[unpruned], k)

        def answer(number: int) -> None:
            places = pruned[number]
            if places is not None:
                nearest = self._nearest_among(queries[number], k, places)
                ids[number], distances[number] = nearest

        # Many rows are compared in threads of their own.
        most_rows = MIN_NUMBERS_FOR_THREADS // self._vectors.shape[1]
        counts = [0 if places is None else len(places) for places in pruned]
        few = [number for number in range(count) if counts[number] < most_rows]
        many = [number for number in range(count) if counts[number] >= most_rows]
        map_in_threads(answer, few)
        for number in many:
            answer(number)
        return ids, distances

    def _search_all(self, queries: VectorsF16, k: int) -> tuple[Ids, Distances]:
        """Return the answer of `search_many`, after one reading of all rows."""
        k = min(k, len(self))
        shape = (len(queries), k)
        ids = np.empty(shape, np.int64)
        distances = np.empty(shape)
        candidates = self._candidates_of_many(queries, k)
        pairs = zip(queries, candidates, strict=True)
        for number, (query, places) in enumerate(pairs):
            ids[number], distances[number] = self._rank(query, places, k)
        return ids, distances

    def _candidates_of_many(self, queries: VectorsF16, k: int) -> list[Places]:
        """Return, for each query, a few rows that include its k nearest; all rows are read."""
        queries_f32 = -2 * to_float32(queries)
        tolerances = np.array([self._tolerance(query) for query in queries], np.float32)
        candidates = _CandidateLists(k, tolerances)
        bounds = candidates.bounds
        # A view: it follows the bounds as they get lower.
        bounds_column = bounds[:, np.newaxis]
        many = 4 * k * len(queries)

        for part, tile in row_tiles(self._vectors):
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

        return candidates.lists()

    def prepare_steps(self) -> bool:
        """Prepare pruning in steps, and return whether it pays.

        It takes about as long as a few hundred searches, which go on meanwhile. An index does this
        by itself in the background, after some searches.
        """
        # A command that searches a few times does not wait for this import.
        from lookalike.vectors.step_choice import fit_pruner

        with self._steps_lock:
            if self._pruner is not None:
                return True
            self._has_tried_steps = True
            pruner = fit_pruner(self._vectors, self._max_square, self._search_all)
            if pruner is None:
                return False
            self._pruner = pruner
            # The steps take its place.
            self._int8_rows = None
            return True

    def _count_search(self) -> None:
        """Count a search, and prepare the steps in the background after some of them."""
        self._searches += 1
        if self._has_tried_steps or self._searches <= SEARCHES_BEFORE_STEPS:
            return
        self._has_tried_steps = True
        # A process that ends does not wait for it.
        thread = threading.Thread(
            target=self.prepare_steps, name="prepare steps", daemon=True
        )
        thread.start()

    def _may_prune(self, k: int, count: int) -> bool:
        """Return whether pruning may leave few of some rows."""
        most_rows = count // PRUNED_SHARE
        has_budget = self._pruning_budget > 0
        return has_budget and 1 <= k <= most_rows

    def _prune(self, query: VectorsF16, k: int, places: Places | None) -> Places | None:
        """Return a few rows that include the k nearest, or None where pruning does not pay."""
        row_count = len(self)
        pruner = self._pruner
        if places is not None:
            selected = len(places)
            are_many = SELECTED_SHARE * selected >= row_count
            if pruner is None or not are_many or not self._may_prune(k, selected):
                return None
            return pruner.prune(query, k, places)

        if not self._may_prune(k, row_count):
            return None
        if pruner is not None:
            pruned = pruner.prune(query, k)
        elif self._searches > 1:
            pruned = self._prune_by_int8(query, k)
        else:
            # Making the int8 copy takes as long as some searches, so that the first search does
            # without.
            return None

        # A failure costs one of the budget, and a success wins one back.
        if pruned is None or len(pruned) > row_count // PRUNED_SHARE:
            self._pruning_budget -= 1
            if pruner is not None and not self._pruning_budget:
                # The trial was mistaken. The int8 copy excludes more rows.
                self._pruner = None
                self._pruning_budget = PRUNING_BUDGET
            return None
        if self._pruning_budget < PRUNING_BUDGET:
            self._pruning_budget += 1
        return pruned

    def _prune_by_int8(self, query: VectorsF16, k: int) -> Places:
        """Return the rows that include the k nearest, as the int8 copy shows."""
        rows = self._int8_rows
        if rows is None:
            rows = Int8Rows(*self._vectors.shape)
            for part, tile in row_tiles(self._vectors):
                rows.fill(part, tile)
            self._int8_rows = rows

        numbers, scale, error = rows.round_query(to_float32(query))
        products = dot_products(numbers, rows.numbers)
        scales = 2 * scale * rows.scales
        estimates = self._squares - products * scales
        # The difference of two estimates is off by at most two errors of each.
        tolerance = self._tolerance(query) + 4 * error
        return smallest(estimates, k, tolerance)

    def _nearest_among(
        self, query: VectorsF16, k: int, places: Places | None
    ) -> tuple[Ids, Distances]:
        """Return ids and distances of the k nearest of some rows, or of all."""
        vectors = self._vectors
        squares = self._squares
        tolerance = self._tolerance(query)
        if places is not None:
            vectors = vectors[places]
            squares = squares[places]

        # |x|^2 - 2 x.q orders the rows as the distance does, up to the tolerance.
        products = dot_products(query, vectors)
        doubled = 2 * products
        estimates = squares - doubled
        count = min(k, len(estimates))
        near = smallest(estimates, count, tolerance)
        if places is not None:
            near = places[near]
        return self._rank(query, near, k)

    def _tolerance(self, query: VectorsF16) -> float:
        """Return twice the rounding error of an estimate, so that no nearer row is missed."""
        query_f32 = to_float32(query)
        query_square = np.dot(query_f32, query_f32)
        largest = self._max_square + float(query_square)
        dim = len(query_f32)
        steps = 16 * np.sqrt(dim)
        rounding = steps * FLOAT32_STEP
        tolerance = rounding * largest
        return float(tolerance)

    def _rank(self, query: VectorsF16, places: Places, k: int) -> tuple[Ids, Distances]:
        """Return ids and distances of the k nearest among a few rows, compared in float64."""
        # By way of float32, because NumPy converts float16 slowly.
        near = self._vectors[places]
        near_f32 = to_float32(near)
        near_f64 = near_f32.astype(np.float64)
        query_f64 = query.astype(np.float64)
        squares = squared_distances(query_f64, near_f64)
        distances = np.sqrt(squares)

        # By distance, and by id where distances are equal.
        ids = self.ids[places]
        order = np.lexsort((ids, distances))
        nearest = order[:k]
        return ids[nearest], distances[nearest]


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
        lists = np.split(places, starts)
        return lists[:count]

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
