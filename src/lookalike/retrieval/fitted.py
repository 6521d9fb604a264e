"""Rankings that compare other vectors than those of the Space, fitted to its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from lookalike import vectors
from lookalike.types import Distances, Places, VectorsF16
from lookalike.vectors.exact import ExactIndex

__all__ = ["FittedVectors", "StoredVectors"]


class FittedVectors(ABC):
    """What a ranking compares in place of the vectors of a Space.

    Attributes
    ----------
    index
        The rows that are compared, one for each row of the Space, with its id.
    """

    index: ExactIndex

    @abstractmethod
    def encode(self, query: VectorsF16) -> VectorsF16:
        """Return the vector to compare with the rows, for a query's vector, float16 ``[dim]``."""

    def distance_blocks(
        self, queries: VectorsF16, own: Places | None
    ) -> Iterator[tuple[slice, Distances]]:
        """Yield the squared distances of a block of queries to all rows, for an evaluation.

        Parameters
        ----------
        queries
            float16 ``[m, dim]``, vectors of the Space.
        own
            intp ``[m]``, the row that is the query itself. It is infinitely far away, and has no
            part in the answer to itself. None if the queries are not among the rows.
        """
        encoded = [self.encode(query) for query in queries]
        rows = self.index.matrix
        yield from vectors.distance_blocks(np.stack(encoded), rows, own=own)


class StoredVectors(FittedVectors):
    """The vectors of the Space themselves."""

    def __init__(self, index: ExactIndex) -> None:
        self.index = index

    def encode(self, query: VectorsF16) -> VectorsF16:
        """Return the query itself."""
        return query

    def distance_blocks(
        self, queries: VectorsF16, own: Places | None
    ) -> Iterator[tuple[slice, Distances]]:
        """Yield the squared distances of a block of queries to all rows."""
        yield from vectors.distance_blocks(queries, self.index.matrix, own=own)
