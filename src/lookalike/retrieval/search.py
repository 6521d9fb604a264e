"""Search one Space: encode the queries, find candidates, rank them, read the matches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike import imaging, vectors
from lookalike.errors import InputError, SpaceError
from lookalike.models.embedder import Embedder
from lookalike.models.embedder import load as load_embedder
from lookalike.retrieval.query import QueryInput, WeightedQuery, as_query
from lookalike.retrieval.ranking import Candidates, Ranking, resolve_ranking
from lookalike.store import ann
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import Distances, Ids, Matches, Model, Neighbors, VectorsF16
from lookalike.vectors.exact import ExactIndex

__all__ = ["SearchRequest", "Searcher"]

# Up to this many rows that fit a filter are compared one by one: 42 MB of 1,280 numbers each.
SUBSET_ROWS = 1 << 14

_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search, independent of where it comes from.

    Attributes
    ----------
    positive, negative
        Queries that the matches resemble, and queries that they keep away from.
    k
        The number of matches.
    where
        A filter; see `lookalike.store.filters`.
    exclude_self
        Whether to leave out the rows that are the queries themselves.
    exact
        Whether to compare every row even if the Space has an index.
    ranking
        The name of a ranking, or a Ranking; see `lookalike.retrieval.ranking`.
    """

    positive: Sequence[WeightedQuery]
    negative: Sequence[WeightedQuery] = ()
    k: int = 10
    where: str | None = None
    exclude_self: bool = False
    exact: bool = False
    ranking: str | Ranking = "plain"

    @property
    def queries(self) -> list[WeightedQuery]:
        """The positive and the negative queries."""
        queries = list(self.positive)
        queries.extend(self.negative)
        return queries


@dataclass(frozen=True, slots=True, eq=False)
class _LoadedIndex:
    """All vectors of a Space at one version."""

    version: int
    index: ExactIndex


@dataclass(frozen=True, slots=True, eq=False)
class _LoadedSubset:
    """The vectors that fit a filter, by version and clause; no index if they are many."""

    key: tuple[int, str]
    index: ExactIndex | None


class Searcher:
    """Searches one Space; keeps its embedder and, after the first exact search, its vectors.

    Parameters
    ----------
    view
        The collection's table. If it moves on to another version, the vectors are read again.
    space
        The name of the Space; None for the first.
    embedder
        The embedder of the Space's Model; loaded if it is not given.

    Attributes
    ----------
    space
        The name of the Space.
    filled_by
        Identifies the Model that fills the Space: equal values, equal vectors.

    Raises
    ------
    SpaceError
        If the collection has no such Space.
    ModelError, WeightsError
        If the Space's Model cannot be run.
    """

    def __init__(
        self, view: View, space: str | None = None, embedder: Embedder | None = None
    ) -> None:
        self.space = view.space(space)
        self._view = view
        self._embedder = embedder or load_embedder(view.models[self.space])
        model = self._embedder.model
        # Computing a fingerprint takes longer than some searches.
        fingerprint = model.fingerprint
        self.filled_by: tuple[str, str, str | None] = (
            model.name,
            fingerprint,
            model.graph,
        )
        # Each is one object, so that another thread never sees an index with the wrong version.
        self._index: _LoadedIndex | None = None
        self._subset: _LoadedSubset | None = None

    @property
    def model(self) -> Model:
        """The Model that fills the Space."""
        return self._embedder.model

    def search(self, request: SearchRequest) -> Matches:
        """Return the matches of a request, with their uris and labels.

        Raises
        ------
        InputError, ImageError, SpaceError, CollectionError
            As `lookalike.Collection.search`.
        """
        found = self.find(request)
        return self._read_matches(found)

    def find(self, request: SearchRequest) -> Neighbors:
        """Return the ids and distances of a request's matches, without uris and labels."""
        k = request.k
        _check_k(k)
        ranking = resolve_ranking(request.ranking)
        clause = None
        if request.where is not None:
            clause = self._view.filter_clause(request.where)

        vector = self.encode(request.positive, request.negative)
        excluded = _NO_ROWS
        if request.exclude_self:
            excluded = self._own_rows(request.queries)
        count = ranking.candidate_count(k)
        candidates = self.candidates(
            vector, count, clause=clause, excluded=excluded, exact=request.exact
        )
        return ranking.rank(vector, candidates, k)

    def search_many(
        self,
        queries: Iterable[QueryInput],
        *,
        k: int = 10,
        ranking: str | Ranking = "plain",
    ) -> list[Matches]:
        """Return the k best matches of each query; one pass over all rows serves all queries."""
        _check_k(k)
        ranking = resolve_ranking(ranking)
        encoded = [as_query(query).encode(self) for query in queries]
        if not encoded:
            return []
        with span("compare"):
            index = self._exact_index()
            stacked = np.stack(encoded)
            count = ranking.candidate_count(k)
            ids, distances = index.search_many(stacked, count)

        answers = []
        for vector, row_ids, row_distances in zip(encoded, ids, distances, strict=True):
            candidates = Candidates(
                ids=row_ids,
                distances=row_distances,
                recall=None,
                read_vectors=self.row_vectors,
            )
            neighbors = ranking.rank(vector, candidates, k)
            matches = self._read_matches(neighbors)
            answers.append(matches)
        return answers

    def encode(
        self, positive: Sequence[WeightedQuery], negative: Sequence[WeightedQuery] = ()
    ) -> VectorsF16:
        """Return the one vector that stands for some queries, float16 ``[dim]``.

        It is the weighted mean of the positive vectors minus that of the negative ones, scaled to
        unit length if the Model's vectors are; see `lookalike.vectors.combine`.

        Raises
        ------
        InputError
            If a positive query is missing, or the negative queries cancel the positive ones.
        """
        if not positive:
            raise InputError(
                "There is nothing to search by. Give at least one image that the matches should "
                "resemble."
            )
        positive_vectors = [one.query.encode(self) for one in positive]
        if len(positive) == 1 and not negative:
            # Unchanged, so that the distance of a row to itself is 0.
            return positive_vectors[0]

        stacked_negative = None
        if negative:
            negative_vectors = [one.query.encode(self) for one in negative]
            stacked_negative = np.stack(negative_vectors)
        combined = vectors.combine(
            positive=np.stack(positive_vectors),
            positive_weights=[one.weight for one in positive],
            negative=stacked_negative,
            negative_weights=[one.weight for one in negative],
        )
        if self.model.unit_length:
            row = combined[np.newaxis].astype(np.float32)
            scaled = vectors.unit_length(row)
            combined = scaled[0].astype(np.float64)
        if not combined.any():
            raise InputError(
                "The negative queries cancel the positive ones. Use different negative queries."
            )
        with np.errstate(over="ignore"):
            rounded: VectorsF16 = combined.astype(np.float16)
        return np.nan_to_num(rounded)

    def candidates(
        self,
        vector: VectorsF16,
        count: int,
        *,
        clause: str | None = None,
        excluded: Ids = _NO_ROWS,
        exact: bool = False,
    ) -> Candidates:
        """Return the rows nearest to a vector.

        Parameters
        ----------
        vector
            float16 ``[dim]``, as `encode` returns it.
        count
            The number of rows; all if there are fewer.
        clause
            A filter in the store's own language, as `View.filter_clause` returns it.
        excluded
            int64 ids of rows to leave out.
        exact
            Whether to compare every row even if the Space has an index.
        """
        with span("compare"):
            found = self._nearest(vector, count, clause, excluded, exact=exact)
        return Candidates(
            ids=found.ids,
            distances=found.distances,
            recall=found.recall,
            read_vectors=self.row_vectors,
        )

    def _nearest(
        self,
        vector: VectorsF16,
        count: int,
        clause: str | None,
        excluded: Ids,
        *,
        exact: bool,
    ) -> Neighbors:
        """Search the few rows of a narrow filter, the index of the Space, or all rows."""
        if clause is not None:
            subset = self._subset_index(clause)
            if subset is not None:
                return _compare(subset, vector, count, excluded)

        if not exact:
            found = ann.nearest(
                self._view, self.space, vector, count, leave_out=excluded, where=clause
            )
            if found is not None:
                return found

        places = None
        if clause is not None:
            places = self._places(clause)
        index = self._exact_index()
        return _compare(index, vector, count, excluded, places)

    def distances(self, vector: VectorsF16) -> tuple[Ids, Distances]:
        """Return all row ids in ascending order and their distances to a vector, in float32."""
        index = self._exact_index()
        distances = index.distances(vector)
        return index.ids, distances

    def embed_image(self, image: Image.Image) -> VectorsF16:
        """Return the vector of an upright RGB image, float16 ``[dim]``.

        It is rounded as the collection's vectors are, so that the distance of an image to itself
        is 0.
        """
        with span("decode query"):
            prepared = imaging.prepare(image, self.model)
        batch = prepared[np.newaxis]
        embedded = self.embed_prepared(batch)
        vector: VectorsF16 = embedded[0]
        return vector

    def embed_prepared(self, images: npt.NDArray[np.uint8]) -> VectorsF16:
        """Return the vectors of prepared images, float16 ``[n, dim]``."""
        with span("embed query"):
            embedded = self._embedder.embed(images)
            return embedded.astype(np.float16)

    def row_vector(self, row_id: int) -> VectorsF16:
        """Return the vector that the collection holds for a row, float16 ``[dim]``.

        Raises
        ------
        InputError
            If the row does not exist or has no vector in the Space.
        """
        found = None
        # Lance's ids are 64-bit integers; any other number is the id of no row.
        if 0 <= row_id < 2**63:
            row_ids = np.array([row_id], np.int64)
            found = self._vectors_of(row_ids)
        if found is None:
            raise InputError(
                f"The collection {self._view.path} has no row {row_id} with a vector in "
                f"{self.space}."
            )
        vector: VectorsF16 = found[0]
        return vector

    def row_vectors(self, row_ids: Ids) -> VectorsF16:
        """Return the vectors of some rows, float16 ``[n, dim]``, in their order.

        Raises
        ------
        InputError
            If one of the rows does not exist or has no vector in the Space.
        """
        found = self._vectors_of(row_ids)
        if found is None:
            raise InputError(
                f"The collection {self._view.path} lacks one of {len(row_ids):,} rows, or its "
                f"vector in {self.space}."
            )
        return found

    def _vectors_of(self, row_ids: Ids) -> VectorsF16 | None:
        """Return vectors from memory or from the table; None if one is missing."""
        loaded = self._index
        if loaded is not None and loaded.version == self._view.version:
            return loaded.index.vectors(row_ids)
        if not len(row_ids):
            return np.empty((0, self.model.dim), np.float16)

        texts = [str(row_id) for row_id in row_ids.tolist()]
        listed = ", ".join(texts)
        stored_ids, stored = self._view.vectors(self.space, f"_rowid IN ({listed})")
        index = ExactIndex(stored_ids, stored)
        return index.vectors(row_ids)

    def _read_matches(self, found: Neighbors) -> Matches:
        with span("read matches"):
            rows = self._view.take(found.ids, ["uri", "label"])
        return Matches(
            ids=found.ids,
            uris=rows["uri"].to_pylist(),
            labels=rows["label"].to_pylist(),
            distances=found.distances,
            space=self.space,
            exact=found.recall is None,
            recall=found.recall,
        )

    def _exact_index(self) -> ExactIndex:
        """Return all vectors of the Space, read on first use and again for each new version."""
        version = self._view.version
        loaded = self._index
        if loaded is not None and loaded.version == version:
            return loaded.index

        ids, matrix = self._view.vectors(self.space)
        if not len(ids):
            raise SpaceError(
                f"The Space {self.space!r} of {self._view.path} is empty. "
                f"Fill it with: lookalike index FOLDER -c {self._view.path} --model {self.space}"
            )
        index = ExactIndex(ids, matrix)
        self._index = _LoadedIndex(version, index)
        return index

    def _subset_index(self, clause: str) -> ExactIndex | None:
        """Return the vectors that fit a filter, kept for its next search; None if many."""
        version = self._view.version
        key = (version, clause)
        loaded = self._subset
        if loaded is not None and loaded.key == key:
            return loaded.index

        index = None
        count = self._view.count_where(clause)
        if count <= SUBSET_ROWS:
            ids, matrix = self._view.vectors(self.space, clause)
            index = ExactIndex(ids, matrix)
        self._subset = _LoadedSubset(key, index)
        return index

    def _places(self, clause: str) -> npt.NDArray[np.intp]:
        """Return the places in the whole index of the rows that fit a filter."""
        batches = [_NO_ROWS]
        with span("select"):
            for batch in self._view.scan([], clause):
                row_ids = batch["_rowid"].to_numpy()
                batches.append(row_ids)
        fitting = np.concatenate(batches).astype(np.int64)
        index = self._exact_index()
        is_fitting = np.isin(index.ids, fitting, assume_unique=True)
        return np.flatnonzero(is_fitting)

    def _own_rows(self, queries: Sequence[WeightedQuery]) -> Ids:
        own_rows = [_NO_ROWS]
        for weighted in queries:
            row_ids = weighted.query.own_rows(self._view)
            own_rows.append(row_ids)
        concatenated = np.concatenate(own_rows)
        return np.unique(concatenated)


def _compare(
    index: ExactIndex,
    vector: VectorsF16,
    count: int,
    excluded: Ids,
    places: npt.NDArray[np.intp] | None = None,
) -> Neighbors:
    """Compare a vector with every row of an index, or with the rows at some places."""
    # The nearest of all may be excluded.
    enough = count + len(excluded)
    ids, distances = index.search(vector, enough, places=places)
    if len(excluded):
        included = ~np.isin(ids, excluded)
        ids = ids[included][:count]
        distances = distances[included][:count]
    return Neighbors(ids, distances, recall=None)


def _check_k(k: int) -> None:
    if k < 1:
        raise InputError(f"k = {k} is invalid; expected a whole number of at least 1.")
