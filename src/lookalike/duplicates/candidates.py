"""Candidates: the pairs of contents that are worth a comparison."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lookalike.duplicates.pdq import HashBytes, nearest_hashes
from lookalike.types import Places, VectorsF16
from lookalike.vectors import k_nearest
from lookalike.vectors.neighbors import neighbor_graph

__all__ = [
    "Pairs",
    "across_by_hash",
    "across_by_vector",
    "candidates_by_hash",
    "candidates_by_vector",
]

# intp [m, 2], the places of two contents, the smaller one first, each pair once.
Pairs = npt.NDArray[np.intp]

# How many neighbors of each content are compared with it. Together they held the original of an
# edited photograph in 998 of 1,000 cases.
_BY_VECTOR = 5
_BY_HASH = 2


def candidates_by_vector(places: Places, vectors: VectorsF16) -> Pairs:
    """Return the pairs of each content with the nearest ones in a Space.

    Parameters
    ----------
    places
        intp ``[m]``, the contents that have a vector.
    vectors
        float16 ``[m, dim]``, of unit length.
    """
    graph = neighbor_graph(vectors, _BY_VECTOR)
    neighbors = places[graph.places]
    return _pairs(places, neighbors)


def candidates_by_hash(places: Places, hashes: HashBytes) -> Pairs:
    """Return the pairs of each content with those of the nearest PDQ hash, in any orientation.

    Parameters
    ----------
    places
        intp ``[m]``, the contents that have a hash.
    hashes
        uint8 ``[m, 8, 32]``.
    """
    own = np.arange(len(places))
    neighbors = nearest_hashes(hashes[:, 0], hashes, _BY_HASH, own=own)
    return _pairs(places, places[neighbors.places])


def across_by_vector(parts: tuple[Places, Places], vectors: VectorsF16) -> Pairs:
    """Return the pairs of each content of the second part with the nearest ones of the first.

    Parameters
    ----------
    parts
        intp ``[m]`` and ``[n]``, the contents of both parts that have a vector.
    vectors
        float16 ``[m + n, dim]``, of unit length, those of the first part first.
    """
    first, second = parts
    count = len(first)
    if not count or not len(second):
        return np.empty((0, 2), np.intp)
    k = min(_BY_VECTOR, count)
    neighbors, _ = k_nearest(vectors[count:], vectors[:count], k)
    return _pairs(second, first[neighbors])


def across_by_hash(parts: tuple[Places, Places], hashes: HashBytes) -> Pairs:
    """Return the pairs of each content of the second part with those of the nearest hash.

    Parameters
    ----------
    parts
        intp ``[m]`` and ``[n]``, the contents of both parts that have a hash.
    hashes
        uint8 ``[m + n, 8, 32]``, those of the first part first.
    """
    first, second = parts
    count = len(first)
    neighbors = nearest_hashes(hashes[count:, 0], hashes[:count], _BY_HASH)
    return _pairs(second, first[neighbors.places])


def _pairs(places: Places, neighbors: Places) -> Pairs:
    """Return each place with its neighbors, ``[m, k]``, as ordered pairs without repeats."""
    _, count = neighbors.shape
    repeated = np.repeat(places, count)
    flat = neighbors.ravel()
    pairs = np.column_stack([repeated, flat])
    pairs.sort(axis=1)
    return np.unique(pairs, axis=0)
