"""The first coordinates of rows along their principal axes, and bounds of distances from them.

With a row x and a query q relative to the mean, x1 and q1 their first coordinates, and x2 and q2
the others:

    |x - q|^2 = |x|^2 + |q|^2 - 2 x1.q1 - 2 x2.q2
             >= |x|^2 + |q|^2 - 2 (x1.q1 + |x2| |q2|)

A prefix holds x1 and |x2|, so that one dot product with q1 and |q2| gives the bound. The errors of
rounding are stated with it: a row among the nearest is never excluded.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lookalike.types import Places, VectorsF16, VectorsF32
from lookalike.vectors.arithmetic import to_float32
from lookalike.vectors.principal_axes import PrincipalAxes
from lookalike.vectors.products import (
    FLOAT32_STEP,
    VectorsInt8,
    in_threads,
    products_of_part,
    row_parts,
)

__all__ = [
    "REST_COORDINATES",
    "Bounds",
    "FloatsF32",
    "LongPrefix",
    "ProjectedRows",
    "ShortPrefix",
    "largest_number",
    "project",
    "relative_rounding",
]

FloatsF32 = npt.NDArray[np.float32]

# The length of what is left out is stored as several equal coordinates. One alone would be the
# largest number by far, and int8 would round all others by its scale.
REST_COORDINATES = 8
# Rows that are compared with one query at a time.
SCANNED_ROWS = 1 << 15


@dataclass(frozen=True, slots=True, eq=False)
class ProjectedRows:
    """Rows, or queries, relative to the mean.

    Attributes
    ----------
    coordinates
        float32 ``[n, axes]``.
    squares
        float32 ``[n]``, the square of the length of each row, all its numbers included.
    slack
        The rounding error of a square or of a bound, rounded up.
    """

    coordinates: VectorsF32
    squares: FloatsF32
    slack: float

    def prefixes(self, length: int) -> VectorsF32:
        """Return the first coordinates, and the length of the others, float32 ``[n, length]``."""
        axis_count = length - REST_COORDINATES
        rests = self.rests(axis_count)
        rests /= np.float32(np.sqrt(REST_COORDINATES))

        prefixes = np.empty((len(rests), length), np.float32)
        prefixes[:, :axis_count] = self.coordinates[:, :axis_count]
        prefixes[:, axis_count:] = rests[:, np.newaxis]
        return prefixes

    def rests(self, axis_count: int) -> FloatsF32:
        """Return the length of all but the first coordinates, rounded up, float32 ``[n]``."""
        own = self.coordinates[:, :axis_count]
        own_squares = np.einsum("nd,nd->n", own, own)
        rest_squares = self.squares - own_squares
        np.maximum(rest_squares, 0, out=rest_squares)
        # A greater length gives a lower bound.
        rest_squares += np.float32(self.slack)
        rests: FloatsF32 = np.sqrt(rest_squares)
        return rests

    def row(self, number: int) -> ProjectedRows:
        """Return one row."""
        end = number + 1
        part = slice(number, end)
        coordinates = self.coordinates[part]
        squares = self.squares[part]
        return ProjectedRows(coordinates, squares, self.slack)


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """The least squares of distances between rows and a query.

    Attributes
    ----------
    lowest
        float32 ``[n]``, without the square of the query's length.
    error
        The error of `lowest`, before float32 rounding.
    """

    lowest: FloatsF32
    error: float

    def at(self, places: Places) -> Bounds:
        """Return those of some rows."""
        lowest = self.lowest[places]
        return Bounds(lowest, self.error)

    def within(self, limit: float) -> Places:
        """Return the positions of the rows whose distance may be within a limit."""
        most = limit + self.error
        is_within = self.lowest <= most
        return np.flatnonzero(is_within)


class ShortPrefix:
    """A short prefix of each row, in int8, which is read for all rows.

    Parameters
    ----------
    count, length
        The number of rows, and of the numbers of each.
    largest
        Few numbers of a prefix are larger. Those that are lose what they exceed it by.
    """

    def __init__(self, count: int, length: int, largest: float) -> None:
        self.length = length
        # One scale for all rows: the largest loss of all bounds the error anyway.
        self._scale = _int8_scale(largest)
        self._max_loss = 0.0
        self._max_length = 0.0
        self._numbers = np.empty((count, length), np.int8)
        self._squares = np.empty(count, np.float32)
        self._scratch = threading.local()

    @property
    def nbytes(self) -> int:
        """The bytes of memory."""
        return self._numbers.nbytes + self._squares.nbytes

    def fill(self, part: slice, rows: ProjectedRows) -> None:
        """Store some rows."""
        prefixes = rows.prefixes(self.length)
        numbers, loss = _to_int8(prefixes, self._scale)
        self._numbers[part] = numbers
        self._squares[part] = rows.squares
        self._max_loss = max(self._max_loss, loss)
        longest = _longest(prefixes)
        self._max_length = max(self._max_length, longest)

    def bounds(self, query: ProjectedRows) -> Bounds:
        """Compare one query with all rows.

        The bounds are valid until the same thread asks again.
        """
        prefixes = query.prefixes(self.length)
        largest = largest_number(prefixes)
        query_scale = _int8_scale(largest)
        numbers, query_loss = _to_int8(prefixes, query_scale)
        lowest = self._scratch_numbers()
        factor = np.float32(-2 * self._scale * query_scale)

        def compare(part: slice) -> None:
            # A few rows at a time, so that their products stay in the processor's cache.
            for first in range(part.start, part.stop, SCANNED_ROWS):
                end = min(first + SCANNED_ROWS, part.stop)
                some = slice(first, end)
                some_lowest = lowest[some]
                products = products_of_part(numbers[0], self._numbers[some])
                np.multiply(products, factor, out=some_lowest)
                some_lowest += self._squares[some]

        parts = row_parts(len(self._squares), self._numbers.size)
        in_threads(compare, parts)

        # With x = x' + dx and q = q' + dq, where x' and q' are the rounded prefixes:
        # x.q = x'.q' + dx.q + x'.dq
        row_error = _longest(prefixes) * self._max_loss
        query_error = (self._max_length + self._max_loss) * query_loss
        return Bounds(lowest, 2 * (row_error + query_error))

    def _scratch_numbers(self) -> FloatsF32:
        """Return memory for a bound of each row, the same for each call of a thread.

        Taking new memory from the system would take a part of each search.
        """
        scratch: FloatsF32 | None = getattr(self._scratch, "numbers", None)
        if scratch is None:
            scratch = np.empty(len(self._squares), np.float32)
            self._scratch.numbers = scratch
        return scratch


class LongPrefix:
    """A long prefix of each row, in float16, which is read for the rows that are left.

    Parameters
    ----------
    count, length
        The number of rows, and of the numbers of each.
    largest
        No number of a prefix is larger.

    Attributes
    ----------
    factor
        A stored number is a coordinate times this.
    squares
        float32 ``[count]``, the square of the length of each row.
    max_loss
        The greatest length of what the rounding of a row loses.
    """

    def __init__(self, count: int, length: int, largest: float) -> None:
        self.length = length
        self.factor = _float16_factor(largest)
        self.squares = np.empty(count, np.float32)
        self.max_loss = 0.0
        self._max_length = 0.0
        self._rows = np.empty((count, length), np.float16)

    @property
    def nbytes(self) -> int:
        """The bytes of memory."""
        return self._rows.nbytes + self.squares.nbytes

    def fill(self, part: slice, rows: ProjectedRows) -> None:
        """Store some rows."""
        prefixes = rows.prefixes(self.length)
        halves, loss = _to_float16(prefixes, self.factor)
        self._rows[part] = halves
        self.squares[part] = rows.squares
        self.max_loss = max(self.max_loss, loss)
        longest = _longest(prefixes)
        self._max_length = max(self._max_length, longest)

    def coordinates(self, part: slice, axis_count: int) -> VectorsF16:
        """Return the first coordinates of some rows times the factor, ``[n, axis_count]``."""
        return self._rows[part, :axis_count]

    def bounds(self, query: ProjectedRows, places: Places) -> Bounds:
        """Compare one query with the rows at some places."""
        prefixes = query.prefixes(self.length)
        largest = largest_number(prefixes)
        query_factor = _float16_factor(largest)
        halves, query_loss = _to_float16(prefixes, query_factor)
        lowest = products_of_part(halves[0], self._rows[places])
        lowest *= np.float32(-2 / (self.factor * query_factor))
        lowest += self.squares[places]

        # As with int8.
        row_error = _longest(prefixes) * self.max_loss
        query_error = (self._max_length + self.max_loss) * query_loss
        return Bounds(lowest, 2 * (row_error + query_error))


def project(axes: PrincipalAxes, rows: VectorsF32, max_square: float) -> ProjectedRows:
    """Return rows relative to the mean; no row, and no query, has a larger square."""
    mean_square = float(np.dot(axes.mean, axes.mean))
    centered = rows - axes.mean
    coordinates = axes.project(centered)
    squares = np.einsum("nd,nd->n", centered, centered)
    _, dim = rows.shape
    slack = relative_rounding(dim) * (max_square + mean_square)
    return ProjectedRows(coordinates, squares, slack)


def relative_rounding(dim: int) -> float:
    """Return the relative rounding error of a sum of dim numbers in float32, rounded up."""
    steps = 32 * np.sqrt(dim)
    rounding = steps * FLOAT32_STEP
    return float(rounding)


def _to_int8(prefixes: VectorsF32, scale: float) -> tuple[VectorsInt8, float]:
    """Return prefixes as int8, and the largest length of what they lose."""
    scaled = prefixes / np.float32(scale)
    numbers = np.rint(scaled)
    np.clip(numbers, -127, 127, out=numbers)
    scaled -= numbers
    loss = scale * _longest(scaled)
    return numbers.astype(np.int8), loss


def _int8_scale(largest: float) -> float:
    return largest / 127 if largest > 0 else 1.0


def _to_float16(prefixes: VectorsF32, factor: float) -> tuple[VectorsF16, float]:
    """Return prefixes times a factor as float16, and the largest length of what they lose."""
    scaled = prefixes * np.float32(factor)
    halves = scaled.astype(np.float16)
    scaled -= to_float32(halves)
    loss = _longest(scaled) / factor
    return halves, loss


def _float16_factor(largest: float) -> float:
    """Return the power of two that makes numbers as large as float16 holds well."""
    if largest <= 0:
        return 1.0
    exponent = 13 - np.ceil(np.log2(largest))
    return float(2.0**exponent)


def largest_number(rows: VectorsF32) -> float:
    """Return the largest of the absolute numbers; 0 of none."""
    magnitudes = np.abs(rows)
    return float(magnitudes.max(initial=0))


def _longest(rows: VectorsF32) -> float:
    """Return the length of the longest row, rounded up."""
    squares = np.einsum("nd,nd->n", rows, rows)
    largest = squares.max(initial=0)
    length = float(np.sqrt(largest))
    return 1.001 * length
