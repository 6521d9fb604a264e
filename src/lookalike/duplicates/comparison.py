"""The comparison of pairs of contents: by vector, by PDQ hash, by points of interest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lookalike.duplicates.candidates import Pairs
from lookalike.duplicates.features import ImageFeatures, Report
from lookalike.duplicates.pairs import PairStore
from lookalike.duplicates.pdq import HashBytes, pdq_distances
from lookalike.duplicates.points import Alignment
from lookalike.duplicates.rows import ImageContent
from lookalike.duplicates.workers import align_pairs, run_chunks
from lookalike.store.view import View
from lookalike.types import Places, VectorsF16
from lookalike.vectors import to_float32

__all__ = [
    "CERTAIN_PDQ_DISTANCE",
    "MAX_PDQ_DISTANCE",
    "MIN_COSINE",
    "MIN_PDQ_QUALITY",
    "Comparer",
    "Comparison",
    "Contents",
]

# A copy has at most this many other bits, unless one of the images is almost flat: PDQ's authors
# advise against hashes of a lower quality. From the second bound on, points decide where they can:
# motorbikes before a white wall are as near.
MAX_PDQ_DISTANCE = 40
CERTAIN_PDQ_DISTANCE = 24
MIN_PDQ_QUALITY = 50
# Pairs below are not compared by points, unless they share rare visual words.
MIN_COSINE = 0.5

_PAIRS_PER_CHUNK = 128
# The pairs after which the comparisons are saved.
_PAIRS_SAVED_AT_ONCE = 20_000


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
        """Whether the hashes alone show a copy; if they are less near, where points cannot."""
        distance = self.pdq_distance
        if distance is None or self.is_flat:
            return False
        if self.alignment is None:
            return distance <= MAX_PDQ_DISTANCE
        return distance <= CERTAIN_PDQ_DISTANCE

    @property
    def is_certain_by_hash(self) -> bool:
        """Whether points need not be compared."""
        distance = self.pdq_distance
        if distance is None or self.is_flat:
            return False
        return distance <= CERTAIN_PDQ_DISTANCE

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
    features
        The points of interest of the contents; None to compare without points.
    processes
        The number of processes; None for one for each processor core.
    """

    def __init__(
        self,
        view: View,
        data: Contents,
        features: ImageFeatures | None,
        processes: int | None,
    ) -> None:
        self._data = data
        self._features = features
        self._processes = processes
        location = view.location
        self._store = PairStore(location)

    def compare(
        self,
        pairs: Pairs,
        report: Report,
        *,
        gate: float | None = MIN_COSINE,
        exempt: Pairs | None = None,
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
        exempt
            Pairs among them that pass the gate with any cosine.
        """
        found = self._compare_cheaply(pairs)
        if self._features is None:
            return found
        passes = set() if exempt is None else set(map(tuple, exempt.tolist()))
        open_pairs = []
        for pair, comparison in found.items():
            own_gate = None if pair in passes else gate
            needs_points = self._needs_points(comparison, own_gate)
            if needs_points:
                open_pairs.append(pair)
        alignments = self._aligned(open_pairs, self._features, report)
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
                distance, lowest < MIN_PDQ_QUALITY, None if np.isnan(cosine) else cosine
            )
        return found

    def _needs_points(self, comparison: Comparison, gate: float | None) -> bool:
        has_hashes = comparison.pdq_distance is not None
        if not has_hashes or comparison.is_certain_by_hash:
            return False
        # The hashes alone would make it a copy, whatever the vectors say.
        if comparison.is_copy_by_hash:
            return True
        cosine = comparison.cosine
        if gate is None or cosine is None:
            return True
        return cosine >= gate

    def _aligned(
        self, pairs: list[tuple[int, int]], features: ImageFeatures, report: Report
    ) -> dict[tuple[int, int], Alignment]:
        """Return the alignment of pairs: the known ones, and the others computed."""
        contents = self._data.contents
        alignments = {}
        unknown = []
        for pair in pairs:
            first, second = pair
            first_hash = contents[first].sha256
            second_hash = contents[second].sha256
            known = self._store.get(first_hash, second_hash)
            if known is None:
                unknown.append(pair)
            else:
                alignments[pair] = known
        if not unknown:
            return alignments

        try:
            for pair, alignment in self._align(unknown, features, report):
                alignments[pair] = alignment
                first, second = pair
                first_hash = contents[first].sha256
                second_hash = contents[second].sha256
                self._store.add(first_hash, second_hash, alignment)
                is_due = len(alignments) % _PAIRS_SAVED_AT_ONCE == 0
                if is_due:
                    self._store.save()
        finally:
            # Also on Ctrl-C: the next search continues here.
            self._store.save()
        return alignments

    def _align(
        self, pairs: list[tuple[int, int]], features: ImageFeatures, report: Report
    ) -> Iterator[tuple[tuple[int, int], Alignment]]:
        """Yield the alignment of each pair that has points."""
        features.find(np.unique(np.array(pairs, np.intp)))
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
