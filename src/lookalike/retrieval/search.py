"""Search: from a query picture, or several, to the nearest pictures of a collection."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike import imaging, vectors
from lookalike.errors import ImageError, InputError, SpaceError
from lookalike.models import embedder
from lookalike.retrieval.query import Queries, QueryInput, RowQuery, WeightedQuery
from lookalike.sources import read_uri, resolve_uri
from lookalike.store import ann
from lookalike.store.table import Table
from lookalike.tracing import span
from lookalike.types import Matches, Model, Neighbors
from lookalike.vectors.exact import Gallery

__all__ = ["Searcher"]

# Images that fit a filter are compared one by one up to so many, 42 MB of 1,280 numbers each.
_FEW = 1 << 14

Ids = npt.NDArray[np.int64]
Halves = npt.NDArray[np.float16]


class Searcher:
    """One Space of a collection held ready: its embedder and the matrix of its vectors.

    Attributes
    ----------
    space
        The Space's name.
    filled_by
        Names the Model that fills it: equal names, equal vectors.
    """

    def __init__(
        self, collection: Table, space: str | None = None, network: embedder.Embedder | None = None
    ) -> None:
        self.space = collection.space(space)
        self._collection = collection
        self._embedder = network or embedder.load(collection.models[self.space])
        model = self._embedder.model
        self.filled_by = model.name, model.fingerprint, model.graph
        self._held: Gallery | None = None
        self._version = -1
        self._selection: tuple[tuple[int, str], Gallery | None] = (-1, ""), None

    @property
    def model(self) -> Model:
        """The Model that fills the Space."""
        return self._embedder.model

    def search(
        self,
        query: Queries,
        *,
        negative: Queries = (),
        k: int = 10,
        where: str | None = None,
        exclude_self: bool = False,
        exact: bool = False,
    ) -> Matches:
        """Return the k nearest images; see `lookalike.Collection.search`."""
        _check(k)
        clause = None if where is None else self._collection.filter_clause(where)
        sides = _examples(query), _examples(negative)
        data = [[(_read(example.query), example.weight) for example in side] for side in sides]
        halves = self.combined(
            *([(self.embed(one), weight) for one, weight in side] for side in data)
        )
        own = [np.empty(0, np.int64)]
        if exclude_self:
            for side, read in zip(sides, data, strict=True):
                own += [
                    self._own_rows(one.query, content)
                    for one, (content, _) in zip(side, read, strict=True)
                ]
        return self._matches(
            self.nearest(halves, k, where=clause, leave_out=np.concatenate(own), exact=exact)
        )

    def nearest(
        self,
        vector: Halves,
        k: int,
        *,
        where: str | None = None,
        leave_out: Ids | None = None,
        exact: bool = False,
    ) -> Neighbors:
        """Return the k rows nearest to a vector.

        Parameters
        ----------
        vector
            float16 ``[dim]``: what `embed` or `combined` gave.
        where
            A filter in the store's own language: what `Table.clause` gave.
        leave_out
            int64 ids of rows that shall not be found.
        """
        left_out = np.empty(0, np.int64) if leave_out is None else leave_out
        with span("compare"):
            few = None if where is None else self._narrowed(where)
            found = None
            if few is None and not exact:
                found = ann.nearest(
                    self._collection, self.space, vector, k, leave_out=left_out, where=where
                )
            if found is None:
                rows = None if few is not None or where is None else self._rows(where)
                found = _compared(
                    self._gallery() if few is None else few, vector, k, left_out, rows
                )
        return found

    def distances(self, vector: Halves) -> tuple[Ids, npt.NDArray[np.float64]]:
        """Return every row's id, rising, and its distance to a vector as far as float32 tells."""
        gallery = self._gallery()
        return gallery.ids, gallery.distances(vector)

    def combined(
        self, plus: Sequence[tuple[Halves, float]], minus: Sequence[tuple[Halves, float]] = ()
    ) -> npt.NDArray[np.float16]:
        """Return one vector of several and their weights, rounded as the collection's are; see `vectors.combine`."""
        for weight in (weight for _, weight in (*plus, *minus)):
            if not 0 < weight < math.inf:
                raise InputError(
                    f"A picture weighs {weight}; expected a number above 0. To keep away from it, take it off."
                )
        if not plus:
            raise InputError(
                "There is nothing to search by. Give at least one picture that matches should be like."
            )
        if len(plus) == 1 and not minus:
            return plus[0][0]  # as it is: its distance to itself is 0
        model = self._embedder.model
        sides = [
            (np.stack([vector for vector, _ in side]), [weight for _, weight in side])
            for side in (plus, minus)
            if side
        ]
        found = vectors.combine(*sides[0], *(sides[1] if minus else ()))
        if model.unit_length:
            found = vectors.unit_length(found[np.newaxis].astype(np.float32))[0].astype(np.float64)
        if not found.any():
            raise InputError(
                "What is taken off leaves nothing to search by. Take off other pictures than are searched by."
            )
        with np.errstate(over="ignore"):
            halves: npt.NDArray[np.float16] = found.astype(np.float16)
        return np.nan_to_num(halves)

    def search_many(self, queries: Iterable[QueryInput], *, k: int = 10) -> list[Matches]:
        """Return the k nearest images of each query; see `lookalike.Collection.search_many`."""
        _check(k)
        halves = [self.embed(_read(query)) for query in queries]
        if not halves:
            return []
        with span("compare"):
            ids, distances = self._gallery().nearest_of_many(np.stack(halves), k)
        return [self._matches(Neighbors(*one, None)) for one in zip(ids, distances, strict=True)]

    def _matches(self, found: Neighbors) -> Matches:
        with span("read matches"):
            facts = self._collection.take(found.ids, ["uri", "label"])
        uris, labels = (facts[name].to_pylist() for name in ("uri", "label"))
        exact = found.recall is None
        return Matches(
            found.ids, uris, labels, found.distances, self.space, exact=exact, recall=found.recall
        )

    def embed(self, query: QueryInput) -> npt.NDArray[np.float16]:
        """Return the query's vector, float16 ``[dim]``, rounded as the collection's are.

        Both sides are rounded alike, so that a picture's distance to itself is 0.
        """
        if isinstance(query, RowQuery):
            return self._kept(query.id)
        with span("decode query"):
            picture = _picture(query, imaging.least_side(self.model))
            prepared = imaging.prepare(picture, self.model)
        embedded: npt.NDArray[np.float16] = self.embed_prepared(prepared[np.newaxis])[0]
        return embedded

    def embed_prepared(self, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float16]:
        """Return what `embed` does of some pictures as `lookalike.imaging.prepare` makes them, float16 ``[n, dim]``."""
        with span("embed query"):
            return self._embedder.embed(pictures).astype(np.float16)

    def _kept(self, row: int) -> npt.NDArray[np.float16]:
        """Return the vector that the collection holds of a row: from memory, if all are there, else from the table."""
        held = self._held if self._version == self._collection.version else None
        found: Halves | None = None
        if 0 <= row < 2**63:
            ids = np.array([row], np.int64)
            found = (
                held.vectors(ids)
                if held
                else self._collection.vectors(self.space, f"_rowid = {row}")[1]
            )
        if found is None or not len(found):
            raise InputError(
                f"The collection {self._collection.path} has no row {row} with a vector in {self.space}."
            )
        kept: Halves = found[0]
        return kept

    def _gallery(self) -> Gallery:
        """Return the Space's vectors, read when they are first asked for and whenever the version is another."""
        if self._held is not None and self._version == self._collection.version:
            return self._held
        ids, halves = self._collection.vectors(self.space)
        if not len(ids):
            raise SpaceError(
                f"The Space {self.space!r} of {self._collection.path} is empty. "
                f"Fill it with: lookalike index FOLDER -c {self._collection.path} --model {self.space}"
            )
        self._held, self._version = Gallery(ids, halves), self._collection.version
        return self._held

    def _narrowed(self, clause: str) -> Gallery | None:
        """Return the vectors that fit a filter, kept for the next query under it; None if they are many."""
        key = self._collection.version, clause
        # Taken once: another thread may put its own in place meanwhile.
        selection = self._selection
        if selection[0] != key:
            few = self._collection.count_where(clause) <= _FEW
            selection = key, Gallery(*self._collection.vectors(self.space, clause)) if few else None
            self._selection = selection
        return selection[1]

    def _rows(self, clause: str) -> npt.NDArray[np.intp]:
        """Return which rows of the whole gallery fit a filter."""
        with span("select"):
            found = [batch["_rowid"].to_numpy() for batch in self._collection.scan([], clause)]
        fitting = np.concatenate([np.empty(0, np.int64), *found]).astype(np.int64)
        return np.flatnonzero(np.isin(self._gallery().ids, fitting, assume_unique=True))

    def _own_rows(self, query: QueryInput, data: QueryInput) -> npt.NDArray[np.int64]:
        if isinstance(query, RowQuery):
            return np.array([query.id], np.int64)
        if isinstance(query, str | os.PathLike):
            uri = resolve_uri(query)
            known = self._collection.existing_rows([uri])
            if uri in known:
                return np.array([known[uri].id], np.int64)
        if isinstance(data, bytes):
            return self._collection.ids_with_content(hashlib.sha256(data).digest())
        return np.empty(0, np.int64)


def _compared(
    gallery: Gallery,
    query: npt.NDArray[np.float16],
    k: int,
    left_out: Ids,
    rows: npt.NDArray[np.intp] | None,
) -> Neighbors:
    """Compare a query with every row of a gallery, or with some."""
    ids, distances = gallery.nearest(query, k + len(left_out), rows=rows)
    if len(left_out):
        kept = ~np.isin(ids, left_out)
        ids, distances = ids[kept][:k], distances[kept][:k]
    return Neighbors(ids, distances, None)


def _check(k: int) -> None:
    if k < 1:
        raise InputError(f"k = {k} asks for nothing; expected a whole number from 1.")


def _examples(given: Queries) -> list[WeightedQuery]:
    """Return one picture, or several, as examples."""
    several = (
        given if isinstance(given, list | tuple) else [cast(QueryInput | WeightedQuery, given)]
    )
    return [one if isinstance(one, WeightedQuery) else WeightedQuery(one) for one in several]


def _read(query: QueryInput) -> bytes | Image.Image | npt.NDArray[Any] | RowQuery:
    """Return the bytes of a path; any other query as it is."""
    if not isinstance(query, str | os.PathLike):
        return query
    try:
        return read_uri(resolve_uri(query))
    except OSError as error:
        name = os.fspath(query)
        reason = error.strerror or error
        raise ImageError(
            f"The query {name} cannot be read: {reason}. Name a picture's file."
        ) from error


def _picture(query: QueryInput, least: int) -> Image.Image:
    if isinstance(query, bytes):
        try:
            return imaging.decode_small(query, least=least)[0]
        except ImageError as error:
            raise ImageError(
                f"The query is no picture that can be searched by: {error}."
            ) from error
    if isinstance(query, Image.Image):
        return imaging.upright(query)
    if isinstance(query, np.ndarray):
        return imaging.from_array(query)
    raise InputError(
        f"A query of type {type(query).__name__} is not known; expected a path, bytes, a Pillow image or a NumPy array."
    )
