"""Find the rows of one Space that are nearest to a vector: the candidates of a search."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lookalike.retrieval.fitted import FittedVectors
from lookalike.retrieval.loaded import SpaceVectors, nearest_of
from lookalike.retrieval.pages import POOL_ROWS
from lookalike.retrieval.ranking import PLAIN, Candidates, Ranking
from lookalike.retrieval.warm import WarmSearch
from lookalike.store import ann
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import NO_IDS, Ids, Neighbors, Places, VectorsF16

__all__ = ["CandidateSearch", "put_first"]


class CandidateSearch:
    """Finds the rows nearest to a vector by the way that suits the Space and the filter.

    Parameters
    ----------
    view, space
        The collection's table, and the name of the Space.
    vectors
        The Space's vectors.
    read_vectors
        Returns the vectors of some ids, for rankings that re-score candidates.

    Attributes
    ----------
    warm
        Searches in memory, in a process that searches often.
    """

    def __init__(
        self,
        view: View,
        space: str,
        vectors: SpaceVectors,
        read_vectors: Callable[[Ids], VectorsF16],
    ) -> None:
        self._view = view
        self._space = space
        self._vectors = vectors
        self._read_vectors = read_vectors
        self.warm = WarmSearch(view, space, vectors)

    def find(
        self,
        vector: VectorsF16,
        count: int,
        *,
        clause: str | None = None,
        excluded: Ids = NO_IDS,
        exact: bool = False,
        ranking: Ranking = PLAIN,
    ) -> Candidates:
        """Return the rows nearest to a vector, nearest first.

        Parameters
        ----------
        vector
            float16 ``[dim]``, of the Space.
        count
            The number of rows; all if there are fewer.
        clause
            A filter in the store's own language, as `View.filter_clause` returns it.
        excluded
            int64 ids of rows to leave out.
        exact
            Whether to compare every row even if the Space has an index.
        ranking
            The ranking, which may compare other vectors than those of the Space.
        """
        if ranking.changes_vectors:
            fitted = self._vectors.fitted(ranking)
            with span("compare"):
                found = self._nearest_fitted(
                    fitted, vector, count, clause, excluded, exact=exact
                )
        else:
            with span("compare"):
                found = self._nearest(vector, count, clause, excluded, exact=exact)
        if ranking.keeps_nearest:
            with span("compare"):
                nearest = self._nearest(vector, 1, clause, excluded, exact=exact)
            found = put_first(found, nearest.ids)
        return Candidates(
            ids=found.ids,
            distances=found.distances,
            recall=found.recall,
            read_vectors=self._read_vectors,
        )

    def _nearest(
        self,
        vector: VectorsF16,
        count: int,
        clause: str | None,
        excluded: Ids,
        *,
        exact: bool,
    ) -> Neighbors:
        """Search the few rows of a narrow filter, approximately, or all rows."""
        loaded = self._vectors
        if clause is not None:
            subset = loaded.subset(clause)
            if subset is not None:
                return nearest_of(subset, vector, count, excluded)

        if not exact:
            found = self._approximate(vector, count, clause, excluded)
            if found is not None:
                return found

        space_vectors = self._vectors
        places = None
        if clause is not None:
            places = space_vectors.places(clause)
        index = space_vectors.index()
        return nearest_of(index, vector, count, excluded, places)

    def _approximate(
        self, vector: VectorsF16, count: int, clause: str | None, excluded: Ids
    ) -> Neighbors | None:
        """Search in memory if this is prepared and there is no filter, or else by the index."""
        if clause is None:
            found = self.warm.nearest(vector, count, excluded)
            if found is not None:
                return found
        return ann.nearest(
            self._view, self._space, vector, count, leave_out=excluded, where=clause
        )

    def _nearest_fitted(
        self,
        fitted: FittedVectors,
        vector: VectorsF16,
        count: int,
        clause: str | None,
        excluded: Ids,
        *,
        exact: bool,
    ) -> Neighbors:
        """Search by what a ranking compares: among the rows that the index finds, or all rows."""
        compared = fitted.encode(vector)
        index = fitted.index
        is_pool_enough = not exact and count <= POOL_ROWS
        if is_pool_enough:
            pool = ann.nearest(
                self._view,
                self._space,
                vector,
                POOL_ROWS,
                leave_out=excluded,
                where=clause,
            )
            if pool is not None:
                # A row that came since the fit has no vector there.
                fitted_ids = index.ids
                pool_ids = np.intersect1d(fitted_ids, pool.ids, assume_unique=True)
                pool_places = np.searchsorted(fitted_ids, pool_ids)
                found = nearest_of(index, compared, count, excluded, pool_places)
                # The ranking is exact among the pool: only the pool may lack a row.
                return found._replace(recall=pool.recall)

        places: Places | None = None
        if clause is not None:
            places = self._vectors.places(clause)
        return nearest_of(index, compared, count, excluded, places)


def put_first(found: Neighbors, first: Ids) -> Neighbors:
    """Return the rows found with the row `first` in front, and without the last if it is new.

    It gets the distance of the row that was in front, so that the distances stay in order. With
    `first` empty, the rows are returned as they are.
    """
    if not len(first):
        return found
    ids = found.ids
    distances = found.distances
    count = len(ids)
    is_other = ids != first[0]
    others = ids[is_other]
    other_distances = distances[is_other]
    smallest = distances[:1]

    # A row that was not among them takes the place of the last.
    ids = np.concatenate([first, others])
    distances = np.concatenate([smallest, other_distances])
    ids = ids[:count]
    distances = distances[:count]
    return found._replace(ids=ids, distances=distances)
