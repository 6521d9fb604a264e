"""Vectors minus their mean, scaled to unit length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lookalike.types import VectorsF16, VectorsF32
from lookalike.vectors.arithmetic import to_float32

__all__ = ["Center"]

# Rows that are converted to float32 at a time.
_ROWS_AT_A_TIME = 1 << 12
# A row at the mean has no direction. A difference this small, as a share of the row's length, is
# rounding.
_LEAST_DIFFERENCE = 1e-4


class Center:
    """The mean that is subtracted from vectors.

    Parameters
    ----------
    mean
        float32 ``[dim]``.
    """

    def __init__(self, mean: VectorsF32) -> None:
        self.mean = mean

    @classmethod
    def of(cls, rows: VectorsF16) -> Center:
        """Return the mean of rows, float16 ``[n, dim]``, summed in float64."""
        _, dim = rows.shape
        total = np.zeros(dim)
        for tile in _float_tiles(rows):
            tile_sum = tile.sum(axis=0, dtype=np.float64)
            total += tile_sum
        row_count = len(rows)
        count = max(1, row_count)
        mean = total / count
        mean_f32 = mean.astype(np.float32)
        return cls(mean_f32)

    def center(self, rows: VectorsF16) -> VectorsF32:
        """Return rows minus the mean, scaled to unit length; a row at the mean becomes zero.

        Parameters
        ----------
        rows
            float16 ``[n, dim]``.

        Returns
        -------
        centered
            float32 ``[n, dim]``.
        """
        centered = to_float32(rows)
        lengths = _lengths(centered)
        centered -= self.mean
        distances = _lengths(centered)
        has_direction = distances > _LEAST_DIFFERENCE * lengths
        scales = np.zeros_like(distances)
        np.divide(1, distances, out=scales, where=has_direction)
        centered *= scales[:, np.newaxis]
        return centered

    def center_all(self, rows: VectorsF16) -> VectorsF16:
        """Return all rows centered, float16 ``[n, dim]``, converted a few at a time."""
        count = len(rows)
        centered = np.empty(rows.shape, np.float16)
        for first in range(0, count, _ROWS_AT_A_TIME):
            end = first + _ROWS_AT_A_TIME
            part = slice(first, end)
            part_rows = rows[part]
            centered[part] = self.center(part_rows)
        return centered

    def spread(self, rows: VectorsF16) -> float:
        """Return the root of the mean square distance of rows to the mean."""
        total = 0.0
        for tile in _float_tiles(rows):
            distances = _lengths(tile - self.mean)
            total += float(distances @ distances)
        mean_square = total / max(1, len(rows))
        return float(np.sqrt(mean_square))


def _lengths(rows: VectorsF32) -> VectorsF32:
    """Return the length of each row, float32 ``[n]``."""
    squares = np.einsum("nd,nd->n", rows, rows)
    lengths: VectorsF32 = np.sqrt(squares)
    return lengths


def _float_tiles(rows: VectorsF16) -> Iterator[VectorsF32]:
    """Yield some of the rows at a time, in float32."""
    count = len(rows)
    for first in range(0, count, _ROWS_AT_A_TIME):
        end = first + _ROWS_AT_A_TIME
        tile = rows[first:end]
        yield to_float32(tile)
