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
from lookalike.store.schema import quote, row_ids
from lookalike.types import Ids, VectorsF16

if TYPE_CHECKING:
    from lookalike.store.view import View

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

_ROWS_AT_ONCE = 1 << 10
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


def read_rows(table: View) -> Iterator[pa.RecordBatch | UnreadableRows]:
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
            # Find the columns that cannot be read.
            unreadable = _find_unreadable(table, fragment)
            yield from unreadable
            unreadable_names: set[str] = set()
            for rows in unreadable:
                unreadable_names.update(rows.columns)
            # Read the others, after the rows that were read already.
            intact = [name for name in all_columns if name not in unreadable_names]
            if intact:
                batches = _fragment_batches(table, fragment, intact)
                yield from _skip_rows(rows_read, batches)


def count_rows(table: View) -> int:
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


def read_uris(table: View) -> Iterator[tuple[list[str], Ids]]:
    """Yield the uris and ids of all rows whose uris can be read."""
    dataset = table.lance_dataset
    fragments = dataset.get_fragments()
    for fragment in fragments:
        batches = _fragment_batches(table, fragment, ["uri"])
        with suppress(CollectionError):
            for batch in batches:
                uris = batch["uri"].to_pylist()
                ids = row_ids(batch)
                yield uris, ids


def unreadable_version(table: View) -> str | None:
    """Return why an older version cannot be read, or None.

    Lance cannot remove any version while one of them is unreadable.
    """
    try:
        table.lance_dataset.versions()
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        return reason_of(error)
    return None


def indexed_columns(table: View) -> set[str]:
    """Return the columns that have an index."""
    dataset = table.lance_dataset
    with translate_errors(table.path, Operation.READ):
        indices = dataset.describe_indices()
    columns = set()
    for index in indices:
        column = index.field_names[0]
        columns.add(column)
    return columns


def find_uris(table: View, uris: Sequence[str]) -> dict[str, set[int]]:
    """Return the ids of the rows that a look-up finds for each uri, by the index if any."""
    literals = map(quote, uris)
    listed = ", ".join(literals)
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


def count_label(table: View, label: str) -> int:
    """Return the number of rows that a look-up finds for a label, by the index if there is one."""
    literal = quote(label)
    clause = f"label = {literal}"
    with translate_errors(table.path, Operation.SEARCH):
        count = table.lance_dataset.count_rows(clause)
    return int(count)


def index_finds(table: View, space: str, vector: VectorsF16) -> bool:
    """Return whether a search of all partitions of an index finds a vector of one of its rows."""
    setting = ann.Setting(k=1, probes=_ALL_PARTITIONS, candidates=100, recall=0.0)
    found = ann.search(table, space, vector, 1, setting)
    if len(found.ids) != 1:
        return False
    distance = found.distances[0]
    return bool(distance == 0)


def _fragment_batches(
    table: View, fragment: lance.LanceFragment, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    names = list(columns)
    with translate_errors(table.path, Operation.READ):
        scanner = table.lance_dataset.scanner(
            columns=names,
            fragments=[fragment],
            with_row_id=True,
            batch_size=_ROWS_AT_ONCE,
            batch_readahead=2,
            fragment_readahead=1,
        )
        yield from scanner.to_batches()


def _skip_rows(
    count: int, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield batches without their first `count` rows."""
    for batch in batches:
        length = len(batch)
        if count < length:
            rest = batch.slice(count)
            yield rest
        count -= length
        count = max(count, 0)


def _find_unreadable(
    table: View, fragment: lance.LanceFragment
) -> list[UnreadableRows]:
    """Return which columns of a fragment cannot be read, by reading each of them alone."""
    first_uris: list[str] = []
    # The columns by their cause: the file that holds them, and the error of the store.
    columns_by_cause: dict[tuple[str, str], list[str]] = {}
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
            cause = (file, reason)
            same_cause = columns_by_cause.setdefault(cause, [])
            same_cause.append(name)

    ids = _fragment_ids(table, fragment)
    unreadable = []
    for (file, reason), names in columns_by_cause.items():
        rows = UnreadableRows(names, ids, first_uris, file, reason)
        unreadable.append(rows)
    return unreadable


def _fragment_ids(table: View, fragment: lance.LanceFragment) -> Ids:
    """Return the ids of a fragment's rows, or none if the list of deleted rows cannot be read."""
    # The ids are in the manifest, whatever happened to the data files; the deletion vector is a
    # file of its own.
    no_ids = np.empty(0, np.int64)
    parts = [no_ids]
    batches = _fragment_batches(table, fragment, [])
    try:
        for batch in batches:
            ids = row_ids(batch)
            parts.append(ids)
    except CollectionError:
        return no_ids
    return np.concatenate(parts)


def _file_of_column(table: View, fragment: lance.LanceFragment, column: str) -> str:
    """Return the file that holds a column of a fragment."""
    # Lance numbers the fields; a list's values are a field of their own.
    schema = table.lance_dataset.lance_schema
    field_ids = set()
    for field in schema.fields():
        if field.name() != column:
            continue
        for part in (field, *field.children()):
            field_id = part.id()
            field_ids.add(field_id)

    name = "data"
    for file in fragment.data_files():
        # The last one that holds it: an update writes a column into a new file.
        if field_ids.intersection(file.fields):
            name = f"data/{file.path}"
    return name
