"""Texts as vectors of one Space, each read once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from lookalike.errors import InputError
from lookalike.models.text.excerpt import excerpt
from lookalike.models.text.reader import ReadText, TextReader, load_reader, reads_text
from lookalike.retrieval.confidence import keep_places
from lookalike.retrieval.loaded import SpaceVectors
from lookalike.retrieval.query import TextQuery, WeightedQuery
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import Distances, Ids, Neighbors, Understood, VectorsF16
from lookalike.vectors import to_float32, unit_length

__all__ = ["SpaceTexts", "only_text"]

# The texts whose vectors stay in memory.
_MAX_KEPT = 64
# The matches among which one has to show the words.
_FIRST_MATCHES = 10


class SpaceTexts:
    """Reads texts in one Space; loads their reader for the first, and keeps the latest.

    Parameters
    ----------
    view
        The collection's table.
    space
        The name of the Space.
    """

    def __init__(self, view: View, space: str) -> None:
        self._view = view
        self._space = space
        self._reader: TextReader | None = None
        self._kept: OrderedDict[str, ReadText] = OrderedDict()

    def read(self, text: str) -> ReadText:
        """Return a text as a vector, and what was understood of it.

        Raises
        ------
        InputError
            If the Space reads no text, or the text was not understood.
        WeightsError
            If the files that read it are missing or refused.
        """
        kept = self._kept.get(text)
        if kept is not None:
            return kept
        reader = self._load()
        with span("read text"):
            read = reader.read(text)
        self._kept[text] = read
        is_full = len(self._kept) > _MAX_KEPT
        if is_full:
            self._kept.popitem(last=False)
        return read

    def kinds(self, queries: Sequence[WeightedQuery]) -> VectorsF16 | None:
        """Return the vectors of the kinds that a search by one text alone looks for.

        Returns
        -------
        vectors
            float16 ``[m, dim]``; None if one vector stands for the search.
        """
        text = only_text(queries)
        if text is None:
            return None
        kinds = self.read(text).kinds
        if kinds is None:
            return None
        return kinds.astype(np.float16)

    def understood(
        self, queries: Sequence[WeightedQuery], ids: Ids, vectors: SpaceVectors
    ) -> tuple[Understood, ...]:
        """Return what was understood of each text among some queries.

        Parameters
        ----------
        queries
            The queries of a search.
        ids
            int64 ``[k]``, its matches.
        vectors
            Reads their vectors.
        """
        is_alone = len(queries) == 1
        found = []
        for weighted in queries:
            query = weighted.query
            if not isinstance(query, TextQuery):
                continue
            read = self.read(query.text)
            confidence = None
            if is_alone:
                confidence = _largest_confidence(read, ids, vectors)
            one = Understood(query.text, read.understood, read.unknown, confidence)
            found.append(one)
        return tuple(found)

    def cut(
        self, text: str, found: Neighbors, vectors: SpaceVectors, min_confidence: float
    ) -> Neighbors:
        """Return the matches that the network is sure enough of, and how sure it is.

        Parameters
        ----------
        text
            The text of the search.
        found
            Its matches.
        vectors
            Reads their vectors.
        min_confidence
            The smallest confidence of a match; 0 keeps all.

        Raises
        ------
        InputError
            If the matches of the text have no confidence, and the smallest one is above 0.
        """
        read = self.read(text)
        if read.confidence is None and min_confidence > 0:
            message = self._no_confidence_message(text)
            raise InputError(message)
        values = _confidences(read, found.ids, vectors)
        if values is None:
            return found
        is_sure = values >= min_confidence
        places = np.flatnonzero(is_sure)
        return keep_places(found, places, values)

    def _no_confidence_message(self, text: str) -> str:
        model = self._view.models[self._space]
        searched = f"min_confidence was given with the text {excerpt(text)}. "
        if model.text is not None:
            return (
                f"{searched}The Space {self._space!r} does not say how sure it is of a text. "
                "Search by an image, or leave out min_confidence."
            )
        return (
            f"{searched}Only the matches of an image or of one known word have a confidence, and "
            "this is a phrase or several words. Search by one word, or leave out min_confidence."
        )

    def _load(self) -> TextReader:
        if self._reader is not None:
            return self._reader
        models = self._view.models
        model = models[self._space]
        if not reads_text(model):
            readers = [name for name in models if reads_text(models[name])]
            message = _no_words_message(self._space, readers)
            raise InputError(message)
        with span("load words"):
            reader = load_reader(model)
        self._reader = reader
        return reader


def only_text(queries: Sequence[WeightedQuery]) -> str | None:
    """Return the text of a search by one text alone; None for any other search."""
    if len(queries) != 1:
        return None
    query = queries[0].query
    if not isinstance(query, TextQuery):
        return None
    return query.text


def _largest_confidence(
    read: ReadText, ids: Ids, vectors: SpaceVectors
) -> float | None:
    """Return how sure the network is that one of the nearest matches shows a text."""
    nearest = ids[:_FIRST_MATCHES]
    values = _confidences(read, nearest, vectors)
    if values is None:
        return None
    largest = values.max()
    return round(float(largest), 4)


def _confidences(read: ReadText, ids: Ids, vectors: SpaceVectors) -> Distances | None:
    """Return how sure the network is that each match shows a text, float64 ``[k]``."""
    confidence = read.confidence
    if confidence is None or not len(ids):
        return None
    stored = vectors.of(ids)
    if stored is None:
        return None
    as_float32 = to_float32(stored)
    unit_vectors = unit_length(as_float32)
    values = confidence(unit_vectors)
    return values.astype(np.float64)


def _no_words_message(space: str, readers: list[str]) -> str:
    message = f"The Space {space!r} knows no words: its model reads only images. "
    if readers:
        listed = ", ".join(readers)
        return f"{message}Search by words in: {listed}."
    return f"{message}No Space of this collection knows words; search by an image."
