"""Files of a Lance table that belong to none of its versions, as killed writers leave them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import lance

from lookalike.store.location import Location, StoredFile

__all__ = ["remove_orphans"]

_INDICES = "_indices"
_FOLDERS = {"data", "_deletions", "_transactions", _INDICES}
# The names of half-written files: those of Lance itself, and of its library for object stores.
_HALF_WRITTEN = re.compile(r"\.tmp.*|.*#\d+")


def remove_orphans(dataset: lance.LanceDataset, location: Location, table: str) -> int:
    """Remove the files of a table that no version names, and half-written ones; return their bytes.

    A commit in progress owns such files too, so nobody may write to the table meanwhile. Files of
    kinds that are not known here are left out.

    Parameters
    ----------
    dataset
        The table.
    location
        The location of the collection.
    table
        The folder of the table in the collection, such as `lookalike.store.location.TABLE`.
    """
    found = _find_orphans(dataset, location, table)
    names = []
    freed = 0
    for file in found:
        names.append(file.name)
        freed += file.size
    location.remove_all(names)
    return freed


def _find_orphans(
    dataset: lance.LanceDataset, location: Location, table: str
) -> Iterator[StoredFile]:
    tracked_names = set()
    for name in dataset.tracked_files().read_all()["path"].to_pylist():
        tracked_name = _owned_name(name)
        tracked_names.add(tracked_name)

    for file in location.files(table):
        name = file.name.removeprefix(f"{table}/")
        folder, _, _ = name.partition("/")
        is_lost = folder in _FOLDERS and _owned_name(name) not in tracked_names
        if is_lost or _is_half_written(name):
            yield file


def _owned_name(name: str) -> str:
    """Return the part of a file's path that decides whether a version owns it.

    That is the folder of an index: a version owns all of its files or none.
    """
    folder, _, rest = name.partition("/")
    is_elsewhere = folder != _INDICES
    if is_elsewhere:
        return name
    parts = rest.split("/")
    identifier = parts[0]
    return f"{folder}/{identifier}"


def _is_half_written(name: str) -> bool:
    _, _, own_name = name.rpartition("/")
    match = _HALF_WRITTEN.fullmatch(own_name)
    return match is not None
