"""Columns of every image in memory, looked up by row id.

A process that searches often reads the uris and labels of matches from here: from the table, ten
rows take longer than their search. The columns belong to one version of a view, which holds them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from lookalike.store.view import View
from lookalike.types import Ids, Places
from lookalike.vectors.sorted_ids import places_of_ids

__all__ = ["RowColumns", "load_columns", "loaded_columns"]

_ID_NAME = "_rowid"
_ID_FIELD = pa.field(_ID_NAME, pa.int64())


class RowColumns:
    """Some columns of all images of one version of a table.

    Parameters
    ----------
    view
        The collection.
    names
        The columns to read.

    Attributes
    ----------
    version
        The version of the table.
    ids
        int64 ``[n]``, in ascending order.
    """

    def __init__(self, view: View, names: Sequence[str]) -> None:
        self.version = view.version
        table_schema = view.schema
        fields = [table_schema.field(name) for name in names]
        schema = pa.schema([*fields, _ID_FIELD])
        scanned = view.scan(names)
        batches = [batch.cast(schema) for batch in scanned]
        rows = pa.Table.from_batches(batches, schema)
        rows = rows.sort_by(_ID_NAME)

        ids = rows[_ID_NAME]
        self.ids: Ids = ids.to_numpy()
        # The same numbers, for the search of one id: NumPy's would release Python's lock, and then
        # wait for the threads that take it.
        self._sorted_ids = memoryview(self.ids)
        self._columns: dict[str, pa.Array] = {}
        for name in names:
            column = rows[name]
            self._columns[name] = column.combine_chunks()

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, row_id: int) -> bool:
        ids = self._sorted_ids
        position = bisect_left(ids, row_id)
        if position == len(ids):
            return False
        nearest_id: int = ids[position]
        return nearest_id == row_id

    def holds(self, names: Iterable[str]) -> bool:
        """Return whether all of some columns are in memory."""
        own_names = self._columns.keys()
        return own_names >= set(names)

    def positions(self, ids: Ids) -> Places:
        """Return the positions of the rows with these ids; unknown ids are skipped."""
        positions, is_known = places_of_ids(ids, self.ids)
        known: Places = positions[is_known]
        return known

    def column(self, name: str) -> pa.Array:
        """Return all values of a column, in the order of the ids."""
        return self._columns[name]

    def values(self, name: str, positions: Places) -> list[Any]:
        """Return the values of a column at some positions."""
        column = self._columns[name]
        # Reading values one by one is as fast as gathering them with Arrow's `take` first.
        indices = positions.tolist()
        return [column[index].as_py() for index in indices]


def loaded_columns(view: View, names: Sequence[str]) -> RowColumns | None:
    """Return columns of the view's version from memory; None if one of them was not loaded."""
    loaded = view.row_columns
    if loaded is None or loaded.version != view.version:
        return None
    if loaded.holds(names):
        return loaded
    return None


def load_columns(view: View, names: Sequence[str]) -> RowColumns:
    """Return columns of the view's version; they stay in memory until it moves to another."""
    loaded = loaded_columns(view, names)
    if loaded is not None:
        return loaded
    while True:
        loaded = RowColumns(view, names)
        # Another thread may have moved the view in between.
        if loaded.version == view.version:
            break
    view.row_columns = loaded
    return loaded
