"""Distances and nearest neighbors of many queries, a block at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from lookalike.types import Distances, Ids, VectorsF16
from lookalike.vectors.arithmetic import Floats, to_float32

__all__ = ["distance_blocks", "k_nearest", "k_nearest_ids"]

# Rows of the gallery that are converted to float64 at a time: some ten MiB, and enough for the
# matrix product to run at full speed.
_TILE_ROWS = 1 << 11


def distance_blocks(
    queries: Floats,
    gallery: Floats,
    *,
    own: npt.NDArray[np.intp] | None = None,
    memory: int = 1 << 26,
) -> Iterator[tuple[slice, Distances]]:
    """Yield the squared Euclidean distances of a block of queries to the whole gallery.

    They are computed in float64 as |x|^2 - 2 x.y + |y|^2. The products of float16 numbers are so
    short that their sum is exact for vectors of unit length and for pixels: equal distances come
    out equal, whatever the block.

    Parameters
    ----------
    queries, gallery
        Floats ``[m, dim]`` and ``[n, dim]``; neither is converted as a whole.
    own
        intp ``[m]``, the row of the gallery that is the query itself; its distance becomes
        infinite. None if the queries are not in the gallery.
    memory
        The bytes that a block's distances may take; a block has at least one query.

    Yields
    ------
    part, squares
        The slice of the queries, and their squared distances, float64 ``[len(part), n]``. The
        caller may change them.
    """
    row_bytes = 8 * max(1, len(gallery))
    step = max(1, memory // row_bytes)
    for start in range(0, len(queries), step):
        end = min(start + step, len(queries))
        part = slice(start, end)
        block = queries[part].astype(np.float64)
        squares = np.empty((len(block), len(gallery)))

        # -2 x.y + |y|^2, for a tile of the gallery at a time.
        for first in range(0, len(gallery), _TILE_ROWS):
            tile_part = slice(first, first + _TILE_ROWS)
            tile = gallery[tile_part].astype(np.float64)
            products = squares[:, tile_part]
            np.matmul(block, tile.T, out=products)
            products *= -2
            products += np.einsum("nd,nd->n", tile, tile)

        block_squares = np.einsum("nd,nd->n", block, block)
        squares += block_squares[:, np.newaxis]
        # Rounding of longer numbers can make a square negative, which has no root.
        np.maximum(squares, 0, out=squares)
        if own is not None:
            rows = np.arange(len(squares))
            squares[rows, own[part]] = np.inf
        yield part, squares


def k_nearest(
    queries: Floats, gallery: Floats, k: int, *, own: npt.NDArray[np.intp] | None = None
) -> tuple[npt.NDArray[np.intp], Distances]:
    """Return the k rows of a gallery that are nearest to each query, and their Euclidean distances.

    Parameters
    ----------
    queries, gallery
        Floats ``[m, dim]`` and ``[n, dim]``.
    k
        At most n, or n - 1 if `own` leaves one out.
    own
        intp ``[m]``, the row of the gallery that is the query itself and is left out; None if
        the queries are not in the gallery.

    Returns
    -------
    rows, distances
        ``[m, k]`` each, nearest first.
    """
    shape = (len(queries), k)
    rows = np.empty(shape, np.intp)
    distances = np.empty(shape)
    for part, squares in distance_blocks(queries, gallery, own=own):
        # The k nearest, unordered, and then by distance.
        if k < len(gallery):
            partitioned = np.argpartition(squares, k - 1, axis=1)
            nearest = partitioned[:, :k]
        else:
            every_row = np.arange(len(gallery))
            nearest = np.broadcast_to(every_row, squares.shape)
        nearest_squares = np.take_along_axis(squares, nearest, axis=1)
        order = np.argsort(nearest_squares, axis=1, kind="stable")
        rows[part] = np.take_along_axis(nearest, order, axis=1)
        ordered_squares = np.take_along_axis(nearest_squares, order, axis=1)
        distances[part] = np.sqrt(ordered_squares)
    return rows, distances


def k_nearest_ids(
    queries: VectorsF16, own_ids: Ids, batches: Iterable[tuple[Ids, VectorsF16]], k: int
) -> Ids:
    """Return the ids of the k rows nearest to each query among vectors that are read in batches.

    The vectors are never in memory as a whole, and distances are compared in float32: it is meant
    to find candidates that are then compared exactly.

    Parameters
    ----------
    queries
        float16 ``[m, dim]``.
    own_ids
        int64 ``[m]``, the id of the row that is the query itself. It is as far away as can be,
        and returned only if there are not k other rows.
    batches
        The ids, ``[n]``, and the vectors, float16 ``[n, dim]``, of each batch.
    k
        The number of ids of each query; all if there are fewer rows.

    Returns
    -------
    ids
        int64 ``[m, min(k, n)]``, in no order.
    """
    count = len(queries)
    ids = np.empty((count, 0), np.int64)
    squares = np.empty((count, 0), np.float32)
    queries_f32 = to_float32(queries)
    own_column = own_ids[:, np.newaxis]
    for batch_ids, batch in batches:
        # |y|^2 - 2 x.y orders the rows as the distance does.
        gallery = to_float32(batch)
        gallery_squares = np.einsum("nd,nd->n", gallery, gallery)
        products = queries_f32 @ gallery.T
        batch_squares = gallery_squares - 2 * products
        batch_squares[own_column == batch_ids] = np.inf

        repeated_ids = np.broadcast_to(batch_ids, batch_squares.shape)
        ids = np.concatenate([ids, repeated_ids], axis=1)
        squares = np.concatenate([squares, batch_squares], axis=1)
        if squares.shape[1] > k:
            partitioned = np.argpartition(squares, k - 1, axis=1)
            nearest = partitioned[:, :k]
            ids = np.take_along_axis(ids, nearest, axis=1)
            squares = np.take_along_axis(squares, nearest, axis=1)
    return ids
