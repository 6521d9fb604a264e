"""Approximate search of a Space, with a measured recall.

The index is Lance's IVF_RQ: rows in partitions around centroids, each number quantized to a few
bits (RaBitQ, Gao and Long, SIGMOD 2024). It yields candidates only; their vectors are read from the
table and compared exactly. The search settings have a measured recall (`lookalike.store.tuning`)
and are stored in the table itself. Without a stored tuning, or with one made for another index,
every search is exact.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lookalike.store.failures import Operation
from lookalike.store.schema import column_vectors, has_value, row_ids
from lookalike.types import Distances, Ids, Neighbors, VectorsF16
from lookalike.vectors.exact import ExactIndex

if TYPE_CHECKING:
    from lookalike.store.view import View

__all__ = [
    "MIN_ROWS",
    "IndexTuning",
    "Setting",
    "compare_exactly",
    "config_key",
    "current_tuning",
    "index_segments",
    "nearest",
    "search",
    "stored_tuning",
]

# Rows from which a Space gets an index: docs/decisions/0011-approximate-search.md has the
# measurements.
MIN_ROWS = 20_000

_NO_IDS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Setting:
    """Search parameters of an index, and the recall measured with them.

    Attributes
    ----------
    k
        The number of neighbors for which the recall was measured; a search may ask for fewer.
    probes
        The number of partitions that are searched.
    candidates
        The number of rows taken from them and compared exactly.
    recall
        The mean share of the k true neighbors that were found.
    """

    k: int
    probes: int
    candidates: int
    recall: float


@dataclass(frozen=True, slots=True)
class IndexTuning:
    """An index and its measured search settings.

    Attributes
    ----------
    target
        The recall that was requested.
    rows, built
        The number of rows in the Space when it was tuned, and when the index was built.
    partitions, bits
        The parameters of the index.
    segments
        The uuids of the index's parts; an index with other parts is not tuned.
    plain, filtered
        The cheapest settings that reach the target, by ascending k: for all rows, and for a
        selection of them.
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
        """Return the cheapest setting measured for at least k neighbors, or None."""
        settings = self.filtered if filtered else self.plain
        # They ascend by k.
        for setting in settings:
            if setting.k >= k:
                return setting
        return None

    def to_json(self) -> str:
        """Return the text that the table stores."""
        fields = asdict(self)
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> IndexTuning:
        """Parse the text of `to_json`.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is incomplete.
        """
        fields = json.loads(text)
        for name in ("plain", "filtered"):
            stored = fields[name]
            settings = [Setting(**values) for values in stored]
            fields[name] = tuple(settings)
        segments = fields["segments"]
        fields["segments"] = tuple(segments)
        return cls(**fields)


def config_key(space: str) -> str:
    """Return the key under which a table stores the tuning of a Space."""
    return f"lookalike.tuned.{space}"


def index_segments(table: View, space: str) -> tuple[str, ...]:
    """Return the uuids of the parts of a Space's index; empty without an index."""
    dataset = table.lance_dataset
    uuids = []
    with table.translate_read_errors():
        for index in dataset.describe_indices():
            if index.field_names != [space]:
                continue
            for segment in index.segments:
                uuid = str(segment.uuid)
                uuids.append(uuid)
    uuids.sort()
    return tuple(uuids)


def stored_tuning(table: View, space: str) -> IndexTuning | None:
    """Return the last tuning of a Space, current or not; None without one or if it is damaged."""
    key = config_key(space)
    with table.translate_read_errors():
        config = table.lance_dataset.config()
    text = config.get(key, "")
    try:
        return IndexTuning.from_json(text)
    except (ValueError, TypeError, KeyError):
        return None


def current_tuning(table: View, space: str) -> IndexTuning | None:
    """Return the tuning of the index that a Space has now, or None."""
    version = table.version
    cache = table.tuning_cache
    cached = cache.get(space)
    if cached is not None:
        cached_version, cached_tuning = cached
        if cached_version == version:
            return cached_tuning

    tuning = stored_tuning(table, space)
    if tuning is not None:
        segments = index_segments(table, space)
        is_for_this_index = tuning.segments == segments
        if not segments or not is_for_this_index:
            tuning = None
    cache[space] = (version, tuning)
    return tuning


def nearest(
    table: View,
    space: str,
    query: VectorsF16,
    k: int,
    *,
    leave_out: Ids = _NO_IDS,
    where: str | None = None,
) -> Neighbors | None:
    """Return the k nearest rows of a Space by its index.

    Rows that the index does not cover yet are compared one by one.

    Parameters
    ----------
    table
        The table to search.
    space
        The Space.
    query
        float16 ``[dim]``.
    k
        The number of neighbors.
    leave_out
        Ids of rows to leave out of the answer.
    where
        A clause in Lance's filter language that selects the rows to search.

    Returns
    -------
    Neighbors
        Or None without an index tuned for k neighbors; then search exactly.
    """
    tuning = current_tuning(table, space)
    if tuning is None:
        return None
    is_filtered = where is not None
    setting = tuning.setting(k, filtered=is_filtered)
    if setting is None:
        return None
    return search(table, space, query, k, setting, leave_out=leave_out, where=where)


def search(
    table: View,
    space: str,
    query: VectorsF16,
    k: int,
    setting: Setting,
    *,
    leave_out: Ids = _NO_IDS,
    where: str | None = None,
) -> Neighbors:
    """Search the index of a Space with a given setting; see `nearest`."""
    single_precision = query.astype(np.float32)
    # More than the setting's candidates, because some of them may be left out.
    candidates = setting.candidates + len(leave_out)
    request = {
        "column": space,
        "q": single_precision,
        "k": candidates,
        "nprobes": setting.probes,
        "metric": "L2",
    }
    cached = table.cached_vectors(space)
    # The index itself stays in memory; the vectors of the candidates would be read for each search.
    columns = ["_distance"]
    if cached is None:
        columns = [space, "_distance"]
    is_filtered = where is not None
    with table.translate_read_errors(Operation.SEARCH):
        rows = table.lance_dataset.to_table(
            columns=columns,
            nearest=request,
            filter=where,
            prefilter=is_filtered,
            with_row_id=True,
        )
    # Each id once: the index may still hold an earlier vector of a row that has changed.
    all_ids = row_ids(rows)
    ids, positions = np.unique(all_ids, return_index=True)
    is_allowed = ~np.isin(ids, leave_out)
    allowed_ids = ids[is_allowed]
    allowed_positions = positions[is_allowed]
    # Rank the rest by the vectors in the table.
    if cached is not None:
        found_ids, found = cached.of(allowed_ids)
        index = ExactIndex(found_ids, found)
        nearest_ids, distances = index.search(query, k)
    else:
        column = rows[space]
        vectors = column.take(allowed_positions)
        nearest_ids, distances = compare_exactly(vectors, allowed_ids, query, k)
    return Neighbors(nearest_ids, distances, setting.recall)


def compare_exactly(
    column: pa.ChunkedArray, ids: Ids, query: VectorsF16, k: int
) -> tuple[Ids, Distances]:
    """Return the ids and distances of the k nearest of some rows, by their vectors in the table.

    Parameters
    ----------
    column
        The vectors, ``[n]``; rows without a vector are left out.
    ids
        int64 ``[n]``, the rows' ids.
    query
        float16 ``[dim]``.
    k
        The number of neighbors.
    """
    combined = column.combine_chunks()
    has_vector = has_value(combined)
    vector_ids = ids[has_vector]
    vectors = column_vectors(combined)
    index = ExactIndex(vector_ids, vectors)
    return index.search(query, k)
