"""What answers say of the rows, held in memory for one version of a collection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.sources import display_name
from lookalike.store.table import Table

__all__ = ["RowCache"]

_COLUMNS = ["uri", "label", "width", "height", "size", "mtime_ns", "sha256"]
_ID = pa.field("_rowid", pa.int64())


class RowCache:
    """The images' columns by id.

    Attributes
    ----------
    ids
        int64 ``[n]``, rising.
    """

    def __init__(self, collection: Table) -> None:
        schema = pa.schema([collection.table.schema.field(name) for name in _COLUMNS]).append(_ID)
        table = pa.Table.from_batches(
            [batch.cast(schema) for batch in collection.scan(_COLUMNS)], schema
        )
        table = table.sort_by(_ID.name).combine_chunks()
        self.ids: npt.NDArray[np.int64] = table[_ID.name].to_numpy()
        self._columns = {name: table[name].combine_chunks() for name in _COLUMNS}

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, row: int) -> bool:
        return self.place(row) is not None

    def place(self, row: int) -> int | None:
        """Return where a row is among the ids, or None."""
        at = int(np.searchsorted(self.ids, row)) if 0 <= row < 2**63 else len(self)
        return at if at < len(self) and self.ids[at] == row else None

    def rows(self, ids: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return the facts of some rows, in their order; rows that are not there are left out."""
        if not len(self):
            return []
        at = np.minimum(np.searchsorted(self.ids, ids), len(self) - 1)
        at = at[self.ids[at] == ids]
        # One by one: to gather them first costs as much as it saves.
        columns = [
            [column[place].as_py() for place in at.tolist()] for column in self._columns.values()
        ]
        return [
            _fact(row, *values)
            for row, *values in zip(self.ids[at].tolist(), *columns, strict=True)
        ]

    def row(self, row: int) -> dict[str, Any] | None:
        """Return the facts of one row, or None."""
        found = self.rows(np.array([row], np.int64)) if row in self else []
        return found[0] if found else None

    def labels(self) -> list[tuple[str, int]]:
        """Return the labels and how many rows have each, the most first."""
        counted = self._columns["label"].drop_null().value_counts().to_pylist()
        return sorted(
            ((one["values"], one["counts"]) for one in counted),
            key=lambda pair: (-pair[1], pair[0]),
        )

    def label_column(self, ids: npt.NDArray[np.int64]) -> Sequence[str | None]:
        """Return the labels of some rows, all of which are there."""
        found: list[str | None] = (
            self._columns["label"].take(np.searchsorted(self.ids, ids)).to_pylist()
        )
        return found


def _fact(
    row: int,
    uri: str,
    label: str | None,
    width: int | None,
    height: int | None,
    size: int | None,
    mtime_ns: int | None,
    sha256: bytes,
) -> dict[str, Any]:
    changed = (
        None
        if mtime_ns is None
        else datetime.fromtimestamp(mtime_ns / 1e9, UTC).isoformat(timespec="seconds")
    )
    return {
        "id": row,
        "uri": uri,
        "name": display_name(uri),
        "label": label,
        "width": width,
        "height": height,
        "size": size,
        "mtime": changed,
        "content": sha256.hex(),
    }
