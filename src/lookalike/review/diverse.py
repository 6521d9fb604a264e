"""The most diverse images: each is as far as possible from those before it.

References
----------
Gonzalez: Clustering to minimize the maximum intercluster distance, 1985. The largest distance of
any image to the chosen ones is at most twice the smallest that any choice of as many can reach.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lookalike.review.results import DiverseImage, DiverseImages
from lookalike.review.rows import ReviewedRows
from lookalike.types import Distances, VectorsF16, VectorsF32
from lookalike.vectors import to_float32

__all__ = ["FarthestPoints", "choose_diverse"]

# Rows that are compared with the last chosen one at a time.
_CONVERTED_AT_A_TIME = 1 << 12
# Squared distances below are those of copies, and of rounding.
_LEAST_SQUARE = 1e-5


def choose_diverse(rows: ReviewedRows, count: int) -> DiverseImages:
    """Return the most diverse rows; fewer than `count` if all others equal one of them."""
    points = FarthestPoints(rows.vectors)
    points.choose(count)
    images = []
    labels = set()
    for number, place in enumerate(points.places):
        image = rows.image(place)
        labels.add(image.label)
        diverse = DiverseImage(
            id=image.id,
            uri=image.uri,
            label=image.label,
            distance=points.step(number),
            represents=points.size(number),
        )
        images.append(diverse)

    labels.discard(None)
    all_labels = rows.label_codes.names
    distances = points.distances
    return DiverseImages(
        images=tuple(images),
        radius=float(distances.max()),
        mean=float(distances.mean()),
        labels=len(labels),
        all_labels=len(all_labels),
    )


class FarthestPoints:
    """Rows chosen one after the other, each the farthest from all chosen ones.

    The first is the row nearest to the mean. Distances are Euclidean, of vectors scaled to unit
    length.

    Parameters
    ----------
    vectors
        float16 ``[n, dim]``.

    Attributes
    ----------
    places
        The chosen rows, in the order of the choice.
    """

    def __init__(self, vectors: VectorsF16) -> None:
        count = len(vectors)
        self.places: list[int] = []
        self._steps: list[float] = []
        self._rows = _UnitRows(vectors)
        # The number of the nearest chosen row, and the squared distance to it.
        self._nearest = np.zeros(count, np.intp)
        self._squares = np.full(count, np.inf)

    @property
    def distances(self) -> Distances:
        """The distance of each row to the nearest chosen one, float64 ``[n]``."""
        squares = self._squares
        distances: Distances = np.sqrt(squares)
        return distances

    def step(self, number: int) -> float | None:
        """Return the distance of a chosen row to those before it; None for the first."""
        if number == 0:
            return None
        return self._steps[number]

    def size(self, number: int) -> int:
        """Return the number of rows that a chosen row is the nearest to."""
        nearest = self._nearest
        is_nearest = nearest == number
        count = np.count_nonzero(is_nearest)
        return int(count)

    def choose(self, count: int) -> None:
        """Choose `count` rows, or fewer if all others equal one of them."""
        squares = self._squares
        rows = self._rows
        place = rows.most_central()
        while squares[place] > _LEAST_SQUARE:
            self._add(place)
            if len(self.places) == count:
                break
            farthest = squares.argmax()
            place = int(farthest)

    def _add(self, place: int) -> None:
        """Choose one more row."""
        squares = self._squares
        rows = self._rows
        step = np.sqrt(squares[place])
        self._steps.append(float(step))
        number = len(self.places)
        self.places.append(place)

        # The rows that are nearer to it than to those before it.
        point = rows.row(place)
        new_squares = rows.squares_to(point)
        is_nearer = new_squares < squares
        squares[is_nearer] = new_squares[is_nearer]
        squares[place] = 0
        self._nearest[is_nearer] = number


class _UnitRows:
    """Stored rows that are compared as rows of unit length, a few at a time.

    Parameters
    ----------
    vectors
        float16 ``[n, dim]``; a row of zeros stays zero.
    """

    def __init__(self, vectors: VectorsF16) -> None:
        self._vectors = vectors
        count = len(vectors)
        lengths = np.empty(count, np.float32)
        for part, tile in self._tiles():
            lengths[part] = np.linalg.norm(tile, axis=1)
        self._has_length = lengths > 0
        self._scales = np.zeros_like(lengths)
        np.divide(1, lengths, out=self._scales, where=self._has_length)

    def row(self, place: int) -> VectorsF32:
        """Return one row of unit length, float32 ``[dim]``."""
        stored = self._vectors[place]
        row: VectorsF32 = stored.astype(np.float32)
        row *= self._scales[place]
        return row

    def most_central(self) -> int:
        """Return the row that is nearest to the mean direction."""
        vectors = self._vectors
        count, dim = vectors.shape
        total = np.zeros(dim)
        for part, tile in self._tiles():
            scales = self._scales[part]
            total += scales @ tile
        total /= count
        mean = total.astype(np.float32)
        squares = self.squares_to(mean)
        nearest = squares.argmin()
        return int(nearest)

    def squares_to(self, point: VectorsF32) -> Distances:
        """Return the squared distances of all rows to a point, float64 ``[n]``."""
        squares = self._has_length.astype(np.float64)
        squares += point @ point
        for part, tile in self._tiles():
            products = tile @ point
            products *= self._scales[part]
            squares[part] -= 2 * products
        # Rounding can make the square of copies negative.
        return squares.clip(min=0)

    def _tiles(self) -> Iterator[tuple[slice, VectorsF32]]:
        """Yield some of the stored rows at a time, in float32."""
        vectors = self._vectors
        count = len(vectors)
        for first in range(0, count, _CONVERTED_AT_A_TIME):
            last = first + _CONVERTED_AT_A_TIME
            part = slice(first, last)
            rows = vectors[part]
            yield part, to_float32(rows)
