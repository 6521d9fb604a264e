"""Build a Space's index, and find its search settings by measurement.

A seeded sample of rows is searched exactly, then by the index; each row is left out of its own
answer. The cheapest setting whose measured recall reaches the target by two standard errors is
stored. The defaults of an index are never trusted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lookalike.store import ann
from lookalike.store.ann import IndexTuning, Setting
from lookalike.store.conflicts import retry_conflicts
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.schema import column_vectors, id_clause, row_ids, vector_clause
from lookalike.types import Distances, Ids, VectorsF16
from lookalike.vectors import k_nearest_ids
from lookalike.vectors.arithmetic import mean_and_error

if TYPE_CHECKING:
    from lookalike.store.engine import TableEngine
    from lookalike.store.table import Table

__all__ = [
    "KIND",
    "SAMPLE_ROWS",
    "Sample",
    "build_index",
    "candidate_settings",
    "count_unindexed",
    "draw_sample",
    "measure_recall",
    "tune",
    "update_index",
]

KIND = "IVF_RQ"
BITS = 5
# Rows that are searched for a measurement.
SAMPLE_ROWS = 200
_PARTITION_ROWS = 1 << 14
# Numbers of neighbors that are measured. A search for more than the last is always exact.
_KS = (10, 100)
# Neighbors found for each sampled row: they contain its hundred nearest, and all of them are a
# selection to search in.
_DEPTH = 500
# Rows of the sample that rule out most settings before all rows are measured.
_FIRST_ROWS = 40
# The cost of searching one partition, in candidates that are compared exactly.
_PARTITION_COST = 10


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows with the exact answers to a search by each of them, which leaves out the row itself.

    Attributes
    ----------
    ids
        int64 ``[m]``.
    queries
        float16 ``[m, dim]``, the rows' vectors.
    selections
        int64 ``[m, depth]``, for each row the ids of the rows nearest to another row of the sample.
        They lie close together and mostly far from this row, which makes them the hardest kind of
        filter.
    plain, filtered
        float64 ``[m, 100]``, the distances of the nearest among all rows and in the selection;
        infinite where there are fewer.
    """

    ids: Ids
    queries: VectorsF16
    selections: Ids
    plain: Distances
    filtered: Distances

    def rows(self, start: int, stop: int) -> Sample:
        """Return the rows from `start` up to `stop`."""
        part = slice(start, stop)
        return Sample(
            self.ids[part],
            self.queries[part],
            self.selections[part],
            self.plain[part],
            self.filtered[part],
        )


def build_index(
    table: Table, space: str, engine: TableEngine | None = None
) -> IndexTuning:
    """Build a Space's index, in place of the previous one; return its parameters, without settings.

    Others may write meanwhile: Lance removes the rows that they change from the index. Only
    compaction would conflict, and the upkeep lock prevents it. An engine builds it instead of this
    process.

    Raises
    ------
    CollectionError
        If the index cannot be written; then the previous one is still in place.
    """
    rows = table.count(space)
    partitions = -(-rows // _PARTITION_ROWS)  # rounded up
    name = _index_name(space)

    def step() -> None:
        dataset = table.lance_dataset
        with translate_errors(table.path, Operation.INDEX):
            dataset.checkout_latest()
            if engine is None:
                dataset.create_index(
                    space,
                    KIND,
                    name=name,
                    metric="L2",
                    num_partitions=partitions,
                    num_bits=BITS,
                    replace=True,
                )
            else:
                table_uri = table.location.table_uri
                engine.build_index(
                    table_uri, space, name=name, partitions=partitions, bits=BITS
                )
            dataset.checkout_latest()

    retry_conflicts(step)
    return IndexTuning(
        target=0.0,
        rows=rows,
        built=rows,
        partitions=partitions,
        bits=BITS,
        segments=ann.index_segments(table, space),
    )


def count_unindexed(table: Table, space: str) -> int:
    """Return the number of rows outside of an index; each search compares them one by one."""
    dataset = table.lance_dataset
    with table.translate_read_errors():
        indexed = 0
        for index in dataset.describe_indices():
            if index.field_names == [space]:
                indexed += index.num_rows_indexed
        rows = int(dataset.count_rows())
    return rows - indexed


def update_index(table: Table, space: str, before: IndexTuning) -> IndexTuning:
    """Add new rows to the partitions of a Space's index, and merge it into one segment."""
    name = _index_name(space)

    def step() -> None:
        dataset = table.lance_dataset
        with translate_errors(table.path, Operation.INDEX):
            dataset.checkout_latest()
            segments = ann.index_segments(table, space)
            count = len(segments)
            dataset.optimize.optimize_indices(
                index_names=[name], num_indices_to_merge=count
            )
            dataset.checkout_latest()

    retry_conflicts(step)
    merged = ann.index_segments(table, space)
    # The settings were measured with the index as it was before.
    return replace(before, segments=merged, plain=(), filtered=())


def tune(
    table: Table, space: str, built: IndexTuning, target: float, sample: Sample
) -> IndexTuning:
    """Find the cheapest settings that reach the target recall, and store them in the table.

    A number of neighbors for which no setting reaches the target gets none; such searches are
    exact.
    """
    plain = _find_settings(table, space, built, target, sample, filtered=False)
    filtered = _find_settings(table, space, built, target, sample, filtered=True)
    # The rows as they were measured: others may write before the tuning is stored.
    rows = table.count(space)
    tuning = replace(built, target=target, rows=rows, plain=plain, filtered=filtered)
    key = ann.config_key(space)
    text = tuning.to_json()
    table.record_config(key, text)
    return tuning


def _find_settings(
    table: Table,
    space: str,
    built: IndexTuning,
    target: float,
    sample: Sample,
    *,
    filtered: bool,
) -> tuple[Setting, ...]:
    """Return the cheapest setting for each number of neighbors whose recall reaches the target."""
    found = []
    for k in _KS:
        candidates = candidate_settings(k, built.partitions, filtered=filtered)
        for setting in candidates:
            recall = _sufficient_recall(
                table, space, setting, target, sample, filtered=filtered
            )
            if recall is not None:
                measured = replace(setting, recall=round(recall, 4))
                found.append(measured)
                break
    return tuple(found)


def _sufficient_recall(
    table: Table,
    space: str,
    setting: Setting,
    target: float,
    sample: Sample,
    *,
    filtered: bool,
) -> float | None:
    """Return the recall of a setting, or None if it does not surely reach the target."""
    # Most settings miss the target by so much that a few rows show it.
    few = sample.rows(0, _FIRST_ROWS)
    first_shares = _found_shares(table, space, setting, few, filtered=filtered)
    recall, error = mean_and_error(first_shares)
    highest_likely = recall + 2 * error
    if highest_likely < target:
        return None

    rest = sample.rows(_FIRST_ROWS, len(sample.ids))
    other_shares = _found_shares(table, space, setting, rest, filtered=filtered)
    shares = np.concatenate([first_shares, other_shares])
    recall, error = mean_and_error(shares)
    lowest_likely = recall - 2 * error
    if lowest_likely < target:
        return None
    return recall


def candidate_settings(
    k: int, partitions: int, *, filtered: bool = False
) -> list[Setting]:
    """Return the settings to try, from cheap to expensive.

    Under a filter every partition is searched: the rows that it selects may lie far from the query,
    in any partition.
    """
    probe_counts = []
    if not filtered:
        probes = 1
        while probes < partitions:
            probe_counts.append(probes)
            probes *= 2
    probe_counts.append(partitions)

    settings = []
    for probes in probe_counts:
        for times in (2, 5, 10, 20):
            candidates = times * k
            setting = Setting(k, probes, candidates, recall=0.0)
            settings.append(setting)
    return sorted(settings, key=_cost)


def _cost(setting: Setting) -> int:
    partitions_cost = _PARTITION_COST * setting.probes
    return partitions_cost + setting.candidates


def draw_sample(
    table: Table, space: str, size: int = SAMPLE_ROWS, seed: int = 0
) -> Sample:
    """Draw rows of a Space at random, and search for each of them exactly."""
    # Draw the rows.
    all_ids = _ids_with_vector(table, space)
    random = np.random.default_rng(seed)
    shuffled = random.permutation(all_ids)
    ids = shuffled[:size]
    rows = table.take(ids, [space])
    queries = column_vectors(rows[space])

    # Search for all of them in one pass over the table. Each row's selection holds the neighbors
    # of the row before it in the sample.
    all_vectors = table.scan_vectors(space)
    near = k_nearest_ids(queries, ids, all_vectors, _DEPTH)
    selections = np.roll(near, 1, axis=0)

    # Compute the distances of the nearest of both.
    plain = _distances_among(table, space, ids, queries, near)
    filtered = _distances_among(table, space, ids, queries, selections)
    return Sample(ids, queries, selections, plain, filtered)


def _ids_with_vector(table: Table, space: str) -> Ids:
    clause = vector_clause(space)
    parts = []
    batches = table.scan([], clause)
    for batch in batches:
        ids = row_ids(batch)
        parts.append(ids)
    return np.concatenate(parts)


def _distances_among(
    table: Table, space: str, ids: Ids, queries: VectorsF16, candidates: Ids
) -> Distances:
    """Return the distances of each query's nearest candidates, other than the query's own row.

    Parameters
    ----------
    table, space
        The Space.
    ids, queries
        int64 ``[m]`` and float16 ``[m, dim]``, the rows that are the queries.
    candidates
        int64 ``[m, depth]``, ids of the rows to compare with each query.

    Returns
    -------
    distances
        float64 ``[m, 100]``, ascending; infinite where there are fewer candidates.
    """
    depth = _KS[-1]
    shape = (len(ids), depth)
    distances = np.full(shape, np.inf)
    for row, query in enumerate(queries):
        own_id = ids[row]
        others = np.setdiff1d(candidates[row], own_id)
        rows = table.take(others, [space])
        vectors = rows[space]
        _, nearest = ann.compare_exactly(vectors, others, query, depth)
        count = len(nearest)
        distances[row, :count] = nearest
    return distances


def measure_recall(
    table: Table, space: str, setting: Setting, sample: Sample, *, filtered: bool
) -> tuple[float, float]:
    """Return the mean recall of a setting over a sample, and its standard error.

    Parameters
    ----------
    table, space
        The Space to search.
    setting
        The setting to measure.
    sample
        Rows with their exact answers.
    filtered
        Whether to search in the sample's selections, or among all rows.
    """
    shares = _found_shares(table, space, setting, sample, filtered=filtered)
    return mean_and_error(shares)


def _found_shares(
    table: Table, space: str, setting: Setting, sample: Sample, *, filtered: bool
) -> npt.NDArray[np.float64]:
    """Return the share of the true neighbors that a setting finds for each row of a sample."""
    k = setting.k
    shares = np.empty(len(sample.ids))
    expected = sample.filtered if filtered else sample.plain
    for row, query in enumerate(sample.queries):
        where = None
        if filtered:
            selection = sample.selections[row].tolist()
            where = id_clause(selection)
        next_row = row + 1
        own_id = sample.ids[row:next_row]
        found = ann.search(
            table, space, query, k, setting, leave_out=own_id, where=where
        )

        # Compare by distance, not by id: of several rows at one distance, any is a right answer.
        padded = expected[row, :k]
        is_distance = np.isfinite(padded)
        true_distances = padded[is_distance]
        largest = true_distances[-1]
        is_hit = found.distances <= largest
        hits = np.count_nonzero(is_hit)
        shares[row] = hits / len(true_distances)
    return shares


def _index_name(space: str) -> str:
    return f"{space}_ann"
