"""The search for duplicates: candidates, verification, groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.duplicates.candidates import (
    Pairs,
    across_by_hash,
    across_by_vector,
    candidates_by_hash,
    candidates_by_vector,
)
from lookalike.duplicates.comparison import (
    MAX_PDQ_DISTANCE,
    MIN_COSINE,
    MIN_PDQ_QUALITY,
    Comparer,
    Comparison,
    Contents,
)
from lookalike.duplicates.grouping import MIN_SIMILAR_COSINE, Grouping, Pair
from lookalike.duplicates.groups import DuplicateGroup, Duplicates, DuplicateSettings
from lookalike.duplicates.pdq import ORIENTATIONS
from lookalike.duplicates.points import MIN_CORRELATION, MIN_INLIERS
from lookalike.duplicates.rows import (
    ImageContent,
    content_vectors,
    read_contents,
    thumbnails,
)
from lookalike.duplicates.scope import read_scope
from lookalike.duplicates.workers import (
    THUMBNAILS_PER_CHUNK,
    hash_thumbnails,
    run_chunks,
)
from lookalike.store.view import View
from lookalike.types import Places

__all__ = ["ContentPair", "OnProgress", "find_duplicates"]

# The sha256 of two contents, as hexadecimal digits, the smaller one first.
ContentPair = tuple[str, str]
# The step that runs, the work done of it, and its total (None if it is not known).
OnProgress = Callable[[str, int, int | None], None]

_WITHOUT_POINTS = (
    "Copies that are cropped, framed, or turned by some degrees are not looked for, because a "
    "package is not installed. Install it with: pip install 'lookalike[duplicates]'"
)


def find_duplicates(
    view: View,
    settings: DuplicateSettings | None = None,
    on_progress: OnProgress | None = None,
    *,
    rejected: frozenset[ContentPair] = frozenset(),
) -> Duplicates:
    """Return the groups of images of a collection that show the same.

    Parameters
    ----------
    view
        The collection, as one version of its table. Rows that other processes remove meanwhile
        stay in the result.
    settings
        What counts as a duplicate; None for the defaults.
    on_progress
        Called with the step that runs, the work done of it, and its total.
    rejected
        Pairs of contents that are known not to be duplicates of each other.

    Raises
    ------
    InputError
        If a folder, label or manifest of the settings names no image of the collection.
    SpaceError
        If the collection has no such Space.
    CollectionError
        If the collection cannot be read.
    """
    settings = settings or DuplicateSettings()
    search = _Search(view, settings, on_progress)
    return search.run(rejected)


class _Search:
    """One search for duplicates."""

    def __init__(
        self, view: View, settings: DuplicateSettings, on_progress: OnProgress | None
    ) -> None:
        self._view = view
        self._settings = settings
        self._on_progress = on_progress
        self._notes: list[str] = []

    def run(self, rejected: frozenset[ContentPair]) -> Duplicates:
        view, settings = self._view, self._settings
        space = view.space(settings.space)
        scope = read_scope(view, settings)
        contents = read_contents(view, scope.protected, scope.parts)
        data = self._describe(contents, space)
        comparer = Comparer(view, data, settings.processes)
        if settings.tier == "identical":
            comparer.has_points = False
        elif not comparer.has_points:
            self._notes.append(_WITHOUT_POINTS)

        self._report("Finding candidates", 0, None)
        pairs = self._candidates(data, scope.parts is not None)
        comparisons = comparer.compare(pairs, self._report)
        dismissed = _rejected_places(rejected, contents)
        grouping = Grouping(contents, comparisons, settings.tier, dismissed)
        if scope.parts is None:

            def compare_more(more: list[Pair]) -> dict[Pair, Comparison]:
                as_array = np.array(more, np.intp).reshape(-1, 2)
                return comparer.compare(as_array, self._report, gate=None)

            groups = grouping.groups(compare_more)
        else:
            groups = grouping.groups_across()
        return self._result(groups, data)

    def _describe(self, contents: list[ImageContent], space: str) -> Contents:
        """Return the contents with the hashes of their thumbnails, and their vectors."""
        count = len(contents)
        hashes = np.zeros((count, ORIENTATIONS, 32), np.uint8)
        quality = np.full(count, -1, np.int64)
        order: list[Places] = []

        def chunks() -> Iterator[list[bytes | None]]:
            for part, images in thumbnails(self._view, contents, np.arange(count)):
                for start in range(0, len(images), THUMBNAILS_PER_CHUNK):
                    end = start + THUMBNAILS_PER_CHUNK
                    order.append(part[start:end])
                    yield images[start:end]

        done = 0
        number_of_chunks = -(-count // THUMBNAILS_PER_CHUNK)
        processes = self._settings.processes
        results = run_chunks(hash_thumbnails, chunks(), number_of_chunks, processes)
        for number, hashed in enumerate(results):
            for place, found in zip(order[number].tolist(), hashed, strict=True):
                if found is not None:
                    hashes[place] = found.hashes
                    quality[place] = found.quality
            done += len(hashed)
            self._report("Reading thumbnails", done, count)

        vector_places = np.empty(0, np.intp)
        vectors = np.empty((0, 1), np.float16)
        if self._settings.tier != "identical":
            vector_places, vectors = content_vectors(self._view, space, contents)
        return Contents(contents, hashes, quality, vector_places, vectors)

    def _candidates(self, data: Contents, is_across: bool) -> Pairs:
        """Return the pairs that are worth a comparison."""
        if not is_across:
            by_vector = candidates_by_vector(data.vector_places, data.vectors)
            by_hash = candidates_by_hash(data.hashed, data.hashes[data.hashed])
            return np.unique(np.concatenate([by_vector, by_hash]), axis=0)

        # Contents of both parts match themselves.
        firsts = [content.has_part(0) for content in data.contents]
        seconds = [content.has_part(1) for content in data.contents]
        is_first = np.array(firsts, bool)
        is_second = np.array(seconds, bool) & ~is_first
        first, second, vectors = _split_by_part(
            data.vector_places, data.vectors, is_first, is_second
        )
        by_vector = across_by_vector((first, second), vectors)
        all_hashes = data.hashes[data.hashed]
        first, second, hashes = _split_by_part(
            data.hashed, all_hashes, is_first, is_second
        )
        by_hash = across_by_hash((first, second), hashes)
        return np.unique(np.concatenate([by_vector, by_hash]), axis=0)

    def _result(self, groups: list[DuplicateGroup], data: Contents) -> Duplicates:
        """Return the groups, those with most to save first."""
        contents = data.contents
        images = sum(len(content.images) for content in contents)
        skipped = 0
        if self._settings.tier != "identical":
            has_vector = np.zeros(len(contents), bool)
            has_vector[data.vector_places] = True
            is_skipped = ~has_vector | (data.quality < 0)
            for place in np.flatnonzero(is_skipped):
                skipped += len(contents[place].images)
        groups.sort(key=lambda group: (-group.removable_bytes, group.keeper.uri))
        thresholds = {
            "pdq_distance": MAX_PDQ_DISTANCE,
            "pdq_quality": MIN_PDQ_QUALITY,
            "inliers": MIN_INLIERS,
            "correlation": MIN_CORRELATION,
            "cosine_of_compared": MIN_COSINE,
            "cosine_of_similar": MIN_SIMILAR_COSINE,
        }
        return Duplicates(
            groups=tuple(groups[: self._settings.limit]),
            images=images,
            version=self._view.version,
            settings=self._settings,
            skipped=skipped,
            thresholds=thresholds,
            notes=tuple(self._notes),
        )

    def _report(self, step: str, done: int, total: int | None) -> None:
        on_progress = self._on_progress
        if on_progress is None:
            return
        on_progress(step, done, total)


def _split_by_part(
    places: Places,
    rows: npt.NDArray[Any],
    is_first: npt.NDArray[np.bool_],
    is_second: npt.NDArray[np.bool_],
) -> tuple[Places, Places, npt.NDArray[Any]]:
    """Return the places of both parts, and their rows, those of the first part first."""
    of_first = np.flatnonzero(is_first[places])
    of_second = np.flatnonzero(is_second[places])
    both = np.concatenate([of_first, of_second])
    return places[of_first], places[of_second], rows[both]


def _rejected_places(
    rejected: frozenset[ContentPair], contents: list[ImageContent]
) -> set[Pair]:
    """Return the places of rejected pairs, the smaller one first."""
    if not rejected:
        return set()
    place_of = {content.sha256.hex(): place for place, content in enumerate(contents)}
    pairs = set()
    for first, second in rejected:
        if first in place_of and second in place_of:
            places = (place_of[first], place_of[second])
            pairs.add((min(places), max(places)))
    return pairs
