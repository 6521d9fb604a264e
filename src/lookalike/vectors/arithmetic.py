"""Arithmetic on vectors: unit length, several made one, and all distances of many by blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["combine", "distance_blocks", "unit_length"]

Floats = npt.NDArray[np.floating[Any]]

# Rows of the gallery that are converted at a time: a few ten MiB, and enough for the product to run at full speed.
_TILE = 1 << 11


def unit_length(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the rows of float ``[n, dim]`` scaled to Euclidean length 1; a row of zeros stays as it is."""
    # In float64, where the square of no float32 runs over or vanishes.
    lengths = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
    return scaled


def combine(
    plus: Floats,
    plus_weights: Sequence[float],
    minus: Floats | None = None,
    minus_weights: Sequence[float] = (),
) -> npt.NDArray[np.float64]:
    """Return the weighted mean of some vectors less the weighted mean of others: sum(w p) / sum(w) - sum(v m) / sum(v).

    This is Rocchio's query (in Salton: The SMART Retrieval System, 1971, chapter 14) without a query of its own, both
    sides weighing the same however many they are.

    Parameters
    ----------
    plus, minus
        Floats ``[p, dim]``, p from 1, and ``[m, dim]`` or None.
    plus_weights, minus_weights
        ``[p]`` and ``[m]`` numbers above 0, of which only the ratios count.

    Returns
    -------
    vector
        float64 ``[dim]``, of whatever length it comes to.
    """
    found: npt.NDArray[np.float64] = np.average(
        plus.astype(np.float64), axis=0, weights=plus_weights
    )
    if minus is not None and len(minus):
        found -= np.average(minus.astype(np.float64), axis=0, weights=minus_weights)
    return found


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
