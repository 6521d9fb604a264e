"""Approximate search along a graph of rows, as wide as the measured recall demands."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from lookalike.types import Distances, Ids, VectorsF16
from lookalike.vectors.arithmetic import mean_and_error
from lookalike.vectors.exact import ExactIndex
from lookalike.vectors.row_graph import Arrays, GraphStopped, IsStopped, RowGraph

__all__ = ["GraphSearch", "WalkWidth"]

# Numbers of neighbors that are measured. A search for more than the last does not use the graph.
MEASURED_KS = (10, 100)
# Widths of the walk to choose from; each row that the walk finds is compared exactly.
WIDTHS = (16, 20, 24, 28, 32, 36, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512)
# Rows that are searched for a measurement, and those that rule out most widths before.
MEASURED_ROWS = 1000
FIRST_ROWS = 80
_MEASUREMENT_SEED = 1
# Distances that differ by less than this share are equal.
_SAME_DISTANCE = 1e-9


class WalkWidth(NamedTuple):
    """The width of a walk that finds enough of the k nearest rows.

    Attributes
    ----------
    k
        The number of neighbors for which it was measured; a search may ask for fewer.
    width
        The rows that the walk keeps and finds.
    recall
        The mean share of the k true neighbors that were found.
    """

    k: int
    width: int
    recall: float


@dataclass(frozen=True, slots=True, eq=False)
class GraphSearch:
    """A graph with the widths of its walks.

    Attributes
    ----------
    graph
        The graph.
    target
        The recall that was requested.
    widths
        The smallest widths that reach it, by ascending k; none if none does.
    """

    graph: RowGraph
    target: float
    widths: tuple[WalkWidth, ...]

    @classmethod
    def measure(
        cls, graph: RowGraph, rows: ExactIndex, target: float, is_stopped: IsStopped
    ) -> Self:
        """Find the widths that reach a recall with two standard errors to spare, on sampled rows.

        Each row is searched exactly and along the graph, and is left out of its own answer.

        Raises
        ------
        GraphStopped
            If `is_stopped` returns true meanwhile.
        """
        sample = _QueriedRows.of(rows)
        found = []
        for k in MEASURED_KS:
            for width in WIDTHS:
                if is_stopped():
                    raise GraphStopped
                if width <= k:
                    continue
                recall = _walk_recall(graph, sample, k, width, target)
                if recall is not None:
                    walk = WalkWidth(k, width, round(recall, 4))
                    found.append(walk)
                    break
        return cls(graph, target, tuple(found))

    def search(
        self, rows: ExactIndex, query: VectorsF16, k: int
    ) -> tuple[Ids, Distances, float] | None:
        """Return the k nearest of the rows that a walk finds.

        Parameters
        ----------
        rows
            The rows of the graph.
        query
            float16 ``[dim]``.
        k
            The number of rows.

        Returns
        -------
        ids, distances
            ``[k]`` each, as `ExactIndex.search` returns them.
        recall
            The measured recall. None in place of all three if no width is known for k rows, or if
            the walk finds fewer.
        """
        for walk in self.widths:
            # They ascend by k.
            if walk.k >= k:
                near = self.graph.near(query, walk.width)
                if len(near) < k:
                    # Parts of a worn graph may be out of reach.
                    return None
                places = np.searchsorted(rows.ids, near)
                ids, distances = rows.nearest_of_few(query, k, places)
                return ids, distances, walk.recall
        return None

    @property
    def state(self) -> Arrays:
        """The arrays from which `from_state` makes it again, with a hash of them."""
        state = self.graph.state
        widths = np.array(self.widths, np.float64)
        state["widths"] = widths.reshape(-1, 3)
        state["target"] = np.array([self.target])
        state["checksum"] = _checksum(state)
        return state

    @classmethod
    def from_state(cls, state: Arrays) -> Self:
        """Return the graph of some arrays.

        Raises
        ------
        ValueError
            If they are not those of `state`: on damaged data USearch may crash.
        """
        arrays = dict(state)
        stored = arrays.pop("checksum", None)
        if stored is None or stored.tobytes() != _checksum(arrays).tobytes():
            raise ValueError("The arrays are damaged or not those of a graph.")
        graph = RowGraph.from_state(arrays)
        target = float(arrays["target"][0])
        walks = []
        for k, width, recall in arrays["widths"].tolist():
            walk = WalkWidth(int(k), int(width), recall)
            walks.append(walk)
        return cls(graph, target, tuple(walks))


@dataclass(frozen=True, slots=True, eq=False)
class _QueriedRows:
    """Rows with the exact answers to a search by each of them, which leaves out the row itself.

    Attributes
    ----------
    rows
        All rows.
    ids, queries
        int64 ``[m]`` and float16 ``[m, dim]``.
    distances
        float64 ``[m, k]``, of the nearest other rows.
    """

    rows: ExactIndex
    ids: Ids
    queries: VectorsF16
    distances: Distances

    @classmethod
    def of(cls, rows: ExactIndex) -> Self:
        generator = np.random.default_rng(_MEASUREMENT_SEED)
        count = min(len(rows), MEASURED_ROWS)
        places = generator.choice(len(rows), count, replace=False)
        ids = rows.ids[places]
        queries = rows.matrix[places]
        depth = MEASURED_KS[-1] + 1
        found_ids, found = rows.search_many(queries, depth)
        others = []
        for own_id, row_ids, row_distances in zip(ids, found_ids, found, strict=True):
            distances = _distances_without(own_id, row_ids, row_distances)
            others.append(distances)
        return cls(rows, ids, queries, np.stack(others))


def _distances_without(own_id: np.int64, ids: Ids, distances: Distances) -> Distances:
    """Return the distances without that of a row itself, or without the last if it is absent."""
    is_other = ids != own_id
    others: Distances = distances[is_other]
    return others[: len(ids) - 1]


def _walk_recall(
    graph: RowGraph, sample: _QueriedRows, k: int, width: int, target: float
) -> float | None:
    """Return the recall of a width; None unless it reaches the target by two standard errors."""
    # A few rows show that most widths miss the target.
    shares = _walk_shares(graph, sample, k, width, slice(0, FIRST_ROWS))
    recall, error = mean_and_error(shares)
    if recall + 2 * error < target:
        return None
    rest = _walk_shares(graph, sample, k, width, slice(FIRST_ROWS, None))
    recall, error = mean_and_error(shares + rest)
    if recall - 2 * error < target:
        return None
    return recall


def _walk_shares(
    graph: RowGraph, sample: _QueriedRows, k: int, width: int, part: slice
) -> list[float]:
    """Return the share of the true neighbors that walks find for each of some rows."""
    rows = sample.rows
    shares: list[float] = []
    ids = sample.ids[part]
    answers = zip(ids, sample.queries[part], sample.distances[part], strict=True)
    for own_id, query, distances in answers:
        true_distances = distances[:k]
        near = graph.near(query, width)
        others = near[near != own_id]
        places = np.searchsorted(rows.ids, others)
        _, found = rows.nearest_of_few(query, k, places)
        # By distance: of several rows at one distance, any is a right answer.
        largest = true_distances[-1] * (1 + _SAME_DISTANCE)
        hits = int(np.count_nonzero(found <= largest))
        shares.append(hits / len(true_distances))
    return shares


def _checksum(state: Arrays) -> npt.NDArray[np.uint8]:
    """Return a hash of the names, the shapes and the numbers of arrays, uint8 ``[32]``."""
    hashed = hashlib.blake2b(digest_size=32)
    for name in sorted(state):
        array = np.ascontiguousarray(state[name])
        header = f"{name} {array.dtype} {array.shape} "
        hashed.update(header.encode())
        hashed.update(array.data)
    return np.frombuffer(hashed.digest(), np.uint8)
