"""Upkeep of a collection's table: few fragments instead of many, indices that know every row, no old files."""

from __future__ import annotations

import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lookalike.store.guard import guard

if TYPE_CHECKING:
    from lookalike.store.collection import Collection

__all__ = ["clean", "gather", "tidy", "update_scalar_indices"]

_FRAGMENT_ROWS, _MANY_FRAGMENTS = 1 << 17, 24
# Rows that a compaction reads at a time: with thumbnails and some Spaces, a few ten MiB.
_COMPACTION_BATCH = 1 << 10
_SCALAR: dict[str, Literal["BTREE", "BITMAP"]] = {"uri": "BTREE", "label": "BITMAP"}
_DAY = timedelta(days=1)


def tidy(collection: Collection) -> None:
    """Do what is worth its time after every run: if there are many small fragments, gather them."""
    if len(collection.table.get_fragments()) > _MANY_FRAGMENTS:
        gather(collection)
        update_scalar_indices(collection)
        clean(collection, _DAY)


def gather(collection: Collection) -> None:
    """Gather small fragments into few, and drop deleted rows from their files.

    Fragments that an index knows and others that it does not are never gathered into one.
    """
    with guard(collection.path, "written"):
        collection.table.optimize.compact_files(target_rows_per_fragment=_FRAGMENT_ROWS, batch_size=_COMPACTION_BATCH)
        collection.table.checkout_latest()


def update_scalar_indices(collection: Collection, *, make: bool = False) -> None:
    """Bring the indices of uris and labels up to date; those that are not there are made if `make`."""
    table = collection.table
    with guard(collection.path, "indexed"):
        described = {index.field_names[0]: index for index in table.describe_indices()}
        for name, kind in _SCALAR.items():
            if name not in described and make:
                table.create_scalar_index(name, kind)
            elif name in described and described[name].num_rows_indexed < table.count_rows():
                table.optimize.optimize_indices(index_names=[described[name].name])
        table.checkout_latest()


def clean(collection: Collection, older_than: timedelta) -> int:
    """Remove versions older than some time, and files that belong to none; return how many bytes that freed.

    A file of no version may be one that another process is writing: the store leaves it alone for seven days.
    """
    with guard(collection.path, "cleaned"):
        freed = int(collection.table.cleanup_old_versions(older_than=older_than).bytes_removed)
    for folder in Path(collection.path).glob(".images.*"):
        # What is left of a collection that was killed while it was made.
        if folder.is_dir() and folder.stat().st_mtime < time.time() - _DAY.total_seconds():
            freed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            shutil.rmtree(folder, ignore_errors=True)
    return freed
