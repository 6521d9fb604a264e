"""Collections kept open: read once, warmed, and read anew when another process has changed them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.errors import CollectionError, InputError, LookalikeError
from lookalike.models.cache import EmbedderCache
from lookalike.retrieval.search import Searcher
from lookalike.server.cache import SizedCache
from lookalike.server.problems import Problem
from lookalike.server.row_cache import RowCache
from lookalike.store import ann, filters
from lookalike.store.table import Table
from lookalike.types import Model

__all__ = ["CollectionRegistry", "CollectionView", "ServedCollection"]

# Ids that the last filters selected, of all filters together: 32 MiB.
_SELECTED = 1 << 22


class CollectionView:
    """One version of a collection, which never changes: what a request begins with, it ends with.

    Attributes
    ----------
    name, collection, models
        What the interface calls it, the table at that version, and the Model of each Space.
    facts
        What answers say of its rows.
    kept
        What was made of it and is worth keeping as long, by its own key.
    """

    def __init__(self, name: str, collection: Table, networks: EmbedderCache) -> None:
        self.name, self.collection = name, collection
        self.row_cache = RowCache(collection)
        # The table reads its models from its schema each time that it is asked.
        self.models = collection.models
        self.kept: dict[tuple[str, ...], Any] = {}
        self._networks = networks
        self._lock = threading.Lock()
        self._searchers: dict[str, Searcher] = {}
        self._selections: SizedCache[str, npt.NDArray[np.int64]] = SizedCache(_SELECTED)

    def searcher(self, space: str | None) -> Searcher:
        """Return a Space held ready; None stands for the first."""
        known = next(iter(self.models), None) if space is None else space
        name = known if known in self.models else self.collection.space(space)
        with self._lock:
            if name not in self._searchers:
                network = self._networks.get(self.models[name])
                self._searchers[name] = Searcher(self.collection, name, network)
            return self._searchers[name]

    def warm(self) -> None:
        """Search once in every Space, so that what a search needs is in memory."""
        for space, model in self.models.items():
            # Whoever searches where it cannot be done is told why; the rest is to be had all the same.
            with suppress(LookalikeError):
                self.searcher(space).candidates(np.ones(model.dim, np.float16), 10)

    def clause(self, where: str) -> str:
        """Return a filter in the store's own language.

        Raises
        ------
        Problem
            422, if it cannot be used.
        """
        try:
            return self.collection.filter_clause(where)
        except InputError as error:
            listed = [{"where": "where", "reason": str(error)}]
            raise Problem(422, "The filter cannot be used", str(error), errors=listed) from error

    def select(self, where: str | None) -> npt.NDArray[np.int64]:
        """Return the ids, rising, of the images that fit a filter; of all for None."""
        if where is None:
            return self.row_cache.ids
        found = self._selections.get(where)
        if found is None:
            self.clause(where)
            found = self.collection.select(where)
            self._selections.put(where, found, len(found) + 1)
        return found

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What the interface tells of the collection, but for what the server's settings decide."""
        table = self.collection
        columns = filters.columns_of(table.table.schema).values()
        return {
            "name": self.name,
            "images": len(self.row_cache),
            "failures": table.failures().num_rows,
            "version": table.version,
            "spaces": [self._space(name, model) for name, model in self.models.items()],
            "columns": [{"name": column.name, "type": column.kind} for column in columns],
            "labels": [
                {"label": label, "count": count} for label, count in self.row_cache.labels()
            ],
        }

    def _space(self, name: str, model: Model) -> dict[str, Any]:
        return {
            "name": name,
            "title": model.title,
            "dim": model.dim,
            "precision": model.precision,
            "vectors": self.collection.count(name),
            "indexed": ann.current_tuning(self.collection, name) is not None,
        }


class ServedCollection:
    """A collection by its path: its newest view, or why there is none.

    Attributes
    ----------
    name, path
        What the interface calls it, and where it lies.
    evaluation
        The result of the last evaluation since the server started.
    """

    def __init__(self, name: str, path: str, networks: EmbedderCache) -> None:
        self.name, self.path = name, path
        self.evaluation: dict[str, Any] | None = None
        self._networks = networks
        self._lock = threading.Lock()
        self._snapshot: CollectionView | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._fault = "it has not been read yet"
        self._not_before = 0.0

    def view(self) -> CollectionView:
        """Return the newest view.

        Raises
        ------
        Problem
            503, if the collection is gone or cannot be read.
        """
        if self._snapshot is None:
            raise Problem(
                503,
                "The collection cannot be read",
                f"The collection {self.name!r} cannot be read now: {self._fault}",
                headers={"Retry-After": "5"},
            )
        return self._snapshot

    def refresh(self, *, soon: bool = False) -> None:
        """Read the collection anew if it has changed; while one grows fast, less often than it commits.

        With `soon` it is looked for at once.
        """
        with self._lock:
            if not soon and time.monotonic() < self._not_before:
                return
            try:
                stamp = self._stamped()
                if stamp != self._stamp:
                    start = time.monotonic()
                    self._snapshot, self._stamp = self._read(), stamp
                    # Reading takes at most a tenth of the time.
                    self._not_before = time.monotonic() + 9 * (time.monotonic() - start)
            except LookalikeError as error:
                self._snapshot, self._stamp, self._fault = None, None, str(error)

    def _read(self) -> CollectionView:
        view = CollectionView(self.name, Table.open(self.path), self._networks)
        view.warm()
        return view

    def _stamped(self) -> tuple[int, int, int]:
        """Return what tells versions apart, those of a collection that was made anew in the same place too."""
        try:
            # A folder that is made anew may get the number of the one that went, and the table the same version.
            versions = os.stat(Path(self.path, "images.lance", "_versions"))  # noqa: PTH116
            table = (self._snapshot.collection if self._snapshot else Table.open(self.path)).table
            return versions.st_ino, versions.st_mtime_ns, int(table.latest_version)
        # The store's own errors for files that went away meanwhile: plain OSError, ValueError, RuntimeError.
        except (OSError, ValueError, RuntimeError) as error:
            raise CollectionError(
                f"The collection {self.path} is gone. Put it back, or index again."
            ) from error


class CollectionRegistry:
    """All collections of a server, by name."""

    def __init__(self, paths: Sequence[str], networks: EmbedderCache | None = None) -> None:
        networks = networks or EmbedderCache()
        self.collections: dict[str, ServedCollection] = {}
        for path in paths:
            name = _free(Path(path).expanduser().absolute().name or "collection", self.collections)
            self.collections[name] = ServedCollection(
                name, str(Path(path).expanduser().absolute()), networks
            )

    def served(self, name: str | None) -> ServedCollection:
        """Return a collection by name; None stands for the first.

        Raises
        ------
        Problem
            404, if there is none of that name.
        """
        wanted = next(iter(self.collections)) if name is None else name
        if wanted not in self.collections:
            known = ", ".join(self.collections)
            raise Problem(
                404,
                "No such collection",
                f"There is no collection {wanted!r} here; there is {known}.",
            )
        return self.collections[wanted]

    def view(self, name: str | None) -> CollectionView:
        """Return the newest view of a collection; see `served` and `ServedCollection.view`."""
        return self.served(name).view()

    def refresh(self) -> None:
        """See to it that every collection is the newest."""
        for served in self.collections.values():
            served.refresh()


def _free(name: str, taken: dict[str, ServedCollection]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
