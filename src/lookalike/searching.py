"""Search: from a query picture to the nearest pictures of a collection."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike import images, vectors
from lookalike.errors import ImageError, InputError, SpaceError
from lookalike.models import embedder
from lookalike.sources import to_uri
from lookalike.store.collection import Collection, default_path
from lookalike.tracing import span
from lookalike.types import Matches

__all__ = ["Query", "Searcher", "search"]

Query = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any]


def search(
    collection: Collection | str | os.PathLike[str] | None,
    query: Query,
    *,
    k: int = 10,
    space: str | None = None,
    not_self: bool = False,
) -> Matches:
    """Return the k images of a collection that are nearest to a query picture.

    Parameters
    ----------
    collection
        A Collection (which keeps what the search loads for the next one), its path, or None for the default one.
    query
        A path, an encoded image's bytes, a Pillow image, or uint8 ``[height, width(, 3 or 4)]``.
    k
        How many; all there are, if they are fewer.
    space
        Which Space to measure in; None for the collection's first.
    not_self
        Whether to leave out the query's own row: the one of its path, else those of the same content.

    Raises
    ------
    InputError
        If k is below 1.
    ImageError
        If the query cannot be read as a picture.
    SpaceError
        If the collection has no such Space.
    ModelError, WeightsError, CollectionError
        If the Space's Model cannot be run, or the collection cannot be read.
    """
    if not isinstance(collection, Collection):
        collection = Collection.open(default_path() if collection is None else collection)
    name = collection.space(space)
    key = ("searcher", name)
    if key not in collection.kept:
        collection.kept[key] = Searcher(collection, name)
    searcher: Searcher = collection.kept[key]
    return searcher.search(query, k=k, not_self=not_self)


class Searcher:
    """One Space of a collection held ready: its embedder and the matrix of its vectors."""

    def __init__(self, collection: Collection, space: str | None = None) -> None:
        self.space = collection.space(space)
        self._collection = collection
        self._embedder = embedder.load(collection.models[self.space])
        self._version = -1

    def search(self, query: Query, *, k: int = 10, not_self: bool = False) -> Matches:
        """Return the k nearest images; see `lookalike.search`."""
        if k < 1:
            raise InputError(f"k = {k} asks for nothing; expected a whole number from 1.")
        data = _read(query)
        vector = self.embed(data)
        self._load()
        left_out = self._own_rows(query, data) if not_self else np.empty(0, np.int64)
        with span("compare"):
            rows, distances = vectors.nearest(vector, self._matrix, k + len(left_out), ids=self._ids)
            kept = ~np.isin(self._ids[rows], left_out)
            ids, distances = self._ids[rows][kept][:k], distances[kept][:k]
        with span("read matches"):
            facts = self._collection.take(ids, ["uri", "label"])
        return Matches(ids, facts["uri"].to_pylist(), facts["label"].to_pylist(), distances, self.space)

    def embed(self, query: Query) -> npt.NDArray[np.float32]:
        """Return the query's vector, float32 ``[dim]``, rounded as the collection's are.

        Both sides are rounded alike, so that a picture's distance to itself is 0.
        """
        model = self._embedder.model
        with span("decode query"):
            prepared = images.prepare(_picture(query, images.least_side(model)), model)
        with span("embed query"):
            halves = self._embedder.embed(prepared[np.newaxis])[0].astype(np.float16)
        vector: npt.NDArray[np.float32] = halves.astype(np.float32)
        return vector

    def _load(self) -> None:
        """Read the Space's matrix, unless the version at hand is read already."""
        if self._version == self._collection.version:
            return
        self._ids, halves = self._collection.vectors(self.space)
        if not len(self._ids):
            raise SpaceError(
                f"The Space {self.space!r} of {self._collection.path} is empty. "
                f"Fill it with: lookalike index FOLDER -c {self._collection.path} --model {self.space}"
            )
        self._matrix = halves.astype(np.float32)
        self._version = self._collection.version

    def _own_rows(self, query: Query, data: bytes | Image.Image | npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        if isinstance(query, str | os.PathLike):
            uri = to_uri(Path(query).expanduser())
            known = self._collection.known([uri])
            if uri in known:
                return np.array([known[uri].id], np.int64)
        if isinstance(data, bytes):
            return self._collection.ids_of(hashlib.sha256(data).digest())
        return np.empty(0, np.int64)


def _read(query: Query) -> bytes | Image.Image | npt.NDArray[Any]:
    """Return the bytes of a path; any other query as it is."""
    if not isinstance(query, str | os.PathLike):
        return query
    path = Path(query).expanduser()
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"The query {path} cannot be read: {error.strerror or error}. Name a picture's file."
        ) from error


def _picture(query: Query, least: int) -> Image.Image:
    if isinstance(query, bytes):
        try:
            return images.decode_small(query, least=least)[0]
        except ImageError as error:
            raise ImageError(f"The query is no picture that can be searched by: {error}.") from error
    if isinstance(query, Image.Image):
        return images.upright(query)
    if isinstance(query, np.ndarray):
        return images.from_array(query)
    raise InputError(
        f"A query of type {type(query).__name__} is not known; expected a path, bytes, a Pillow image or a NumPy array."
    )
