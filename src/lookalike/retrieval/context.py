"""The ranking ``context``: every vector counts half, and its nearest rows the other half.

A row is moved towards the rows around it (database augmentation), and the query towards the best
rows found for it (query expansion). Images that share their neighbors come closer.

References
----------
Chum et al.: Total Recall, ICCV 2007 (query expansion).
Arandjelovic, Zisserman: Three things everyone should know to improve object retrieval, CVPR 2012.
Radenovic, Tolias, Chum: Fine-tuning CNN Image Retrieval with No Human Annotation, PAMI 2019
(weights by similarity).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lookalike.retrieval.centered import CenteredVectors
from lookalike.retrieval.fitted import FittedVectors
from lookalike.retrieval.ranking import PlainRanking
from lookalike.types import Distances, Places, VectorsF16, VectorsF32
from lookalike.vectors import to_float32, unit_length
from lookalike.vectors.exact import ExactIndex
from lookalike.vectors.neighbors import NeighborGraph, neighbor_graph

__all__ = ["ContextRanking", "ContextVectors"]


# The number of rows that a row, or a query, is moved towards.
_NEIGHBORS = 10
# Rows that are moved at a time: with their neighbors in float32, 55 MiB of 1,280 numbers each.
_MOVED_AT_A_TIME = 1 << 10
# Queries of an evaluation that are compared at a time.
_BLOCK_QUERIES = 1 << 8


class ContextRanking(PlainRanking):
    """Ranks centered vectors, each moved half-way towards the rows around it."""

    changes_vectors = True

    def fit(self, stored: ExactIndex) -> ContextVectors:
        """Return the vectors, centered and moved."""
        return ContextVectors(stored)


class ContextVectors(FittedVectors):
    """Centered vectors, moved half-way towards their neighbors.

    With g a centered row, g_j its ten nearest others and w_j the cosines, those below 0 as 0, the
    row becomes ``unit(g + unit(sum of w_j g_j))``. A query is moved in the same way towards the ten
    best of these rows.

    Parameters
    ----------
    stored
        The vectors of a Space.
    """

    def __init__(self, stored: ExactIndex) -> None:
        self._centered = CenteredVectors(stored)
        rows = self._centered.index.matrix
        # One more than needed: it replaces a query that an evaluation leaves out.
        self._graph = neighbor_graph(rows, _NEIGHBORS + 1)
        moved = _move_all(rows, self._graph)
        self.index = ExactIndex(stored.ids, moved)

    def encode(self, query: VectorsF16) -> VectorsF16:
        """Return the query, centered and moved towards its best rows, float16 ``[dim]``."""
        centered = self._centered.encode(query)
        ids, distances = self.index.search(centered, _NEIGHBORS)
        # Of vectors of unit length: |x - y|^2 = 2 - 2 x.y
        cosines = 1 - np.square(distances) / 2
        places = np.searchsorted(self.index.ids, ids)
        neighbors = to_float32(self.index.matrix[places])
        weights = np.maximum(cosines, 0).astype(np.float32)
        towards = weights @ neighbors
        moved = _move_query(to_float32(centered), towards)
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
        centered = to_float32(self._centered.index.matrix[own])
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
            best = _best(own_cosines, _NEIGHBORS)
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
        rows = self._centered.index.matrix
        moved = _move_rows(rows, places, neighbors, cosines)
        # The rows of a search are rounded, too.
        rounded = moved.astype(np.float16)
        return to_float32(rounded)


class _ReverseNeighbors:
    """For each row, the rows that have it among their neighbors."""

    def __init__(self, graph: NeighborGraph) -> None:
        neighbors = graph.places[:, :_NEIGHBORS]
        width = max(1, neighbors.shape[1])
        flat = neighbors.ravel()
        # Stable, so that the rows of one neighbor remain in ascending order.
        order = np.argsort(flat, kind="stable")
        self._neighbors = flat[order]
        self._rows = order // width

    def of(self, place: int) -> Places:
        """Return the rows that have a row among their neighbors, in ascending order."""
        first = np.searchsorted(self._neighbors, place, "left")
        last = np.searchsorted(self._neighbors, place, "right")
        rows: Places = self._rows[first:last]
        return rows


def _move_all(rows: VectorsF16, graph: NeighborGraph) -> VectorsF16:
    """Return all rows, each moved towards its neighbors, float16 ``[n, dim]``."""
    moved = np.empty(rows.shape, np.float16)
    for first in range(0, len(rows), _MOVED_AT_A_TIME):
        last = min(first + _MOVED_AT_A_TIME, len(rows))
        places = np.arange(first, last)
        neighbors = graph.places[places, :_NEIGHBORS]
        cosines = graph.cosines[places, :_NEIGHBORS]
        moved[places] = _move_rows(rows, places, neighbors, cosines)
    return moved


def _move_rows(
    rows: VectorsF16, places: Places, neighbors: Places, cosines: VectorsF32
) -> VectorsF32:
    """Return some rows, each moved half-way towards its neighbors, float32 ``[b, dim]``.

    Parameters
    ----------
    rows
        float16 ``[n, dim]``, all centered rows.
    places
        intp ``[b]``, the rows to move.
    neighbors, cosines
        ``[b, k]`` each, the neighbors of these, and their cosines.
    """
    weights = np.maximum(cosines, 0)
    count, width = neighbors.shape
    flat_rows = to_float32(rows[neighbors.ravel()])
    neighbor_rows = flat_rows.reshape(count, width, rows.shape[1])
    towards = np.einsum("nk,nkd->nd", weights, neighbor_rows)
    own_rows = to_float32(rows[places])
    sums = own_rows + unit_length(towards)
    return unit_length(sums)


def _move_query(query: VectorsF32, towards: VectorsF32) -> VectorsF32:
    """Return a query, moved half-way towards a direction, of unit length."""
    direction = unit_length(towards[np.newaxis])
    moved = unit_length(query[np.newaxis] + direction)
    first: VectorsF32 = moved[0]
    return first


def _best(values: VectorsF32, k: int) -> Places:
    """Return the places of the k largest values, in no order."""
    k = min(k, len(values))
    partitioned = np.argpartition(-values, k - 1)
    return partitioned[:k]
