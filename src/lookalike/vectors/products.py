"""Dot products of a query with many rows, and rows rounded to int8."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain, pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lookalike.io.processors import cores
from lookalike.types import Places, VectorsF16, VectorsF32
from lookalike.vectors.arithmetic import Floats, to_float32

__all__ = [
    "FLOAT32_STEP",
    "MIN_NUMBERS_FOR_THREADS",
    "Int8Rows",
    "VectorsInt8",
    "dot_products",
    "in_threads",
    "load_simsimd",
    "map_in_threads",
    "products_of_part",
    "row_parts",
    "row_tiles",
    "smallest",
    "squared_distances",
]

VectorsInt8 = npt.NDArray[np.int8]
Returned = TypeVar("Returned")
Work = TypeVar("Work")

# Rows that are converted to float32 at a time. A product of many queries with them still runs at
# full speed, and the rows stay in the processor's cache.
TILE_ROWS = 1 << 11
# One thread compares fewer numbers than this sooner than several.
MIN_NUMBERS_FOR_THREADS = 1 << 23
# The difference between 1 and the next larger float32.
FLOAT32_STEP = float(np.finfo(np.float32).eps)


class Int8Rows:
    """Vectors rounded to int8, each row with its own scale, and the error of a product.

    With x = x' + dx and q = q' + dq, where x' and q' are the rounded vectors: x.q = x'.q' + dx.q
    + x'.dq. The last two terms are at most |dx| |q| + (|x| + |dx|) |dq|.

    Parameters
    ----------
    count, dim
        The shape of the vectors, which `fill` gives.

    Attributes
    ----------
    numbers
        int8 ``[n, dim]``.
    scales
        float32 ``[n]``: a row is about its numbers times its scale.
    """

    def __init__(self, count: int, dim: int) -> None:
        self.numbers = np.empty((count, dim), np.int8)
        self.scales = np.empty(count, np.float32)
        # The largest loss of all bounds the error.
        self._max_loss = 0.0
        self._max_length = 0.0

    def fill(self, part: slice, tile: VectorsF32) -> None:
        """Round some rows."""
        numbers, scales, losses = _round_to_int8(tile)
        self.numbers[part] = numbers
        self.scales[part] = scales
        largest_loss = float(losses.max(initial=0))
        self._max_loss = max(self._max_loss, largest_loss)

        squares = np.einsum("nd,nd->n", tile, tile)
        largest_square = float(squares.max(initial=0))
        # A sum in float32 may be a little too small.
        largest_length = 1.001 * float(np.sqrt(largest_square))
        self._max_length = max(self._max_length, largest_length)

    def round_query(self, query: VectorsF32) -> tuple[VectorsInt8, float, float]:
        """Return a query's numbers and scale, and the largest error of a product with it."""
        numbers, scales, losses = _round_to_int8(query[np.newaxis])
        query_loss = float(losses[0])
        query_error = (self._max_length + self._max_loss) * query_loss
        query_square = np.dot(query, query)
        query_length = float(np.sqrt(query_square))
        row_error = query_length * self._max_loss
        return numbers[0], float(scales[0]), row_error + query_error


def _round_to_int8(
    vectors: VectorsF32,
) -> tuple[VectorsInt8, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Round vectors to int8.

    Returns
    -------
    numbers
        int8 ``[n, dim]``.
    scales
        float32 ``[n]``: a row is about its numbers times its scale.
    losses
        float32 ``[n]``, the length of the difference, rounded up.
    """
    largest = vectors.max(axis=1)
    smallest = vectors.min(axis=1)
    magnitudes = np.maximum(largest, -smallest)
    scales = magnitudes / np.float32(127)
    scales[scales == 0] = 1

    columns = scales[:, np.newaxis]
    numbers = vectors / columns
    np.rint(numbers, out=numbers)
    rounded = numbers * columns

    # The length of the difference.
    differences = vectors - rounded
    squares = np.einsum("nd,nd->n", differences, differences)
    losses = np.sqrt(squares)
    losses *= np.float32(1.001)
    return numbers.astype(np.int8), scales, losses


def row_tiles(vectors: VectorsF16) -> Iterator[tuple[slice, VectorsF32]]:
    """Yield some of the rows at a time: their part of all rows, and float32."""
    for first in range(0, len(vectors), TILE_ROWS):
        end = first + TILE_ROWS
        rows = vectors[first:end]
        tile = to_float32(rows)
        count = len(rows)
        part = slice(first, first + count)
        yield part, tile


def smallest(estimates: npt.NDArray[np.float32], k: int, tolerance: float) -> Places:
    """Return the places of the k smallest estimates, and of those within the tolerance."""
    count = len(estimates)
    if k == count:
        return np.arange(k)
    last = k - 1
    partitioned = np.partition(estimates, last)
    limit = partitioned[last]
    limit += tolerance
    near = estimates <= limit
    return np.flatnonzero(near)


def dot_products(
    query: VectorsF16 | VectorsInt8, rows: VectorsF16 | VectorsInt8
) -> npt.NDArray[np.float32]:
    """Return the dot product of a query with each row, without converting the rows to float32."""

    def compare(part: slice) -> npt.NDArray[np.float32]:
        return products_of_part(query, rows[part])

    parts = row_parts(len(rows), rows.size)
    products = in_threads(compare, parts)
    return np.concatenate(products)


def products_of_part(
    query: VectorsF16 | VectorsF32 | VectorsInt8,
    rows: VectorsF16 | VectorsF32 | VectorsInt8,
) -> npt.NDArray[np.float32]:
    """Return the dot product of a query with each row, on the calling thread."""
    if not len(rows):
        return np.empty(0, np.float32)
    simsimd = load_simsimd()
    contiguous = np.ascontiguousarray(query)
    one_query = contiguous[np.newaxis]
    # Not with `out`: the library then returns a None that it does not own, which ends the process
    # after some thousand calls.
    table = simsimd.cdist(one_query, rows, "dot", out_dtype="float32")
    products_of_queries = np.asarray(table)
    products: npt.NDArray[np.float32] = products_of_queries[0]
    return products


def squared_distances(query: Floats, rows: Floats) -> Floats:
    """Return the square of the distance of a few rows to a query, on the calling thread.

    Parameters
    ----------
    query, rows
        ``[dim]`` and ``[n, dim]``, both float16 or float64.

    Returns
    -------
    squares
        ``[n]``, float32 or float64, computed from the differences.
    """
    if not len(rows):
        return np.empty(0)
    out_dtype = "float32" if rows.dtype == np.float16 else "float64"
    simsimd = load_simsimd()
    one_query = query[np.newaxis]
    table = simsimd.cdist(one_query, rows, "sqeuclidean", out_dtype=out_dtype)
    squares_of_queries = np.asarray(table)
    squares: Floats = squares_of_queries[0]
    return squares


def row_parts(count: int, numbers: int) -> list[slice]:
    """Return parts of the rows for threads: one part if the rows have few numbers."""
    part_count = _thread_count()
    if numbers < MIN_NUMBERS_FOR_THREADS:
        part_count = 1
    return _equal_parts(count, part_count)


def _equal_parts(count: int, part_count: int) -> list[slice]:
    """Return about equal parts of some rows."""
    numbers = range(part_count + 1)
    bounds = [count * number // part_count for number in numbers]
    pairs = pairwise(bounds)
    return [slice(first, end) for first, end in pairs]


def in_threads(work: Callable[[Work], Returned], parts: list[Work]) -> list[Returned]:
    """Return the result of each part. The calling thread does the first one."""
    first, *others = parts
    threads = _threads()
    running = [threads.submit(work, part) for part in others]
    own_result = work(first)
    other_results = [future.result() for future in running]
    return [own_result, *other_results]


def map_in_threads(
    work: Callable[[int], Returned], numbers: Sequence[int]
) -> list[Returned]:
    """Return the result of each number. `work` may start no threads itself."""

    def do_part(part: slice) -> list[Returned]:
        return [work(number) for number in numbers[part]]

    part_count = _thread_count()
    parts = _equal_parts(len(numbers), part_count)
    results = in_threads(do_part, parts)
    return list(chain.from_iterable(results))


@cache
def load_simsimd() -> Any:
    """Return the library of dot products, imported on first use."""
    import simsimd

    # Its kernel for processors with float16 arithmetic also sums in float16, which loses
    # thousands of products.
    simsimd.disable_capability("sapphire")
    return simsimd


@cache
def _thread_count() -> int:
    # Reading a container's quota takes a part of each search that can be measured.
    return cores()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_thread_count(), "compare")
