"""The search for duplicates: candidates, verification, groups."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.duplicates.candidates import (
    Pairs,
    across_by_hash,
    across_by_vector,
    across_by_words,
    candidates_by_hash,
    candidates_by_vector,
    candidates_by_words,
)
from lookalike.duplicates.comparison import (
    CERTAIN_PDQ_DISTANCE,
    MAX_PDQ_DISTANCE,
    MIN_COSINE,
    MIN_PDQ_QUALITY,
    Comparer,
    Comparison,
    Contents,
)
from lookalike.duplicates.features import ImageFeatures
from lookalike.duplicates.grouping import MIN_SIMILAR_COSINE, Grouping, Pair
from lookalike.duplicates.groups import DuplicateGroup, Duplicates, DuplicateSettings
from lookalike.duplicates.pdq import ORIENTATIONS
from lookalike.duplicates.points import MIN_CORRELATION, MIN_INLIERS
from lookalike.duplicates.rows import ImageContent, content_vectors, read_contents
from lookalike.duplicates.scope import read_scope
from lookalike.duplicates.workers import (
    THUMBNAILS_PER_CHUNK,
    hash_thumbnails,
    run_on_thumbnails,
)
from lookalike.formats import is_installed
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
        with ExitStack() as stack:
            features = None
            if self._has_points():
                features = ImageFeatures(
                    view, contents, settings.processes, self._report
                )
                stack.enter_context(features)
            groups = self._group(data, features, scope.parts is not None, rejected)
        return self._result(groups, data)

    def _has_points(self) -> bool:
        """Return whether points are compared; without the package, a note says so."""
        if self._settings.tier == "identical":
            return False
        if is_installed("cv2"):
            return True
        self._notes.append(_WITHOUT_POINTS)
        return False

    def _group(
        self,
        data: Contents,
        features: ImageFeatures | None,
        is_across: bool,
        rejected: frozenset[ContentPair],
    ) -> list[DuplicateGroup]:
        """Return the groups of the contents."""
        settings = self._settings
        comparer = Comparer(self._view, data, features, settings.processes)
        self._report("Finding candidates", 0, None)
        pairs = self._candidates(data, is_across)
        by_words = self._candidates_by_words(data, features, is_across)
        every = np.unique(np.concatenate([pairs, by_words]), axis=0)
        comparisons = comparer.compare(every, self._report, exempt=by_words)
        dismissed = _rejected_places(rejected, data.contents)
        grouping = Grouping(data.contents, comparisons, settings.tier, dismissed)
        if is_across:
            return grouping.groups_across()

        def compare_more(more: list[Pair]) -> dict[Pair, Comparison]:
            as_array = np.array(more, np.intp)
            pairs = as_array.reshape(-1, 2)
            return comparer.compare(pairs, self._report, gate=None)

        return grouping.groups(compare_more)

    def _describe(self, contents: list[ImageContent], space: str) -> Contents:
        """Return the contents with the hashes of their thumbnails, and their vectors."""
        count = len(contents)
        hashes = np.zeros((count, ORIENTATIONS, 32), np.uint8)
        quality = np.full(count, -1, np.int64)
        hashed = run_on_thumbnails(
            hash_thumbnails,
            self._view,
            contents,
            np.arange(count),
            self._settings.processes,
        )
        for done, (place, found) in enumerate(hashed, start=1):
            if found is not None:
                hashes[place] = found.hashes
                quality[place] = found.quality
            if done % THUMBNAILS_PER_CHUNK == 0 or done == count:
                self._report("Reading thumbnails", done, count)

        vector_places = np.empty(0, np.intp)
        vectors = np.empty((0, 1), np.float16)
        if self._settings.tier != "identical":
            vector_places, vectors = content_vectors(self._view, space, contents)
        return Contents(contents, hashes, quality, vector_places, vectors)

    def _candidates(self, data: Contents, is_across: bool) -> Pairs:
        """Return the pairs that vectors and hashes find worth a comparison."""
        if not is_across:
            by_vector = candidates_by_vector(data.vector_places, data.vectors)
            by_hash = candidates_by_hash(data.hashed, data.hashes[data.hashed])
            return np.concatenate([by_vector, by_hash])

        first, second, vectors = _split_by_part(data, data.vector_places, data.vectors)
        by_vector = across_by_vector((first, second), vectors)
        all_hashes = data.hashes[data.hashed]
        first, second, hashes = _split_by_part(data, data.hashed, all_hashes)
        by_hash = across_by_hash((first, second), hashes)
        return np.concatenate([by_vector, by_hash])

    def _candidates_by_words(
        self, data: Contents, features: ImageFeatures | None, is_across: bool
    ) -> Pairs:
        """Return the pairs that visual words find worth a comparison."""
        if features is None:
            return np.empty((0, 2), np.intp)

        def report(done: int, total: int) -> None:
            self._report("Finding candidates", done, total)

        if not is_across:
            words = features.words(data.hashed)
            return candidates_by_words(data.hashed, words, report)
        rows = np.arange(len(data.hashed))
        first, second, order = _split_by_part(data, data.hashed, rows)
        words = features.words(data.hashed[order])
        return across_by_words((first, second), words, report)

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
            "pdq_distance_alone": CERTAIN_PDQ_DISTANCE,
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
    data: Contents, places: Places, rows: npt.NDArray[Any]
) -> tuple[Places, Places, npt.NDArray[Any]]:
    """Return the places of both parts, and their rows, those of the first part first."""
    firsts = [data.contents[place].has_part(0) for place in places]
    seconds = [data.contents[place].has_part(1) for place in places]
    is_first = np.array(firsts, bool)
    # Contents of both parts match themselves.
    is_second = np.array(seconds, bool) & ~is_first
    of_first = np.flatnonzero(is_first)
    of_second = np.flatnonzero(is_second)
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
