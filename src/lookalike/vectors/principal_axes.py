"""The directions in which vectors vary most, found on a sample of them."""

from __future__ import annotations

import numpy as np

from lookalike.types import VectorsF16, VectorsF32
from lookalike.vectors.arithmetic import to_float32
from lookalike.vectors.products import products_of_part

__all__ = ["PrincipalAxes"]

# Rows that the axes are found on. More rows hardly change them.
_AXIS_SAMPLE_ROWS = 1 << 12
# Each round of the power iteration brings the axes closer to the principal ones. They need not be
# exact: any directions at right angles give correct bounds.
_POWER_ROUNDS = 3
_AXES_SEED = 0


class PrincipalAxes:
    """A mean, and directions at right angles to each other, the widest first.

    Attributes
    ----------
    mean
        float32 ``[dim]``.
    axes
        float32 ``[dim, count]``, columns of length 1.
    """

    def __init__(self, mean: VectorsF32, axes: VectorsF32) -> None:
        self.mean = mean
        self.axes = axes
        # As rows, for products with one vector.
        self._rows = np.ascontiguousarray(axes.T)

    @classmethod
    def of(cls, rows: VectorsF16, count: int) -> PrincipalAxes:
        """Find axes on a sample of rows, by block power iteration.

        Parameters
        ----------
        rows
            float16 ``[n, dim]``.
        count
            The number of axes, at most dim.
        """
        generator = np.random.default_rng(_AXES_SEED)
        row_count, dim = rows.shape
        sample_count = min(row_count, _AXIS_SAMPLE_ROWS)
        places = generator.choice(row_count, sample_count, replace=False)
        sampled = rows[places]
        sample = to_float32(sampled)
        # The largest number is 1, so that no square overflows. The directions stay the same.
        magnitudes = np.abs(sample)
        largest = magnitudes.max(initial=0)
        scale = largest if largest > 0 else np.float32(1)
        sample /= scale
        mean = sample.mean(axis=0)
        sample -= mean

        start = generator.normal(size=(dim, count))
        directions = _orthonormal(start)
        for _ in range(_POWER_ROUNDS):
            projected = sample @ directions
            spread = sample.T @ projected
            directions = _orthonormal(spread)

        # Turn the directions within their subspace so that they are ordered by variance.
        projected = sample @ directions
        covariance = projected.T @ projected
        covariance_f64 = covariance.astype(np.float64)
        _, rotation = np.linalg.eigh(covariance_f64)
        widest_first = rotation[:, ::-1]
        turned = directions @ widest_first
        axes = _orthonormal(turned)
        true_mean = mean * scale
        return cls(true_mean, axes)

    def project(self, centered: VectorsF32) -> VectorsF32:
        """Return the coordinates of centered rows along the axes, float32 ``[n, count]``."""
        if len(centered) == 1:
            # Quicker than the threads of a matrix product start.
            products = products_of_part(centered[0], self._rows)
            return products[np.newaxis]
        coordinates: VectorsF32 = centered @ self.axes
        return coordinates


def _orthonormal(columns: np.ndarray) -> VectorsF32:
    """Return columns of length 1 at right angles that span the same space, widest first."""
    columns_f64 = columns.astype(np.float64)
    basis, _ = np.linalg.qr(columns_f64)
    return np.ascontiguousarray(basis, np.float32)
