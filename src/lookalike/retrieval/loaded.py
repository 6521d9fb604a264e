"""The vectors of a Space in memory, each read on first use and again for each new version."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lookalike.errors import SpaceError
from lookalike.retrieval import fit_cache
from lookalike.retrieval.fitted import FitState, FittedVectors
from lookalike.retrieval.ranking import Ranking
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import NO_IDS, Ids, Neighbors, Places, VectorsF16
from lookalike.vectors.exact import ExactIndex

__all__ = ["SUBSET_ROWS", "SpaceVectors", "nearest_of", "without_excluded"]


# Up to this many rows that fit a filter are compared one by one: 42 MB of 1,280 numbers each.
SUBSET_ROWS = 1 << 14
# At most this many fits stay in memory.
_MAX_FITS = 2
# Fitting a smaller Space is faster than writing the file.
_LEAST_KEPT_ROWS = 1 << 10


@dataclass(frozen=True, slots=True, eq=False)
class _LoadedIndex:
    """All vectors of a Space at one version."""

    version: int
    index: ExactIndex


@dataclass(frozen=True, slots=True, eq=False)
class _LoadedFit:
    """The vectors that a ranking compares in place of those of a Space at one version."""

    version: int
    ranking: Ranking
    fitted: FittedVectors
    # Rows that differ from the fit in the cache.
    unkept_rows: int


@dataclass(frozen=True, slots=True, eq=False)
class _LoadedSubset:
    """The vectors that fit a filter, by version and clause; no index if they are many."""

    key: tuple[int, str]
    index: ExactIndex | None


class SpaceVectors:
    """The vectors of a Space: all, those that fit a filter, and those that a ranking compares.

    Parameters
    ----------
    view
        The collection's table. If it moves on to another version, the vectors are read again.
    space
        The name of the Space.

    Attributes
    ----------
    fit_progress
        Called with the work done and its total while a ranking is fitted; None by default.
    """

    def __init__(self, view: View, space: str) -> None:
        self._view = view
        self._space = space
        # Each is one object, so that another thread never sees an index with the wrong version.
        self._index: _LoadedIndex | None = None
        # The latest fits, in a list that is replaced as a whole. One thread at a time makes that of
        # a ranking, so that others wait for its result.
        self._fits: list[_LoadedFit] = []
        self._fits_lock = threading.Lock()
        self._ranking_locks: dict[str, threading.Lock] = {}
        self._subset: _LoadedSubset | None = None
        self.fit_progress: Callable[[int, int], None] | None = None

    def of(self, row_ids: Ids) -> VectorsF16 | None:
        """Return vectors from memory or from the table; None if one is missing."""
        version = self._view.version
        loaded = self._index
        if loaded is not None and loaded.version == version:
            return loaded.index.vectors(row_ids)

        view = self._view
        space = self._space
        dim = view.models[space].dim
        if not len(row_ids):
            return np.empty((0, dim), np.float16)
        texts = map(str, row_ids.tolist())
        listed = ", ".join(texts)
        clause = f"_rowid IN ({listed})"
        stored_ids, stored = view.vectors(space, clause)
        index = ExactIndex(stored_ids, stored)
        return index.vectors(row_ids)

    def loaded_size(self) -> int | None:
        """Return how many numbers the vectors in memory have; None if they must be read first."""
        loaded = self._index
        if loaded is None or loaded.version != self._view.version:
            return None
        return loaded.index.matrix.size

    def index(self) -> ExactIndex:
        """Return all vectors of the Space, read on first use and again for each new version."""
        view = self._view
        version = view.version
        loaded = self._index
        if loaded is not None and loaded.version == version:
            return loaded.index

        space = self._space
        path = view.path
        ids, matrix = view.vectors(space)
        if not len(ids):
            raise SpaceError(
                f"The Space {space!r} of {path} is empty. "
                f"Fill it with: lookalike index FOLDER -c {path} --model {space}"
            )
        index = ExactIndex(ids, matrix)
        loaded = _LoadedIndex(version, index)
        self._index = loaded
        return index

    def fitted(self, ranking: Ranking) -> FittedVectors:
        """Return a ranking's vectors, fitted on first use and again for each new version."""
        lock = self._ranking_locks.setdefault(ranking.name, threading.Lock())
        with lock:
            version = self._view.version
            loaded = self._current_fit(ranking, version)
            if loaded is not None:
                return loaded.fitted

            state, unkept_rows = self._earlier_fit(ranking)
            # Vectors of an older version leave the memory before new ones are computed.
            self._replace_fits(version)
            index = self.index()
            with span("fit ranking"):
                fitted = ranking.refit(index, state, self.fit_progress)
            unkept_rows += fitted.changed_rows
            if self._keep(ranking, fitted, unkept_rows):
                unkept_rows = 0
            latest = _LoadedFit(version, ranking, fitted, unkept_rows)
            self._replace_fits(version, latest)
            return fitted

    def has_fit(self, ranking: Ranking) -> bool:
        """Return whether `fitted` has a ranking's vectors of the newest version."""
        version = self._view.version
        loaded = self._current_fit(ranking, version)
        return loaded is not None

    def _current_fit(self, ranking: Ranking, version: int) -> _LoadedFit | None:
        for loaded in self._fits:
            if loaded.ranking is ranking and loaded.version == version:
                return loaded
        return None

    def _replace_fits(self, version: int, *latest: _LoadedFit) -> None:
        """Drop the fits of other versions and the oldest one; keep the latest."""
        with self._fits_lock:
            current = [loaded for loaded in self._fits if loaded.version == version]
            others = current[: _MAX_FITS - 1]
            self._fits = [*latest, *others]

    def _earlier_fit(self, ranking: Ranking) -> tuple[FitState | None, int]:
        """Return the state of a ranking's latest fit, and how many rows the cache lacks of it."""
        for loaded in self._fits:
            if loaded.ranking is ranking:
                state = loaded.fitted.state
                return state, loaded.unkept_rows
        if not ranking.keeps_fit:
            return None, 0
        view = self._view
        space = self._space
        name = ranking.name
        with span("read fit"):
            kept_state = fit_cache.find_fit(view, space, name)
        return kept_state, 0

    def _keep(self, ranking: Ranking, fitted: FittedVectors, unkept_rows: int) -> bool:
        """Keep a fit that differs enough from the one in the cache; return whether it was."""
        state = fitted.state
        count = len(fitted.index)
        if state is None or count < _LEAST_KEPT_ROWS:
            return False
        if not fit_cache.is_worth_keeping(unkept_rows, count):
            return False
        name = ranking.name
        with span("keep fit"):
            fit_cache.store_fit(self._view, self._space, name, state)
        return True

    def subset(self, clause: str) -> ExactIndex | None:
        """Return the vectors that fit a filter, kept for its next search; None if many."""
        view = self._view
        version = view.version
        key = version, clause
        loaded = self._subset
        if loaded is not None and loaded.key == key:
            return loaded.index

        index = None
        count = view.count_where(clause)
        if count <= SUBSET_ROWS:
            space = self._space
            ids, matrix = view.vectors(space, clause)
            index = ExactIndex(ids, matrix)
        self._subset = _LoadedSubset(key, index)
        return index

    def places(self, clause: str) -> Places:
        """Return the places in the whole index of the rows that fit a filter."""
        batches = [NO_IDS]
        with span("select"):
            scanned = self._view.scan([], clause)
            for batch in scanned:
                column = batch["_rowid"]
                row_ids = column.to_numpy()
                batches.append(row_ids)
        concatenated = np.concatenate(batches)
        fitting = concatenated.astype(np.int64)
        index = self.index()
        all_ids = index.ids
        is_fitting = np.isin(all_ids, fitting, assume_unique=True)
        return np.flatnonzero(is_fitting)


def nearest_of(
    index: ExactIndex,
    vector: VectorsF16,
    count: int,
    excluded: Ids,
    places: Places | None = None,
) -> Neighbors:
    """Return the rows of an index nearest to a vector, or those among the rows at some places."""
    # The nearest of all may be excluded.
    enough = count + len(excluded)
    ids, distances = index.search(vector, enough, places=places)
    found = Neighbors(ids, distances, recall=None)
    return without_excluded(found, count, excluded)


def without_excluded(found: Neighbors, count: int, excluded: Ids) -> Neighbors:
    """Return the first rows of an answer that are not excluded."""
    if not len(excluded):
        return found
    is_excluded = np.isin(found.ids, excluded)
    included = np.flatnonzero(~is_excluded)
    nearest = included[:count]
    ids = found.ids[nearest]
    distances = found.distances[nearest]
    return found._replace(ids=ids, distances=distances)
