"""The graph of nearest neighbors of unit vectors, a tile of rows at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lookalike.types import Places, VectorsF16, VectorsF32
from lookalike.vectors.arithmetic import to_float32

__all__ = ["NeighborGraph", "neighbor_graph"]


# Rows that are compared with a tile of rows at a time. Their products take 64 MiB.
_BLOCK_ROWS = 1 << 12
_OTHER_ROWS = 1 << 12


class NeighborGraph(NamedTuple):
    """The nearest other rows of each row.

    Attributes
    ----------
    places
        intp ``[n, k]``, the places of the neighbors, nearest first.
    cosines
        float32 ``[n, k]``, their dot products with the row.
    """

    places: Places
    cosines: VectorsF32


def neighbor_graph(rows: VectorsF16, k: int) -> NeighborGraph:
    """Return the k nearest other rows of each row of unit length, by the dot product in float32.

    Unlike `lookalike.vectors.k_nearest`, which compares in float64, it is meant for every row of a
    large Space. Only the products of a block of rows with a tile of rows are in memory at a time.

    Parameters
    ----------
    rows
        float16 ``[n, dim]``.
    k
        The number of neighbors; all other rows if there are fewer.
    """
    count = len(rows)
    k = max(0, min(k, count - 1))
    places = np.empty((count, k), np.intp)
    cosines = np.empty((count, k), np.float32)
    if not k:
        return NeighborGraph(places, cosines)
    for start in range(0, count, _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        places[part], cosines[part] = _neighbors_of_block(rows, start, k)
    return NeighborGraph(places, cosines)


def _neighbors_of_block(
    rows: VectorsF16, start: int, k: int
) -> tuple[Places, VectorsF32]:
    """Return the neighbors of the block of rows that begins at `start`, and their cosines."""
    block = to_float32(rows[start : start + _BLOCK_ROWS])
    count = len(block)
    places = np.empty((count, 0), np.intp)
    cosines = np.empty((count, 0), np.float32)
    for first in range(0, len(rows), _OTHER_ROWS):
        tile = to_float32(rows[first : first + _OTHER_ROWS])
        products = block @ tile.T
        # A row is not its own neighbor.
        own_columns = np.arange(count) + start - first
        is_in_tile = (own_columns >= 0) & (own_columns < len(tile))
        own_rows = np.flatnonzero(is_in_tile)
        products[own_rows, own_columns[is_in_tile]] = -np.inf

        # The best of this tile, joined with the best of the tiles before.
        best_of_tile = _columns_of_largest(products, k)
        tile_cosines = np.take_along_axis(products, best_of_tile, axis=1)
        tile_places = best_of_tile + first
        cosines = np.concatenate([cosines, tile_cosines], axis=1)
        places = np.concatenate([places, tile_places], axis=1)
        best = _columns_of_largest(cosines, k)
        cosines = np.take_along_axis(cosines, best, axis=1)
        places = np.take_along_axis(places, best, axis=1)

    # Nearest first, equal products by place.
    order = np.lexsort((places, -cosines), axis=1)
    ordered_places = np.take_along_axis(places, order, axis=1)
    ordered_cosines = np.take_along_axis(cosines, order, axis=1)
    return ordered_places, ordered_cosines


def _columns_of_largest(values: VectorsF32, k: int) -> Places:
    """Return the columns of the k largest values of each row, in no order."""
    width = values.shape[1]
    if width <= k:
        every_column = np.arange(width)
        return np.broadcast_to(every_column, values.shape)
    partitioned = np.argpartition(values, width - k, axis=1)
    return partitioned[:, width - k :]
