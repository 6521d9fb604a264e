"""Many queries compared at once with the first coordinates of all rows.

The coordinates are those of the long prefix, in float16, so that the bounds are closer than those
of the short prefix in int8. With the rows' squares and the lengths of their other coordinates, one
matrix product gives the bounds of some queries and rows. Each block of bounds is compared with the
limits of the queries while it is in the processor's cache: there are never bounds of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lookalike.types import Places
from lookalike.vectors.arithmetic import to_float32
from lookalike.vectors.prefixes import Bounds, FloatsF32, LongPrefix, ProjectedRows
from lookalike.vectors.products import in_threads, row_parts

__all__ = ["BatchScan", "BoundedRows", "ProjectedBatch"]

# Queries are compared in products of this number of them with 64 or 32 rows. OpenBLAS computes
# products this small (up to 2^18 multiplications) on the calling thread. Larger ones of so short
# rows keep its threads waiting for each other, on a busy machine for most of the time.
GROUPED_QUERIES = 32
MOST_MULTIPLICATIONS = 1 << 18
# Rows whose bounds are in memory at a time. No power of two: the rows of a matrix that wide would
# share few places of the processor's cache.
BLOCK_ROWS = 66 * 64
# The numbers of a row beside its coordinates: the length of the others, and its square.
EXTRA_NUMBERS = 2


@dataclass(frozen=True, slots=True, eq=False)
class ProjectedBatch:
    """Some queries, ready to be compared.

    Attributes
    ----------
    count
        The number of queries.
    groups
        float32 ``[groups, 32, numbers]``, the factors of a row's numbers; zeros after the last
        query.
    errors
        float32 ``[count]``, the error of each query's bounds.
    """

    count: int
    groups: FloatsF32
    errors: FloatsF32


class BoundedRows(NamedTuple):
    """Rows within the limit of a query, by ascending place, and their bounds."""

    places: Places
    bounds: Bounds


class _BlockRows(NamedTuple):
    """Rows of one block within the limits: of query i, those from ends[i - 1] to ends[i]."""

    ends: list[int]
    places: Places
    lowest: FloatsF32


class BatchScan:
    """The first coordinates of rows, for many queries at once.

    Parameters
    ----------
    prefix
        The long prefix, which holds the coordinates.
    axis_count
        The number of coordinates to compare.
    """

    def __init__(self, prefix: LongPrefix, axis_count: int) -> None:
        self._prefix = prefix
        self._axis_count = axis_count
        row_count = len(prefix.squares)
        # The length of the other coordinates of each row.
        self._rests = np.empty(row_count, np.float32)
        numbers = axis_count + EXTRA_NUMBERS
        multiplications = 64 * GROUPED_QUERIES * numbers
        self._tile_width = 64 if multiplications <= MOST_MULTIPLICATIONS else 32

    @property
    def nbytes(self) -> int:
        """The bytes of memory, without those of the prefix."""
        return self._rests.nbytes

    def fill(self, part: slice, rows: ProjectedRows) -> None:
        """Store what the prefix lacks of some rows."""
        self._rests[part] = rows.rests(self._axis_count)

    def batch(self, queries: ProjectedRows) -> ProjectedBatch:
        """Return queries as `bounds` and `within` compare them."""
        axis_count = self._axis_count
        prefix = self._prefix
        own = queries.coordinates[:, :axis_count]
        rests = queries.rests(axis_count)
        count = len(rests)
        group_count = -(-count // GROUPED_QUERIES)
        shape = (group_count, GROUPED_QUERIES, axis_count + EXTRA_NUMBERS)
        groups = np.zeros(shape, np.float32)
        factors = groups.reshape(group_count * GROUPED_QUERIES, -1)
        factors[:count, :axis_count] = own * np.float32(-2 / prefix.factor)
        factors[:count, axis_count] = -2 * rests
        factors[:, axis_count + 1] = 1

        # With x = x' + dx, where x' is the rounded prefix: x.q = x'.q + dx.q
        own_squares = np.einsum("nd,nd->n", own, own)
        # Rounded up.
        lengths = np.float32(1.001) * np.sqrt(own_squares)
        errors = 2 * np.float32(prefix.max_loss) * lengths
        return ProjectedBatch(count, groups, errors)

    def bounds(
        self, batch: ProjectedBatch, rows: slice, room: FloatsF32 | None = None
    ) -> FloatsF32:
        """Return the lower bounds of some rows, float32 ``[queries, rows and some more]``.

        Bounds after those of the rows are infinite. They are written to `room`, if it is given.
        """
        tiles = self._float_tiles(rows)
        tile_count, _, width = tiles.shape
        group_count, _, _ = batch.groups.shape
        padded_rows = tile_count * width
        shape = (group_count * GROUPED_QUERIES, padded_rows)
        if room is None:
            room = np.empty(shape, np.float32)
        flat_room = room.reshape(-1)
        used = flat_room[: shape[0] * padded_rows]
        lowest = used.reshape(shape)
        # The products are written where they belong: in the rows of their queries.
        by_tile = lowest.reshape(group_count, GROUPED_QUERIES, tile_count, width)
        products = by_tile.transpose(0, 2, 1, 3)
        np.matmul(batch.groups[:, np.newaxis], tiles, out=products)
        return lowest[: batch.count]

    def within(self, batch: ProjectedBatch, limits: FloatsF32) -> list[BoundedRows]:
        """Return, for each query, the rows whose bounds are within its limit.

        Parameters
        ----------
        batch
            The queries.
        limits
            float32 ``[queries]``. The errors of bounds are added here.
        """
        most = limits + batch.errors
        most_column = most[:, np.newaxis]
        row_count = len(self._rests)
        group_count = len(batch.groups)

        def compare(part: slice) -> list[_BlockRows]:
            blocks = []
            # Memory that is new to the process takes longer to write.
            room = np.empty((group_count, GROUPED_QUERIES, BLOCK_ROWS), np.float32)
            for first in range(part.start, part.stop, BLOCK_ROWS):
                end = min(first + BLOCK_ROWS, part.stop)
                lowest = self.bounds(batch, slice(first, end), room)
                is_within = lowest <= most_column
                block = _rows_of_block(lowest, is_within, first)
                blocks.append(block)
            return blocks

        products = row_count * self._axis_count * batch.count
        parts = row_parts(row_count, products)
        blocks_of_parts = in_threads(compare, parts)
        blocks = [block for blocks in blocks_of_parts for block in blocks]
        errors = batch.errors.tolist()
        return [
            _rows_of_query(blocks, number, error) for number, error in enumerate(errors)
        ]

    def _float_tiles(self, rows: slice) -> FloatsF32:
        """Return rows in tiles, one in each column, float32 ``[tiles, numbers, width]``."""
        prefix = self._prefix
        axis_count = self._axis_count
        width = self._tile_width
        halves = prefix.coordinates(rows, axis_count)
        count = len(halves)
        tile_count = -(-count // width)
        padded_rows = tile_count * width
        numbers = np.zeros((padded_rows, axis_count + EXTRA_NUMBERS), np.float32)
        numbers[:count, :axis_count] = to_float32(halves)
        numbers[:count, axis_count] = self._rests[rows]
        numbers[:count, axis_count + 1] = prefix.squares[rows]
        # Missing rows are infinitely far.
        numbers[count:, axis_count + 1] = np.inf

        # OpenBLAS takes twice as long for small products with rows that lie the other way.
        tiles = numbers.reshape(tile_count, width, axis_count + EXTRA_NUMBERS)
        return np.ascontiguousarray(tiles.transpose(0, 2, 1))


def _rows_of_block(
    lowest: FloatsF32, is_within: npt.NDArray[np.bool_], first: int
) -> _BlockRows:
    """Return the rows of a block that are within the limits, ordered by query and place."""
    query_count, width = lowest.shape
    flat = np.flatnonzero(is_within)
    flat_ends = np.arange(width, width * query_count + 1, width)
    ends = np.searchsorted(flat, flat_ends)
    places = flat % width
    places += first
    found = lowest.ravel()[flat]
    return _BlockRows(ends.tolist(), places, found)


def _rows_of_query(blocks: list[_BlockRows], number: int, error: float) -> BoundedRows:
    """Return the rows of one query from all blocks."""
    place_parts = []
    lowest_parts = []
    for block in blocks:
        start = block.ends[number - 1] if number else 0
        end = block.ends[number]
        if start == end:
            continue
        part = slice(start, end)
        place_parts.append(block.places[part])
        lowest_parts.append(block.lowest[part])
    if not place_parts:
        empty = np.empty(0, np.float32)
        return BoundedRows(np.empty(0, np.intp), Bounds(empty, error))
    places = np.concatenate(place_parts)
    lowest = np.concatenate(lowest_parts)
    return BoundedRows(places, Bounds(lowest, error))
