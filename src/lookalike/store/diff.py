"""Compare files with the rows of a table to find the files that need work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lookalike.types import UNKNOWN_SIZE, UNKNOWN_TIME, Ids, Item

__all__ = ["ContentIndex", "ExistingRow", "ScanDiff", "is_up_to_date"]


class ExistingRow(NamedTuple):
    """The row of one uri.

    Attributes
    ----------
    id
        The row id.
    size, mtime_ns
        The stamp of the file when it was indexed.
    label
        The label, or None.
    sha256
        The hash of the content, or None if the file was never read.
    spaces
        The Spaces in which the row has a vector.
    failed
        Whether the row records an error.
    """

    id: int
    size: int
    mtime_ns: int
    label: str | None
    sha256: bytes | None
    spaces: frozenset[str]
    failed: bool


class ScanDiff(NamedTuple):
    """A batch of Items compared with the table.

    Attributes
    ----------
    work
        The Items to index, each with its existing row, if any.
    seen_ids
        int64 ``[n]``, the ids of the existing rows.
    unchanged
        The number of Items that are up to date.
    failed
        The number of Items that failed before and have not changed.
    """

    work: list[tuple[Item, ExistingRow | None]]
    seen_ids: Ids
    unchanged: int
    failed: int


class ContentIndex:
    """The contents that a table holds: a map from sha256 to row id, in 40 bytes a row.

    Parameters
    ----------
    hashes
        uint64 ``[n, 4]``, each row a sha256 as four little-endian numbers.
    ids
        int64 ``[n]``, the row ids.
    """

    def __init__(self, hashes: npt.NDArray[np.uint64], ids: Ids) -> None:
        # By the first number of the hash, and rows that share it by id.
        first_numbers = hashes[:, 0]
        order = np.lexsort((ids, first_numbers))
        self._hashes = hashes[order]
        self._ids = ids[order]

    @classmethod
    def of(cls, hashes: Sequence[bytes], ids: Sequence[int] | Ids) -> ContentIndex:
        """Return the index of contents given as one sha256 of 32 bytes for each id."""
        joined = b"".join(hashes)
        numbers = np.frombuffer(joined, "<u8")
        # Each of 32 bytes, as four numbers.
        as_rows = numbers.reshape(-1, 4)
        return cls(as_rows, np.array(ids, np.int64))

    def find(self, sha256: bytes) -> int | None:
        """Return the lowest id of the rows with this content, or None."""
        key = np.frombuffer(sha256, "<u8")
        first_number = key[0]
        # The rows whose hash begins with the same number.
        first_numbers = self._hashes[:, 0]
        start = np.searchsorted(first_numbers, first_number, "left")
        end = np.searchsorted(first_numbers, first_number, "right")
        candidates = self._hashes[start:end]
        # Those of them with the whole hash.
        is_equal = candidates == key
        is_same = is_equal.all(axis=1)
        matches = np.flatnonzero(is_same)
        if not len(matches):
            return None
        first_match = start + matches[0]
        row_id = self._ids[first_match]
        return int(row_id)


def is_up_to_date(item: Item, row: ExistingRow, spaces: frozenset[str]) -> bool:
    """Return whether an Item is unchanged and has a vector in each of `spaces`.

    A file that was read but could not be decoded is up to date until it changes. A file that could
    not be read is never up to date, because the cause lies outside of it.
    """
    size = item.size
    if size == UNKNOWN_SIZE:
        size = row.size
    if size < 0:
        return False
    mtime_ns = item.mtime_ns
    if mtime_ns == UNKNOWN_TIME:
        mtime_ns = row.mtime_ns
    item_stamp = (size, mtime_ns, item.label)
    row_stamp = (row.size, row.mtime_ns, row.label)
    has_changed = item_stamp != row_stamp
    if has_changed:
        return False
    if row.failed:
        return row.sha256 is None
    return spaces <= row.spaces
