"""Candidates: the pairs of contents that are worth a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from lookalike.duplicates.pdq import HashBytes, nearest_hashes
from lookalike.duplicates.visual_words import WordsOfImage
from lookalike.duplicates.word_index import WordIndex
from lookalike.types import Places, VectorsF16
from lookalike.vectors import k_nearest
from lookalike.vectors.neighbors import neighbor_graph

__all__ = [
    "Pairs",
    "across_by_hash",
    "across_by_vector",
    "across_by_words",
    "candidates_by_hash",
    "candidates_by_vector",
    "candidates_by_words",
]

# intp [m, 2], the places of two contents, the smaller one first, each pair once.
Pairs = npt.NDArray[np.intp]

# How many neighbors of each content are compared with it. Vectors and hashes miss images that were
# turned by some degrees; words find them.
_BY_VECTOR = 5
_BY_HASH = 2
_BY_WORDS = 2

# Called with the contents that are done, and with their number.
Progress = Callable[[int, int], None]


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


def candidates_by_words(
    places: Places, words: Sequence[WordsOfImage], progress: Progress
) -> Pairs:
    """Return the pairs of each content with those that share the rarest visual words.

    Parameters
    ----------
    places
        intp ``[m]``, the contents.
    words
        The words of each.
    progress
        Called with the contents that are done, and with their number.
    """
    own = np.arange(len(places))
    neighbors = WordIndex(words).nearest(words, _BY_WORDS, own=own, progress=progress)
    return _pairs(places, _at(places, neighbors))


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


def across_by_words(
    parts: tuple[Places, Places], words: Sequence[WordsOfImage], progress: Progress
) -> Pairs:
    """Return the pairs of each content of the second part by the words of the first.

    Parameters
    ----------
    parts
        intp ``[m]`` and ``[n]``, the contents of both parts.
    words
        The words of each, those of the first part first.
    progress
        Called with the contents that are done, and with their number.
    """
    first, second = parts
    count = len(first)
    index = WordIndex(words[:count])
    neighbors = index.nearest(words[count:], _BY_WORDS, progress=progress)
    return _pairs(second, _at(first, neighbors))


def _at(places: Places, neighbors: Places) -> Places:
    """Return the places of neighbors; -1 for none."""
    if not len(places):
        return neighbors
    return np.where(neighbors >= 0, places[neighbors], -1)


def _pairs(places: Places, neighbors: Places) -> Pairs:
    """Return each place with its neighbors, ``[m, k]``, as ordered pairs without repeats.

    Neighbors below 0 are none.
    """
    _, count = neighbors.shape
    repeated = np.repeat(places, count)
    flat = neighbors.ravel()
    pairs = np.column_stack([repeated, flat])[flat >= 0]
    pairs.sort(axis=1)
    return np.unique(pairs, axis=0)
