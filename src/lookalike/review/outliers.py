"""Outliers: images that are far from all others.

References
----------
Ramaswamy, Rastogi, Shim: Efficient algorithms for mining outliers from large data sets, SIGMOD
2000 (distance to the k-th nearest neighbor).
"""

from __future__ import annotations

import numpy as np

from lookalike.review.results import Outlier, Outliers
from lookalike.review.rows import MIN_COMPARED_ROWS, ReviewedRows
from lookalike.types import Distances
from lookalike.vectors.neighbors import NeighborGraph

__all__ = ["find_outliers"]

# As many images that are alike, and far from all others, are no longer outliers.
_NEIGHBOR = 10
# In a small collection the k-th nearest of so many would be almost all of it.
_ROWS_PER_NEIGHBOR = 4
# An outlier is this many standard deviations farther than the median. The deviation is estimated
# from the median of the absolute deviations, which outliers themselves do not change.
_DEVIATIONS = 4
_DEVIATION_OF_MEDIAN = 1.4826
# Smaller deviations are those of copies, and of rounding.
_LEAST_DEVIATION = 0.01
_LARGEST_DISTANCE = 2.0


def find_outliers(
    rows: ReviewedRows, graph: NeighborGraph, most: int | None = None
) -> Outliers:
    """Return the rows whose distance to their k-th nearest row is unusually large.

    Parameters
    ----------
    rows, graph
        The rows, and the nearest rows of each.
    most
        Return as many of the farthest rows instead of those above the threshold.
    """
    count = len(rows)
    affordable = (count - 1) // _ROWS_PER_NEIGHBOR
    at_least_one = max(1, affordable)
    neighbor = min(_NEIGHBOR, at_least_one)
    if count < MIN_COMPARED_ROWS:
        return Outliers(
            images=(), threshold=_LARGEST_DISTANCE, neighbor=neighbor, median=0.0
        )

    distances = _distances(graph, neighbor)
    median = np.median(distances)
    deviation = _deviation(distances)
    threshold = median + _DEVIATIONS * deviation

    # The farthest first.
    order = np.argsort(-distances, kind="stable")
    ordered = distances[order]
    far = order[ordered > threshold]
    if most is not None:
        far = order[:most]
    images = []
    for place in far.tolist():
        outlier = _outlier(rows, place, distances)
        images.append(outlier)
    return Outliers(
        images=tuple(images),
        threshold=float(threshold),
        neighbor=neighbor,
        median=float(median),
    )


def _outlier(rows: ReviewedRows, place: int, distances: Distances) -> Outlier:
    image = rows.image(place)
    distance = distances[place]
    return Outlier(
        id=image.id, uri=image.uri, label=image.label, distance=float(distance)
    )


def _distances(graph: NeighborGraph, neighbor: int) -> Distances:
    """Return the distance of each row to its k-th nearest row, float64 ``[n]``."""
    last = neighbor - 1
    cosines = graph.cosines[:, last]
    # Of vectors of unit length: |x - y|^2 = 2 - 2 x.y
    squares = 2 - 2 * cosines.astype(np.float64)
    # Rounding can make the square of copies negative.
    np.maximum(squares, 0, out=squares)
    return np.sqrt(squares)


def _deviation(distances: Distances) -> float:
    """Return a standard deviation that outliers do not change."""
    median = np.median(distances)
    differences = np.abs(distances - median)
    middle = np.median(differences)
    deviation = _DEVIATION_OF_MEDIAN * middle
    return max(float(deviation), _LEAST_DEVIATION)
