"""The distance of rows to their nearest other row of each label, from one pass over a Space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lookalike import vectors
from lookalike.store.schema import vector_clause
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import Distances, Ids, Places, VectorsF16

__all__ = ["FOLDS", "LabeledIds", "NearestRows", "nearest_rows", "read_labels"]

# Each row is in one of so many parts, drawn at random, that are held out in turn.
FOLDS = 5
# Rows that are compared with all others: all of a small Space, a sample of a large one.
_MOST_QUERIES = 4000
_LEAST_QUERIES = 1000
_MOST_PAIRS = 80_000_000


@dataclass(frozen=True, slots=True, eq=False)
class LabeledIds:
    """The rows of a Space with their labels.

    Attributes
    ----------
    version
        The version of the table that was read.
    ids
        int64 ``[n]``, ascending.
    labels
        The label of each, or None.
    """

    version: int
    ids: Ids
    labels: list[str | None]

    @property
    def names(self) -> list[str]:
        """The different labels, sorted."""
        present = {label for label in self.labels if label is not None}
        return sorted(present)


@dataclass(frozen=True, slots=True, eq=False)
class NearestRows:
    """For some rows of a Space, the distance to the nearest other row of each group and fold.

    A group holds the rows of one label. The last group holds all other rows.

    Attributes
    ----------
    names
        The labels of the groups, without that of the last group.
    groups, folds
        intp ``[m]``, the group and the fold of each of the rows.
    distances
        float64 ``[m, len(names) + 1, FOLDS]``; infinite where there is no such row. Rows with the
        same vector are copies of one image and do not count.
    """

    names: list[str]
    groups: Places
    folds: Places
    distances: Distances

    def without(self, absent: Sequence[int]) -> Distances:
        """Return the distances to each fold without some groups, float64 ``[m, FOLDS]``."""
        sides = self.distances.shape
        count = sides[1]
        is_present = np.ones(count, np.bool_)
        is_present[list(absent)] = False
        to_present = self.distances[:, is_present]
        distances: Distances = to_present.min(axis=1)
        return distances


def read_labels(view: View, space: str) -> LabeledIds:
    """Return the rows that have a vector in a Space, with their labels."""
    version = view.version
    parts = [np.empty(0, np.int64)]
    labels: list[str | None] = []
    for batch in view.scan(["label"], vector_clause(space)):
        ids = batch["_rowid"].to_numpy().astype(np.int64)
        parts.append(ids)
        labels.extend(batch["label"].to_pylist())
    ids = np.concatenate(parts)
    order = np.argsort(ids)
    by_id = [labels[place] for place in order.tolist()]
    return LabeledIds(version, ids[order], by_id)


def nearest_rows(
    view: View,
    space: str,
    rows: LabeledIds,
    names: Sequence[str],
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> NearestRows:
    """Compare rows of a Space with all others, which are read a batch at a time.

    Parameters
    ----------
    view, space
        The Space.
    rows
        Its rows, as `read_labels` returns them.
    names
        The labels that get a group of their own.
    seed
        The seed of the folds and of the sample.
    progress
        Called with the number of rows read since the last call.
    """
    count = len(rows.ids)
    random = np.random.default_rng(seed)
    shuffled = random.permutation(count)
    folds = shuffled % FOLDS
    group_of: dict[str | None, int] = {
        name: number for number, name in enumerate(names)
    }
    rest = len(names)
    numbers = [group_of.get(label, rest) for label in rows.labels]
    groups = np.array(numbers, np.intp)

    # The rows that are queries.
    size = _query_count(count)
    drawn = random.choice(count, size, replace=False)
    chosen = np.sort(drawn)
    query_ids = rows.ids[chosen]
    queries = _vectors_of(view, space, query_ids)

    keys = groups * FOLDS + folds
    key_count = (rest + 1) * FOLDS
    squares = np.full((size, key_count), np.inf)
    with span("nearest of each label"):
        for batch_ids, batch in view.scan_vectors(space):
            places = np.searchsorted(rows.ids, batch_ids)
            batch_keys = keys[places]
            _keep_nearest(squares, queries, query_ids, batch, batch_ids, batch_keys)
            if progress is not None:
                progress(len(batch_ids))
    roots = np.sqrt(squares)
    distances = roots.reshape(size, rest + 1, FOLDS)
    return NearestRows(list(names), groups[chosen], folds[chosen], distances)


def _query_count(rows: int) -> int:
    """Return the number of rows that are compared with all others."""
    if rows <= _MOST_QUERIES:
        return rows
    affordable = _MOST_PAIRS // rows
    size = max(_LEAST_QUERIES, affordable)
    return min(_MOST_QUERIES, size)


def _vectors_of(view: View, space: str, ids: Ids) -> VectorsF16:
    """Return the vectors of some rows, whose ids ascend."""
    dim = view.models[space].dim
    found = np.empty((len(ids), dim), np.float16)
    for batch_ids, batch in view.scan_vectors(space):
        is_wanted = np.isin(batch_ids, ids)
        places = np.searchsorted(ids, batch_ids[is_wanted])
        found[places] = batch[is_wanted]
    return found


def _keep_nearest(
    squares: Distances,
    queries: VectorsF16,
    query_ids: Ids,
    batch: VectorsF16,
    batch_ids: Ids,
    keys: npt.NDArray[np.intp],
) -> None:
    """Lower the squared distances of queries to the nearest row of each key, in place.

    Parameters
    ----------
    squares
        float64 ``[m, keys]``.
    queries, query_ids
        float16 ``[m, dim]`` and int64 ``[m]``.
    batch, batch_ids, keys
        The rows to compare with, float16 ``[n, dim]``, their ids and their keys, ``[n]`` each.
    """
    # The rows of one key lie together, so that one reduction finds the nearest of each.
    order = np.argsort(keys, kind="stable")
    ordered_keys = keys[order]
    present, starts = np.unique(ordered_keys, return_index=True)
    ordered = batch[order]
    ordered_ids = batch_ids[order]
    for part, block in vectors.distance_blocks(queries, ordered):
        # A row is not its own neighbor.
        own_ids = query_ids[part]
        _, own_queries, own_rows = np.intersect1d(
            own_ids, ordered_ids, assume_unique=True, return_indices=True
        )
        block[own_queries, own_rows] = np.inf
        # Copies of an image say nothing about the distance of another one.
        block[block == 0] = np.inf
        nearest = np.minimum.reduceat(block, starts, axis=1)
        earlier = squares[part, present]
        squares[part, present] = np.minimum(earlier, nearest)
