"""What a collection's table says of files: known or not, and which contents it holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lookalike.types import Item

__all__ = ["ContentIndex", "ExistingRow", "ScanDiff", "is_up_to_date"]


class ExistingRow(NamedTuple):
    """What the table says of one uri."""

    id: int
    size: int
    mtime_ns: int
    label: str | None
    sha256: bytes | None
    spaces: frozenset[str]
    failed: bool


class ScanDiff(NamedTuple):
    """What a batch of Items asks for: the work, the ids of the rows they have, and the rest in counts."""

    work: list[tuple[Item, ExistingRow | None]]
    seen_ids: npt.NDArray[np.int64]
    unchanged: int
    failed: int


class ContentIndex:
    """Which contents the table holds: from sha256 to row id, in 40 bytes a row."""

    def __init__(self, hashes: npt.NDArray[np.uint64], ids: npt.NDArray[np.int64]) -> None:
        order = np.lexsort((ids, hashes[:, 0]))
        self._hashes, self._ids = hashes[order], ids[order]

    def find(self, sha256: bytes) -> int | None:
        """Return the id of the first row that holds the content, or None."""
        key = np.frombuffer(sha256, "<u8")
        first, last = (
            np.searchsorted(self._hashes[:, 0], key[0], side) for side in ("left", "right")
        )
        same = np.flatnonzero((self._hashes[first:last] == key).all(axis=1))
        return int(self._ids[first + same[0]]) if len(same) else None


def is_up_to_date(item: Item, row: ExistingRow, spaces: frozenset[str]) -> bool:
    """Tell whether nothing is to be done for an Item: the same file, and in every Space or known to be bad.

    A file that could not even be read is asked for again each time: what keeps it back lies outside of it.
    """
    same = item.size >= 0 and (item.size, item.mtime_ns, item.label) == (
        row.size,
        row.mtime_ns,
        row.label,
    )
    return same and (row.sha256 is None if row.failed else spaces <= row.spaces)
