"""The comparison of pairs of contents: by vector, by PDQ hash, by points of interest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

from lookalike.duplicates.candidates import Pairs
from lookalike.duplicates.pairs import PairStore
from lookalike.duplicates.pdq import HashBytes, pdq_distances
from lookalike.duplicates.points import Alignment, PointFeatures
from lookalike.duplicates.rows import ImageContent, thumbnails
from lookalike.duplicates.workers import (
    THUMBNAILS_PER_CHUNK,
    align_pairs,
    locate_points,
    run_chunks,
)
from lookalike.formats import is_installed
from lookalike.store.view import View
from lookalike.types import Places, VectorsF16
from lookalike.vectors import to_float32

__all__ = [
    "MAX_PDQ_DISTANCE",
    "MIN_COSINE",
    "MIN_PDQ_QUALITY",
    "Comparer",
    "Comparison",
    "Contents",
]

# A copy has at most this many other bits, unless one of the images is almost flat: PDQ's authors
# advise against hashes of a lower quality.
MAX_PDQ_DISTANCE = 40
MIN_PDQ_QUALITY = 50
# Pairs below are not compared by points. No copy that needs points was below .57.
MIN_COSINE = 0.5

_PAIRS_PER_CHUNK = 128
# The pairs after which the comparisons are saved.
_SAVED_AT_ONCE = 20_000

# The step that runs, the work done of it, and its total.
Report = Callable[[str, int, int], None]


@dataclass(slots=True)
class Contents:
    """The contents of a collection, with what is compared of them.

    Attributes
    ----------
    contents
        The contents.
    hashes, quality
        uint8 ``[n, 8, 32]`` and int ``[n]``, the PDQ hashes of the thumbnails and their quality; -1
        for a content without a thumbnail.
    vector_places, vectors
        intp ``[m]``, ascending, the contents that have a vector, and float16 ``[m, dim]``, these
        vectors, of unit length.
    """

    contents: list[ImageContent]
    hashes: HashBytes
    quality: npt.NDArray[np.int64]
    vector_places: Places
    vectors: VectorsF16

    @property
    def hashed(self) -> Places:
        """The contents that have a hash, ascending."""
        is_hashed = self.quality >= 0
        return np.flatnonzero(is_hashed)

    def cosines(self, pairs: Pairs) -> npt.NDArray[np.float32]:
        """Return the cosine of each pair; NaN where a vector is missing."""
        cosines = np.full(len(pairs), np.nan, np.float32)
        if not len(self.vector_places) or not len(pairs):
            return cosines
        rows = np.searchsorted(self.vector_places, pairs)
        rows = np.minimum(rows, len(self.vector_places) - 1)
        has_both = (self.vector_places[rows] == pairs).all(axis=1)
        for place in np.flatnonzero(has_both):
            first, second = to_float32(self.vectors[rows[place]])
            cosines[place] = first @ second
        return cosines


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two contents compare.

    Attributes
    ----------
    pdq_distance
        0 to 256; None if one has no thumbnail.
    is_flat
        Whether one is so flat that its hash says little.
    cosine
        Of their vectors; None if one has none.
    alignment
        By points of interest; None if they were not needed, or could not be compared.
    """

    pdq_distance: int | None
    is_flat: bool
    cosine: float | None
    alignment: Alignment | None = None

    @property
    def is_copy_by_hash(self) -> bool:
        """Whether the hashes alone show a copy."""
        distance = self.pdq_distance
        return (
            distance is not None and not self.is_flat and distance <= MAX_PDQ_DISTANCE
        )

    @property
    def is_copy(self) -> bool:
        """Whether one is an edited copy of the other."""
        if self.is_copy_by_hash:
            return True
        return self.alignment is not None and self.alignment.is_copy


class Comparer:
    """Compares pairs of contents, and keeps the results beside the collection.

    Parameters
    ----------
    view, data
        The collection, and its contents.
    processes
        The number of processes; None for one for each processor core.
    """

    def __init__(self, view: View, data: Contents, processes: int | None) -> None:
        self._view = view
        self._data = data
        self._processes = processes
        location = view.location
        self._store = PairStore(location)
        self.has_points = is_installed("cv2")

    def compare(
        self, pairs: Pairs, report: Report, *, gate: float | None = MIN_COSINE
    ) -> dict[tuple[int, int], Comparison]:
        """Return the comparison of each pair.

        Parameters
        ----------
        pairs
            The pairs.
        report
            Called with the step that runs, the work done of it, and its total.
        gate
            Pairs with a smaller cosine are not compared by points; None compares all.
        """
        found = self._compare_cheaply(pairs)
        if not self.has_points:
            return found
        open_pairs = []
        for pair, comparison in found.items():
            needs_points = self._needs_points(comparison, gate)
            if needs_points:
                open_pairs.append(pair)
        alignments = self._aligned(open_pairs, report)
        for pair, alignment in alignments.items():
            cheap = found[pair]
            found[pair] = Comparison(
                cheap.pdq_distance, cheap.is_flat, cheap.cosine, alignment
            )
        return found

    def _compare_cheaply(self, pairs: Pairs) -> dict[tuple[int, int], Comparison]:
        """Return the comparison of each pair by hash and vector."""
        data = self._data
        first, second = pairs.T
        distances = pdq_distances(data.hashes[first], data.hashes[second])
        quality = np.minimum(data.quality[first], data.quality[second])
        cosines = data.cosines(pairs)
        found = {}
        for number, (left, right) in enumerate(pairs.tolist()):
            lowest = int(quality[number])
            distance = int(distances[number]) if lowest >= 0 else None
            cosine = float(cosines[number])
            found[left, right] = Comparison(
                distance,
                lowest < MIN_PDQ_QUALITY,
                None if np.isnan(cosine) else cosine,
            )
        return found

    def _needs_points(self, comparison: Comparison, gate: float | None) -> bool:
        has_hashes = comparison.pdq_distance is not None
        if not has_hashes or comparison.is_copy_by_hash:
            return False
        cosine = comparison.cosine
        if gate is None or cosine is None:
            return True
        return cosine >= gate

    def _aligned(
        self, pairs: list[tuple[int, int]], report: Report
    ) -> dict[tuple[int, int], Alignment]:
        """Return the alignment of pairs: the known ones, and the others computed."""
        contents = self._data.contents
        alignments = {}
        unknown = []
        for first, second in pairs:
            first_hash = contents[first].sha256
            second_hash = contents[second].sha256
            known = self._store.get(first_hash, second_hash)
            if known is None:
                unknown.append((first, second))
            else:
                alignments[first, second] = known
        if not unknown:
            return alignments

        with tempfile.TemporaryFile() as file:
            try:
                for pair, alignment in self._align(unknown, file, report):
                    alignments[pair] = alignment
                    first, second = pair
                    first_hash = contents[first].sha256
                    second_hash = contents[second].sha256
                    self._store.add(first_hash, second_hash, alignment)
                    is_due = len(alignments) % _SAVED_AT_ONCE == 0
                    if is_due:
                        self._store.save()
            finally:
                # Also on Ctrl-C: the next search continues here.
                self._store.save()
        return alignments

    def _align(
        self, pairs: list[tuple[int, int]], file: IO[bytes], report: Report
    ) -> Iterator[tuple[tuple[int, int], Alignment]]:
        """Yield the alignment of each pair that has points; their features wait in a file."""
        places = np.unique(np.array(pairs, np.intp))
        features = _FeatureFile(file)
        for done, (place, found) in enumerate(self._locate(places)):
            features.append(place, found)
            if done % THUMBNAILS_PER_CHUNK == 0:
                report("Finding points", done, len(places))

        usable = [pair for pair in pairs if pair[0] in features and pair[1] in features]
        count = -(-len(usable) // _PAIRS_PER_CHUNK)
        parts = [
            usable[number * _PAIRS_PER_CHUNK : (number + 1) * _PAIRS_PER_CHUNK]
            for number in range(count)
        ]
        tasks = (
            [(features.read(first), features.read(second)) for first, second in part]
            for part in parts
        )
        done = 0
        report("Comparing images", done, len(pairs))
        results = run_chunks(align_pairs, tasks, count, self._processes)
        for part, alignments in zip(parts, results, strict=True):
            yield from zip(part, alignments, strict=True)
            done += len(part)
            report("Comparing images", done, len(pairs))

    def _locate(self, places: Places) -> Iterator[tuple[int, PointFeatures]]:
        """Yield the points of interest of each content whose thumbnail can be read."""
        order: list[Places] = []

        def chunks() -> Iterator[list[bytes | None]]:
            for part, images in thumbnails(self._view, self._data.contents, places):
                for start in range(0, len(images), THUMBNAILS_PER_CHUNK):
                    end = start + THUMBNAILS_PER_CHUNK
                    order.append(part[start:end])
                    yield images[start:end]

        count = -(-len(places) // THUMBNAILS_PER_CHUNK)
        results = run_chunks(locate_points, chunks(), count, self._processes)
        for number, found in enumerate(results):
            for place, features in zip(order[number].tolist(), found, strict=True):
                if features is not None:
                    yield place, features


class _FeatureFile:
    """The points of interest of many images in a file: 60 KB for each would fill the memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._entries: dict[int, tuple[int, int, tuple[int, ...]]] = {}

    def __contains__(self, place: int) -> bool:
        return place in self._entries

    def append(self, place: int, features: PointFeatures) -> None:
        """Write the features of a content."""
        offset = self._file.seek(0, 2)
        self._entries[place] = (offset, len(features.points), features.gray.shape)
        for array in features:
            self._file.write(np.ascontiguousarray(array).tobytes())

    def read(self, place: int) -> PointFeatures:
        """Return the features of a content."""
        offset, count, shape = self._entries[place]
        self._file.seek(offset)
        points = np.frombuffer(self._file.read(count * 8), np.float32)
        descriptors = np.frombuffer(self._file.read(count * 128), np.uint8)
        gray = np.frombuffer(self._file.read(shape[0] * shape[1]), np.uint8)
        return PointFeatures(
            points.reshape(count, 2),
            descriptors.reshape(count, 128),
            gray.reshape(shape),
        )
