"""The served collections: opened once, and reopened when another process changes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.duplicates.groups import Duplicates
from lookalike.errors import InputError, LookalikeError
from lookalike.models import devices
from lookalike.models.cache import EmbedderCache
from lookalike.retrieval.confidence import calibration_state
from lookalike.retrieval.query import VectorQuery, WeightedQuery
from lookalike.retrieval.request import SearchRequest
from lookalike.retrieval.search import Searcher
from lookalike.review.results import Review
from lookalike.server.cache import SizedCache
from lookalike.server.column_values import few_values
from lookalike.server.learned_schemas import describe_learned
from lookalike.server.problems import Problem
from lookalike.server.row_cache import RowCache
from lookalike.store import ann
from lookalike.store.filter_tree import Column
from lookalike.store.places import is_store_address, locate
from lookalike.store.table import Table
from lookalike.types import Ids, Model

__all__ = ["CollectionRegistry", "CollectionView", "ServedCollection"]

# The ids selected by recent filters, 32 MiB for all filters of a view.
_MAX_SELECTED_IDS = 1 << 22
# After reopening a collection, wait this multiple of the time that it took: a collection that grows
# fast is reopened for at most a tenth of the time.
_REFRESH_PAUSE = 9
# The seconds after a check for a request that found nothing new.
_CATCH_UP_PAUSE = 1.0


class CollectionView:
    """One version of a collection; a request uses the same view from start to end.

    Attributes
    ----------
    name, table, models
        The collection's name, its table at this version, and the Model of each Space.
    row_cache
        The columns of every row that responses show.
    ready_spaces
        The Spaces in which `warm_up` could search.
    derived, derived_lock
        Objects computed from this version, such as the placers of maps, by key, and the lock of
        those who compute them.
    """

    def __init__(self, name: str, table: Table, embedders: EmbedderCache) -> None:
        self.name = name
        self.table = table
        # The table parses its schema on every access to its models.
        self.models = table.models
        self._default_space = next(iter(self.models), "")
        self.row_cache = RowCache(table)
        self.ready_spaces: set[str] = set()
        self.derived: dict[tuple[str, ...], Any] = {}
        self.derived_lock = threading.Lock()
        self._embedders = embedders
        self._lock = threading.Lock()
        self._searchers: dict[str, Searcher] = {}
        self._selections: SizedCache[str, Ids] = SizedCache(
            _MAX_SELECTED_IDS, size_of=lambda ids: len(ids) + 1
        )

    def searcher(self, space: str | None) -> Searcher:
        """Return the searcher of a Space; None stands for the first Space."""
        # `Table.space` parses the table's schema, so it is called for unknown names only.
        name = space
        if name is None:
            name = self._default_space
        if name not in self.models:
            name = self.table.space(space)
        with self._lock:
            searcher = self._searchers.get(name)
            if searcher is None:
                searcher = self._make_searcher(name)
                self._searchers[name] = searcher
        return searcher

    def _make_searcher(self, space: str) -> Searcher:
        model = self.models[space]
        embedder = self._embedders.get(model)
        return Searcher(self.table, space, embedder)

    def warm_up(self) -> None:
        """Embed and search once in every Space, to load models and vectors into memory."""
        for space in self.models:
            # A Space that cannot be searched reports its error to the clients that search it.
            with suppress(LookalikeError):
                searcher = self.searcher(space)
                # Keep the vectors of a table in object storage on this computer.
                self.table.prepare_cache(space)
                model = searcher.model
                blank = np.zeros((1, *model.size, 3), np.uint8)
                searcher.embed_prepared(blank)
                ones = np.ones(model.dim, np.float16)
                query = VectorQuery(ones)
                request = SearchRequest([WeightedQuery(query)], k=10)
                searcher.find(request)
                self.ready_spaces.add(space)

    def check_filter(self, where: str) -> None:
        """Check that a filter is valid.

        Raises
        ------
        Problem
            422, if the filter is invalid.
        """
        try:
            self.table.filter_clause(where)
        except InputError as error:
            reason = str(error)
            errors = [{"where": "where", "reason": reason}]
            raise Problem(422, "Invalid filter", reason, errors=errors) from error

    def select(self, where: str | None) -> Ids:
        """Return the ids of the images that satisfy a filter, ascending; None selects all.

        Raises
        ------
        Problem
            422, if the filter is invalid.
        """
        if where is None:
            return self.row_cache.ids
        selections = self._selections
        ids = selections.get(where)
        if ids is None:
            self.check_filter(where)
            ids = self.table.select(where)
            selections.put(where, ids)
        return ids

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The fields of a `CollectionInfo`, except those of the server's options."""
        columns = self.table.filter_columns().values()
        labels = self.row_cache.labels()
        tags = self.row_cache.tags()
        return {
            "name": self.name,
            "images": len(self.row_cache),
            "failures": self.table.failures().num_rows,
            "version": self.table.version,
            "spaces": [
                self._space_info(name, model) for name, model in self.models.items()
            ],
            "columns": [self._column_info(column) for column in columns],
            "labels": [{"label": label, "count": count} for label, count in labels],
            "tags": [{"label": tag, "count": count} for tag, count in tags],
            "tag_column": self.row_cache.tag_column,
        }

    def _column_info(self, column: Column) -> dict[str, Any]:
        values: list[str] = []
        # Labels are listed with their counts, and each uri is another.
        is_own_column = column.name not in {"uri", "label"}
        if column.kind == "string" and is_own_column:
            values = few_values(self.table, column.name)
        return {"name": column.name, "type": column.kind, "values": values}

    def _space_info(self, name: str, model: Model) -> dict[str, Any]:
        return {
            "name": name,
            "title": model.title,
            "compares": "appearance" if model.architecture == "pixels" else "content",
            "dim": model.dim,
            "precision": model.precision,
            "vectors": self.table.count(name),
            "indexed": ann.current_tuning(self.table, name) is not None,
            "calibration": self._calibration_info(name),
            "learned": describe_learned(model.learned),
        }

    def _calibration_info(self, space: str) -> dict[str, Any] | None:
        state = calibration_state(self.table, space)
        if state is None:
            return None
        calibration = state.calibration
        absent = calibration.absent
        return {
            "rows": calibration.rows,
            "version": calibration.version,
            "added": state.added,
            "removed": state.removed,
            "usable": state.is_usable,
            "kept": calibration.kept.value,
            "absent": None if absent is None else absent.value,
        }


class ServedCollection:
    """A collection on disk and its newest view.

    Attributes
    ----------
    name, path
        Its name in the REST interface, and its folder or address.
    refresh_seconds
        The least time between two checks of `refresh` for a new version.
    evaluation
        The result of the last evaluation job, or None.
    duplicates, review
        The result of the last job of each kind, or None.
    """

    def __init__(
        self,
        name: str,
        path: str,
        embedders: EmbedderCache,
        refresh_seconds: float = 0.0,
    ) -> None:
        self.name = name
        self.path = path
        self.evaluation: dict[str, Any] | None = None
        self.duplicates: Duplicates | None = None
        self.review: Review | None = None
        self.refresh_seconds = refresh_seconds
        self._embedders = embedders
        self._lock = threading.Lock()
        self._view: CollectionView | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._error = "it has not been opened yet"
        self._next_refresh = 0.0
        self._catch_up_lock = threading.Lock()
        self._check_start = 0.0
        self._next_catch_up = 0.0

    def view(self) -> CollectionView:
        """Return the newest view.

        Raises
        ------
        Problem
            503, if the collection is missing or cannot be read.
        """
        view = self._view
        if view is None:
            raise Problem(
                503,
                "Collection unavailable",
                f"The collection {self.name!r} cannot be read now: {self._error}",
                headers={"Retry-After": "5"},
            )
        return view

    def refresh(self, *, force: bool = False) -> None:
        """Open a new view if the collection has changed.

        A collection that changes all the time is not reopened at every call, unless `force` is set.
        """
        with self._lock:
            if not force and time.monotonic() < self._next_refresh:
                return
            start = time.monotonic()
            self._next_refresh = start + self.refresh_seconds
            try:
                stamp = self._read_stamp()
                if stamp != self._stamp:
                    start = time.monotonic()
                    self._view = self._open_view()
                    self._stamp = stamp
                    end = time.monotonic()
                    pause = _REFRESH_PAUSE * (end - start)
                    self._next_refresh = end + max(pause, self.refresh_seconds)
            except LookalikeError as error:
                self._view = None
                self._stamp = None
                self._error = str(error)

    def catch_up(self) -> None:
        """Open a new view now if the collection has changed; `refresh` may be due only later.

        A request may name what this view lacks, because another server of the collection has read a
        newer version. After a check that finds nothing new, the next is a second later, so that
        invalid requests do not cause many.
        """
        arrival = time.monotonic()
        with self._catch_up_lock:
            # A check that began after the request arrived serves it, too.
            is_checked = arrival < self._check_start
            is_pause = arrival < self._next_catch_up
            if is_checked or is_pause:
                return
            self._check_start = time.monotonic()
            known = self._stamp
            self.refresh(force=True)
            is_unchanged = self._stamp == known
            if is_unchanged:
                now = time.monotonic()
                self._next_catch_up = now + _CATCH_UP_PAUSE

    def _open_view(self) -> CollectionView:
        table = Table.open(self.path)
        view = CollectionView(self.name, table, self._embedders)
        view.warm_up()
        return view

    def _read_stamp(self) -> tuple[int, int, int]:
        """Return a stamp that differs between versions."""
        view = self._view
        if view is not None:
            return view.table.newest_stamp()
        table = Table.open(self.path)
        return table.newest_stamp()


class CollectionRegistry:
    """The collections of a server by name.

    Parameters
    ----------
    paths
        The folders or addresses of the collections; the first collection is the default.
    embedders
        The loaded models, shared by all collections.
    watched
        A folder whose collections are served too, also those that are made later; or None.
    remote_refresh_seconds
        The least time between two checks for a new version of a collection in object storage.

    Attributes
    ----------
    collections
        The collections by name. Each is named after its folder; a number keeps names unique.
    """

    def __init__(
        self,
        paths: Sequence[str],
        embedders: EmbedderCache | None = None,
        watched: Path | None = None,
        remote_refresh_seconds: float = 0.0,
    ) -> None:
        if embedders is None:
            device = devices.requested()
            embedders = EmbedderCache(device, devices.QUERY_BATCH)
        self._embedders = embedders
        self._watched = watched
        self._remote_refresh_seconds = remote_refresh_seconds
        self._lock = threading.Lock()
        self.collections: dict[str, ServedCollection] = {}
        for path in paths:
            self.add(path)

    def add(self, path: str | Path) -> ServedCollection:
        """Serve another collection and return it; one that is served already is returned as it is.

        It can be called from any thread.
        """
        location = locate(path)
        absolute = location.absolute
        with self._lock:
            for served in self.collections.values():
                if served.path == absolute:
                    return served
            name = self._unused_name(location.name or "collection")
            refresh_seconds = 0.0
            if is_store_address(absolute):
                refresh_seconds = self._remote_refresh_seconds
            collection = ServedCollection(
                name, absolute, self._embedders, refresh_seconds
            )
            # Other threads may be iterating over the present dictionary.
            self.collections = {**self.collections, name: collection}
        return collection

    def collection(self, name: str | None) -> ServedCollection:
        """Return a collection by name; None stands for the first.

        Raises
        ------
        Problem
            404, if no collection has this name, or none is served.
        """
        collections = self.collections
        if not collections:
            raise Problem(
                404,
                "Collection not found",
                "This server has no collection yet. Index a folder to make one.",
            )
        requested = name
        if requested is None:
            requested = next(iter(collections))
        if requested not in collections:
            known = ", ".join(collections)
            raise Problem(
                404,
                "Collection not found",
                f"This server has no collection {requested!r}; it has {known}.",
            )
        return collections[requested]

    def view(self, name: str | None) -> CollectionView:
        """Return the newest view of a collection; see `collection` and `ServedCollection.view`."""
        collection = self.collection(name)
        return collection.view()

    def image_count(self) -> int:
        """Return the number of images in all collections that can be read now."""
        count = 0
        for collection in self.collections.values():
            with suppress(Problem):
                count += len(collection.view().row_cache)
        return count

    def unready(self) -> list[str]:
        """Return a reason for each collection or Space that cannot be searched now.

        The reasons have no names: a client without a token may read them.
        """
        reasons = []
        for collection in self.collections.values():
            try:
                view = collection.view()
            except Problem:
                reasons.append("a collection cannot be read")
                continue
            unready_spaces = view.models.keys() - view.ready_spaces
            reasons += ["a Space cannot be searched"] * len(unready_spaces)
        return reasons

    def refresh(self) -> None:
        """Open a new view of every collection that has changed, and serve new ones."""
        self._discover()
        for collection in self.collections.values():
            collection.refresh()

    def _discover(self) -> None:
        """Serve the collections of the watched folder, sorted by name."""
        if self._watched is None:
            return
        served_paths = {served.path for served in self.collections.values()}
        for folder in sorted(self._watched.glob("*")):
            is_new = str(folder) not in served_paths
            if is_new and Table.exists(folder):
                self.add(folder)

    def _unused_name(self, name: str) -> str:
        number = 1
        unused = name
        while unused in self.collections:
            number += 1
            unused = f"{name}-{number}"
        return unused
