"""Upkeep of a collection's table: few fragments instead of many, indices that know every row, no old files.

One process at a time does it, for as long as it takes; others may write in between its commits.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import lance
from lance.optimize import Compaction, CompactionOptions

from lookalike.store import lock
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.view import images

if TYPE_CHECKING:
    from lookalike.store.table import Table

__all__ = ["compact", "maintenance_lock", "remove_old_versions", "tidy", "update_scalar_indices"]

_FRAGMENT_ROWS, _MANY_FRAGMENTS = 1 << 17, 24
# Rows that a compaction reads at a time: with thumbnails and some Spaces, a few ten MiB.
_COMPACTION_BATCH = 1 << 10
_SCALAR: dict[str, Literal["BTREE", "BITMAP"]] = {"uri": "BTREE", "label": "BITMAP"}
_DAY = timedelta(days=1)


@contextmanager
def maintenance_lock(collection: Table, *, timeout: float | None = None) -> Iterator[None]:
    """Keep every other process from upkeep until the block ends; see `lookalike.store.lock.held`."""
    with lock.hold(collection.path, lock.UPKEEP, timeout=timeout):
        collection.refresh()
        yield


def tidy(collection: Table) -> None:
    """Do what is worth its time after every run: if there are many small fragments, gather them."""
    if len(collection.table.get_fragments()) > _MANY_FRAGMENTS:
        compact(collection)
        update_scalar_indices(collection)
        remove_old_versions(collection, _DAY)


def compact(collection: Table) -> None:
    """Gather small fragments into few, and drop deleted rows from their files.

    Fragments that an index knows and others that it does not are never gathered into one. Each new fragment is a commit
    of its own, between which others may write.
    """
    options = CompactionOptions(
        target_rows_per_fragment=_FRAGMENT_ROWS, batch_size=_COMPACTION_BATCH
    )
    steps: int | None = None
    while steps is None or steps > 0:
        with collection.write_lock(), translate_errors(collection.path, Operation.WRITE):
            tasks = Compaction.plan(collection.table, options).tasks
            if not tasks:
                return
            # No more than there were at first: what others write meanwhile is left for the next time.
            steps = (len(tasks) if steps is None else steps) - 1
            Compaction.commit(collection.table, [tasks[0].execute(collection.table)])
            collection.table.checkout_latest()


def update_scalar_indices(collection: Table, *, make: bool = False) -> None:
    """Bring the indices of uris and labels up to date; those that are not there are made if `make`."""
    with collection.write_lock(), translate_errors(collection.path, Operation.INDEX):
        table = collection.table
        described = {index.field_names[0]: index for index in table.describe_indices()}
        for name, kind in _SCALAR.items():
            if name not in described and make:
                table.create_scalar_index(name, kind)
            elif name in described and described[name].num_rows_indexed < table.count_rows():
                table.optimize.optimize_indices(index_names=[described[name].name])
        table.checkout_latest()


def remove_old_versions(collection: Table, older_than: timedelta, *, orphans: bool = False) -> int:
    """Remove versions that were replaced longer ago than some time; return how many bytes that freed.

    Parameters
    ----------
    older_than
        What was the newest version at any time since then stays: who opened it then may still read it.
    orphans
        Whether files that belong to no version go too, as killed writers leave them. Without it, or where the file
        system has no locks, the store leaves them for seven days, for they may be of a commit that is being made.
    """
    freed = 0
    with (
        maintenance_lock(collection),
        collection.write_lock() as alone,
        translate_errors(collection.path, Operation.CLEAN),
    ):
        freed += _clean(
            collection.table, images(collection.path), older_than, orphans=orphans and alone
        )
        for folder in Path(collection.path).glob(".images.*"):
            # What is left of a collection whose making was cut short.
            if alone or folder.stat().st_mtime < time.time() - _DAY.total_seconds():
                freed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                shutil.rmtree(folder, ignore_errors=True)
    return freed


def _clean(table: lance.LanceDataset, place: str, older_than: timedelta, *, orphans: bool) -> int:
    since = datetime.now() - older_than
    kept = 1 + sum(cast(datetime, version["timestamp"]) > since for version in table.versions())
    freed = int(
        table.cleanup_old_versions(retain_versions=kept, delete_unverified=orphans).bytes_removed
    )
    for file in _strays(table, Path(place)) if orphans else ():
        freed += file.stat().st_size
        file.unlink()
    return freed


def _strays(table: lance.LanceDataset, place: Path) -> list[Path]:
    """Return files of no version that the store does not clean up: half written ones, and what was to be committed."""
    planned = {file.name: file for file in place.glob("_transactions/*.txn")}
    if len(planned) > len(table.versions()):
        for version in place.glob("_versions/*.manifest"):
            for name in re.findall(rb"(?=(\d+-[0-9a-f-]{36}\.txn))", version.read_bytes()):
                planned.pop(name.decode(), None)
    else:
        planned = {}
    return [*planned.values(), *(file for file in place.rglob(".tmp*") if file.is_file())]
