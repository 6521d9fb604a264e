"""Pairs of contents that were compared by points, kept beside a collection."""

from __future__ import annotations

import pyarrow as pa

from lookalike.duplicates.kept import KeptRows, content_key
from lookalike.duplicates.points import Alignment
from lookalike.store.location import Location

__all__ = ["PairStore"]

# Raised when the comparison changes.
_PAIR_METHOD = "2"
_PAIR_FIELDS = [
    pa.field("inliers", pa.uint16()),
    pa.field("correlation", pa.float64()),
    pa.field("is_mirrored", pa.bool_()),
]


class PairStore:
    """The alignments of pairs of contents; see `KeptRows`.

    Parameters
    ----------
    location
        The collection's location.
    """

    def __init__(self, location: Location) -> None:
        self._rows = KeptRows(location, "pairs", _PAIR_FIELDS, _PAIR_METHOD)

    def get(self, first: bytes, second: bytes) -> Alignment | None:
        """Return the alignment of two contents, or None."""
        key = content_key(first, second)
        row = self._rows.get(key)
        if row is None:
            return None
        return Alignment(*row)

    def add(self, first: bytes, second: bytes, alignment: Alignment) -> None:
        """Remember the alignment of two contents until `save`."""
        key = content_key(first, second)
        self._rows.add(key, tuple(alignment))

    def save(self) -> None:
        """Write what was added since the last save."""
        self._rows.save()
