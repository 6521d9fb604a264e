"""The ranking ``centered``: by the angle as seen from the mean of the rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lookalike.retrieval.fitted import FittedVectors
from lookalike.retrieval.ranking import PlainRanking
from lookalike.types import VectorsF16, VectorsF32
from lookalike.vectors import to_float32
from lookalike.vectors.exact import ExactIndex

__all__ = ["CenteredRanking", "CenteredVectors"]

# Rows that are converted to float32 at a time.
_ROWS_AT_A_TIME = 1 << 12
# A row at the mean has no direction. A difference this small, as a share of the row's length, is
# rounding.
_LEAST_DIFFERENCE = 1e-4


class CenteredRanking(PlainRanking):
    """Ranks by the Euclidean distance of centered vectors of unit length.

    The vectors of a network share a large part, their mean, which says nothing about an image.
    Without it, differences between images weigh more.
    """

    changes_vectors = True

    def fit(self, stored: ExactIndex) -> CenteredVectors:
        """Return the vectors, centered."""
        return CenteredVectors(stored)


class CenteredVectors(FittedVectors):
    """Vectors minus the mean of the rows, scaled to unit length.

    The mean is that of all rows, also in an evaluation that leaves the query out.

    Parameters
    ----------
    stored
        The vectors of a Space.
    """

    def __init__(self, stored: ExactIndex) -> None:
        rows = stored.matrix
        self._mean = _mean(rows)
        centered = np.empty(rows.shape, np.float16)
        for part, tile in _float32_tiles(rows):
            centered[part] = self._center(tile)
        self.index = ExactIndex(stored.ids, centered)

    def encode(self, query: VectorsF16) -> VectorsF16:
        """Return the query minus the mean, float16 ``[dim]`` of unit length."""
        row = to_float32(query[np.newaxis])
        centered = self._center(row)
        rounded: VectorsF16 = centered[0].astype(np.float16)
        return rounded

    def _center(self, rows: VectorsF32) -> VectorsF32:
        """Return float32 ``[n, dim]`` of unit length; a row at the mean becomes zero."""
        differences = rows - self._mean
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        distances = np.linalg.norm(differences, axis=1, keepdims=True)
        has_direction = distances > _LEAST_DIFFERENCE * lengths
        centered = np.zeros_like(differences)
        np.divide(differences, distances, out=centered, where=has_direction)
        return centered


def _mean(rows: VectorsF16) -> VectorsF32:
    """Return the mean of rows, float32 ``[dim]``, summed in float64."""
    dim = rows.shape[1]
    total = np.zeros(dim)
    for _, tile in _float32_tiles(rows):
        total += tile.sum(axis=0, dtype=np.float64)
    mean = total / max(1, len(rows))
    return mean.astype(np.float32)


def _float32_tiles(rows: VectorsF16) -> Iterator[tuple[slice, VectorsF32]]:
    """Yield a slice of the rows at a time, and these rows in float32."""
    for first in range(0, len(rows), _ROWS_AT_A_TIME):
        part = slice(first, first + _ROWS_AT_A_TIME)
        tile = to_float32(rows[part])
        yield part, tile
