"""Approximate search in memory, for a process that searches a Space often.

It is prepared in the background: the vectors are read, their graph comes from the cache or is
made, and its recall is measured on the rows. Until then, searches use the index of the table or
compare all rows, as searches with a filter always do.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from lookalike.errors import LookalikeError
from lookalike.io.free_memory import free_memory
from lookalike.retrieval import fit_cache
from lookalike.retrieval.loaded import SpaceVectors, nearest_of, without_excluded
from lookalike.store import ann
from lookalike.store.view import View
from lookalike.types import Ids, Neighbors, VectorsF16
from lookalike.vectors.exact import ExactIndex
from lookalike.vectors.graph_search import GraphSearch
from lookalike.vectors.row_graph import GraphStopped, RowGraph

__all__ = ["WarmSearch"]

# Rows from which a graph is made: docs/decisions/0049-graphs-in-memory.md has the measurements.
LEAST_GRAPH_ROWS = 50_000
# Searches of a Space after which it is prepared.
SEARCHES_BEFORE_GRAPH = 16
# The recall that a graph must reach, unless `optimize` was asked for a higher one.
GRAPH_RECALL = 0.99
# The vectors may take this share of the memory that is left.
MOST_MEMORY_SHARE = 0.5
# Searches that are timed, to see whether the index of the table or exact search is faster.
TIMED_SEARCHES = 8
TIMED_K = 10
# The name of a graph in the cache, beside those of rankings.
GRAPH_NAME = "graph of rows"
# Seconds to wait at the end of a process for the library to return.
MOST_EXIT_WAIT = 2.0

# Set when the process ends.
_stopping = threading.Event()
# One Space is prepared at a time: this takes the memory and the processor of one.
_preparing = threading.Lock()
_preparations: set[threading.Thread] = set()


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """What is in memory of one version of a Space.

    Attributes
    ----------
    version
        The version.
    rows
        All vectors.
    is_exact_faster
        Whether exact search is faster than the index of the table.
    search
        The graph; None until it is made.
    unkept_rows
        Rows that differ from the graph in the cache.
    """

    version: int
    rows: ExactIndex
    is_exact_faster: bool
    search: GraphSearch | None = None
    unkept_rows: int = 0

    def nearest(
        self, vector: VectorsF16, count: int, excluded: Ids
    ) -> Neighbors | None:
        """Return the nearest rows by the graph or by exact search; None if neither is suitable."""
        rows = self.rows
        search = self.search
        if search is not None:
            # The nearest of all may be excluded.
            enough = count + len(excluded)
            answer = search.search(rows, vector, enough)
            if answer is not None:
                found = Neighbors(*answer)
                return without_excluded(found, count, excluded)
        if self.is_exact_faster:
            return nearest_of(rows, vector, count, excluded)
        return None


class WarmSearch:
    """Searches a Space in memory, once this is prepared.

    Parameters
    ----------
    view, space
        The collection's table, and the name of the Space.
    vectors
        The Space's vectors.
    """

    def __init__(self, view: View, space: str, vectors: SpaceVectors) -> None:
        self._view = view
        self._space = space
        self._vectors = vectors
        # Searches of a version, and the version that was prepared last, or is being prepared.
        self._searches = 0
        self._searched: int | None = None
        self._begun: int | None = None
        self._lock = threading.Lock()
        # One object, so that another thread never sees rows with the graph of others.
        self._prepared: _Prepared | None = None

    def nearest(
        self, vector: VectorsF16, count: int, excluded: Ids
    ) -> Neighbors | None:
        """Return the rows nearest to a vector, or None if they should be found in another way.

        Parameters
        ----------
        vector
            float16 ``[dim]``.
        count
            The number of rows.
        excluded
            int64 ids of rows to leave out.
        """
        version = self._view.version
        prepared = self._prepared
        if prepared is None or prepared.version != version:
            self._count_search(version)
            return None
        return prepared.nearest(vector, count, excluded)

    def prepare(self) -> bool:
        """Prepare the newest version now, and return whether its graph is used."""
        version = self._view.version
        with _preparing:
            try:
                self._prepare(version)
            except GraphStopped:
                # The process ends.
                return False
            except (LookalikeError, MemoryError, RuntimeError) as error:
                log = logging.getLogger("lookalike")
                log.warning("no graph of the Space %r is made: %s", self._space, error)
        prepared = self._prepared
        if prepared is None or prepared.version != version:
            return False
        search = prepared.search
        return search is not None and bool(search.widths)

    def _count_search(self, version: int) -> None:
        """Count a search, and prepare the version in the background after some of them."""
        with self._lock:
            if self._searched != version:
                # A collection that changes all the time is not prepared each time.
                self._searched = version
                self._searches = 0
            self._searches += 1
            is_begun = self._begun == version
            if is_begun or self._searches <= SEARCHES_BEFORE_GRAPH:
                return
            self._begun = version
        _run_in_background(self.prepare)

    def _prepare(self, version: int) -> None:
        """Read the vectors, and read or make their graph."""
        row_count = self._view.count(self._space)
        if row_count < LEAST_GRAPH_ROWS or not self._has_memory(row_count):
            return
        # The earlier graph, of this process or of another. Its rows leave the memory first.
        earlier = None
        unkept_rows = 0
        if self._prepared is not None:
            earlier = self._prepared.search
            unkept_rows = self._prepared.unkept_rows
            self._prepared = None
        if earlier is None:
            earlier = self._kept_graph()
        rows = self._vectors.index()
        rows.prepare_steps()
        is_exact_faster = self._is_exact_faster(rows)
        self._prepared = _Prepared(version, rows, is_exact_faster)

        # Its update, and the recall of that.
        target = self._target()
        search = _search_of(rows, earlier, target)
        unkept_rows += search.graph.changed_rows
        if fit_cache.is_worth_keeping(unkept_rows, len(rows)):
            fit_cache.store_fit(self._view, self._space, GRAPH_NAME, search.state)
            unkept_rows = 0
        self._prepared = _Prepared(version, rows, is_exact_faster, search, unkept_rows)

    def _has_memory(self, row_count: int) -> bool:
        """Return whether the vectors of some rows take a fair share of the memory that is left."""
        available = free_memory()
        if available is None:
            return True
        model = self._view.models[self._space]
        vector_bytes = 2 * model.dim * row_count
        return vector_bytes <= MOST_MEMORY_SHARE * available

    def _is_exact_faster(self, rows: ExactIndex) -> bool:
        """Return whether exact search in memory is faster than the index of the table."""
        last = len(rows) - 1
        places = np.linspace(0, last, TIMED_SEARCHES, dtype=np.intp)
        exact_seconds = []
        index_seconds = []
        for query in rows.matrix[places]:
            start = time.perf_counter()
            rows.search(query, TIMED_K)
            middle = time.perf_counter()
            found = ann.nearest(self._view, self._space, query, TIMED_K)
            end = time.perf_counter()
            if found is None:
                return True
            exact_seconds.append(middle - start)
            index_seconds.append(end - middle)
        return bool(np.median(exact_seconds) < np.median(index_seconds))

    def _kept_graph(self) -> GraphSearch | None:
        """Return the graph in the cache; None if it is missing or damaged."""
        state = fit_cache.find_fit(self._view, self._space, GRAPH_NAME)
        if state is None:
            return None
        with suppress(ValueError, KeyError, RuntimeError):
            return GraphSearch.from_state(state)
        return None

    def _target(self) -> float:
        tuning = ann.stored_tuning(self._view, self._space)
        if tuning is None:
            return GRAPH_RECALL
        return max(GRAPH_RECALL, tuning.target)


def _search_of(
    rows: ExactIndex, earlier: GraphSearch | None, target: float
) -> GraphSearch:
    """Return the measured graph of some rows, from an earlier one of the same Space."""
    is_stopped = _stopping.is_set
    if earlier is None:
        graph = RowGraph.build(rows, is_stopped)
        return GraphSearch.measure(graph, rows, target, is_stopped)

    graph = earlier.graph.update(rows, is_stopped)
    is_unchanged = not graph.changed_rows
    if is_unchanged and earlier.target == target:
        return earlier
    search = GraphSearch.measure(graph, rows, target, is_stopped)
    if search.widths or len(graph.ids) == graph.changed_rows:
        return search
    # Many updates may have worn it out.
    graph = RowGraph.build(rows, is_stopped)
    return GraphSearch.measure(graph, rows, target, is_stopped)


def _run_in_background(work: Callable[[], object]) -> None:
    """Run a function in a thread that a process that ends does not wait for."""

    def run() -> None:
        try:
            work()
        finally:
            _preparations.discard(thread)

    thread = threading.Thread(target=run, name="prepare graph", daemon=True)
    _preparations.add(thread)
    thread.start()


@atexit.register
def _stop_threads() -> None:
    """Stop the work, and wait until the library has returned, which may not be interrupted."""
    _stopping.set()
    for thread in list(_preparations):
        thread.join(MOST_EXIT_WAIT)
