"""Reading a collection's table through, whatever is damaged in it, and asking its indices about what is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.errors import CollectionError
from lookalike.store import ann
from lookalike.store.failures import Operation, is_permission_error, reason_of, translate_errors
from lookalike.store.schema import quote
from lookalike.types import Ids

if TYPE_CHECKING:
    from lookalike.store.table import Table

__all__ = [
    "UnreadableRows",
    "cause",
    "count",
    "finds_itself",
    "indexed",
    "labelled",
    "look_up",
    "rows",
    "unreadable_version",
    "uris",
]

_BATCH = 1 << 10
_ALL_PARTITIONS = 1 << 16
_FIRST = 3


class UnreadableRows(NamedTuple):
    """Rows of which some columns cannot be read.

    Attributes
    ----------
    columns
        Their names.
    ids
        int64 ``[n]``, the rows.
    uris
        The first few of their uris; none, if these cannot be read either.
    file, reason
        Where the columns should be, and what the store says of it.
    """

    columns: list[str]
    ids: Ids
    uris: list[str]
    file: str
    reason: str


def rows(collection: Table) -> Iterator[pa.RecordBatch | UnreadableRows]:
    """Read every column of every row, with the ids as ``_rowid``: batches, and what of them cannot be read.

    A batch lacks the columns that cannot be read in its fragment.
    """
    for fragment in collection.table.get_fragments():
        read = 0
        try:
            for batch in _batches(collection, fragment, collection.table.schema.names):
                yield batch
                read += len(batch)
        except CollectionError:
            broken = _broken(collection, fragment)
            yield from broken
            lost = {name for one in broken for name in one.columns}
            whole = [name for name in collection.table.schema.names if name not in lost]
            if whole:
                yield from _after(read, _batches(collection, fragment, whole))


def count(collection: Table) -> int:
    """Return how many rows there are, images and failures."""
    with translate_errors(collection.path, Operation.READ):
        return int(collection.table.count_rows())


def cause(error: CollectionError) -> str:
    """Return what the store itself said, of an error that `translate_errors` made of it.

    Raises
    ------
    CollectionError
        That error, if all that it says is that a permission is missing: nothing is wrong with the collection.
    """
    if is_permission_error(error):
        raise error
    return reason_of(error.__cause__ or error)


def uris(collection: Table) -> Iterator[tuple[list[str], Ids]]:
    """Yield the uris and the ids of all rows, as far as they can be read."""
    for fragment in collection.table.get_fragments():
        with suppress(CollectionError):
            for batch in _batches(collection, fragment, ["uri"]):
                yield batch["uri"].to_pylist(), batch["_rowid"].to_numpy().astype(np.int64)


def unreadable_version(collection: Table) -> str | None:
    """Return why an older version cannot be read, if one cannot: then the store can never remove any."""
    try:
        collection.table.versions()
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        return reason_of(error)
    return None


def indexed(collection: Table) -> set[str]:
    """Return the columns that have an index."""
    with translate_errors(collection.path, Operation.READ):
        return {index.field_names[0] for index in collection.table.describe_indices()}


def look_up(collection: Table, uris: Sequence[str]) -> dict[str, set[int]]:
    """Return the ids of the rows that a look-up finds for each of some uris; by the index, if there is one."""
    found: dict[str, set[int]] = {uri: set() for uri in uris}
    with translate_errors(collection.path, Operation.SEARCH):
        clause = f"uri IN ({', '.join(map(quote, uris))})"
        table = collection.table.to_table(columns=["uri"], filter=clause, with_row_id=True)
    for uri, row_id in zip(table["uri"].to_pylist(), table["_rowid"].to_pylist(), strict=True):
        found[uri].add(row_id)
    return found


def labelled(collection: Table, label: str) -> int:
    """Return how many rows a look-up finds for a label; by the index, if there is one."""
    with translate_errors(collection.path, Operation.SEARCH):
        return int(collection.table.count_rows(f"label = {quote(label)}"))


def finds_itself(collection: Table, space: str, vector: npt.NDArray[np.float16]) -> bool:
    """Tell whether the index of a Space, every partition of it read, finds a vector that is among its rows."""
    found = ann.search(collection, space, vector, 1, ann.Setting(1, _ALL_PARTITIONS, 100, 0.0))
    return len(found.ids) == 1 and found.distances[0] == 0


def _batches(
    collection: Table, fragment: lance.LanceFragment, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    with translate_errors(collection.path, Operation.READ):
        yield from collection.table.scanner(
            columns=list(columns),
            fragments=[fragment],
            with_row_id=True,
            batch_size=_BATCH,
            batch_readahead=2,
            fragment_readahead=1,
        ).to_batches()


def _after(count: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pass over so many rows."""
    for batch in batches:
        if count < len(batch):
            yield batch.slice(count)
        count = max(0, count - len(batch))


def _broken(collection: Table, fragment: lance.LanceFragment) -> list[UnreadableRows]:
    """Find which columns of a fragment cannot be read, by reading each alone."""
    first: list[str] = []
    failed: dict[tuple[str, str], list[str]] = {}
    for name in collection.table.schema.names:
        try:
            for batch in _batches(collection, fragment, [name]):
                if name == "uri" and len(first) < _FIRST:
                    first += batch[name].slice(0, _FIRST - len(first)).to_pylist()
        except CollectionError as error:
            place = _file(collection, fragment, name), cause(error)
            failed.setdefault(place, []).append(name)
    ids = np.empty(0, np.int64)
    # They are in the manifest, whatever became of the data; but the list of the deleted ones is a file too.
    with suppress(CollectionError):
        ids = np.concatenate(
            [ids, *(batch["_rowid"].to_numpy() for batch in _batches(collection, fragment, []))]
        )
    return [
        UnreadableRows(names, ids.astype(np.int64), first, *place)
        for place, names in failed.items()
    ]


def _file(collection: Table, fragment: lance.LanceFragment, column: str) -> str:
    """Return the file that holds a column of a fragment."""
    field = next(
        field for field in collection.table.lance_schema.fields() if field.name() == column
    )
    wanted = {field.id(), *(child.id() for child in field.children())}
    held = [file.path for file in fragment.data_files() if wanted & set(file.fields)]
    return f"data/{held[-1]}" if held else "data"
