"""The ranking ``context``: every vector counts half, and its nearest rows the other half.

A row is moved towards the rows around it (database augmentation), and the query towards the best
rows found for it (query expansion). Images that share their neighbors come closer. An edited copy
may be moved away from its original, so the row whose own vector is nearest stays first.

References
----------
Chum et al.: Total Recall, ICCV 2007 (query expansion).
Arandjelovic, Zisserman: Three things everyone should know to improve object retrieval, CVPR 2012.
Radenovic, Tolias, Chum: Fine-tuning CNN Image Retrieval with No Human Annotation, PAMI 2019
(weights by similarity).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lookalike.retrieval.context_fit import NEIGHBORS, ContextFit, move_rows
from lookalike.retrieval.fitted import FitState, FittedVectors
from lookalike.retrieval.ranking import Gallery, PlainRanking
from lookalike.types import Distances, Places, VectorsF16, VectorsF32
from lookalike.vectors import distance_blocks, to_float32, unit_length
from lookalike.vectors.exact import ExactIndex
from lookalike.vectors.neighbors import NeighborGraph

__all__ = ["ContextRanking", "ContextVectors"]


# Queries of an evaluation that are compared at a time.
_BLOCK_QUERIES = 1 << 8


class ContextRanking(PlainRanking):
    """Ranks centered vectors, each moved half-way towards the rows around it."""

    changes_vectors = True
    keeps_nearest = True
    keeps_fit = True

    def fit(self, stored: ExactIndex) -> ContextVectors:
        """Return the vectors, centered and moved."""
        return self.refit(stored, None)

    def refit(
        self,
        stored: ExactIndex,
        state: FitState | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ContextVectors:
        """Return the vectors; only what differs from an earlier fit is computed."""
        if state is None:
            fit = ContextFit.compute(stored, progress)
        else:
            earlier = ContextFit.from_state(state)
            fit = earlier.update(stored, progress)
        return ContextVectors(stored, fit)

    def order_gallery(
        self, queries: VectorsF16, gallery: Gallery, squares: Distances, k: int
    ) -> Places:
        """Return the order by distance, the row whose own vector is nearest in front."""
        order = super().order_gallery(queries, gallery, squares, k)
        is_own = np.isinf(squares)
        rows = gallery.vectors
        for part, stored_squares in distance_blocks(queries, rows):
            # A query is not a match of itself.
            own = is_own[part]
            stored_squares[own] = np.inf
            nearest = stored_squares.argmin(axis=1)
            moved = order[part]
            order[part] = _move_to_front(moved, nearest)
        return order


class ContextVectors(FittedVectors):
    """Centered vectors, moved half-way towards their neighbors.

    With g a centered row, g_j its ten nearest others and w_j the cosines, those below 0 as 0, the
    row becomes ``unit(g + unit(sum of w_j g_j))``. A query is moved in the same way towards the ten
    best of these rows.

    Parameters
    ----------
    stored
        The vectors of a Space.
    fit
        These, centered and moved.
    """

    def __init__(self, stored: ExactIndex, fit: ContextFit) -> None:
        self._rows = stored.matrix
        self._fit = fit
        self._center = fit.center
        self._graph = fit.graph
        self.index = ExactIndex(fit.ids, fit.moved)
        self.changed_rows = fit.changed_rows

    @property
    def state(self) -> FitState:
        """The arrays from which a later fit begins."""
        return self._fit.state

    def encode(self, query: VectorsF16) -> VectorsF16:
        """Return the query, centered and moved towards its best rows, float16 ``[dim]``."""
        index = self.index
        row = query[np.newaxis]
        centered_row = self._center.center(row)
        centered = centered_row[0]
        searched = centered.astype(np.float16)
        ids, distances = index.search(searched, NEIGHBORS)

        # Of vectors of unit length: |x - y|^2 = 2 - 2 x.y
        squares = np.square(distances)
        cosines = 1 - squares / 2
        weights = np.maximum(cosines, 0)
        weights_f32 = weights.astype(np.float32)
        places = np.searchsorted(index.ids, ids)
        neighbors = to_float32(index.matrix[places])
        towards = weights_f32 @ neighbors
        moved = _move_query(centered, towards)
        rounded: VectorsF16 = moved.astype(np.float16)
        return rounded

    def distance_blocks(
        self, queries: VectorsF16, own: Places | None
    ) -> Iterator[tuple[slice, Distances]]:
        """Yield the squared distances of a block of queries to all rows.

        A query that is a row is left out: the rows that were moved towards it are moved towards
        their next neighbor instead. Only the mean of the rows still includes it.
        """
        if own is None:
            yield from super().distance_blocks(queries, own)
            return
        reverse = _ReverseNeighbors(self._graph)
        rows = to_float32(self.index.matrix)
        for start in range(0, len(queries), _BLOCK_QUERIES):
            end = min(start + _BLOCK_QUERIES, len(queries))
            part = slice(start, end)
            yield part, self._leave_one_out(own[part], rows, reverse)

    def _leave_one_out(
        self, own: Places, rows: VectorsF32, reverse: _ReverseNeighbors
    ) -> Distances:
        """Return the squared distances of queries to all rows, each as if it were not a row.

        Parameters
        ----------
        own
            intp ``[m]``, the rows that are the queries.
        rows
            float32 ``[n, dim]``, the moved rows.
        reverse
            The rows that were moved towards each row.
        """
        centered = self._center.center(self._rows[own])
        cosines = centered @ rows.T
        queries = np.empty_like(centered)
        corrections: list[tuple[Places, VectorsF32]] = []
        for number, place in enumerate(own):
            # Without the query, the rows that were moved towards it lie elsewhere.
            changed = reverse.of(place)
            corrected = self._move_without(place, changed)
            corrections.append((changed, corrected))
            own_cosines = cosines[number]
            own_cosines[changed] = corrected @ centered[number]
            own_cosines[place] = -np.inf

            # The query is moved towards the best of the corrected rows.
            best = _best(own_cosines, NEIGHBORS)
            weights = np.maximum(own_cosines[best], 0)
            neighbors = rows[best]
            is_changed = np.isin(best, changed)
            positions = np.searchsorted(changed, best[is_changed])
            neighbors[is_changed] = corrected[positions]
            towards = weights @ neighbors
            queries[number] = _move_query(centered[number], towards)

        # The moved queries are compared with the corrected rows, too.
        products = queries @ rows.T
        for number, (changed, corrected) in enumerate(corrections):
            products[number, changed] = corrected @ queries[number]
        row_squares = np.einsum("nd,nd->n", rows, rows)
        query_squares = np.einsum("nd,nd->n", queries, queries)
        squares = row_squares - 2 * products + query_squares[:, np.newaxis]
        distances: Distances = np.maximum(squares, 0).astype(np.float64)
        numbers = np.arange(len(own))
        distances[numbers, own] = np.inf
        return distances

    def _move_without(self, left_out: int, places: Places) -> VectorsF32:
        """Return some rows, moved towards their neighbors without one that is left out.

        Each has the row that is left out among its first neighbors, and one neighbor in reserve.
        """
        neighbors = self._graph.places[places]
        cosines = self._graph.cosines[places].copy()
        cosines[neighbors == left_out] = 0
        moved = move_rows(self._rows, self._center, places, neighbors, cosines)
        # The rows of a search are rounded, too.
        rounded = moved.astype(np.float16)
        return to_float32(rounded)


class _ReverseNeighbors:
    """For each row, the rows that have it among their neighbors."""

    def __init__(self, graph: NeighborGraph) -> None:
        neighbors = graph.places[:, :NEIGHBORS]
        width = max(1, neighbors.shape[1])
        flat = neighbors.ravel()
        # Stable, so that the rows of one neighbor remain in ascending order.
        order = np.argsort(flat, kind="stable")
        self._neighbors = flat[order]
        self._rows = order // width

    def of(self, place: int) -> Places:
        """Return the rows that have a row among their neighbors, in ascending order."""
        neighbors = self._neighbors
        first = np.searchsorted(neighbors, place, "left")
        end = np.searchsorted(neighbors, place, "right")
        rows: Places = self._rows[first:end]
        return rows


def _move_query(query: VectorsF32, towards: VectorsF32) -> VectorsF32:
    """Return a query, moved half-way towards a direction, of unit length."""
    row = towards[np.newaxis]
    direction = unit_length(row)
    sums = query + direction
    moved = unit_length(sums)
    first: VectorsF32 = moved[0]
    return first


def _move_to_front(order: Places, first: Places) -> Places:
    """Return the rows of an order, each with one of its places moved to the front."""
    count, width = order.shape
    column = first[:, np.newaxis]
    is_other = order != column
    others = order[is_other]
    reshaped = others.reshape(count, width - 1)
    return np.hstack([column, reshaped])


def _best(values: VectorsF32, k: int) -> Places:
    """Return the places of the k largest values, in no order."""
    count = len(values)
    k = min(k, count)
    last = k - 1
    partitioned = np.argpartition(-values, last)
    return partitioned[:k]
