"""The trash of a collection: rows that were removed, whole, until they expire.

A row that leaves the table is first added to the trash, then deleted. A row that comes back is
first inserted into the table, then deleted from the trash. A killed process can thus leave a row in
both places, never in neither. The row in the table counts; the other one is ignored, and removed
later. All changes are made under the table's write lock.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lookalike.errors import CollectionError, InputError
from lookalike.sources import resolve_uri, uri_prefixes
from lookalike.store.conflicts import ConflictError, in_transaction
from lookalike.store.diff import ContentIndex
from lookalike.store.schema import (
    content_clause,
    given_columns,
    id_clause,
    prefix_clause,
    quote,
    quote_name,
)
from lookalike.store.trash_table import (
    BATCH,
    COPIED_ROWS,
    REASON,
    REMOVED_AT,
    TrashTable,
)
from lookalike.store.view import View
from lookalike.types import Ids, Item

if TYPE_CHECKING:
    import lance

    from lookalike.store.table import Table

__all__ = ["RemovalReason", "RestoreReport", "Trash", "TrashIndex", "trash_days"]

_DEFAULT_DAYS = 30.0

# The contents of the trash by the Spaces that they have a vector in.
TrashIndex = Mapping[frozenset[str], ContentIndex]


class RemovalReason(StrEnum):
    """Why a row was removed.

    Its file is missing, a user removed it, or its file moved and the new row has other metadata.
    """

    MISSING = "missing"
    REMOVED = "removed"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """The result of restoring rows from the trash.

    Attributes
    ----------
    restored
        The number of rows that are in the collection again.
    occupied
        The uris that were not restored, because the collection has another image there.
    """

    restored: int
    occupied: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``lookalike trash restore --json`` prints it."""
        return {"restored": self.restored, "occupied": self.occupied}


def trash_days() -> float:
    """Return how many days rows stay in the trash: ``LOOKALIKE_TRASH_DAYS``, or 30.

    Raises
    ------
    InputError
        If the variable is not a number of days.
    """
    text = os.environ.get("LOOKALIKE_TRASH_DAYS", "")
    if not text:
        return _DEFAULT_DAYS
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:  # nan too
        raise InputError(
            f"LOOKALIKE_TRASH_DAYS={text} is invalid. "
            "Expected a number of days, 0 or more, such as 90."
        )
    return days


class Trash:
    """The trash of a table.

    Parameters
    ----------
    table
        The table. A collection that was made before there was a trash has an empty one.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows = TrashTable(table)

    # Reading

    def open(self) -> lance.LanceDataset | None:
        """Open the Lance table, for modules of the store alone; None if the trash is empty."""
        return self._rows.open()

    def count(self) -> int:
        """Return the number of rows, also of those that the table has as well."""
        return self._rows.count()

    def view(self) -> View | None:
        """Return the trash as a table of its own, to be read only; None if it is empty."""
        dataset = self._rows.open()
        if dataset is None:
            return None
        return View(self._table.path, dataset)

    def exists(self) -> bool:
        """Return whether there is anything in the trash."""
        location = self._table.location
        return location.has_trash()

    def rows(self, uris: Sequence[str] = ()) -> pa.Table:
        """Return the rows, without those that the table has as well.

        Parameters
        ----------
        uris
            Images by uri or path, folders with everything below them; none for all.

        Returns
        -------
        pyarrow.Table
            ``uri``, ``label``, ``removed_at`` and ``reason``, by uri.
        """
        names = ["uri", "label", "sha256", REMOVED_AT, REASON]
        rows = self._named(uris, names)
        newest = _newest(rows)
        removed = self._without_returned(newest)
        shown = removed.select(["uri", "label", REMOVED_AT, REASON])
        renamed = shown.rename_columns(["uri", "label", "removed_at", "reason"])
        return renamed.sort_by("uri")

    def contents(self) -> TrashIndex:
        """Return an index of the contents in the trash, to recognize files that come back."""
        rows = self._rows.read(["sha256", "spaces"], "sha256 IS NOT NULL")
        ids_by_spaces: dict[frozenset[str], list[int]] = defaultdict(list)
        hashes_by_spaces: dict[frozenset[str], list[bytes]] = defaultdict(list)
        for row in rows.to_pylist():
            filled = row["spaces"] or ()
            spaces = frozenset(filled)
            ids_by_spaces[spaces].append(row["_rowid"])
            hashes_by_spaces[spaces].append(row["sha256"])

        index = {}
        for spaces, hashes in hashes_by_spaces.items():
            ids = ids_by_spaces[spaces]
            index[spaces] = ContentIndex.of(hashes, ids)
        return index

    def with_contents(self, hashes: Sequence[bytes]) -> pa.Table:
        """Return the whole rows with some contents, the newest first.

        Their ids in the trash are the column ``_rowid``.
        """
        different = set(hashes)
        clause = content_clause(different)
        rows = self._rows.read(clause=clause)
        return _newest_first(rows)

    # Rows that leave the table

    @in_transaction
    def discard(self, ids: Ids, reason: RemovalReason) -> None:
        """Move rows of the table into the trash; unknown ids are skipped.

        Failures without metadata are deleted: indexing finds them again.
        """
        table = self._table
        reasons_to_keep = ["sha256 IS NOT NULL"]
        for name in given_columns(table.metadata):
            quoted = quote_name(name)
            reasons_to_keep.append(f"{quoted} IS NOT NULL")
        is_worth_keeping = " OR ".join(reasons_to_keep)
        for start in range(0, len(ids), BATCH):
            end = start + BATCH
            batch = ids[start:end]
            is_in_batch = id_clause(batch.tolist())
            clause = f"{is_in_batch} AND ({is_worth_keeping})"
            if table.count_where(clause):
                self._rows.append(clause, reason)
            # Not earlier: a process killed here leaves the rows in both places.
            table.delete(batch)

    @in_transaction
    def discard_moved(self, ids: Ids) -> None:
        """Delete rows whose content has a row under another uri.

        A row goes to the trash if it has metadata that no other row of its content has.
        """
        with_metadata = self._with_unique_metadata(ids)
        self.discard(with_metadata, RemovalReason.MOVED)
        without = np.setdiff1d(ids, with_metadata)
        self._table.delete(without)

    def _with_unique_metadata(self, ids: Ids) -> Ids:
        """Return the rows whose metadata would be lost if all of `ids` were deleted."""
        unique: list[int] = []
        if given_columns(self._table.metadata):
            for start in range(0, len(ids), COPIED_ROWS):
                batch = ids[start : start + COPIED_ROWS]
                unique += self._unique_of_batch(batch, exclude=ids)
        return np.array(unique, np.int64)

    def _unique_of_batch(self, batch: Ids, *, exclude: Ids) -> list[int]:
        """Return rows with metadata that no row outside of `exclude` has with their content."""
        table = self._table
        metadata = given_columns(table.metadata)
        names = ["sha256", *metadata]
        rows = _as_tuples(table.take(batch, names), names)
        hashes = [sha256 for sha256, *_ in rows if sha256 is not None]
        others = table.take_contents(hashes, metadata, exclude=exclude)
        known = set(_as_tuples(others, names))

        unique = []
        for row_id, row in zip(batch.tolist(), rows, strict=True):
            _, *values = row
            has_metadata = any(value is not None for value in values)
            if has_metadata and row not in known:
                unique.append(row_id)
        return unique

    # Rows that come back

    @in_transaction
    def restore(self, uris: Sequence[str] = ()) -> RestoreReport:
        """Put rows back into the table, each uri with the row that was removed last.

        Parameters
        ----------
        uris
            Images by uri or path, folders with everything below them; none for all.

        Raises
        ------
        InputError
            If one of `uris` matches nothing in the trash; then nothing is restored.
        """
        columns = ["uri", "sha256", REMOVED_AT]
        named = self._named(uris, columns)
        newest = _newest(named)
        removed = self._without_returned(newest)
        uri_column = removed["uri"]
        id_column = removed["_rowid"]
        removed_uris = uri_column.to_pylist()
        removed_ids = id_column.to_pylist()

        taken = self._table.existing_rows(removed_uris)
        free_ids = []
        occupied = []
        removed_rows = zip(removed_ids, removed_uris, strict=True)
        for row_id, uri in removed_rows:
            is_taken = uri in taken
            if is_taken:
                occupied.append(uri)
            else:
                free_ids.append(row_id)
        self._put_back(free_ids)
        named_column = newest["uri"]
        named_uris = named_column.to_pylist()
        self.settle(named_uris)
        restored = len(free_ids)
        occupied.sort()
        return RestoreReport(restored, occupied)

    def restore_unchanged(self, items: Sequence[Item]) -> set[str]:
        """Put back the rows of files with the size and time that they had; return their uris.

        The rows stay in the trash, where they are ignored, until `settle`.
        """
        stamps = {}
        for item in items:
            uri = item.uri
            stamp = (item.size, item.mtime_ns)
            stamps[uri] = stamp
        columns = ["size", "mtime_ns"]
        return self._restore_equal(stamps, columns)

    def restore_contents(self, contents: Mapping[str, bytes]) -> set[str]:
        """Put back the rows of uris that have their content again; return these uris.

        The rows stay in the trash, where they are ignored, until `settle`.

        Parameters
        ----------
        contents
            The sha256 that the file behind each uri has now.
        """
        hashes = {}
        for uri, sha256 in contents.items():
            hashes[uri] = (sha256,)
        return self._restore_equal(hashes, ["sha256"])

    def _restore_equal(
        self, expected: Mapping[str, tuple[Any, ...]], columns: Sequence[str]
    ) -> set[str]:
        """Put back the images whose columns have the values expected of their uri."""
        if not expected or not self.exists():
            return set()
        return self._put_back_equal(expected, columns)

    @in_transaction
    def _put_back_equal(
        self, expected: Mapping[str, tuple[Any, ...]], columns: Sequence[str]
    ) -> set[str]:
        names = {"uri", "sha256", REMOVED_AT, *columns}
        rows = self._with_uris(list(expected), sorted(names))
        # Of rows with one uri, the one that was removed last counts.
        ids = {}
        for row in rows.sort_by(REMOVED_AT).to_pylist():
            uri = row["uri"]
            values = tuple(row[name] for name in columns)
            is_image = row["sha256"] is not None
            if is_image and values == expected[uri]:
                ids[uri] = row["_rowid"]
        # Another process may have indexed some of them meanwhile.
        for uri in self._table.existing_rows(ids):
            del ids[uri]
        self._put_back(list(ids.values()))
        return set(ids)

    def settle(self, uris: Sequence[str] | None = None) -> None:
        """Delete rows of the trash that the table has with the same content.

        Their metadata goes to the row of the table where that has none.

        Parameters
        ----------
        uris
            The uris to look at; None for all.
        """
        if not self.exists():
            return
        self._settle(uris)

    @in_transaction
    def _settle(self, uris: Sequence[str] | None) -> None:
        metadata = self._metadata()
        names = ["uri", "sha256", *metadata, REMOVED_AT]
        rows = self._with_uris(uris, names)
        is_in_table = self._is_in_table(rows)
        same = rows.filter(pa.array(is_in_table))
        newest = _newest(same)
        self._table.fill_metadata(newest.select(["uri", *metadata]))
        self._rows.delete(same["_rowid"].to_pylist())

    def forget(self, ids: Sequence[int]) -> None:
        """Delete rows by their ids in the trash, after the table has received their content."""
        if not ids:
            return
        self._forget(ids)

    @in_transaction
    def _forget(self, ids: Sequence[int]) -> None:
        self._rows.delete(ids)

    def _metadata(self) -> list[str]:
        """Return the metadata columns that the table and the trash both have."""
        own_names = self._rows.columns()
        return [name for name in self._table.metadata if name in own_names]

    def _put_back(self, ids: Sequence[int]) -> None:
        """Insert rows of the trash, whose uris are free, into the table."""
        names = self._rows.columns()
        for start in range(0, len(ids), BATCH):
            end = start + BATCH
            batch = ids[start:end]
            reader = self._rows.stream(batch, names)
            self._table.insert(reader)

    # Rows that leave the trash

    @in_transaction
    def empty(self, uris: Sequence[str] = ()) -> int:
        """Delete rows for good; return their number.

        Parameters
        ----------
        uris
            Images by uri or path, folders with everything below them; none for all, even of a
            damaged trash.

        Raises
        ------
        InputError
            If one of `uris` matches nothing in the trash; then nothing is deleted.
        """
        if uris:
            ids = self._named(uris, [])["_rowid"].to_pylist()
            self._rows.delete(ids)
            return len(ids)
        try:
            count = self._rows.count()
        except CollectionError:
            count = 0
        self._rows.drop()
        return count

    def purge(self, days: float | None = None) -> int:
        """Delete the rows that were removed more than some days ago; return their number.

        Those that the table has with the same content give it their metadata first, see `settle`.

        Parameters
        ----------
        days
            The days; None for `trash_days`.
        """
        if days is None:
            days = trash_days()
        if not self.exists():
            return 0
        oldest = datetime.now(UTC) - timedelta(days=days)
        return self._purge(oldest)

    @in_transaction
    def _purge(self, oldest: datetime) -> int:
        expired_uris = set()
        expired_ids = []
        rows = self._rows.read(["uri", REMOVED_AT])
        for row in rows.to_pylist():
            removed_at = row[REMOVED_AT]
            if removed_at < oldest:
                uri = row["uri"]
                row_id = row["_rowid"]
                expired_uris.add(uri)
                expired_ids.append(row_id)
        count = len(expired_ids)
        uris = sorted(expired_uris)
        self.settle(uris)
        self._rows.delete(expired_ids)
        return count

    def compact(self) -> int:
        """Free the disk space of deleted rows; return the number of bytes."""
        with self._table.write_lock() as is_locked:
            try:
                return self._rows.compact(is_locked=is_locked)
            except ConflictError:
                # Another process changes the trash; the next time will do.
                return 0

    def remove_orphans(self) -> int:
        """Remove the files of killed writers; see `lookalike.store.upkeep.remove_unfinished`."""
        return self._rows.remove_orphans()

    # Look-ups

    def _with_uris(
        self, uris: Sequence[str] | None, columns: Sequence[str]
    ) -> pa.Table:
        """Return columns of the rows of some uris; all rows for None."""
        trash_rows = self._rows
        if uris is None:
            return trash_rows.read(columns)
        parts = []
        for start in range(0, len(uris), BATCH):
            end = start + BATCH
            batch = uris[start:end]
            quoted = map(quote, batch)
            listed = ", ".join(quoted)
            clause = f"uri IN ({listed})"
            part = trash_rows.read(columns, clause)
            parts.append(part)
        if not parts:
            return trash_rows.read(columns, "false")
        return pa.concat_tables(parts)

    def _named(self, uris: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """Return the rows that some uris or paths name; all rows for none."""
        if not uris:
            return self._rows.read(columns)
        clauses = []
        for uri in uris:
            resolved = resolve_uri(uri)
            prefixes = uri_prefixes(resolved)
            below = prefix_clause(prefixes)
            clause = f"uri = {quote(resolved)} OR {below}"
            if not len(self._rows.read([], clause)):
                raise InputError(
                    f"The trash of {self._table.path} has no image {uri!r} and no folder of that "
                    "name. Nothing was changed. List its images with: lookalike trash list"
                )
            clauses.append(clause)
        any_clause = " OR ".join(clauses)
        return self._rows.read(columns, any_clause)

    def _without_returned(self, rows: pa.Table) -> pa.Table:
        """Return the rows that the table does not have with the same content."""
        is_in_table = self._is_in_table(rows)
        is_removed = pa.array(~is_in_table)
        return rows.filter(is_removed)

    def _is_in_table(self, rows: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return for each row whether the table has its uri with the same content."""
        uris = rows["uri"].to_pylist()
        hashes = rows["sha256"].to_pylist()
        is_in_table = np.zeros(len(uris), bool)
        for start in range(0, len(uris), BATCH):
            batch = uris[start : start + BATCH]
            existing = self._table.existing_rows(batch)
            for position, uri in enumerate(batch, start):
                row = existing.get(uri)
                if row is not None:
                    is_in_table[position] = row.sha256 == hashes[position]
        return is_in_table


def _newest(rows: pa.Table) -> pa.Table:
    """Return the row of each uri that was removed last."""
    ordered = _newest_first(rows)
    uris = ordered["uri"].to_pylist()
    positions: dict[str, int] = {}
    for position, uri in enumerate(uris):
        positions.setdefault(uri, position)
    first_positions = positions.values()
    newest = pa.array(first_positions, pa.int64())
    return ordered.take(newest)


def _newest_first(rows: pa.Table) -> pa.Table:
    """Return rows by the time of their removal, the latest first."""
    order = (REMOVED_AT, "descending")
    return rows.sort_by([order])


def _as_tuples(rows: pa.Table, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the values of some columns, a tuple for each row."""
    columns = [rows[name].to_pylist() for name in names]
    return list(zip(*columns, strict=True))
