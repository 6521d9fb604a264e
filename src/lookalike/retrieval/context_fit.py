"""The rows of the ranking ``context``: computed once, and updated as rows come and are removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from lookalike.retrieval.fitted import FitState
from lookalike.types import Ids, Places, VectorsF16, VectorsF32
from lookalike.vectors import unit_length
from lookalike.vectors.centering import Center
from lookalike.vectors.digests import RowDigests, row_digests, row_origins
from lookalike.vectors.exact import ExactIndex
from lookalike.vectors.neighbors import NeighborGraph, neighbor_graph, update_graph

__all__ = ["NEIGHBORS", "ContextFit", "move_rows"]

# The number of rows that a row, or a query, is moved towards.
NEIGHBORS = 10
# One more than needed: it replaces a query that an evaluation leaves out.
_KEPT_NEIGHBORS = NEIGHBORS + 1
# The center may differ from the mean of the rows by this share of their distance to it, the root
# of the mean square. Beyond, everything is computed again.
_MOST_SHIFT = 0.02
# Rows that are moved at a time: with their neighbors in float32, 55 MiB of 1,280 numbers each.
_MOVED_AT_A_TIME = 1 << 10


@dataclass(frozen=True, slots=True, eq=False)
class ContextFit:
    """Centered rows, moved towards their neighbors, and all that an update needs.

    Attributes
    ----------
    ids
        int64 ``[n]``, rising.
    digests
        uint8 ``[n, 16]``, a hash of each stored vector, which shows whether it has changed.
    center
        The mean of the rows at the last full computation.
    graph
        The nearest rows of each centered row: one more than it is moved towards.
    moved
        float16 ``[n, dim]``.
    changed_rows
        The rows that were added, removed or changed in the update that made it; after a full
        computation, all rows.
    """

    ids: Ids
    digests: RowDigests
    center: Center
    graph: NeighborGraph
    moved: VectorsF16
    changed_rows: int

    @classmethod
    def compute(
        cls, stored: ExactIndex, progress: Callable[[int, int], None] | None = None
    ) -> Self:
        """Compare all rows with each other."""
        rows = stored.matrix
        center = Center.of(rows)
        graph = neighbor_graph(
            rows, _KEPT_NEIGHBORS, prepare=center.center, progress=progress
        )
        moved = np.empty(rows.shape, np.float16)
        every_row = np.arange(len(rows))
        _smooth_rows(moved, every_row, rows, center, graph)
        digests = row_digests(rows)
        return cls(stored.ids, digests, center, graph, moved, len(rows))

    def update(
        self, stored: ExactIndex, progress: Callable[[int, int], None] | None = None
    ) -> Self:
        """Compute what differs in other rows; all of it if their mean is elsewhere."""
        rows = stored.matrix
        if self.center.mean.shape != rows.shape[1:]:
            return self.compute(stored, progress)
        digests = row_digests(rows)
        origins = row_origins(self.ids, self.digests, stored.ids, digests)
        kept_count = int(np.count_nonzero(origins >= 0))
        changed_count = len(rows) - kept_count + len(self.ids) - kept_count
        if not changed_count:
            return replace(self, changed_rows=0)
        if self._has_moved(rows):
            return self.compute(stored, progress)

        graph, changed = update_graph(
            self.graph,
            rows,
            origins,
            _KEPT_NEIGHBORS,
            prepare=self.center.center,
            progress=progress,
        )
        # New rows are among the changed; their own origin, -1, reads any row.
        moved = self.moved[origins]
        _smooth_rows(moved, changed, rows, self.center, graph)
        return replace(
            self,
            ids=stored.ids,
            digests=digests,
            graph=graph,
            moved=moved,
            changed_rows=changed_count,
        )

    @property
    def state(self) -> FitState:
        """The arrays from which `from_state` makes it again."""
        return {
            "ids": self.ids,
            "digests": self.digests,
            "mean": self.center.mean,
            "neighbors": self.graph.places,
            "cosines": self.graph.cosines,
            "moved": self.moved,
        }

    @classmethod
    def from_state(cls, state: FitState) -> Self:
        """Return the fit of some arrays."""
        return cls(
            ids=state["ids"],
            digests=state["digests"],
            center=Center(state["mean"]),
            graph=NeighborGraph(state["neighbors"], state["cosines"]),
            moved=state["moved"],
            changed_rows=0,
        )

    def _has_moved(self, rows: VectorsF16) -> bool:
        """Return whether the mean of some rows is too far from the center."""
        center = Center.of(rows)
        difference = center.mean - self.center.mean
        shift = float(np.linalg.norm(difference))
        most = _MOST_SHIFT * center.spread(rows)
        return shift > most


def move_rows(
    rows: VectorsF16,
    center: Center,
    places: Places,
    neighbors: Places,
    cosines: VectorsF32,
) -> VectorsF32:
    """Return some rows, centered and moved half-way towards neighbors, float32 ``[b, dim]``.

    Parameters
    ----------
    rows
        float16 ``[n, dim]``, all stored rows.
    center
        Their mean.
    places
        intp ``[b]``, the rows to move.
    neighbors, cosines
        ``[b, k]`` each, the neighbors of these, and their cosines.
    """
    weights = np.maximum(cosines, 0)
    count, width = neighbors.shape
    flat_rows = center.center(rows[neighbors.ravel()])
    neighbor_rows = flat_rows.reshape(count, width, rows.shape[1])
    towards = np.einsum("nk,nkd->nd", weights, neighbor_rows)
    own_rows = center.center(rows[places])
    sums = own_rows + unit_length(towards)
    return unit_length(sums)


def _smooth_rows(
    moved: VectorsF16,
    places: Places,
    rows: VectorsF16,
    center: Center,
    graph: NeighborGraph,
) -> None:
    """Compute some of the moved rows."""
    for first in range(0, len(places), _MOVED_AT_A_TIME):
        part = places[first : first + _MOVED_AT_A_TIME]
        neighbors = graph.places[part, :NEIGHBORS]
        cosines = graph.cosines[part, :NEIGHBORS]
        moved[part] = move_rows(rows, center, part, neighbors, cosines)
