"""Folders outside the scanned ones that were moved into them: their rows have no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lookalike.sources import display_path, moved_folders, uri_exists, uri_prefixes
from lookalike.store.table import Table

__all__ = ["Relocation", "find_relocations"]

# The most folders that a report names, and the number of moves that are looked at to find them.
_MAX_FOLDERS = 5
_SAMPLE = 1_000


@dataclass(frozen=True, slots=True)
class Relocation:
    """A folder whose images were found in another one.

    Attributes
    ----------
    old, new
        The folders.
    rows
        The number of rows below the old folder that no longer have a file.
    """

    old: str
    new: str
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return asdict(self)


def find_relocations(
    table: Table, moves: Sequence[tuple[int, str]]
) -> list[Relocation]:
    """Return the folders whose rows can be carried over with ``lookalike move``.

    Parameters
    ----------
    table
        The table after the run.
    moves
        The id of a row, and the uri at which the run found its content too.
    """
    step = max(1, len(moves) // _SAMPLE)
    sample = moves[::step]
    # Rows below the scanned folders have been swept.
    old_uris = table.uris([row_id for row_id, _ in sample])
    counts: Counter[tuple[str, str]] = Counter()
    for row_id, new in sample:
        old = old_uris.get(row_id)
        if old is None:
            continue
        folders = moved_folders(old, new)
        # A file that still exists was copied.
        if folders is not None and not uri_exists(old):
            counts[folders] += 1

    relocations = []
    for (old_folder, new_folder), _ in counts.most_common(_MAX_FOLDERS):
        rows = _count_without_file(table, old_folder)
        if rows:
            old_path = display_path(old_folder)
            new_path = display_path(new_folder)
            relocations.append(Relocation(old_path, new_path, rows))
    return relocations


def _count_without_file(table: Table, folder: str) -> int:
    prefixes = uri_prefixes(folder)
    ids = table.ids_under(prefixes)
    rows = table.take(ids, ["uri"])
    count = 0
    for uri in rows["uri"].to_pylist():
        if not uri_exists(uri):
            count += 1
    return count
