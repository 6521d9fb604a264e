"""The Lance table behind the trash of a collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import lance
import pyarrow as pa
from lance.optimize import Compaction, CompactionOptions

from lookalike.errors import CollectionError
from lookalike.io.tables import ARROW_TYPES
from lookalike.store.conflicts import is_conflict
from lookalike.store.creation import make_empty_table
from lookalike.store.failures import Operation, conflict_error, disk_error, reason_of
from lookalike.store.location import TRASH
from lookalike.store.orphans import remove_orphans
from lookalike.store.schema import id_clause

if TYPE_CHECKING:
    from lookalike.store.table import Table

__all__ = ["BATCH", "COPIED_ROWS", "REASON", "REMOVED_AT", "TrashTable"]

BATCH = 10_000
# Rows that are copied at a time: with thumbnails and some Spaces, tens of MiB.
COPIED_ROWS = 1 << 10
# How long a version stays that another process may be reading.
_OPEN_READERS = timedelta(hours=1)

# A metadata column begins with a letter, so none has such a name.
REMOVED_AT = "_removed_at"
REASON = "_reason"
_OWN_FIELDS = (
    pa.field(REMOVED_AT, pa.timestamp("us", "UTC")),
    pa.field(REASON, pa.string()),
)


class TrashTable:
    """A Lance table with the columns of a collection's table, the time and the reason of removal.

    It is made by the first row and removed with the last one. Every method that changes it needs
    the write lock of the collection's table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._location = table.location

    def open(self) -> lance.LanceDataset | None:
        """Open the newest version; None without a trash."""
        if not self._location.has_trash():
            return None
        with self.translate_errors(Operation.OPEN):
            uri = self._location.trash_uri
            return lance.dataset(uri)

    def columns(self) -> list[str]:
        """Return the columns that the table and the trash both have, with the same type."""
        dataset = self.open()
        if dataset is None:
            return []
        own_types = _types(dataset.schema)
        names = []
        for field in self._table.schema:
            own_type = own_types.get(field.name)
            if own_type == field.type:
                names.append(field.name)
        return names

    def count(self) -> int:
        """Return the number of rows."""
        dataset = self.open()
        if dataset is None:
            return 0
        with self.translate_errors(Operation.READ):
            count = dataset.count_rows()
        return int(count)

    def read(
        self, columns: Sequence[str] | None = None, clause: str | None = None
    ) -> pa.Table:
        """Return columns of the rows that match a clause, and their ids as ``_rowid``.

        Parameters
        ----------
        columns
            The columns to read; None for all.
        clause
            A clause in Lance's own language; None for all rows.
        """
        dataset = self.open()
        if dataset is None:
            row_id = pa.field("_rowid", pa.uint64())
            schema = pa.schema([*self._table.schema, *_OWN_FIELDS, row_id])
            names = schema.names if columns is None else [*columns, "_rowid"]
            return schema.empty_table().select(names)
        names = dataset.schema.names if columns is None else list(columns)
        with self.translate_errors(Operation.READ):
            return dataset.to_table(columns=names, filter=clause, with_row_id=True)

    def stream(
        self, ids: Sequence[int], columns: Sequence[str]
    ) -> pa.RecordBatchReader:
        """Return a reader of columns of some rows, which holds few of them in memory."""
        dataset = self.open()
        names = list(columns)
        if dataset is None:
            empty = self._table.schema.empty_table()
            selected = empty.select(names)
            return selected.to_reader()
        with self.translate_errors(Operation.READ):
            clause = id_clause(ids)
            scanner = dataset.scanner(
                columns=names, filter=clause, batch_size=COPIED_ROWS
            )
            return scanner.to_reader()

    def append(self, clause: str, reason: str) -> None:
        """Add the rows of the collection's table that match a clause."""
        table = self._table
        with self.translate_errors(Operation.WRITE):
            schema = self._prepare().schema
            scanner = table.lance_dataset.scanner(
                columns=table.schema.names, filter=clause, batch_size=COPIED_ROWS
            )
            own_values = {REMOVED_AT: datetime.now(UTC), REASON: reason}

            def batches() -> Iterator[pa.RecordBatch]:
                for batch in scanner.to_batches():
                    yield _with_values(batch, schema, own_values)

            reader = pa.RecordBatchReader.from_batches(schema, batches())
            lance.write_dataset(reader, self._location.trash_uri, mode="append")

    def _prepare(self) -> lance.LanceDataset:
        """Return the trash with every column of the table; make it if it is missing."""
        dataset = self.open()
        if dataset is None:
            return self._create()
        own_types = _types(dataset.schema)
        replaced = []
        new_fields = []
        for field in self._table.schema:
            own_type = own_types.get(field.name)
            if own_type == field.type:
                continue
            new_fields.append(field)
            if own_type == ARROW_TYPES["tags"]:
                # Tags may leave the table, and another column may take their name.
                replaced.append(field.name)
        if replaced:
            dataset.drop_columns(replaced)
        if new_fields:
            new_columns = pa.schema(new_fields)
            dataset.add_columns(new_columns)
        return dataset

    def _create(self) -> lance.LanceDataset:
        location = self._location
        table_schema = self._table.schema
        key, *rest = table_schema
        # Without the mark of a key: a uri may be in the trash more than once.
        unmarked = pa.field(key.name, key.type)
        fields = [unmarked, *rest, *_OWN_FIELDS]
        schema = pa.schema(fields)
        try:
            with location.new_trash() as uri:
                make_empty_table(uri, schema)
        except OSError:
            # Without a lock, another process may have made it first.
            is_made = location.has_trash()
            if not is_made:
                raise
        trash_uri = location.trash_uri
        return lance.dataset(trash_uri)

    def delete(self, ids: Sequence[int]) -> None:
        """Delete rows; the last one takes the trash with it, if no other process may add some."""
        dataset = self.open()
        if dataset is None or not ids:
            return
        with self._table.write_lock() as is_locked:
            with self.translate_errors(Operation.WRITE):
                for start in range(0, len(ids), BATCH):
                    batch = ids[start : start + BATCH]
                    dataset.delete(id_clause(batch))
                is_empty = dataset.count_rows() == 0
            if is_empty and is_locked:
                self._remove()

    def drop(self) -> None:
        """Delete all rows and their files, whatever their state."""
        with self._table.write_lock() as is_locked:
            if is_locked or not self._has_deleted_all():
                self._remove()

    def _has_deleted_all(self) -> bool:
        """Delete all rows in one commit, beside processes that add some; False if damaged."""
        try:
            dataset = self.open()
            with self.translate_errors(Operation.WRITE):
                if dataset is not None:
                    dataset.delete("true")
        except CollectionError:
            return False
        return True

    def _remove(self) -> None:
        with self.translate_errors(Operation.WRITE):
            self._location.remove_trash()

    def compact(self, *, is_locked: bool) -> int:
        """Merge the files, remove those of deleted rows and old versions; return bytes freed."""
        # Nobody reads an old version: every reader opens the newest. Without locks, one
        # may have just opened it.
        age = timedelta(0) if is_locked else _OPEN_READERS
        with self.translate_errors(Operation.CLEAN):
            dataset = self.open()
            if dataset is None:
                return 0
            options = CompactionOptions(batch_size=COPIED_ROWS)
            Compaction.execute(dataset, options)
            dataset.checkout_latest()
            removed = dataset.cleanup_old_versions(older_than=age)
        freed = int(removed.bytes_removed)
        if is_locked:
            freed += self.remove_orphans()
        return freed

    def remove_orphans(self) -> int:
        """Remove the files of no version, beside no other writer; return bytes freed."""
        with self.translate_errors(Operation.CLEAN):
            dataset = self.open()
            if dataset is None:
                return 0
            return remove_orphans(dataset, self._location, TRASH)

    @contextmanager
    def translate_errors(self, operation: Operation) -> Iterator[None]:
        """Raise what Lance raises as a `CollectionError` that names the trash."""
        path = self._table.path
        try:
            yield
        # The kinds that Lance raises for what its library, the disk or Arrow reports.
        except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
            if is_conflict(error):
                raise conflict_error(path, operation) from error
            subject = f"The trash of the collection {path} could not be {operation}"
            from_disk = disk_error(subject, path, operation, error)
            if from_disk is not None:
                raise from_disk from error
            raise CollectionError(
                f"{subject}: {reason_of(error)}. The collection itself is not damaged. "
                f"Delete the trash for good with: lookalike trash empty -c {path}"
            ) from error


def _types(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Return the type of each column by its name."""
    return {field.name: field.type for field in schema}


def _with_values(
    batch: pa.RecordBatch, schema: pa.Schema, values: dict[str, Any]
) -> pa.RecordBatch:
    """Return a batch with the columns of a schema: its own, some constants, or nulls."""
    count = len(batch)
    own_schema = batch.schema
    own_names = own_schema.names
    arrays = []
    for field in schema:
        name = field.name
        column_type = field.type
        if name in values:
            constant = values[name]
            constants = [constant] * count
            column = pa.array(constants, column_type)
        elif name in own_names:
            column = batch[name]
        else:
            column = pa.nulls(count, column_type)
        arrays.append(column)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
