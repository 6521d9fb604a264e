"""The columns that responses show of every row, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from lookalike.sources import display_name
from lookalike.store.names import labels_or_tags
from lookalike.store.row_columns import load_columns
from lookalike.store.schema import tag_column
from lookalike.store.table import Table
from lookalike.types import Ids, Places

__all__ = ["RowCache"]

_COLUMNS = ["uri", "label", "width", "height", "size", "mtime_ns", "sha256"]
# About 4 MB. Making a row from its columns takes ten times as long as finding it.
_MAX_READY_ROWS = 4096


class RowCache:
    """Columns of one version of a table, and the fields that responses show of a row.

    Attributes
    ----------
    ids
        int64 ``[n]``, in ascending order.
    tag_column
        The column of tags; None without one.
    """

    def __init__(self, table: Table) -> None:
        self.tag_column = tag_column(table.metadata)
        names = list(_COLUMNS)
        if self.tag_column is not None:
            names.append(self.tag_column)
        self._columns = load_columns(table, names)
        self.ids: Ids = self._columns.ids
        # Recent rows by id. Another thread may replace the whole dictionary.
        self._ready: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, row_id: int) -> bool:
        return row_id in self._columns

    def rows(self, ids: Ids) -> list[dict[str, Any]]:
        """Return rows by id, in the given order; unknown ids are skipped.

        Requests share the rows: they must not be changed.
        """
        ready = self._ready
        wanted = ids.tolist()
        missing = [row_id for row_id in wanted if row_id not in ready]
        if missing:
            if len(ready) + len(missing) > _MAX_READY_ROWS:
                ready = {}
                missing = wanted
                self._ready = ready
            for row in self._read(missing):
                row_id = row["id"]
                ready[row_id] = row
        return [ready[row_id] for row_id in wanted if row_id in ready]

    def _read(self, wanted: list[int]) -> list[dict[str, Any]]:
        """Return rows from the columns."""
        ids = np.array(wanted, np.int64)
        positions = self._columns.positions(ids)
        found = self.ids[positions]
        columns = [found.tolist()]
        for name in _COLUMNS:
            values = self._columns.values(name, positions)
            columns.append(values)
        values_of_rows = zip(*columns, strict=True)
        rows = [_to_dict(*values) for values in values_of_rows]
        self._add_tags(rows, positions)
        return rows

    def _add_tags(self, rows: list[dict[str, Any]], positions: Places) -> None:
        """Add the tags of rows that have some."""
        if self.tag_column is None:
            return
        lists = self._columns.values(self.tag_column, positions)
        for row, tags in zip(rows, lists, strict=True):
            if tags is None:
                continue
            row["tags"] = tags

    def row(self, row_id: int) -> dict[str, Any] | None:
        """Return one row, or None for an unknown id."""
        if row_id not in self:
            return None
        ids = np.array([row_id], np.int64)
        (row,) = self.rows(ids)
        return row

    def labels(self) -> list[tuple[str, int]]:
        """Return each label and its number of rows, the most frequent first."""
        column = self._columns.column("label")
        return _count_values(column)

    def tags(self) -> list[tuple[str, int]]:
        """Return each tag and its number of rows, the most frequent first."""
        if self.tag_column is None:
            return []
        lists = self._columns.column(self.tag_column)
        words = lists.flatten()
        return _count_values(words)

    def names_of(self, ids: Ids) -> Sequence[str | None]:
        """Return the labels of rows, or the first tags if no row has a label.

        Every id must exist.
        """
        positions = np.searchsorted(self.ids, ids)
        all_labels = self._columns.column("label")
        labels = all_labels.take(positions)
        lists = None
        if self.tag_column is not None:
            all_tags = self._columns.column(self.tag_column)
            lists = all_tags.take(positions)
        return labels_or_tags(labels, lists)


def _count_values(column: pa.Array) -> list[tuple[str, int]]:
    """Return each text of a column and how often it occurs, the most frequent first."""
    present = column.drop_null()
    counts = present.value_counts()
    pairs = []
    entries = counts.to_pylist()
    for entry in entries:
        value = entry["values"]
        count = entry["counts"]
        pair = (value, count)
        pairs.append(pair)
    pairs.sort()
    # Sorting is stable, so values with equal counts stay in alphabetical order.
    return sorted(pairs, key=_count_of, reverse=True)


def _count_of(pair: tuple[str, int]) -> int:
    _, count = pair
    return count


def _to_dict(
    row_id: int,
    uri: str,
    label: str | None,
    width: int | None,
    height: int | None,
    size: int | None,
    mtime_ns: int | None,
    sha256: bytes,
) -> dict[str, Any]:
    mtime = None
    if mtime_ns is not None:
        mtime = datetime.fromtimestamp(mtime_ns / 1e9, UTC).isoformat(
            timespec="seconds"
        )
    return {
        "id": row_id,
        "uri": uri,
        "name": display_name(uri),
        "label": label,
        "tags": [],
        "width": width,
        "height": height,
        "size": size,
        "mtime": mtime,
        "content": sha256.hex(),
    }
