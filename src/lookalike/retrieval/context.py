"""The ranking ``context``: each row and the query count half, their nearest rows the other half.

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

__all__ = ["NEIGHBORS", "ContextRanking", "ContextVectors"]


# The rows that a row, and a query, are moved towards.
NEIGHBORS = 10
# Rows that are moved at a time: with their neighbors, 55 MiB of 1,280 numbers each.
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
        # One neighbor more, which takes the place of a query that an evaluation leaves out.
        self._graph = neighbor_graph(rows, NEIGHBORS + 1)
        moved = _move_all(rows, self._graph)
        self.index = ExactIndex(stored.ids, moved)

    def encode(self, query: VectorsF16) -> VectorsF16:
        """Return the query, centered and moved towards its best rows, float16 ``[dim]``."""
        centered = self._centered.encode(query)
        ids, distances = self.index.search(centered, NEIGHBORS)
        # Of vectors of unit length: |x - y|^2 = 2 - 2 x.y
        cosines = 1 - np.square(distances) / 2
        places = np.searchsorted(self.index.ids, ids)
        neighbors = to_float32(self.index.matrix[places])
        weights = np.maximum(cosines, 0).astype(np.float32)
        towards = weights @ neighbors
        moved = _move(to_float32(centered), towards)
        rounded: VectorsF16 = moved.astype(np.float16)
        return rounded

    def distance_blocks(
        self, queries: VectorsF16, own: Places | None
    ) -> Iterator[tuple[slice, Distances]]:
        """Yield the squared distances of a block of queries to all rows.

        A query that is a row is left out: the rows that were moved towards it are moved towards
        their next neighbor instead.
        """
        if own is None:
            yield from super().distance_blocks(queries, own)
            return
        holders = _Holders(self._graph)
        rows = to_float32(self.index.matrix)
        for start in range(0, len(queries), _BLOCK_QUERIES):
            part = slice(start, min(start + _BLOCK_QUERIES, len(queries)))
            yield part, self._distances_left_out(own[part], rows, holders)

    def _distances_left_out(
        self, own: Places, rows: VectorsF32, holders: _Holders
    ) -> Distances:
        """Return the squared distances of some rows to all, each as if it were no row."""
        centered = to_float32(self._centered.index.matrix[own])
        products = centered @ rows.T
        moved_queries = np.empty_like(centered)
        changes: list[tuple[Places, VectorsF32]] = []
        for number, place in enumerate(own):
            changed = holders.of(int(place))
            moved = self._moved_without(changed, int(place))
            changes.append((changed, moved))
            query = centered[number]
            cosines = products[number]
            cosines[changed] = moved @ query
            cosines[place] = -np.inf
            best = _best(cosines, NEIGHBORS)
            weights = np.maximum(cosines[best], 0)
            neighbors = rows[best]
            is_changed = np.isin(best, changed)
            positions = np.searchsorted(changed, best[is_changed])
            neighbors[is_changed] = moved[positions]
            moved_queries[number] = _move(query, weights @ neighbors)

        # The distances of the moved queries, again with the rows that change.
        products = moved_queries @ rows.T
        for number, (changed, moved) in enumerate(changes):
            products[number, changed] = moved @ moved_queries[number]
        row_squares = np.einsum("nd,nd->n", rows, rows)
        query_squares = np.einsum("nd,nd->n", moved_queries, moved_queries)
        squares = row_squares - 2 * products + query_squares[:, np.newaxis]
        distances: Distances = np.maximum(squares, 0).astype(np.float64)
        distances[np.arange(len(own)), own] = np.inf
        return distances

    def _moved_without(self, changed: Places, place: int) -> VectorsF32:
        """Return some rows, moved towards their neighbors but for one."""
        neighbors = self._graph.places[changed]
        cosines = np.where(neighbors == place, 0, self._graph.cosines[changed])
        rows = self._centered.index.matrix
        moved = _move_towards(rows, changed, neighbors, cosines)
        return to_float32(moved.astype(np.float16))


class _Holders:
    """The rows that have a given row among their neighbors."""

    def __init__(self, graph: NeighborGraph) -> None:
        neighbors = graph.places[:, :NEIGHBORS]
        width = neighbors.shape[1]
        flat = neighbors.ravel()
        order = np.argsort(flat, kind="stable")
        self._held = flat[order]
        self._holders = order // max(1, width)

    def of(self, place: int) -> Places:
        """Return the rows that have a row among their neighbors, in ascending order."""
        first = np.searchsorted(self._held, place, "left")
        last = np.searchsorted(self._held, place, "right")
        holders: Places = self._holders[first:last]
        return holders


def _move_all(rows: VectorsF16, graph: NeighborGraph) -> VectorsF16:
    """Return all rows, each moved towards its neighbors, float16 ``[n, dim]``."""
    moved = np.empty(rows.shape, np.float16)
    for first in range(0, len(rows), _MOVED_AT_A_TIME):
        places = np.arange(first, min(first + _MOVED_AT_A_TIME, len(rows)))
        neighbors = graph.places[places, :NEIGHBORS]
        cosines = graph.cosines[places, :NEIGHBORS]
        moved[places] = _move_towards(rows, places, neighbors, cosines)
    return moved


def _move_towards(
    rows: VectorsF16, places: Places, neighbors: Places, cosines: VectorsF32
) -> VectorsF32:
    """Return some rows, each moved towards its neighbors."""
    weights = np.maximum(cosines, 0)
    count, width = neighbors.shape
    flat_rows = to_float32(rows[neighbors.ravel()])
    neighbor_rows = flat_rows.reshape(count, width, rows.shape[1])
    towards = np.einsum("nk,nkd->nd", weights, neighbor_rows)
    own_rows = to_float32(rows[places])
    return unit_length(own_rows + unit_length(towards))


def _move(query: VectorsF32, towards: VectorsF32) -> VectorsF32:
    """Return one vector, moved half-way towards another direction, of unit length."""
    direction = unit_length(towards[np.newaxis])
    moved = unit_length(query[np.newaxis] + direction)
    first: VectorsF32 = moved[0]
    return first


def _best(values: VectorsF32, k: int) -> Places:
    """Return the places of the k largest values, in no order."""
    k = min(k, len(values))
    return np.argpartition(-values, k - 1)[:k]
