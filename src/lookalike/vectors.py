"""Arithmetic on vectors: unit length, and exact nearest neighbours by blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["distance_blocks", "nearest", "unit_length"]

Floats = npt.NDArray[np.floating[Any]]

# Rows of the gallery that one matrix product takes: 64 queries against them stay under 64 MiB of distances.
_BLOCK = 1 << 18
# Rows of the gallery that are converted at a time: a few ten MiB, and enough for the product to run at full speed.
_TILE = 1 << 11


def unit_length(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the rows of float ``[n, dim]`` scaled to Euclidean length 1; a row of zeros stays as it is."""
    # In float64, where the square of no float32 runs over or vanishes.
    lengths = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
    return scaled


def nearest(
    query: npt.NDArray[np.float32], gallery: npt.NDArray[np.float32], k: int, *, ids: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return the k rows of the gallery that are nearest to one query, and their Euclidean distances.

    Parameters
    ----------
    query
        float32 ``[dim]``.
    gallery
        float32 ``[n, dim]``.
    k
        How many; all rows if there are fewer.
    ids
        int64 ``[n]``; rows at the same distance are ordered by it.

    Returns
    -------
    rows, distances
        ``[min(k, n)]`` each, nearest first; the distances computed in float64 from the differences.
    """
    rows = _candidates(query, gallery, min(k, len(gallery)))
    differences = gallery[rows].astype(np.float64) - query.astype(np.float64)
    distances = np.sqrt(np.einsum("nd,nd->n", differences, differences))
    order = np.lexsort((ids[rows], distances))[:k]
    return rows[order], distances[order]


def _candidates(query: npt.NDArray[np.float32], gallery: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.intp]:
    """Return rows that surely hold the k nearest, found by one product: |x - q|^2 = |x|^2 - 2 x.q + |q|^2.

    The product's rounding can swap near ties, so every row within its error of the k-th is kept.
    """
    if k == len(gallery):
        return np.arange(len(gallery))
    squares = np.concatenate(
        [
            np.einsum("nd,nd->n", block, block) - 2 * (block @ query)
            for block in np.split(gallery, range(_BLOCK, len(gallery), _BLOCK))
        ]
    )
    kth = np.partition(squares, k - 1)[k - 1]
    scale = float(query @ query) + float(np.abs(squares).max())
    slack = 16 * np.sqrt(gallery.shape[1]) * np.finfo(np.float32).eps * scale
    return np.flatnonzero(squares <= kth + slack)


def distance_blocks(
    queries: Floats, gallery: Floats, *, memory: int = 1 << 26
) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    """Yield the squared Euclidean distances of some queries at a time to the whole gallery.

    They are computed in float64 as |x|^2 - 2 x.y + |y|^2. The products of halves (float16) are so short that their
    sum is exact for vectors of length 1 and for pixels: equal distances come out equal, whatever the block.

    Parameters
    ----------
    queries, gallery
        Floats ``[m, dim]`` and ``[n, dim]``; neither is converted as a whole.
    memory
        Bytes that a block's distances may take; it has at least one query.

    Yields
    ------
    part, squares
        Which queries, and their distances, float64 ``[len(part), n]``, the caller's to change.
    """
    step = max(1, memory // (8 * max(1, len(gallery))))
    for start in range(0, len(queries), step):
        part = slice(start, min(start + step, len(queries)))
        block = queries[part].astype(np.float64)
        squares = np.empty((len(block), len(gallery)))
        for first in range(0, len(gallery), _TILE):
            tile = gallery[first : first + _TILE].astype(np.float64)
            products = squares[:, first : first + _TILE]
            np.matmul(block, tile.T, out=products)
            products *= -2
            products += np.einsum("nd,nd->n", tile, tile)
        squares += np.einsum("nd,nd->n", block, block)[:, np.newaxis]
        # Where rounding was needed after all, it must give nobody a root of less than nothing.
        yield part, np.maximum(squares, 0, out=squares)
