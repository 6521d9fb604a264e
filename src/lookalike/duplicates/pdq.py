"""PDQ: a hash of 256 bits that changes little when an image is re-encoded or resized.

A hash compares the 16 x 16 lowest frequencies of an image with their median. Mirroring an image
flips the signs of frequencies, and turning it by 90 degrees also transposes them, so the hashes of
all 8 orientations come from one transform.

References
----------
Facebook: The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm, 2019.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike.types import Places, VectorsF32

__all__ = [
    "ORIENTATIONS",
    "PdqHashes",
    "PdqNeighbors",
    "hash_image",
    "nearest_hashes",
    "pdq_distances",
]

# The image, its mirror images, its half turn, and the same four transposed.
ORIENTATIONS = 8
_BITS = 256
_FREQUENCIES = 16
_SIDE = 64
# The box filter runs twice, which makes it a tent.
_PASSES = 2
# Smaller images have no hash.
_MIN_HASHED_SIDE = 5
_LUMA = np.array([0.299, 0.587, 0.114])
# Hashes that are compared at a time: 32 MiB of products for each orientation.
_QUERY_ROWS = 1 << 11
_GALLERY_ROWS = 1 << 12

HashBytes = npt.NDArray[np.uint8]
Float64s = npt.NDArray[np.float64]


class PdqHashes(NamedTuple):
    """The hashes of an image in its orientations.

    Attributes
    ----------
    hashes
        uint8 ``[8, 32]``; the first is the hash of the image as it is.
    quality
        0 to 100: how much the brightness varies. Hashes of images below 50 say little.
    """

    hashes: HashBytes
    quality: int


class PdqNeighbors(NamedTuple):
    """The nearest other hashes of each hash.

    Attributes
    ----------
    places
        intp ``[n, k]``, the places of the neighbors, nearest first.
    distances
        int ``[n, k]``, their Hamming distances, 0 to 256.
    """

    places: Places
    distances: npt.NDArray[np.int64]


def hash_image(image: Image.Image) -> PdqHashes:
    """Return the hashes of an RGB image."""
    if min(image.size) < _MIN_HASHED_SIDE:
        empty = np.zeros((ORIENTATIONS, _BITS // 8), np.uint8)
        return PdqHashes(empty, 0)
    luma = np.asarray(image) @ _LUMA
    small = _shrink_matrix(image.height) @ luma @ _shrink_matrix(image.width).T
    cosines = _cosine_matrix()
    frequencies = cosines @ small @ cosines.T

    hashes = []
    for oriented in _orientations(frequencies):
        # Of 256 numbers, the median is the lower one of the middle two.
        median = np.partition(oriented, _BITS // 2 - 1, axis=None)[_BITS // 2 - 1]
        bits = (oriented > median).ravel()
        # PDQ writes the highest frequency first.
        hashes.append(np.packbits(bits[::-1]))
    return PdqHashes(np.stack(hashes), _quality(small))


def pdq_distances(first: HashBytes, second: HashBytes) -> npt.NDArray[np.int64]:
    """Return the smallest distance of each pair of images over the orientations, ``[m]``.

    Parameters
    ----------
    first, second
        uint8 ``[m, 8, 32]``, the hashes of the first and of the second image of each pair.
    """
    distances = np.empty(len(first), np.int64)
    for start in range(0, len(first), _QUERY_ROWS):
        part = slice(start, start + _QUERY_ROWS)
        # Each as it is with the other in all orientations: rounding may make one the nearer.
        forward = _hamming(first[part, :1], second[part])
        backward = _hamming(second[part, :1], first[part])
        both = np.minimum(forward, backward)
        distances[part] = both.min(axis=1)
    return distances


def _hamming(first: HashBytes, second: HashBytes) -> npt.NDArray[np.int64]:
    different = first ^ second
    bits = np.unpackbits(different, axis=2)
    counts: npt.NDArray[np.int64] = bits.sum(axis=2, dtype=np.int64)
    return counts


def nearest_hashes(
    queries: HashBytes, gallery: HashBytes, k: int, *, own: Places | None = None
) -> PdqNeighbors:
    """Return the k images whose hashes are nearest in any orientation, for each query.

    Only the products of a block of queries with a tile of the gallery are in memory at a time.

    Parameters
    ----------
    queries
        uint8 ``[m, 32]``, the hashes of images as they are.
    gallery
        uint8 ``[n, 8, 32]``, the hashes of other images in all orientations.
    k
        The number of neighbors; all if there are fewer.
    own
        intp ``[m]``, the image of the gallery that is the query itself and is left out; None if
        the queries are not in the gallery.
    """
    others = len(gallery) if own is None else len(gallery) - 1
    k = max(0, min(k, others))
    places = np.empty((len(queries), k), np.intp)
    distances = np.empty((len(queries), k), np.int64)
    if not k:
        return PdqNeighbors(places, distances)
    for start in range(0, len(queries), _QUERY_ROWS):
        part = slice(start, start + _QUERY_ROWS)
        own_part = None if own is None else own[part]
        best_places, best_products = _nearest_of_block(
            queries[part], gallery, k, own_part
        )
        places[part] = best_places
        # Of signs, the product is the number of equal bits minus the number of others.
        halves = (_BITS - best_products) / 2
        distances[part] = np.rint(halves).astype(np.int64)
    return PdqNeighbors(places, distances)


def _nearest_of_block(
    queries: HashBytes, gallery: HashBytes, k: int, own: Places | None
) -> tuple[Places, VectorsF32]:
    """Return the places of the k nearest images of each query, and the products of their bits."""
    signs = _signs(queries)
    count = len(queries)
    places = np.empty((count, 0), np.intp)
    products = np.empty((count, 0), np.float32)
    for first in range(0, len(gallery), _GALLERY_ROWS):
        tile = gallery[first : first + _GALLERY_ROWS]
        best = np.full((count, len(tile)), -np.inf, np.float32)
        for orientation in range(ORIENTATIONS):
            oriented = _signs(tile[:, orientation])
            np.maximum(best, signs @ oriented.T, out=best)
        if own is not None:
            is_in_tile = (own >= first) & (own < first + len(tile))
            rows = np.flatnonzero(is_in_tile)
            best[rows, own[rows] - first] = -np.inf

        # The best of this tile, joined with the best of the tiles before.
        kept = min(k, len(tile))
        columns = np.argpartition(-best, kept - 1, axis=1)[:, :kept]
        tile_products = np.take_along_axis(best, columns, axis=1)
        places = np.concatenate([places, columns + first], axis=1)
        products = np.concatenate([products, tile_products], axis=1)
        order = np.lexsort((places, -products), axis=1)[:, :k]
        places = np.take_along_axis(places, order, axis=1)
        products = np.take_along_axis(products, order, axis=1)
    return places, products


def _signs(hashes: HashBytes) -> VectorsF32:
    """Return the bits of hashes as 1 and -1, float32 ``[n, 256]``."""
    bits = np.unpackbits(hashes, axis=1)
    signs: VectorsF32 = bits.astype(np.float32)
    signs *= 2
    signs -= 1
    return signs


def _orientations(frequencies: Float64s) -> Iterator[Float64s]:
    """Yield the frequencies of an image in its 8 orientations."""
    # Mirroring flips the sign of every odd frequency; the first is 1.
    signs = np.where(np.arange(_FREQUENCIES) % 2, 1.0, -1.0)
    ones = np.ones(_FREQUENCIES)
    for vertical in (ones, signs):
        for horizontal in (ones, signs):
            mirrored = frequencies * np.outer(vertical, horizontal)
            yield mirrored
            yield mirrored.T


@lru_cache(maxsize=512)
def _shrink_matrix(length: int) -> Float64s:
    """Return the matrix that smooths `length` pixels and picks 64 of them, ``[64, length]``."""
    # The width of the box filter, and how far it reaches to both sides.
    width = (length + 2 * _SIDE - 1) // (2 * _SIDE)
    after = (width + 2) // 2 - 1
    before = width - 1 - after
    pixels = np.arange(length)
    offsets = pixels - pixels[:, np.newaxis]
    box = ((offsets >= -before) & (offsets <= after)).astype(np.float64)
    # At the edges, fewer pixels are averaged.
    box /= box.sum(axis=1, keepdims=True)
    smoothed = np.linalg.matrix_power(box, _PASSES)
    centers = (np.arange(_SIDE) + 0.5) * length / _SIDE
    picked: Float64s = smoothed[centers.astype(np.intp)]
    return picked


@lru_cache(maxsize=1)
def _cosine_matrix() -> Float64s:
    """Return the discrete cosine transform of 64 pixels to the frequencies 1 to 16."""
    frequencies = np.arange(1, _FREQUENCIES + 1)
    positions = 2 * np.arange(_SIDE) + 1
    angles = np.pi / (2 * _SIDE) * np.outer(frequencies, positions)
    matrix: Float64s = np.sqrt(2 / _SIDE) * np.cos(angles)
    return matrix


def _quality(small: Float64s) -> int:
    """Return the sum of the larger gradients of 64 x 64 pixels, scaled to at most 100."""
    total = 0
    for axis in (0, 1):
        steps = np.diff(small, axis=axis)
        percents = np.trunc(steps * 100 / 255)
        sizes = np.abs(percents)
        total += int(sizes.sum())
    scaled = total // 90
    return min(100, scaled)
