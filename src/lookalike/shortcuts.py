"""Functions for one call on a collection: index, search, optimize, check, backup and restore.

Each takes a Collection, its path, or None for the default collection. A second search of the same
Collection is faster, because the embedder and the vectors are in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lookalike.collection import Collection, default_path

if TYPE_CHECKING:
    from lookalike.indexing.run import IndexReport
    from lookalike.maintenance.backup import BackupReport
    from lookalike.maintenance.integrity import CheckReport
    from lookalike.maintenance.optimize import OptimizeReport
    from lookalike.retrieval.query import Queries, QueryInput
    from lookalike.sources import Source
    from lookalike.types import Matches

__all__ = ["backup", "check", "index", "optimize", "restore", "search", "search_many"]

CollectionOrPath = Collection | str | os.PathLike[str] | None


def index(
    paths: Source | Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    collection: CollectionOrPath = None,
    **options: Any,
) -> IndexReport:
    """Index images into a collection, created if it does not exist; see `Collection.index`."""
    if isinstance(collection, Collection):
        return collection.index(paths, **options)
    from lookalike.indexing import run

    path = default_path() if collection is None else collection
    return run.index(paths, path, **options)


def search(
    collection: CollectionOrPath, query: Queries = (), **options: Any
) -> Matches:
    """Search a collection; see `Collection.search`."""
    return _opened(collection).search(query, **options)


def search_many(
    collection: CollectionOrPath, queries: Iterable[QueryInput], **options: Any
) -> list[Matches]:
    """Search a collection by many queries at once; see `Collection.search_many`."""
    return _opened(collection).search_many(queries, **options)


def optimize(collection: CollectionOrPath = None, **options: Any) -> OptimizeReport:
    """Optimize a collection; see `Collection.optimize`."""
    return _opened(collection).optimize(**options)


def check(collection: CollectionOrPath = None, **options: Any) -> CheckReport:
    """Check a collection; see `Collection.check`."""
    return _opened(collection).check(**options)


def backup(
    collection: CollectionOrPath, target: str | os.PathLike[str], **options: Any
) -> BackupReport:
    """Back up a collection; see `Collection.backup`."""
    return _opened(collection).backup(target, **options)


def restore(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    **options: Any,
) -> BackupReport:
    """Make a collection from a backup; see `lookalike.maintenance.backup.restore`."""
    from lookalike.maintenance import backup as backups

    path = default_path() if target is None else target
    return backups.restore(source, path, **options)


def _opened(collection: CollectionOrPath) -> Collection:
    """Return a Collection as it is, or open the one at a path."""
    if isinstance(collection, Collection):
        return collection
    return Collection.open(collection)
