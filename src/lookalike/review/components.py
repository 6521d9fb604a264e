"""The principal components of many vectors, found on some of them."""

from __future__ import annotations

import numpy as np

from lookalike.types import Places, VectorsF16, VectorsF32
from lookalike.vectors.centering import Center

__all__ = ["draw_places", "principal_components"]

# More hold noise alone, and let a regression of few images fit it.
_MOST_COMPONENTS = 128
# Rows on which the components are found: their float32 copies take 100 MB of 1,280 numbers each.
_SAMPLE_ROWS = 20_000
# Rows that are projected at a time.
_PROJECTED_AT_A_TIME = 1 << 12
# Of the randomized decomposition: enough for the components that matter, at a third of the time of
# scikit-learn's own choice.
_ITERATIONS = 3


def draw_places(count: int, most: int, random: np.random.Generator) -> Places:
    """Return all places of `count` rows, or `most` drawn ones, ascending."""
    if count <= most:
        return np.arange(count)
    drawn = random.choice(count, most, replace=False)
    return np.sort(drawn)


def principal_components(
    vectors: VectorsF16, random: np.random.Generator
) -> VectorsF32:
    """Return vectors, centered and of unit length, by their principal components.

    Parameters
    ----------
    vectors
        float16 ``[n, dim]``.
    random
        Draws the rows on which the components are found.

    Returns
    -------
    components
        float32 ``[n, c]``, c at most 128, the dimensions and the vectors; the largest variance
        first.
    """
    from sklearn.decomposition import PCA

    row_count = len(vectors)
    center = Center.of(vectors)
    drawn = draw_places(row_count, _SAMPLE_ROWS, random)
    sample = center.center(vectors[drawn])
    count = min(_MOST_COMPONENTS, *sample.shape)
    pca = PCA(
        count, svd_solver="randomized", iterated_power=_ITERATIONS, random_state=0
    )
    # Equal rows have no variance, of which scikit-learn computes the components' shares.
    with np.errstate(invalid="ignore", divide="ignore"):
        pca.fit(sample)

    shape = row_count, count
    components = np.empty(shape, np.float32)
    for first in range(0, row_count, _PROJECTED_AT_A_TIME):
        last = first + _PROJECTED_AT_A_TIME
        part = slice(first, last)
        rows = vectors[part]
        centered = center.center(rows)
        projected = pca.transform(centered)
        components[part] = projected
    return components
