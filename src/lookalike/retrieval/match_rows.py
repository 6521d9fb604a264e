"""The uris and labels of matches, read from the table or from memory."""

from __future__ import annotations

import threading

from lookalike.store.row_columns import load_columns, loaded_columns
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import Ids

__all__ = ["MatchRows"]

_SHOWN_COLUMNS = ("uri", "label")
# Reading the matches of one search from the table takes as long as loading the columns of this
# number of rows.
_ROWS_PER_READ = 1 << 14
# A command that searches a few times loads none.
_LEAST_READS = 4
# About 100 bytes a row. More rows are read from the table.
_MOST_LOADED_ROWS = 1 << 22


class MatchRows:
    """Reads the uris and labels of matches.

    A process that searches often loads those of all rows, once the reads from the table have taken
    about as long as loading does.

    Parameters
    ----------
    view
        The collection.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._loading = threading.Lock()
        # Reads from the table at one version.
        self._version = -1
        self._reads = 0

    def read(self, ids: Ids) -> tuple[list[str], list[str | None]]:
        """Return the uris and the labels of some rows, in their order.

        Raises
        ------
        CollectionError
            If a row does not exist.
        """
        view = self._view
        with span("read matches"):
            if self._is_loading_due():
                self._load()
            loaded = loaded_columns(view, _SHOWN_COLUMNS)
            if loaded is not None:
                positions = loaded.positions(ids)
                if len(positions) == len(ids):
                    uris = loaded.values("uri", positions)
                    labels = loaded.values("label", positions)
                    return uris, labels

            # An unknown row is reported by the table.
            rows = view.take(ids, _SHOWN_COLUMNS)
            return rows["uri"].to_pylist(), rows["label"].to_pylist()

    def _is_loading_due(self) -> bool:
        """Count a read, and return whether it is time to load the columns."""
        view = self._view
        version = view.version
        if self._version != version:
            self._version = version
            self._reads = 0
        self._reads += 1
        is_loaded = loaded_columns(view, _SHOWN_COLUMNS) is not None
        if is_loaded or self._reads <= _LEAST_READS:
            return False
        row_count = view.count_where(None)
        is_worth_it = row_count <= self._reads * _ROWS_PER_READ
        return is_worth_it and row_count <= _MOST_LOADED_ROWS

    def _load(self) -> None:
        """Load the columns, unless another thread does: this one reads from the table then."""
        is_mine = self._loading.acquire(blocking=False)
        if not is_mine:
            return
        try:
            load_columns(self._view, _SHOWN_COLUMNS)
        finally:
            self._loading.release()
