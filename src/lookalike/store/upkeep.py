"""Maintain a collection's table: compact its fragments, update its indices, remove old files.

One process at a time does this, for as long as it takes; others may write between its commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from lance.optimize import Compaction, CompactionOptions

from lookalike.errors import CollectionError
from lookalike.store import lock
from lookalike.store.conflicts import ConflictError
from lookalike.store.failures import Operation, is_missing_file, translate_errors
from lookalike.store.location import TABLE
from lookalike.store.orphans import remove_orphans

if TYPE_CHECKING:
    from lookalike.store.engine import TableEngine
    from lookalike.store.table import Table

__all__ = [
    "compact",
    "maintenance_lock",
    "remove_old_versions",
    "remove_unfinished",
    "tidy",
    "update_scalar_indices",
]

_FRAGMENT_ROWS = 1 << 17
_MANY_FRAGMENTS = 24
# An engine commits all its new fragments at once, which fails if others changed their rows.
_ENGINE_ATTEMPTS = 3
# Rows that a compaction reads at a time: with thumbnails and some Spaces, tens of MiB.
_COMPACTION_BATCH = 1 << 10
_URI_COLUMN = "uri"
_SCALAR_INDICES: dict[str, Literal["BTREE", "BITMAP"]] = {
    _URI_COLUMN: "BTREE",
    "label": "BITMAP",
}
_DAY = timedelta(days=1)


@contextmanager
def maintenance_lock(table: Table, *, timeout: float | None = None) -> Iterator[None]:
    """Keep other processes from upkeep until the block ends; see `lookalike.store.lock.hold`."""
    path = table.path
    with lock.hold(path, lock.UPKEEP, timeout=timeout):
        table.refresh()
        yield


def tidy(table: Table, engine: TableEngine | None = None) -> None:
    """Compact the table if it has many small fragments, as after a long index run."""
    if table.fragment_count > _MANY_FRAGMENTS:
        compact(table, engine)
        update_scalar_indices(table)
        remove_old_versions(table, _DAY)
    elif not _has_index(table, _URI_COLUMN):
        update_scalar_indices(table)


def _has_index(table: Table, column: str) -> bool:
    with translate_errors(table.path, Operation.READ):
        indices = table.lance_dataset.describe_indices()
    indexed = [index.field_names for index in indices]
    return [column] in indexed


def compact(table: Table, engine: TableEngine | None = None) -> None:
    """Merge small fragments, and drop deleted rows from their files.

    Fragments that an index covers and fragments that it does not cover are never merged. Each new
    fragment is a commit of its own; others may write between two of them. An engine merges all
    fragments at the same time, and others may write meanwhile.
    """
    options = CompactionOptions(
        target_rows_per_fragment=_FRAGMENT_ROWS, batch_size=_COMPACTION_BATCH
    )
    if engine is not None:
        _compact_by_engine(table, engine, dict(options))
        return
    remaining: int | None = None
    while remaining is None or remaining > 0:
        try:
            count = table.transaction(partial(_merge_fragments, table, options))
        except ConflictError:
            # Others write to these fragments, where no lock keeps them out.
            return
        if not count:
            return
        # As many tasks as there were at first: fragments that others write meanwhile wait for the
        # next time.
        if remaining is None:
            remaining = count
        remaining -= 1


def _merge_fragments(table: Table, options: CompactionOptions) -> int:
    """Carry out the first task of a compaction; return the number of its tasks."""
    path = table.path
    with translate_errors(path, Operation.WRITE):
        dataset = table.lance_dataset
        plan = Compaction.plan(dataset, options)
        tasks = plan.tasks
        if tasks:
            first = tasks[0]
            merged = first.execute(dataset)
            rewrites = [merged]
            Compaction.commit(dataset, rewrites)
            dataset.checkout_latest()
    return len(tasks)


def _compact_by_engine(
    table: Table, engine: TableEngine, options: dict[str, Any]
) -> None:
    for _ in range(_ENGINE_ATTEMPTS):
        try:
            with translate_errors(table.path, Operation.WRITE):
                engine.compact(table.location.table_uri, options)
        except ConflictError:
            # Others write to these fragments. They wait for the next time.
            continue
        break
    table.refresh()


def update_scalar_indices(table: Table, *, make: bool = False) -> None:
    """Bring the indices of ``uri`` and ``label`` up to date.

    Parameters
    ----------
    table
        The table.
    make
        Whether to create an index that does not exist.
    """
    step = partial(_update_scalar_indices, table, make=make)
    table.transaction(step)


def _update_scalar_indices(table: Table, *, make: bool) -> None:
    path = table.path
    with translate_errors(path, Operation.INDEX):
        dataset = table.lance_dataset
        described = dataset.describe_indices()
        indices = {}
        for index in described:
            names = index.field_names
            column = names[0]
            indices[column] = index

        rows = dataset.count_rows()
        for column, kind in _SCALAR_INDICES.items():
            existing = indices.get(column)
            if existing is None:
                # The index of uris is made with the table, unless that process was killed.
                is_required = column == _URI_COLUMN
                if make or is_required:
                    dataset.create_scalar_index(column, kind)
            elif existing.num_rows_indexed < rows:
                outdated = [existing.name]
                optimizer = dataset.optimize
                optimizer.optimize_indices(index_names=outdated)
        dataset.checkout_latest()


def remove_old_versions(
    table: Table, older_than: timedelta, *, orphans: bool = False
) -> int:
    """Remove versions that were replaced before a given age; return the number of bytes freed.

    Parameters
    ----------
    table
        The table.
    older_than
        The age. A version that was the newest at any time since then stays: a reader that opened it
        then may still read it.
    orphans
        Whether to remove files that belong to no version, which killed writers leave behind.
        Without it, or where there are no locks, Lance keeps them for seven days: they may belong to
        a commit in progress.
    """
    freed = 0
    with maintenance_lock(table), table.write_lock() as is_locked:
        try:
            freed += _remove_versions(table, older_than)
        except CollectionError as error:
            # Without locks, another process may be removing the same versions.
            if is_locked or not is_missing_file(error):
                raise
        if orphans and is_locked:
            freed += _remove_orphans(table)
        # Without a lock, another process may still be at work on a copy that is not old.
        age = 0.0 if is_locked else _DAY.total_seconds()
        freed += _remove_staging(table, older_than=age)
    return freed


def remove_unfinished(table: Table) -> int:
    """Remove the files that killed processes left unfinished; return the number of bytes freed.

    No other process may write to the collection meanwhile, which no lock prevents in object
    storage: the files of its commit would be removed too.
    """
    with maintenance_lock(table), table.write_lock():
        freed = _remove_orphans(table)
        freed += _remove_staging(table, older_than=0.0)
        freed += table.trash.remove_orphans()
    return freed


def _remove_orphans(table: Table) -> int:
    path = table.path
    with translate_errors(path, Operation.CLEAN):
        dataset = table.lance_dataset
        location = table.location
        return remove_orphans(dataset, location, TABLE)


def _remove_staging(table: Table, *, older_than: float) -> int:
    with translate_errors(table.path, Operation.CLEAN):
        location = table.location
        return location.remove_staging(older_than=older_than)


def _remove_versions(table: Table, older_than: timedelta) -> int:
    with translate_errors(table.path, Operation.CLEAN):
        dataset = table.lance_dataset
        now = datetime.now()
        since = now - older_than
        # Keep the versions made since then, and the one that was the newest at that time.
        kept_versions = 1
        versions = dataset.versions()
        for version in versions:
            made = cast(datetime, version["timestamp"])
            if made > since:
                kept_versions += 1
        removed = dataset.cleanup_old_versions(retain_versions=kept_versions)
        freed = removed.bytes_removed
        return int(freed)
