"""The ranking ``centered``: by the angle as seen from the mean of the rows."""

from __future__ import annotations

import numpy as np

from lookalike.retrieval.fitted import FittedVectors
from lookalike.retrieval.ranking import PlainRanking
from lookalike.types import VectorsF16
from lookalike.vectors.centering import Center
from lookalike.vectors.exact import ExactIndex

__all__ = ["CenteredRanking", "CenteredVectors"]


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
        center = Center.of(rows)
        centered = center.center_all(rows)
        self._center = center
        self.index = ExactIndex(stored.ids, centered)

    def encode(self, query: VectorsF16) -> VectorsF16:
        """Return the query minus the mean, float16 ``[dim]`` of unit length."""
        row = query[np.newaxis]
        centered_row = self._center.center(row)
        centered = centered_row[0]
        rounded: VectorsF16 = centered.astype(np.float16)
        return rounded
