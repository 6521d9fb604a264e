"""Rankings: which vectors a search compares, and how its candidates become the answer.

A new ranking is a subclass of `Ranking` and one call of `register`. Searches name it in their
request, and `lookalike.evaluation` measures it as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np

from lookalike.errors import InputError
from lookalike.retrieval.fitted import FitState, FittedVectors, StoredVectors
from lookalike.types import Distances, Ids, Neighbors, Places, VectorsF16
from lookalike.vectors.exact import ExactIndex

__all__ = [
    "PLAIN",
    "Candidates",
    "Gallery",
    "PlainRanking",
    "Ranking",
    "merge_candidates",
    "rankings",
    "register",
    "resolve_ranking",
]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The rows that a search found, nearest first.

    Attributes
    ----------
    ids
        int64 ``[c]``.
    distances
        float64 ``[c]``, the Euclidean distances to the query; equal distances are ordered by id.
    recall
        The measured recall of the search that found them, or None if every row was compared.
    read_vectors
        Returns the vectors of some ids, float16 ``[n, dim]``.
    """

    ids: Ids
    distances: Distances
    recall: float | None
    read_vectors: Callable[[Ids], VectorsF16]

    def vectors(self) -> VectorsF16:
        """Return the candidates' vectors, float16 ``[c, dim]``, read when a ranking needs them."""
        ids = self.ids
        return self.read_vectors(ids)

    def within(self, max_distance: float) -> Candidates:
        """Return the candidates that are at most so far from the query."""
        distances = self.distances
        count = np.searchsorted(distances, max_distance, side="right")
        distances = distances[:count]
        ids = self.ids[:count]
        return replace(self, ids=ids, distances=distances)


def merge_candidates(found: Sequence[Candidates], count: int) -> Candidates:
    """Return the `count` nearest rows of several searches, each at its smallest distance."""
    first = found[0]
    if len(found) == 1:
        return first
    id_parts = []
    distance_parts = []
    for one in found:
        id_parts.append(one.ids)
        distance_parts.append(one.distances)
    ids = np.concatenate(id_parts)
    distances = np.concatenate(distance_parts)

    # Nearest first; a row counts where it first appears.
    keys = (ids, distances)
    order = np.lexsort(keys)
    ids = ids[order]
    distances = distances[order]
    _, places = np.unique(ids, return_index=True)
    places.sort()
    nearest = places[:count]
    ids = ids[nearest]
    distances = distances[nearest]
    return replace(first, ids=ids, distances=distances)


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """The rows that an evaluation searches: ids, int64 ``[n]``, and vectors, ``[n, dim]``."""

    ids: Ids
    vectors: VectorsF16

    def read_vectors(self, ids: Ids) -> VectorsF16:
        """Return the vectors of some ids of the gallery."""
        places = np.searchsorted(self.ids, ids)
        return self.vectors[places]


class Ranking(ABC):
    """Says which vectors a search compares, and orders its candidates.

    Attributes
    ----------
    changes_vectors
        Whether `fit` returns other vectors than those of the Space. If not, a search does not call
        it.
    keeps_nearest
        Whether the row whose own vector is nearest to the query stays first, whatever is compared.
    keeps_fit
        Whether a fit is kept on the disk, so that the next process computes only what differs.
    """

    changes_vectors = False
    keeps_nearest = False
    keeps_fit = False

    @property
    def name(self) -> str:
        """The name in results: that by which it is registered, or else of its class."""
        for name, ranking in _RANKINGS.items():
            if ranking is self:
                return name
        return type(self).__name__

    def fit(self, stored: ExactIndex) -> FittedVectors:
        """Return the vectors that are compared in place of the stored ones of a Space."""
        return StoredVectors(stored)

    def refit(
        self,
        stored: ExactIndex,
        state: FitState | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> FittedVectors:
        """Return the vectors as `fit` does, from an earlier fit of other rows of the same Space.

        Parameters
        ----------
        stored
            The vectors of the Space now.
        state
            `FittedVectors.state` of the earlier fit; None without one.
        progress
            Called with the work done and its total, if it takes long.
        """
        return self.fit(stored)

    def candidate_count(self, k: int) -> int:
        """Return the number of candidates for k matches; re-scoring needs more than k."""
        return k

    @abstractmethod
    def rank(self, query: VectorsF16, candidates: Candidates, k: int) -> Neighbors:
        """Return the k best candidates, best first.

        Parameters
        ----------
        query
            float16 ``[dim]``.
        candidates
            At most ``candidate_count(k)`` rows; fewer if the collection holds fewer.
        k
            The number of matches to return.
        """

    def order_gallery(
        self, queries: VectorsF16, gallery: Gallery, squares: Distances, k: int
    ) -> Places:
        """Return the order in which each of some queries ranks a whole gallery.

        The first ``candidate_count(k)`` rows by distance are ranked by `rank`, as in a search for
        k matches; the others follow by distance.

        Parameters
        ----------
        queries
            float16 ``[b, dim]``.
        gallery
            The rows that are searched.
        squares
            float64 ``[b, n]``, the squared distances; infinite for the row that is the query
            itself, which is never a candidate.
        k
            The number of matches that the ranking is asked for.

        Returns
        -------
        order
            intp ``[b, n]``, places in the gallery; a query's own row is last.
        """
        order = order_by_distance(squares)
        count = self.candidate_count(k)
        for row, query in enumerate(queries):
            # Infinite distances, those of the query's own row, are ordered last.
            head = order[row, :count]
            is_finite = np.isfinite(squares[row, head])
            head = head[is_finite]
            head_squares = squares[row, head]
            candidates = Candidates(
                ids=gallery.ids[head],
                distances=np.sqrt(head_squares),
                recall=None,
                read_vectors=gallery.read_vectors,
            )
            neighbors = self.rank(query, candidates, len(head))

            # A ranking may drop candidates; they follow those that it keeps.
            ranked = np.searchsorted(gallery.ids, neighbors.ids)
            is_dropped = ~np.isin(head, ranked)
            dropped = head[is_dropped]
            order[row, : len(head)] = np.concatenate([ranked, dropped])
        return order


class PlainRanking(Ranking):
    """Ranks by distance, equal distances by id: the order of the candidates."""

    def rank(self, query: VectorsF16, candidates: Candidates, k: int) -> Neighbors:
        """Return the first k candidates."""
        return Neighbors(
            ids=candidates.ids[:k],
            distances=candidates.distances[:k],
            recall=candidates.recall,
        )

    def order_gallery(
        self, queries: VectorsF16, gallery: Gallery, squares: Distances, k: int
    ) -> Places:
        """Return the order by distance of a whole block of queries at once."""
        return order_by_distance(squares)


_RANKINGS: dict[str, Ranking] = {}
# The module and the class of each ranking that is imported on first use.
_LAZY_RANKINGS = {
    "centered": ("lookalike.retrieval.centered", "CenteredRanking"),
    "context": ("lookalike.retrieval.context", "ContextRanking"),
}


def register(name: str, ranking: Ranking) -> None:
    """Make a ranking known by a name."""
    _RANKINGS[name] = ranking


def resolve_ranking(ranking: str | Ranking) -> Ranking:
    """Return a ranking by its name, or itself.

    Raises
    ------
    InputError
        If no ranking has the name.
    """
    if not isinstance(ranking, str):
        return ranking
    if ranking not in _RANKINGS and ranking in _LAZY_RANKINGS:
        module, name = _LAZY_RANKINGS[ranking]
        imported = import_module(module)
        ranking_class = getattr(imported, name)
        lazy_ranking = ranking_class()
        register(ranking, lazy_ranking)
    if ranking not in _RANKINGS:
        known = ", ".join(rankings())
        raise InputError(
            f"The ranking {ranking!r} is unknown; expected one of {known}."
        )
    return _RANKINGS[ranking]


def rankings() -> list[str]:
    """Return the names of all rankings, ``plain`` first."""
    names = dict.fromkeys([*_RANKINGS, *_LAZY_RANKINGS])
    return list(names)


def order_by_distance(squares: Distances) -> Places:
    """Return the columns of each row by rising distance, equal distances by column.

    A stable sort of all would take ten times as long. Equal distances are few, so the columns are
    sorted by an unstable sort first, and only those with an equal neighbor are sorted again by
    column.
    """
    order = np.argsort(squares, axis=1)
    ranked = np.take_along_axis(squares, order, axis=1)

    # `repeated` marks distances that equal the one before; `tied` adds the first of each run.
    repeated = np.zeros(squares.shape, np.bool_)
    later = repeated[:, 1:]
    np.equal(ranked[:, 1:], ranked[:, :-1], out=later)
    tied = repeated.copy()
    tied[:, :-1] |= later

    # Number the runs, and sort the columns within each.
    is_first = ~repeated[tied]
    runs = np.cumsum(is_first)
    columns = order[tied]
    by_run = np.lexsort((columns, runs))
    order[tied] = columns[by_run]
    return order


PLAIN = PlainRanking()
register("plain", PLAIN)
