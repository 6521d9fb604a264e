"""Maintain a collection's table: compact its fragments, update its indices, remove old files.

One process at a time does this, for as long as it takes; others may write between its commits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, cast

from lance.optimize import Compaction, CompactionOptions

from lookalike.store import lock
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.location import StoredFile

if TYPE_CHECKING:
    from lookalike.store.table import Table

__all__ = [
    "compact",
    "maintenance_lock",
    "remove_old_versions",
    "tidy",
    "update_scalar_indices",
]

_FRAGMENT_ROWS = 1 << 17
_MANY_FRAGMENTS = 24
# Rows that a compaction reads at a time: with thumbnails and some Spaces, tens of MiB.
_COMPACTION_BATCH = 1 << 10
_SCALAR_INDICES: dict[str, Literal["BTREE", "BITMAP"]] = {
    "uri": "BTREE",
    "label": "BITMAP",
}
# The file name of a commit's plan, such as 12-<uuid>.txn. In a manifest the byte before it may look
# like a digit too, so the name is tried from each of its digits.
_PLAN_NAME = rb"(?=(\d+-[0-9a-f-]{36}\.txn))"
_DAY = timedelta(days=1)


@contextmanager
def maintenance_lock(table: Table, *, timeout: float | None = None) -> Iterator[None]:
    """Keep other processes from upkeep until the block ends; see `lookalike.store.lock.hold`."""
    path = table.path
    with lock.hold(path, lock.UPKEEP, timeout=timeout):
        table.refresh()
        yield


def tidy(table: Table) -> None:
    """Compact the table if it has many small fragments, as after a long index run."""
    if table.fragment_count > _MANY_FRAGMENTS:
        compact(table)
        update_scalar_indices(table)
        remove_old_versions(table, _DAY)


def compact(table: Table) -> None:
    """Merge small fragments, and drop deleted rows from their files.

    Fragments that an index covers and fragments that it does not cover are never merged. Each new
    fragment is a commit of its own; others may write between two of them.
    """
    options = CompactionOptions(
        target_rows_per_fragment=_FRAGMENT_ROWS, batch_size=_COMPACTION_BATCH
    )
    remaining: int | None = None
    while remaining is None or remaining > 0:
        with table.write_lock(), translate_errors(table.path, Operation.WRITE):
            dataset = table.lance_dataset
            plan = Compaction.plan(dataset, options)
            tasks = plan.tasks
            if not tasks:
                return
            # As many tasks as there were at first: fragments that others write meanwhile wait for
            # the next time.
            if remaining is None:
                remaining = len(tasks)
            merged = tasks[0].execute(dataset)
            Compaction.commit(dataset, [merged])
            dataset.checkout_latest()
        remaining -= 1


def update_scalar_indices(table: Table, *, make: bool = False) -> None:
    """Bring the indices of ``uri`` and ``label`` up to date.

    Parameters
    ----------
    table
        The table.
    make
        Whether to create an index that does not exist.
    """
    with table.write_lock(), translate_errors(table.path, Operation.INDEX):
        dataset = table.lance_dataset
        indices = {}
        for index in dataset.describe_indices():
            column = index.field_names[0]
            indices[column] = index

        rows = dataset.count_rows()
        for column, kind in _SCALAR_INDICES.items():
            existing = indices.get(column)
            if existing is None:
                if make:
                    dataset.create_scalar_index(column, kind)
            elif existing.num_rows_indexed < rows:
                dataset.optimize.optimize_indices(index_names=[existing.name])
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
        Without it, or where the file system has no locks, Lance keeps them for seven days: they may
        belong to a commit in progress.
    """
    freed = 0
    with (
        maintenance_lock(table),
        table.write_lock() as is_locked,
        translate_errors(table.path, Operation.CLEAN),
    ):
        remove_orphans = orphans and is_locked
        freed += _remove_versions(table, older_than, orphans=remove_orphans)
        # Without a lock, another process may still be at work on a copy that is not old.
        age = 0.0 if is_locked else _DAY.total_seconds()
        freed += table.location.remove_staging(older_than=age)
    return freed


def _remove_versions(table: Table, older_than: timedelta, *, orphans: bool) -> int:
    dataset = table.lance_dataset
    since = datetime.now() - older_than
    # Keep the versions made since then, and the one that was the newest at that time.
    kept_versions = 1
    for version in dataset.versions():
        made = cast(datetime, version["timestamp"])
        if made > since:
            kept_versions += 1
    removed = dataset.cleanup_old_versions(
        retain_versions=kept_versions, delete_unverified=orphans
    )
    freed = int(removed.bytes_removed)
    if orphans:
        for file in _find_orphans(table):
            freed += file.size
            table.location.remove(file.name)
    return freed


def _find_orphans(table: Table) -> list[StoredFile]:
    """Return half-written files and plans of lost commits, which Lance does not clean up."""
    location = table.location
    temporary_files = list(location.temporary_files())
    plans = {}
    for file in location.transactions():
        _, _, own_name = file.name.rpartition("/")
        plans[own_name] = file
    versions = table.lance_dataset.versions()
    if len(plans) <= len(versions):
        # Each version has a plan, so no commit was lost.
        return temporary_files

    # A manifest names the plan of its own commit; the other plans are lost.
    for manifest in location.manifests():
        content = location.read(manifest.name)
        for encoded_name in re.findall(_PLAN_NAME, content):
            name = encoded_name.decode()
            plans.pop(name, None)
    return [*plans.values(), *temporary_files]
