"""A gallery: the vectors of a Space held in memory as float16, for exact search by one query or many.

Who asks it again and again by one query has it keep the vectors as bytes too, which tell in half the time which rows
are worth comparing.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.io.processors import cores

__all__ = ["Gallery", "widen"]

Halves = npt.NDArray[np.float16]
Numbers = Halves | npt.NDArray[np.int8]
Ids = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]
Distances = npt.NDArray[np.float64]

# Rows that are made float32 at a time for many queries: the product still runs at full speed, and they stay in cache.
_TILE = 1 << 11
# Fewer numbers than this are compared sooner by one thread.
_MANY = 1 << 23
# In galleries of fewer numbers the steps that narrow them take as long as they save.
_WORTH_NARROWING = 1 << 21
# What is left must be so many times fewer rows.
_FEWER = 8
# How many more queries may in vain be tried to narrow than not.
_PATIENCE = 8
# Half the bits of a float16's exponent that a float32's has more: 2^112 puts it right.
_REBIASED = np.float32(2.0**112)
_SIGN_AND_REST = np.int32(-0x70002000)  # 0x8fffe000


class Gallery:
    """Vectors and their ids, ready to be searched.

    Parameters
    ----------
    ids
        int64 ``[n]``; rows at the same distance are ordered by it.
    halves
        float16 ``[n, dim]``, contiguous and not copied: two bytes a number are all that is held.
    """

    def __init__(self, ids: Ids, halves: Halves) -> None:
        self.ids = ids
        self._halves = np.ascontiguousarray(halves)
        self._squares = np.empty(len(halves), np.float32)
        for part, tile in _tiles(self._halves):
            np.einsum("nd,nd->n", tile, tile, out=self._squares[part])
        self._largest = float(self._squares.max(initial=0))
        self._asked = False
        self._hopes = _PATIENCE if self._halves.size >= _WORTH_NARROWING else 0

    def __len__(self) -> int:
        return len(self.ids)

    def vectors(self, ids: Ids) -> Halves | None:
        """Return the vectors of some ids, float16 ``[m, dim]``; None if it lacks one. The gallery's ids must rise."""
        if not len(self.ids):
            return None
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return self._halves[at] if (self.ids[at] == ids).all() else None

    def distances(self, query: Halves) -> Distances:
        """Return the Euclidean distance of each vector to a query, float64 ``[n]``, as far as float32 tells."""
        wide = widen(query).astype(np.float64)
        squares = (
            self._squares
            - 2.0 * _products(query, self._halves).astype(np.float64)
            + np.dot(wide, wide)
        )
        found: Distances = np.sqrt(np.maximum(squares, 0))
        return found

    def nearest(self, query: Halves, k: int, *, rows: Rows | None = None) -> tuple[Ids, Distances]:
        """Return the ids of the k vectors nearest to one query, and their Euclidean distances.

        Parameters
        ----------
        query
            float16 ``[dim]``.
        k
            How many; all if there are fewer.
        rows
            ``[m]``, the only rows of the gallery to compare with; None for all.

        Returns
        -------
        ids, distances
            ``[min(k, n)]`` each, nearest first; the distances computed in float64 from the differences.
        """
        halves, squares, slack = self._halves, self._squares, self._slack(query)
        if rows is None:
            rows = self._narrowed(query, k, slack)
        if rows is not None:
            halves, squares = halves[rows], squares[rows]
        estimates = squares - 2 * _products(query, halves)
        near = _within(estimates, min(k, len(estimates)), slack)
        near = near if rows is None else rows[near]
        return self._ranked(query, near, k)

    def nearest_of_many(self, queries: Halves, k: int) -> tuple[Ids, Distances]:
        """Return for each of some queries, float16 ``[m, dim]``, what `nearest` does: ``[m, min(k, n)]`` each.

        The vectors are read once for all queries, so that a query of many costs a fraction of one alone.
        """
        k = min(k, len(self))
        wide = -2 * widen(queries)
        slack = np.array([self._slack(query) for query in queries], np.float32)
        bounds = np.full(len(queries), np.inf, np.float32)
        found = _Candidates(k, slack, bounds)
        for part, tile in _tiles(self._halves):
            estimates = wide @ tile.T
            estimates += self._squares[part]
            near = estimates <= bounds[:, np.newaxis]
            if len(tile) > k and np.count_nonzero(near) > 4 * k * len(queries):
                # The first rows, or the first that come near: their own k-th rules out most of them.
                np.minimum(
                    bounds, np.partition(estimates, k - 1, axis=1)[:, k - 1] + slack, out=bounds
                )
                near = estimates <= bounds[:, np.newaxis]
            asked, at = np.nonzero(near)
            found.add(asked, at + part.start, estimates[asked, at])
        ranked = [
            self._ranked(query, near, k) for query, near in zip(queries, found.rows(), strict=True)
        ]
        ids = np.array([ids for ids, _ in ranked], np.int64).reshape(len(queries), k)
        return ids, np.array([distances for _, distances in ranked]).reshape(len(queries), k)

    @cached_property
    def _coarse(self) -> _Coarse:
        return _Coarse(self._halves, self._squares)

    def _narrowed(self, query: Halves, k: int, slack: float) -> Rows | None:
        """Return a few rows that the k nearest are among, or None where that is not worth while."""
        if not (self._hopes and self._asked and k <= len(self) // _FEWER):
            # The bytes take as long to make as some answers: whoever asks once only does without.
            self._asked = True
            return None
        estimates, off = self._coarse.estimates(query)
        rows = _within(estimates, k, 2 * off + slack)
        few = len(rows) <= len(self) // _FEWER
        # Where most rows lie about as near as each other, it is given up.
        self._hopes = min(self._hopes + 1, _PATIENCE) if few else self._hopes - 1
        return rows if few else None

    def _slack(self, query: Halves) -> float:
        """Return twice what rounding can do to an estimate |x|^2 - 2 x.q, so that no nearer row is passed over."""
        largest = self._largest + float(np.dot(wide := query.astype(np.float32), wide))
        return float(16 * np.sqrt(self._halves.shape[1]) * np.finfo(np.float32).eps * largest)

    def _ranked(self, query: Halves, near: Rows, k: int) -> tuple[Ids, Distances]:
        """Return ids and distances of the k nearest among a few rows."""
        differences = self._halves[near].astype(np.float64) - query.astype(np.float64)
        distances = np.sqrt(np.einsum("nd,nd->n", differences, differences))
        order = np.lexsort((self.ids[near], distances))[:k]
        return self.ids[near[order]], distances[order]


class _Coarse:
    """Vectors rounded to bytes, each in a unit of its own, and how far that may move a product.

    With x = x' + dx, q = q' + dq: x.q = x'.q' + dx.q + x'.dq, the last two at most |dx| |q| + (|x| + |dx|) |dq|.
    """

    def __init__(self, halves: Halves, squares: npt.NDArray[np.float32]) -> None:
        self._squares, self._length = squares, float(np.sqrt(squares.max(initial=0)))
        self._bytes, self._units = (
            np.empty(halves.shape, np.int8),
            np.empty(len(halves), np.float32),
        )
        self._lost = 0.0
        for part, tile in _tiles(halves):
            self._bytes[part], self._units[part], lost = _rounded(tile)
            self._lost = max(self._lost, float(lost.max()))

    def estimates(self, query: Halves) -> tuple[npt.NDArray[np.float32], float]:
        """Return |x|^2 - 2 x.q of each row, and how far each may be off, but for float32's own rounding."""
        wide = query.astype(np.float32)
        (numbers,), (unit,), (lost,) = _rounded(wide[np.newaxis])
        estimates = self._squares - _products(numbers, self._bytes) * (2 * unit * self._units)
        length = float(np.sqrt(np.dot(wide, wide)))
        return estimates, 2 * (length * self._lost + (self._length + self._lost) * float(lost))


def _rounded(
    tile: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return vectors as bytes, the unit of each, and the length of what that takes off it, rounded up."""
    units = np.maximum(tile.max(1), -tile.min(1)) / np.float32(127)
    units[units == 0] = 1
    numbers = np.rint(tile / units[:, np.newaxis])
    rest = tile - numbers * units[:, np.newaxis]
    return (
        numbers.astype(np.int8),
        units,
        np.sqrt(np.einsum("nd,nd->n", rest, rest)) * np.float32(1.001),
    )


def widen(halves: Halves) -> npt.NDArray[np.float32]:
    """Return finite float16 as float32, the same numbers, six times as fast as NumPy does."""
    wide = halves.view(np.int16).astype(np.int32)
    wide <<= 13
    wide &= _SIGN_AND_REST
    numbers = wide.view(np.float32)
    numbers *= _REBIASED
    return numbers


def _tiles(halves: Halves) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    for first in range(0, len(halves), _TILE):
        part = slice(first, min(first + _TILE, len(halves)))
        yield part, widen(halves[part])


def _within(estimates: npt.NDArray[np.float32], k: int, slack: float) -> Rows:
    """Return where the k smallest are, and all that rounding may have put behind them."""
    if k == len(estimates):
        return np.arange(k)
    kth = np.partition(estimates, k - 1)[k - 1]
    return np.flatnonzero(estimates <= kth + slack)


class _Candidates:
    """Rows that may be among the k nearest of their queries, and how near the k-th of each is so far.

    `bounds` is the caller's to read and lowered here whenever much has been added.
    """

    def __init__(
        self, k: int, slack: npt.NDArray[np.float32], bounds: npt.NDArray[np.float32]
    ) -> None:
        self._k, self._slack, self._bounds = k, slack, bounds
        self._asked, self._at = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
        self._estimates = [np.empty(0, np.float32)]
        self._added = 0

    def add(self, asked: Rows, at: Rows, estimates: npt.NDArray[np.float32]) -> None:
        """Take in rows `at`, each a candidate of the query `asked`."""
        self._asked.append(asked)
        self._at.append(at)
        self._estimates.append(estimates)
        self._added += len(asked)
        if self._added > 16 * self._k * len(self._bounds):
            self._tighten()

    def rows(self) -> list[Rows]:
        """Return the candidates of each query."""
        self._tighten()
        return np.split(
            self._at[0], np.searchsorted(self._asked[0], np.arange(1, len(self._bounds)))
        )

    def _tighten(self) -> None:
        """Order the candidates by query and distance, and drop those that the k-th of each rules out."""
        asked, at = np.concatenate(self._asked), np.concatenate(self._at)
        estimates = np.concatenate(self._estimates)
        order = np.lexsort((estimates, asked))
        asked, at, estimates = asked[order], at[order], estimates[order]
        starts, ends = (
            np.searchsorted(asked, np.arange(len(self._bounds)), side) for side in ("left", "right")
        )
        full = ends - starts >= max(self._k, 1)
        self._bounds[full] = estimates[starts[full] + self._k - 1] + self._slack[full]
        kept = estimates <= self._bounds[asked]
        self._asked, self._at, self._estimates = [asked[kept]], [at[kept]], [estimates[kept]]
        self._added = 0


def _products(query: Numbers, rows: Numbers) -> npt.NDArray[np.float32]:
    """Return the dot product of a query with each row, of float16 or of bytes, without making the rows float32."""
    if rows.size < _MANY:
        return _product(query, rows)
    parts = np.array_split(rows, cores())
    return np.concatenate(list(_pool().map(lambda part: _product(query, part), parts)))


def _product(query: Numbers, rows: Numbers) -> npt.NDArray[np.float32]:
    if not len(rows):
        return np.empty(0, np.float32)
    products = _simd().cdist(np.ascontiguousarray(query)[np.newaxis], rows, "dot")
    summed: npt.NDArray[np.float32] = np.asarray(products, np.float32)[0]
    return summed


@cache
def _simd() -> Any:
    import simsimd

    # Its kernel for processors that compute in float16 sums in float16 too, where thousands of products get lost.
    simsimd.disable_capability("sapphire")
    return simsimd


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), "compare")
