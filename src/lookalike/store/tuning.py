"""Build a Space's index, and find by measurement how it must be asked.

A seeded sample of rows is searched exactly, then by the index, each row leaving itself out. The cheapest setting whose
measured recall reaches the target by two standard errors is kept; an index's own defaults are never trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lookalike.store import ann
from lookalike.store.ann import IndexTuning, Setting
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.schema import quote
from lookalike.types import Ids, VectorsF16
from lookalike.vectors import k_nearest_ids

if TYPE_CHECKING:
    from lookalike.store.table import Table

__all__ = [
    "KIND",
    "Sample",
    "build_index",
    "candidate_settings",
    "count_unindexed",
    "draw_sample",
    "measure_recall",
    "tune",
    "update_index",
]

KIND, BITS = "IVF_RQ", 5
_PARTITION_ROWS = 1 << 14
# Numbers of neighbours that are measured: more than the last are always searched exactly.
_KS = (10, 100)
# Neighbours of each sampled row that are found: among them its hundred nearest, all of them a selection to search in.
_DEPTH = 500
_BATCH = 1 << 13
_FIRST = 40


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows that were searched exactly, each leaving itself out.

    Attributes
    ----------
    ids
        int64 ``[m]``.
    queries
        float16 ``[m, dim]``, their vectors.
    selections
        int64 ``[m, depth]``, for each, ids of the rows nearest to another one of them: all close together, and mostly
        far from this one. No filter is harder to search under.
    plain, filtered
        float64 ``[m, 100]``, the distances of the nearest among all rows and in the selection; infinite where there
        are fewer.
    """

    ids: Ids
    queries: VectorsF16
    selections: Ids
    plain: npt.NDArray[np.float64]
    filtered: npt.NDArray[np.float64]

    def first(self, count: int) -> Sample:
        """Return the first rows alone."""
        return Sample(*(getattr(self, part.name)[:count] for part in fields(self)))


def build_index(collection: Table, space: str) -> IndexTuning:
    """Build a Space's index anew, in place of any it has; return what it was built with, untuned.

    Others may write meanwhile: the store takes the rows that they change out of what the index knows. Only gathering
    fragments would be in its way, which is upkeep too.

    Raises
    ------
    CollectionError
        If it cannot be written; then the one before is still there.
    """
    rows, table = collection.count(space), collection.table
    partitions = -(-rows // _PARTITION_ROWS)
    with translate_errors(collection.path, Operation.INDEX):
        table.create_index(
            space,
            KIND,
            name=_name(space),
            metric="L2",
            num_partitions=partitions,
            num_bits=BITS,
            replace=True,
        )
        table.checkout_latest()
    return IndexTuning(0.0, rows, rows, partitions, BITS, ann.index_segments(collection, space))


def count_unindexed(collection: Table, space: str) -> int:
    """Return how many rows of the table lie outside of a Space's index: each search compares them one by one."""
    with collection.reading():
        indices = [
            index for index in collection.table.describe_indices() if index.field_names == [space]
        ]
        return int(collection.table.count_rows()) - sum(index.num_rows_indexed for index in indices)


def update_index(collection: Table, space: str, before: IndexTuning) -> IndexTuning:
    """Take the rows that a Space's index does not know yet into its partitions, and make it one segment again."""
    with translate_errors(collection.path, Operation.INDEX):
        collection.table.optimize.optimize_indices(
            index_names=[_name(space)],
            num_indices_to_merge=len(ann.index_segments(collection, space)),
        )
        collection.table.checkout_latest()
    return replace(before, segments=ann.index_segments(collection, space), plain=(), filtered=())


def tune(
    collection: Table, space: str, built: IndexTuning, target: float, sample: Sample
) -> IndexTuning:
    """Find the cheapest settings that reach the target, and keep them in the table, in one commit.

    A number of neighbours that no setting serves well enough gets none: it is searched exactly.
    """
    found: dict[bool, list[Setting]] = {False: [], True: []}
    for filtered, k in product((False, True), _KS):
        for setting in candidate_settings(k, built.partitions, filtered=filtered):
            # Most settings are so far from the target that a few rows tell.
            recall, error = measure_recall(
                collection, space, setting, sample.first(_FIRST), filtered=filtered
            )
            if recall + 2 * error < target:
                continue
            recall, error = measure_recall(collection, space, setting, sample, filtered=filtered)
            if recall - 2 * error >= target:
                found[filtered].append(replace(setting, recall=round(recall, 4)))
                break
    # What was measured: others may write rows before it is kept.
    done = replace(
        built,
        target=target,
        rows=collection.count(space),
        plain=tuple(found[False]),
        filtered=tuple(found[True]),
    )
    with collection.write_lock(), translate_errors(collection.path, Operation.WRITE):
        collection.table.update_config({ann.config_key(space): done.to_json()})
        collection.table.checkout_latest()
    return done


def candidate_settings(k: int, partitions: int, *, filtered: bool = False) -> list[Setting]:
    """Return the settings that are tried, from cheap to dear: to scan a partition costs about as much as 10 candidates.

    Under a filter every partition is looked into: the rows that it keeps may lie far from the query, in any.
    """
    probes = (
        [partitions]
        if filtered
        else [*(1 << i for i in range(20) if 1 << i < partitions), partitions]
    )
    settings = [Setting(k, p, times * k, 0.0) for p, times in product(probes, (2, 5, 10, 20))]
    return sorted(settings, key=lambda setting: 10 * setting.probes + setting.candidates)


def draw_sample(collection: Table, space: str, size: int = 200, seed: int = 0) -> Sample:
    """Draw rows of a Space, and search for each among all."""
    scanned = collection.scan([], f"array_has(spaces, {quote(space)})")
    everyone = np.concatenate([batch["_rowid"].to_numpy() for batch in scanned]).astype(np.int64)
    ids = np.random.default_rng(seed).permutation(everyone)[:size]
    queries = ann.column_vectors(collection.take(ids, [space])[space])
    near = k_nearest_ids(queries, ids, _batches(collection, space), _DEPTH)
    selections = np.roll(near, 1, axis=0)
    plain, filtered = np.full((2, len(ids), _KS[-1]), np.inf)
    for row, query in enumerate(queries):
        for distances, others in ((plain[row], near[row]), (filtered[row], selections[row])):
            among = np.setdiff1d(others, ids[row])
            _, nearest = ann.compare_exactly(
                collection.take(among, [space])[space], among, query, _KS[-1]
            )
            distances[: len(nearest)] = nearest
    return Sample(ids, queries, selections, plain, filtered)


def measure_recall(
    collection: Table, space: str, setting: Setting, sample: Sample, *, filtered: bool
) -> tuple[float, float]:
    """Return the recall of a setting, the mean over a sample or over its selections, and that mean's standard error."""
    shares = np.empty(len(sample.ids))
    for row, (own, query) in enumerate(zip(sample.ids, sample.queries, strict=True)):
        where = (
            f"_rowid IN ({', '.join(map(str, sample.selections[row].tolist()))})"
            if filtered
            else None
        )
        found = ann.search(
            collection, space, query, setting.k, setting, leave_out=own[np.newaxis], where=where
        )
        true = (sample.filtered if filtered else sample.plain)[row, : setting.k]
        true = true[np.isfinite(true)]
        # By distance, not by id: of several rows that are equally far, any will do.
        shares[row] = np.count_nonzero(found.distances <= true[-1]) / len(true)
    return float(shares.mean()), float(shares.std() / np.sqrt(len(shares)))


def _name(space: str) -> str:
    return f"{space}_ann"


def _batches(collection: Table, space: str) -> Iterator[tuple[Ids, VectorsF16]]:
    """Yield the ids and the vectors of the rows that have one in a Space, some thousand at a time."""
    with collection.reading():
        scanner = collection.table.scanner(
            columns=[space],
            with_row_id=True,
            batch_size=_BATCH,
            batch_readahead=2,
            fragment_readahead=1,
        )
        for batch in scanner.to_batches():
            filled = batch[space].is_valid().to_numpy(zero_copy_only=False)
            if filled.any():
                yield (
                    batch["_rowid"].to_numpy().astype(np.int64)[filled],
                    ann.column_vectors(batch[space]),
                )
