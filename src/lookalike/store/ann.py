"""Approximate search of a Space, with a stated recall.

The index is Lance's IVF_RQ: rows in partitions about centroids, each number kept in a few bits (RaBitQ, Gao and Long,
SIGMOD 2024). What it finds are candidates only; their vectors are read from the table and compared exactly. It is
asked with settings whose recall was measured (`lookalike.store.tuning`), which are kept in the table itself. Without
such a record, or with one that was made for another index, there is no approximate search.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.store.failures import Operation
from lookalike.types import Ids, Neighbors, VectorsF16
from lookalike.vectors.exact import ExactIndex

if TYPE_CHECKING:
    from lookalike.store.view import View

__all__ = [
    "MIN_ROWS",
    "IndexTuning",
    "Setting",
    "column_vectors",
    "compare_exactly",
    "config_key",
    "current_tuning",
    "index_segments",
    "nearest",
    "search",
    "stored_tuning",
]

# Rows from which a Space gets an index: docs/decisions/0011-approximate-search.md has the measurements.
MIN_ROWS = 20_000

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Setting:
    """How the index is asked, and what recall that was measured to give.

    Attributes
    ----------
    k
        For how many neighbours it was measured; fewer may be asked for.
    probes
        How many partitions are looked into.
    candidates
        How many rows are taken from them, to be compared exactly.
    recall
        The mean share of the k true neighbours that were found.
    """

    k: int
    probes: int
    candidates: int
    recall: float


@dataclass(frozen=True, slots=True)
class IndexTuning:
    """What is kept of an index and its tuning.

    Attributes
    ----------
    target
        The recall that was asked for.
    rows, built
        How many rows the Space had when it was tuned, and when the index was built.
    partitions, bits
        What the index was built with.
    segments
        The index's parts by their uuids: an index with others was not tuned.
    plain, filtered
        The cheapest settings that reach the target, by rising k: for all rows, and for a selection of them.
    """

    target: float
    rows: int
    built: int
    partitions: int
    bits: int
    segments: tuple[str, ...]
    plain: tuple[Setting, ...] = ()
    filtered: tuple[Setting, ...] = ()

    def setting(self, k: int, *, filtered: bool) -> Setting | None:
        """Return the cheapest setting that was measured for at least k neighbours, or None."""
        fit = [setting for setting in (self.filtered if filtered else self.plain) if setting.k >= k]
        return min(fit, key=lambda setting: setting.k, default=None)

    def to_json(self) -> str:
        """Return the record as the text that the table keeps."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> IndexTuning:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is not whole.
        """
        fields = json.loads(text)
        for name in ("plain", "filtered"):
            fields[name] = tuple(Setting(**setting) for setting in fields[name])
        return cls(**{**fields, "segments": tuple(fields["segments"])})


def config_key(space: str) -> str:
    """Return the name under which a table keeps the record of a Space."""
    return f"lookalike.tuned.{space}"


def index_segments(collection: View, space: str) -> tuple[str, ...]:
    """Return the uuids of the parts of a Space's index; none if it has no index."""
    with collection.reading():
        found = [
            index for index in collection.table.describe_indices() if index.field_names == [space]
        ]
    return tuple(sorted(str(segment.uuid) for index in found for segment in index.segments))


def stored_tuning(collection: View, space: str) -> IndexTuning | None:
    """Return what the table keeps of a Space's last tuning, whether it still holds or not; None if that is torn."""
    with collection.reading():
        text = collection.table.config().get(config_key(space), "")
    try:
        return IndexTuning.from_json(text)
    except (ValueError, TypeError, KeyError):
        return None


def current_tuning(collection: View, space: str) -> IndexTuning | None:
    """Return the tuning of the index that a Space has now, or None if there is none."""
    version = collection.version
    if collection.tunings.get(space, (-1, None))[0] != version:
        record = stored_tuning(collection, space)
        holds = (
            record is not None
            and record.segments
            and record.segments == index_segments(collection, space)
        )
        collection.tunings[space] = version, record if holds else None
    return collection.tunings[space][1]


def nearest(
    collection: View,
    space: str,
    query: VectorsF16,
    k: int,
    *,
    leave_out: Ids = _NONE,
    where: str | None = None,
) -> Neighbors | None:
    """Return the k nearest rows of a Space by its index, rows that it does not know yet included.

    Parameters
    ----------
    query
        float16 ``[dim]``.
    leave_out
        Ids of rows that shall not be found.
    where
        A filter in the store's language: only the rows that it keeps are searched.

    Returns
    -------
    Neighbors
        Or None, if there is no index tuned for so many neighbours: then search exactly.
    """
    record = current_tuning(collection, space)
    setting = record.setting(k, filtered=where is not None) if record is not None else None
    if setting is None:
        return None
    return search(collection, space, query, k, setting, leave_out=leave_out, where=where)


def search(
    collection: View,
    space: str,
    query: VectorsF16,
    k: int,
    setting: Setting,
    *,
    leave_out: Ids = _NONE,
    where: str | None = None,
) -> Neighbors:
    """Search the index with a setting; see `nearest`."""
    wanted = setting.candidates + len(leave_out)
    nearest = {
        "column": space,
        "q": query.astype(np.float32),
        "k": wanted,
        "nprobes": setting.probes,
        "metric": "L2",
    }
    with collection.reading(Operation.SEARCH):
        rows = collection.table.to_table(
            columns=[space, "_distance"],
            nearest=nearest,
            filter=where,
            prefilter=where is not None,
            with_row_id=True,
        )
    # An id is there once, whatever the index remembers of a row that has changed.
    ids, first = np.unique(rows["_rowid"].to_numpy().astype(np.int64), return_index=True)
    kept = ~np.isin(ids, leave_out)
    return Neighbors(
        *compare_exactly(rows[space].take(first[kept]), ids[kept], query, k), setting.recall
    )


def compare_exactly(
    column: pa.ChunkedArray, ids: Ids, query: VectorsF16, k: int
) -> tuple[Ids, npt.NDArray[np.float64]]:
    """Return the k nearest of some rows, by their vectors as the table holds them, and their distances."""
    filled = column.combine_chunks().is_valid().to_numpy(zero_copy_only=False)
    return ExactIndex(ids[filled], column_vectors(column)).search(query, k)


def column_vectors(column: pa.Array | pa.ChunkedArray) -> VectorsF16:
    """Return the vectors of a Space's column, float16 ``[n, dim]``, without those that are missing."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat = whole.drop_null().flatten().to_numpy(zero_copy_only=False)
    found: VectorsF16 = flat.reshape(-1, column.type.list_size)
    return found
