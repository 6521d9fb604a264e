"""Read all of a table, even a damaged one, and query its indices for rows that exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import lance
import numpy as np
import pyarrow as pa

from lookalike.errors import CollectionError
from lookalike.store import ann
from lookalike.store.failures import (
    Operation,
    is_permission_error,
    reason_of,
    translate_errors,
)
from lookalike.store.schema import quote
from lookalike.types import Ids, VectorsF16

if TYPE_CHECKING:
    from lookalike.store.table import Table

__all__ = [
    "UnreadableRows",
    "count_label",
    "count_rows",
    "damage_reason",
    "find_uris",
    "index_finds",
    "indexed_columns",
    "read_rows",
    "read_uris",
    "unreadable_version",
]

_BATCH = 1 << 10
_ALL_PARTITIONS = 1 << 16
# Uris that a report on unreadable rows names.
_SHOWN_URIS = 3


class UnreadableRows(NamedTuple):
    """Rows of which some columns cannot be read.

    Attributes
    ----------
    columns
        The columns' names.
    ids
        int64 ``[n]``, the rows.
    uris
        The first few of their uris; empty if the uris cannot be read either.
    file
        The file that holds the columns.
    reason
        The error of the store.
    """

    columns: list[str]
    ids: Ids
    uris: list[str]
    file: str
    reason: str


def read_rows(table: Table) -> Iterator[pa.RecordBatch | UnreadableRows]:
    """Read every column of every row; yield batches, and the columns of rows that cannot be read.

    A batch has the ids as ``_rowid``, and lacks the columns that cannot be read in its fragment.
    """
    all_columns = table.schema.names
    for fragment in table.lance_dataset.get_fragments():
        rows_read = 0
        try:
            for batch in _fragment_batches(table, fragment, all_columns):
                yield batch
                rows_read += len(batch)
        except CollectionError:
            unreadable = _find_unreadable(table, fragment)
            yield from unreadable
            lost = {name for rows in unreadable for name in rows.columns}
            intact = [name for name in all_columns if name not in lost]
            if intact:
                yield from _skip_rows(
                    rows_read, _fragment_batches(table, fragment, intact)
                )


def count_rows(table: Table) -> int:
    """Return the number of rows, images and failures."""
    with translate_errors(table.path, Operation.READ):
        count = table.lance_dataset.count_rows()
        return int(count)


def damage_reason(error: CollectionError) -> str:
    """Return the store's own reason of a translated error.

    Raises
    ------
    CollectionError
        The same error, if it reports a missing permission: then the collection is not damaged.
    """
    if is_permission_error(error):
        raise error
    return reason_of(error.__cause__ or error)


def read_uris(table: Table) -> Iterator[tuple[list[str], Ids]]:
    """Yield the uris and ids of all rows whose uris can be read."""
    for fragment in table.lance_dataset.get_fragments():
        with suppress(CollectionError):
            for batch in _fragment_batches(table, fragment, ["uri"]):
                uris = batch["uri"].to_pylist()
                yield uris, _batch_ids(batch)


def unreadable_version(table: Table) -> str | None:
    """Return why an older version cannot be read, or None.

    Lance cannot remove any version while one of them is unreadable.
    """
    try:
        table.lance_dataset.versions()
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        return reason_of(error)
    return None


def indexed_columns(table: Table) -> set[str]:
    """Return the columns that have an index."""
    with translate_errors(table.path, Operation.READ):
        indices = table.lance_dataset.describe_indices()
    return {index.field_names[0] for index in indices}


def find_uris(table: Table, uris: Sequence[str]) -> dict[str, set[int]]:
    """Return the ids of the rows that a look-up finds for each uri, by the index if any."""
    listed = ", ".join(map(quote, uris))
    clause = f"uri IN ({listed})"
    dataset = table.lance_dataset
    with translate_errors(table.path, Operation.SEARCH):
        rows = dataset.to_table(columns=["uri"], filter=clause, with_row_id=True)
    found_uris = rows["uri"].to_pylist()
    found_ids = rows["_rowid"].to_pylist()

    found: dict[str, set[int]] = {uri: set() for uri in uris}
    for uri, row_id in zip(found_uris, found_ids, strict=True):
        found[uri].add(row_id)
    return found


def count_label(table: Table, label: str) -> int:
    """Return the number of rows that a look-up finds for a label, by the index if there is one."""
    clause = f"label = {quote(label)}"
    with translate_errors(table.path, Operation.SEARCH):
        count = table.lance_dataset.count_rows(clause)
        return int(count)


def index_finds(table: Table, space: str, vector: VectorsF16) -> bool:
    """Return whether a search of all partitions of an index finds a vector of one of its rows."""
    setting = ann.Setting(k=1, probes=_ALL_PARTITIONS, candidates=100, recall=0.0)
    found = ann.search(table, space, vector, 1, setting)
    if len(found.ids) != 1:
        return False
    distance = found.distances[0]
    return bool(distance == 0)


def _fragment_batches(
    table: Table, fragment: lance.LanceFragment, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    with translate_errors(table.path, Operation.READ):
        scanner = table.lance_dataset.scanner(
            columns=list(columns),
            fragments=[fragment],
            with_row_id=True,
            batch_size=_BATCH,
            batch_readahead=2,
            fragment_readahead=1,
        )
        yield from scanner.to_batches()


def _batch_ids(batch: pa.RecordBatch) -> Ids:
    stored_ids = batch["_rowid"].to_numpy()
    ids: Ids = stored_ids.astype(np.int64)
    return ids


def _skip_rows(
    count: int, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield batches without their first `count` rows."""
    for batch in batches:
        length = len(batch)
        if count < length:
            yield batch.slice(count)
        count = max(0, count - length)


def _find_unreadable(
    table: Table, fragment: lance.LanceFragment
) -> list[UnreadableRows]:
    """Return which columns of a fragment cannot be read, by reading each of them alone."""
    first_uris: list[str] = []
    unreadable: dict[tuple[str, str], list[str]] = {}
    for name in table.schema.names:
        try:
            for batch in _fragment_batches(table, fragment, [name]):
                missing = _SHOWN_URIS - len(first_uris)
                if name == "uri" and missing > 0:
                    shown = batch["uri"].slice(0, missing)
                    first_uris += shown.to_pylist()
        except CollectionError as error:
            file = _file_of_column(table, fragment, name)
            reason = damage_reason(error)
            same_cause = unreadable.setdefault((file, reason), [])
            same_cause.append(name)

    ids = _fragment_ids(table, fragment)
    found = []
    for (file, reason), names in unreadable.items():
        found.append(UnreadableRows(names, ids, first_uris, file, reason))
    return found


def _fragment_ids(table: Table, fragment: lance.LanceFragment) -> Ids:
    """Return the ids of a fragment's rows, or none if the list of deleted rows cannot be read."""
    # The ids are in the manifest, whatever happened to the data files; the deletion vector is a
    # file of its own.
    ids = np.empty(0, np.int64)
    with suppress(CollectionError):
        batches = _fragment_batches(table, fragment, [])
        batch_ids = [_batch_ids(batch) for batch in batches]
        ids = np.concatenate([ids, *batch_ids])
    return ids


def _file_of_column(table: Table, fragment: lance.LanceFragment, column: str) -> str:
    """Return the file that holds a column of a fragment."""
    field_ids = set()
    for field in table.lance_dataset.lance_schema.fields():
        if field.name() == column:
            field_ids.add(field.id())
            child_ids = [child.id() for child in field.children()]
            field_ids.update(child_ids)

    found = "data"
    for file in fragment.data_files():
        # The last one that holds it: an update writes a column into a new file.
        if field_ids.intersection(file.fields):
            found = f"data/{file.path}"
    return found
