"""Rankings that compare other vectors than those of the Space, fitted to its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike import vectors
from lookalike.types import Distances, Places, VectorsF16
from lookalike.vectors.exact import ExactIndex

__all__ = ["FitState", "FittedVectors", "StoredVectors"]

# Arrays by name, which are kept for the next process.
FitState = dict[str, npt.NDArray[Any]]


class FittedVectors(ABC):
    """The vectors that a ranking compares in place of those of a Space.

    Attributes
    ----------
    index
        A vector for each row of the Space, with the row's id.
    changed_rows
        The number of rows that were added, removed or changed since the state that the fit began
        with; all if it began with none.
    """

    index: ExactIndex
    changed_rows = 0

    @property
    def state(self) -> FitState | None:
        """The arrays from which `Ranking.refit` begins, or None if it always fits from the rows."""
        return None

    @abstractmethod
    def encode(self, query: VectorsF16) -> VectorsF16:
        """Return the vector that is compared with the rows for a query, float16 ``[dim]``."""

    def distance_blocks(
        self, queries: VectorsF16, own: Places | None
    ) -> Iterator[tuple[slice, Distances]]:
        """Yield the squared distances of a block of queries to all rows, for an evaluation.

        Parameters
        ----------
        queries
            float16 ``[m, dim]``, vectors of the Space.
        own
            intp ``[m]``, the row that is the query itself; its distance becomes infinite. None if
            the queries are not among the rows.

        Yields
        ------
        part, squares
            The slice of the queries, and their squared distances, float64 ``[len(part), n]``.
        """
        encoded = [self.encode(query) for query in queries]
        stacked = np.stack(encoded)
        rows = self.index.matrix
        yield from vectors.distance_blocks(stacked, rows, own=own)


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
        rows = self.index.matrix
        yield from vectors.distance_blocks(queries, rows, own=own)
