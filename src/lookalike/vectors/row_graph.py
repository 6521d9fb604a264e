"""A graph of rows: a walk along it finds a few rows near a query without reading the others.

The graph is USearch's HNSW (Malkov and Yashunin, 2016, arXiv:1603.09320). It compares short int8
codes: the first coordinates of each row along the principal axes. It takes a fraction of the rows'
memory, and the rows that it finds are compared again, exactly.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from lookalike.types import Ids, Places, VectorsF16, VectorsF32
from lookalike.vectors.arithmetic import to_float32
from lookalike.vectors.digests import RowDigests, row_digests, row_origins
from lookalike.vectors.exact import ExactIndex
from lookalike.vectors.principal_axes import PrincipalAxes
from lookalike.vectors.products import (
    VectorsInt8,
    load_simsimd,
    products_of_part,
    row_tiles,
)

__all__ = ["Arrays", "GraphStopped", "IsStopped", "RowEncoder", "RowGraph"]

# Arrays by name, which are kept for the next process.
Arrays = dict[str, npt.NDArray[Any]]

# The numbers of a code.
CODE_LENGTH = 128
# HNSW's M, the links of a row (twice as many on the lowest level), and its efConstruction.
LINKS = 16
BUILD_EFFORT = 128
# If more than this share of the rows differ, the graph and its axes are made again.
MOST_CHANGE = 0.5
# Rows that are added in one call, which may keep other threads of Python waiting.
_ADDED_AT_A_TIME = 16
_CODED_AT_A_TIME = 1 << 13
# Coordinates beyond this percentile are clipped, so that outliers do not use up the int8 range.
_LARGEST_PERCENTILE = 99.99
_SCALE_ROWS = 1 << 12
_SCALE_SEED = 0
_MOST_INT8 = 127

# Returns whether the work on a graph should end.
IsStopped = Callable[[], bool]


class GraphStopped(Exception):  # noqa: N818 (not an error)
    """Raised when the work on a graph is stopped."""


class RowEncoder:
    """Turns vectors into int8 codes.

    Parameters
    ----------
    mean
        float32 ``[dim]``.
    axes
        float32 ``[dim, length]``, the principal axes.
    scale
        The number by which coordinates are multiplied before they are rounded.
    """

    def __init__(self, mean: VectorsF32, axes: VectorsF32, scale: float) -> None:
        self.mean = mean
        self.axes = axes
        self.scale = scale
        # For one query: its product with each axis, less that of the mean.
        scaled = axes.T * np.float32(scale)
        self._query_axes = np.ascontiguousarray(scaled)
        self._mean_code = self._query_axes @ mean

    @classmethod
    def of(cls, rows: VectorsF16) -> Self:
        """Fit an encoder to rows, float16 ``[n, dim]``."""
        count, dim = rows.shape
        length = min(CODE_LENGTH, dim)
        principal = PrincipalAxes.of(rows, length)
        generator = np.random.default_rng(_SCALE_SEED)
        sample_count = min(count, _SCALE_ROWS)
        places = generator.choice(count, sample_count, replace=False)
        centered = to_float32(rows[places]) - principal.mean
        coordinates = centered @ principal.axes
        magnitudes = np.abs(coordinates)
        largest = float(np.percentile(magnitudes, _LARGEST_PERCENTILE))
        scale = _MOST_INT8 / largest if largest > 0 else 1.0
        return cls(principal.mean, principal.axes, scale)

    def encode_rows(self, rows: VectorsF16) -> VectorsInt8:
        """Return the codes of rows, int8 ``[n, length]``."""
        codes = np.empty((len(rows), self.axes.shape[1]), np.int8)
        for part, tile in row_tiles(rows):
            centered: VectorsF32 = tile - self.mean
            coordinates: VectorsF32 = centered @ self.axes
            coordinates *= np.float32(self.scale)
            codes[part] = _rounded(coordinates)
        return codes

    def encode_query(self, query: VectorsF16) -> VectorsInt8:
        """Return the code of a query, int8 ``[length]``."""
        query_f32 = to_float32(query)
        coordinates = products_of_part(query_f32, self._query_axes)
        coordinates -= self._mean_code
        return _rounded(coordinates)


@dataclass(frozen=True, slots=True, eq=False)
class RowGraph:
    """The rows of an index as a graph, which a search walks along.

    Attributes
    ----------
    ids
        int64 ``[n]``, rising.
    digests
        uint8 ``[n, 16]``, a hash of each vector; it shows whether a row has changed.
    encoder
        Makes the codes that the graph compares.
    hnsw
        USearch's index of the codes, by id.
    changed_rows
        The rows that were added, removed or changed in the update that made it; all for a new one.
    """

    ids: Ids
    digests: RowDigests
    encoder: RowEncoder
    hnsw: Any
    changed_rows: int
    # Searches in threads of Python would share memory of the library.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def build(cls, rows: ExactIndex, is_stopped: IsStopped) -> Self:
        """Make the graph of some rows.

        Raises
        ------
        GraphStopped
            If `is_stopped` returns true meanwhile.
        """
        digests = row_digests(rows.matrix)
        encoder = RowEncoder.of(rows.matrix)
        hnsw = _new_hnsw(encoder)
        count = len(rows)
        every_row = np.arange(count)
        _add_rows(hnsw, encoder, rows, every_row, is_stopped)
        return cls(rows.ids, digests, encoder, hnsw, changed_rows=count)

    def update(self, rows: ExactIndex, is_stopped: IsStopped) -> RowGraph:
        """Return a graph of `rows`: a copy of this one, with the differences applied to it.

        This one stays as it is, for the searches that still use it. Errors are those of `build`.
        """
        if self.encoder.mean.shape != rows.matrix.shape[1:]:
            return RowGraph.build(rows, is_stopped)
        digests = row_digests(rows.matrix)
        origins = row_origins(self.ids, self.digests, rows.ids, digests)
        is_kept = origins >= 0
        is_removed = np.ones(len(self.ids), np.bool_)
        is_removed[origins[is_kept]] = False
        removed_ids = self.ids[is_removed]
        new_places = np.flatnonzero(~is_kept)
        changed_rows = len(removed_ids) + len(new_places)
        if changed_rows > MOST_CHANGE * len(rows):
            return RowGraph.build(rows, is_stopped)

        hnsw = self.hnsw
        if changed_rows:
            with self._lock:
                hnsw = hnsw.copy()
            # A changed row is removed and added.
            hnsw.remove(removed_ids, threads=1)
            _add_rows(hnsw, self.encoder, rows, new_places, is_stopped)
        return RowGraph(rows.ids, digests, self.encoder, hnsw, changed_rows)

    def near(self, query: VectorsF16, count: int) -> Ids:
        """Return the ids of rows near a query, in no order. A wider walk misses fewer.

        Parameters
        ----------
        query
            float16 ``[dim]``.
        count
            The width of the walk, and the number of rows.
        """
        code = self.encoder.encode_query(query)
        # The walk is as wide as the number of rows that are asked for.
        with self._lock:
            found = self.hnsw.search(code, count, threads=1)
        ids: Ids = found.keys.astype(np.int64)
        return ids

    @property
    def state(self) -> Arrays:
        """The arrays from which `from_state` makes it again."""
        with self._lock:
            saved = self.hnsw.save()
        return {
            "ids": self.ids,
            "digests": self.digests,
            "mean": self.encoder.mean,
            "axes": self.encoder.axes,
            "scale": np.array([self.encoder.scale]),
            "hnsw": np.frombuffer(saved, np.uint8),
        }

    @classmethod
    def from_state(cls, state: Arrays) -> Self:
        """Return the graph of some arrays, which must be those of `state`."""
        scale = float(state["scale"][0])
        encoder = RowEncoder(state["mean"], state["axes"], scale)
        hnsw = _new_hnsw(encoder)
        saved = state["hnsw"]
        hnsw.load(saved.tobytes())
        _set_expansion(hnsw)
        return cls(state["ids"], state["digests"], encoder, hnsw, changed_rows=0)


def _new_hnsw(encoder: RowEncoder) -> Any:
    index_class = _usearch_index()
    length = encoder.axes.shape[1]
    hnsw = index_class(
        ndim=length,
        metric="l2sq",
        dtype="i8",
        connectivity=LINKS,
        expansion_add=BUILD_EFFORT,
    )
    _set_expansion(hnsw)
    return hnsw


def _set_expansion(hnsw: Any) -> None:
    """Make a walk as wide as the number of rows that a search asks for."""
    hnsw.expansion_search = 1
    hnsw.expansion_add = BUILD_EFFORT


def _add_rows(
    hnsw: Any,
    encoder: RowEncoder,
    rows: ExactIndex,
    places: Places,
    is_stopped: IsStopped,
) -> None:
    """Add the rows at some places to a graph."""
    for first in range(0, len(places), _CODED_AT_A_TIME):
        coded = places[first : first + _CODED_AT_A_TIME]
        ids = rows.ids[coded]
        row_codes = encoder.encode_rows(rows.matrix[coded])
        for start in range(0, len(coded), _ADDED_AT_A_TIME):
            if is_stopped():
                raise GraphStopped
            part = slice(start, start + _ADDED_AT_A_TIME)
            # With several threads, they and Python wait for each other at each row.
            hnsw.add(ids[part], row_codes[part], threads=1)


def _rounded(coordinates: VectorsF32) -> VectorsInt8:
    """Return the nearest int8 of each number."""
    nearest = np.rint(coordinates, out=coordinates)
    np.minimum(nearest, _MOST_INT8, out=nearest)
    np.maximum(nearest, -_MOST_INT8, out=nearest)
    codes: VectorsInt8 = nearest.astype(np.int8)
    return codes


@cache
def _usearch_index() -> Any:
    # USearch exports symbols of a newer simsimd, which break ours if it is loaded later.
    load_simsimd()
    # A command that searches a few times does not wait for this import.
    from usearch.index import Index

    return Index
