"""The graph of nearest neighbors of many vectors, a block of products at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lookalike.types import Places, VectorsF16, VectorsF32
from lookalike.vectors.arithmetic import to_float32

__all__ = ["NeighborGraph", "Prepare", "neighbor_graph", "update_graph"]


# Rows that are compared with as many others at a time. Their products take 64 MiB.
_BLOCK_ROWS = 1 << 12
# A row with more products above its bound than this many times k has its k best selected first.
_MANY = 4

# Returns stored rows as float32 of unit length.
Prepare = Callable[[VectorsF16], VectorsF32]


class NeighborGraph(NamedTuple):
    """The nearest other rows of each row.

    Attributes
    ----------
    places
        intp ``[n, k]``, the places of the neighbors, nearest first.
    cosines
        float32 ``[n, k]``, their dot products with the row.
    """

    places: Places
    cosines: VectorsF32


def neighbor_graph(
    rows: VectorsF16,
    k: int,
    *,
    prepare: Prepare = to_float32,
    progress: Callable[[int, int], None] | None = None,
) -> NeighborGraph:
    """Return the k nearest other rows of each row of unit length, by the dot product in float32.

    Unlike `lookalike.vectors.k_nearest`, which compares in float64, it is meant for every row of a
    large Space. Only the products of two blocks of rows are in memory at a time, and each product
    serves both.

    Parameters
    ----------
    rows
        float16 ``[n, dim]``.
    k
        The number of neighbors; all other rows if there are fewer.
    prepare
        Returns some of the rows as they are compared.
    progress
        Called with the pairs of blocks that are done, and with their number.
    """
    count = len(rows)
    lists = _NearestLists(count, k)
    blocks = list(_place_blocks(count))
    block_count = len(blocks)
    total = block_count * (block_count + 1) // 2
    done = 0
    for number, places in enumerate(blocks):
        block = prepare(rows[places])
        for other_places in blocks[number:]:
            if other_places is places:
                products = block @ block.T
                # A row is not its own neighbor.
                np.fill_diagonal(products, -np.inf)
                lists.add(places, places, products)
            else:
                other = prepare(rows[other_places])
                products = block @ other.T
                lists.add(places, other_places, products)
                lists.add(other_places, places, products.T)
            done += 1
            if progress is not None:
                progress(done, total)
    return lists.graph


def update_graph(
    graph: NeighborGraph,
    rows: VectorsF16,
    origins: Places,
    k: int,
    *,
    prepare: Prepare = to_float32,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NeighborGraph, Places]:
    """Return the graph after rows came and were removed, and the rows whose neighbors changed.

    New rows, and rows that had a removed row among their neighbors, are compared with all rows; the
    others with the new rows alone.

    Parameters
    ----------
    graph
        The graph before.
    rows
        float16 ``[n, dim]``, the rows now.
    origins
        intp ``[n]``, the place of each row in the graph before, rising; -1 for new rows.
    k, prepare, progress
        See `neighbor_graph`.

    Returns
    -------
    graph, changed
        The graph, and the places of rows with other neighbors than before, intp ``[c]``.
    """
    count = len(rows)
    lists = _NearestLists(count, k)
    whole = lists.carry_over(graph, origins)
    before = lists.places[whole]
    is_incomplete = np.ones(count, np.bool_)
    is_incomplete[whole] = False
    incomplete = np.flatnonzero(is_incomplete)
    if len(incomplete) > count // 2:
        # A product of the full computation serves two rows.
        changed_graph = neighbor_graph(rows, k, prepare=prepare, progress=progress)
        return changed_graph, np.arange(count)

    blocks = list(_place_blocks(count))
    parts = [incomplete[places] for places in _place_blocks(len(incomplete))]
    total = len(blocks) * len(parts)
    done = 0
    for part in parts:
        block = prepare(rows[part])
        is_new = origins[part] < 0
        for places in blocks:
            other = prepare(rows[places])
            products = block @ other.T
            _leave_out_own(products, part, places)
            lists.add(part, places, products)

            # Rows that lost no neighbor are compared with the new rows.
            columns = np.flatnonzero(~is_incomplete[places])
            products_of_new = products[is_new][:, columns]
            lists.add(places[columns], part[is_new], products_of_new.T)
            done += 1
            if progress is not None:
                progress(done, total)

    has_other = (lists.places[whole] != before).any(axis=1)
    changed = np.concatenate([incomplete, whole[has_other]])
    return lists.graph, changed


class _NearestLists:
    """For each row, the k best of the rows that it has been compared with.

    Attributes
    ----------
    k
        The length of the lists: as given, or all other rows.
    places, cosines
        ``[n, k]`` each, best first, equal products by place; cosines of -inf where fewer rows have
        been compared.
    """

    def __init__(self, count: int, k: int) -> None:
        self.k = max(0, min(k, count - 1))
        shape = count, self.k
        self.places = np.zeros(shape, np.intp)
        self.cosines = np.full(shape, -np.inf, np.float32)

    @property
    def graph(self) -> NeighborGraph:
        """The lists as a graph."""
        places = self.places
        cosines = self.cosines
        return NeighborGraph(places, cosines)

    def carry_over(self, graph: NeighborGraph, origins: Places) -> Places:
        """Take over the lists of rows that lost no neighbor, and return these rows.

        Parameters
        ----------
        graph
            The lists of rows before.
        origins
            intp ``[n]``, the place of each row in them; -1 for new rows.
        """
        kept = np.flatnonzero(origins >= 0)
        kept_origins = origins[kept]
        # The place now of each row before; -1 if it was removed.
        places_now = np.full(len(graph.places), -1, np.intp)
        places_now[kept_origins] = kept
        neighbors = places_now[graph.places[kept_origins]]
        is_whole = neighbors.min(axis=1, initial=0) >= 0
        if neighbors.shape[1] < self.k:
            # The rows were so few that each had all others as neighbors.
            is_whole[:] = False
        whole: Places = kept[is_whole]
        self.places[whole] = neighbors[is_whole, : self.k]
        self.cosines[whole] = graph.cosines[kept_origins[is_whole], : self.k]
        return whole

    def add(self, rows: Places, others: Places, products: VectorsF32) -> None:
        """Compare rows with other rows, by their products, float32 ``[rows, others]``."""
        k = self.k
        if not k or not products.size:
            return
        bounds = self.cosines[rows, k - 1]
        is_near: npt.NDArray[np.bool_] = products > bounds[:, np.newaxis]
        if np.count_nonzero(is_near) > _MANY * k * len(rows) and len(others) > k:
            # Early, all rows are nearer than none. The k best of each row replace them.
            partitioned = np.argpartition(products, len(others) - k, axis=1)
            best = partitioned[:, -k:]
            is_best = np.zeros(products.shape, np.bool_)
            np.put_along_axis(is_best, best, values=True, axis=1)
            is_near &= is_best
        numbers, columns = np.divmod(np.flatnonzero(is_near), len(others))
        self._merge(rows, numbers, others[columns], products[numbers, columns])

    def _merge(
        self, rows: Places, numbers: Places, places: Places, cosines: VectorsF32
    ) -> None:
        """Merge neighbors into the lists of the rows at some positions, which rise."""
        k = self.k
        positions, groups = np.unique(numbers, return_inverse=True)
        changed = rows[positions]
        old_groups = np.repeat(np.arange(len(changed)), k)
        all_groups = np.concatenate([old_groups, groups])
        all_places = np.concatenate([self.places[changed].ravel(), places])
        all_cosines = np.concatenate([self.cosines[changed].ravel(), cosines])

        # The first k of each group, best first.
        order = np.lexsort((all_places, -all_cosines, all_groups))
        ordered_groups = all_groups[order]
        starts = np.searchsorted(ordered_groups, np.arange(len(changed)))
        firsts = order[starts[:, np.newaxis] + np.arange(k)]
        self.places[changed] = all_places[firsts]
        self.cosines[changed] = all_cosines[firsts]


def _leave_out_own(products: VectorsF32, rows: Places, others: Places) -> None:
    """Set the product of each row with itself to -inf, where the others are a range of places."""
    columns = rows - others[0]
    is_among = (columns >= 0) & (columns < len(others))
    own = np.flatnonzero(is_among)
    products[own, columns[is_among]] = -np.inf


def _place_blocks(count: int) -> Iterator[Places]:
    """Yield the places of a block of rows at a time."""
    for first in range(0, count, _BLOCK_ROWS):
        end = first + _BLOCK_ROWS
        last = min(end, count)
        yield np.arange(first, last)
