"""The points of interest of many images, found once in a search, and their visual words."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.duplicates.kept import KeptRows, content_key
from lookalike.duplicates.points import PointFeatures
from lookalike.duplicates.rows import ImageContent
from lookalike.duplicates.visual_words import WordsOfImage
from lookalike.duplicates.workers import (
    THUMBNAILS_PER_CHUNK,
    locate_points,
    run_on_thumbnails,
)
from lookalike.store.view import View
from lookalike.types import Places

__all__ = ["ImageFeatures", "Report"]

# Raised when the points or the words change.
_WORD_METHOD = "1"
_WORD_FIELDS = [pa.field("plain", pa.binary()), pa.field("mirrored", pa.binary())]
# The images after which their words are saved.
_WORDS_SAVED_AT_ONCE = 20_000

# The step that runs, the work done of it, and its total.
Report = Callable[[str, int, int], None]


class ImageFeatures:
    """The points of interest of contents, and their visual words.

    Points wait in a file until the search ends: 60 KB for each image would fill the memory. The
    words are kept beside the collection, so that a later search needs points of new images alone.

    Parameters
    ----------
    view, contents
        The collection and its contents.
    processes
        The number of processes; None for one for each processor core.
    report
        Called with the step that runs, the work done of it, and its total.
    """

    def __init__(
        self,
        view: View,
        contents: list[ImageContent],
        processes: int | None,
        report: Report,
    ) -> None:
        self._view = view
        self._contents = contents
        self._processes = processes
        self._report = report
        self._words = KeptRows(view.location, "words", _WORD_FIELDS, _WORD_METHOD)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._entries: dict[int, tuple[int, int, tuple[int, ...]]] = {}

    def __enter__(self) -> ImageFeatures:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __contains__(self, place: int) -> bool:
        return place in self._entries

    def find(self, places: Places) -> None:
        """Find the points of contents; those without a readable thumbnail have none."""
        missing = [place for place in places.tolist() if place not in self._entries]
        if missing:
            as_array = np.array(missing, np.intp)
            self._find(as_array)

    def read(self, place: int) -> PointFeatures:
        """Return the points of a content that has some."""
        offset, count, shape = self._entries[place]
        self._file.seek(offset)
        height, width = shape
        points = self._read_array(count * 2, np.float32)
        descriptors = self._read_array(count * 128, np.uint8)
        gray = self._read_array(height * width, np.uint8)
        return PointFeatures(
            points.reshape(count, 2),
            descriptors.reshape(count, 128),
            gray.reshape(shape),
        )

    def _read_array(self, count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return the next numbers of the file."""
        item_bytes = np.dtype(dtype).itemsize
        content = self._file.read(count * item_bytes)
        return np.frombuffer(content, dtype)

    def words(self, places: Places) -> list[WordsOfImage]:
        """Return the visual words of contents; none for those without a readable thumbnail."""
        listed = places.tolist()
        unknown = [place for place in listed if self._kept(place) is None]
        unknown_places = np.array(unknown, np.intp)
        self.find(unknown_places)

        no_words = np.empty(0, np.uint16)
        none = WordsOfImage(no_words, no_words)
        words_of_places = []
        for place in listed:
            words = self._kept(place)
            words_of_places.append(words or none)
        return words_of_places

    def _kept(self, place: int) -> WordsOfImage | None:
        key = content_key(self._contents[place].sha256)
        row = self._words.get(key)
        if row is None:
            return None
        plain, mirrored = (np.frombuffer(words, np.uint16) for words in row)
        return WordsOfImage(plain, mirrored)

    def _find(self, places: Places) -> None:
        """Find the points of contents, and keep their words."""
        total = len(places)
        located = run_on_thumbnails(
            locate_points, self._view, self._contents, places, self._processes
        )
        try:
            for done, (place, found) in enumerate(located):
                if found is not None:
                    self._append(place, found.features)
                    self._keep(place, found.words)
                if done % THUMBNAILS_PER_CHUNK == 0:
                    self._report("Finding points", done, total)
                if done % _WORDS_SAVED_AT_ONCE == _WORDS_SAVED_AT_ONCE - 1:
                    self._words.save()
        finally:
            # Also on Ctrl-C: the next search continues here.
            self._words.save()

    def _keep(self, place: int, words: WordsOfImage) -> None:
        key = content_key(self._contents[place].sha256)
        row = tuple(each.tobytes() for each in words)
        self._words.add(key, row)

    def _append(self, place: int, features: PointFeatures) -> None:
        offset = self._file.seek(0, 2)
        self._entries[place] = (offset, len(features.points), features.gray.shape)
        for array in features:
            self._file.write(np.ascontiguousarray(array).tobytes())
