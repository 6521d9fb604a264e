"""Learn the axes of a map from centered vectors and their labels."""

from __future__ import annotations

from contextlib import suppress
from typing import Self

import numpy as np
import numpy.typing as npt

from lookalike.maintenance.optimize import DIM_MULTIPLE
from lookalike.types import Distances, Places, Purpose, VectorsF16, VectorsF32
from lookalike.vectors.centering import Center

__all__ = ["MAX_AXES", "LabelMoments", "learn_axes"]

# A Model is stored with every version of a collection, so its map is kept small: 1,280 numbers
# times 64 axes take 218 kB as text.
MAX_AXES = 64

# The strength of the ridge, as a multiple of the mean eigenvalue. Chosen on nine classes of
# Caltech 101: docs/decisions has the figures of others.
_RIDGE = 1.0
# The share of the mean eigenvalue in the shrunk covariance.
_SHRINKAGE = 0.6

_SUMMED_ROWS = 1 << 12

# In more dimensions, the largest eigenvalues alone take a fraction of the time of all: of 3,072, 64
# take 6 seconds of processor time in place of 25.
_LANCZOS_DIM = 512


class LabelMoments:
    """The sums over centered vectors that both kinds of maps are learned from.

    Attributes
    ----------
    products
        float64 ``[dim, dim]``, the sum of the outer products of all rows.
    class_sums
        float64 ``[classes, dim]``, the sum of the rows of each class.
    sizes
        float64 ``[classes]``, the number of rows of each class.
    """

    def __init__(self, dim: int, classes: int) -> None:
        self.products = np.zeros((dim, dim))
        self.class_sums = np.zeros((classes, dim))
        self.sizes = np.zeros(classes)

    @classmethod
    def of(cls, rows: VectorsF16, classes: Places, center: Center) -> Self:
        """Return the sums over rows, float16 ``[n, dim]``, a few thousand at a time.

        Parameters
        ----------
        rows
            float16 ``[n, dim]``, before they are centered.
        classes
            intp ``[n]``, the class of each row; each number from 0 on has at least one.
        center
            The mean that is subtracted.
        """
        count, dim = rows.shape
        class_count = int(classes.max()) + 1
        moments = cls(dim, class_count)
        for first in range(0, count, _SUMMED_ROWS):
            part = slice(first, first + _SUMMED_ROWS)
            centered = center.center(rows[part])
            moments._add(centered, classes[part])
        return moments

    def _add(self, centered: VectorsF32, classes: Places) -> None:
        self.products += centered.T @ centered
        np.add.at(self.class_sums, classes, centered)
        self.sizes += np.bincount(classes, minlength=len(self.sizes))


def learn_axes(
    moments: LabelMoments,
    purpose: Purpose,
    *,
    ridge: float = _RIDGE,
    shrinkage: float = _SHRINKAGE,
    most_axes: int = MAX_AXES,
) -> VectorsF16:
    """Return the axes of a map, float16 ``[dim, r]``; see `lookalike.models.learned.VectorMap`.

    Parameters
    ----------
    moments
        The sums over the labeled rows.
    purpose
        ``these-classes`` learns one direction for each label, ``anything`` the directions in which
        images of one label differ.
    ridge, shrinkage, most_axes
        The settings: the first of ``these-classes``, the second of ``anything``.
    """
    if purpose == "these-classes":
        axes = _ridge_axes(moments, ridge, most_axes)
        axes = _pad(axes)
    else:
        axes = _within_axes(moments, shrinkage, most_axes)
    return axes.astype(np.float16)


def _ridge_axes(moments: LabelMoments, ridge: float, most_axes: int) -> Distances:
    """Return the weights of a ridge regression of the labels, in a few directions.

    Hoerl and Kennard: Ridge Regression, 1970. The targets are one column for each label, 1 for its
    images and 0 for others, minus the column's mean.
    """
    sizes = moments.sizes
    shares = sizes / sizes.sum()
    total = moments.class_sums.sum(axis=0)
    targets = moments.class_sums - np.outer(shares, total)

    products = moments.products
    dim = len(products)
    mean_eigenvalue = np.trace(products) / dim
    # Without any difference between the rows, every solution is 0.
    strength = ridge * mean_eigenvalue or 1.0
    identity = np.eye(dim)
    regularized = products + strength * identity
    weights = np.linalg.solve(regularized, targets.T)

    # Rotated to their main directions, the same coordinates take no more columns than the
    # weights have rank.
    left, scales, _ = np.linalg.svd(weights, full_matrices=False)
    directions = left * scales
    axes: Distances = directions[:, :most_axes]

    # The coordinates of the learned images get a mean square length of 1, that of the vector beside
    # them. Images of other labels have shorter ones, so that their own vector counts for more.
    square_length = np.sum(axes * (products @ axes)) / sizes.sum()
    if square_length > 0:
        axes /= np.sqrt(square_length)
    return axes


def _within_axes(moments: LabelMoments, shrinkage: float, most_axes: int) -> Distances:
    """Return the directions to shrink so that images of one label differ alike in all directions.

    The covariance within labels is shrunk towards a multiple of the identity (Ledoit and Wolf: A
    Well-Conditioned Estimator for Large-Dimensional Covariance Matrices, 2004). Its inverse root is
    almost a multiple of the identity but in the directions of the largest eigenvalues.
    """
    sizes = moments.sizes[:, np.newaxis]
    means = moments.class_sums / np.sqrt(sizes)
    scatter = moments.products - means.T @ means
    covariance = scatter / moments.sizes.sum()
    eigenvalues, directions = _largest_eigenpairs(covariance, most_axes)
    # Rounding makes the smallest ones negative.
    largest = np.maximum(eigenvalues, 0)
    mean_eigenvalue = max(np.trace(covariance) / len(covariance), 0)

    # With eigenvalues l and their mean t, the inverse root scales a direction by
    # (.6 t / (.4 l + .6 t)) ** .5, compared with the directions in which images do not differ.
    floor = shrinkage * mean_eigenvalue
    shrunk = (1 - shrinkage) * largest + floor
    ratios = np.ones_like(largest)
    np.divide(floor, shrunk, out=ratios, where=largest > 0)
    scales = np.sqrt(ratios)
    lost = np.maximum(1 - scales, 0)
    axes: Distances = directions * np.sqrt(lost)
    return axes


def _largest_eigenpairs(matrix: Distances, count: int) -> tuple[Distances, Distances]:
    """Return the largest eigenvalues of a symmetric matrix, and their eigenvectors as columns."""
    dim = len(matrix)
    if dim > _LANCZOS_DIM and np.any(matrix):
        from scipy.sparse.linalg import ArpackError, eigsh

        start = np.ones(dim)
        # The iteration may fail where there are fewer different rows than directions.
        with suppress(ArpackError):
            values, vectors = eigsh(matrix, count, which="LA", v0=start)
            return values, vectors
    all_values, all_vectors = np.linalg.eigh(matrix)
    order = np.argsort(-all_values)[:count]
    return all_values[order], all_vectors[:, order]


def _pad(axes: Distances) -> Distances:
    """Add columns of zeros until the joined vectors have a length that an index takes."""
    dim, axis_count = axes.shape
    missing = -(dim + axis_count) % DIM_MULTIPLE
    zeros: npt.NDArray[np.float64] = np.zeros((dim, missing))
    return np.concatenate([axes, zeros], axis=1)
