"""Search one Space: encode the queries, find candidates, rank them, read the matches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike import imaging
from lookalike.errors import InputError
from lookalike.models.embedder import Embedder, load_for_query
from lookalike.models.text.reader import ReadText
from lookalike.retrieval.candidates import CandidateSearch, put_first
from lookalike.retrieval.combination import combine_queries
from lookalike.retrieval.confidence import StoredCalibrations, cut
from lookalike.retrieval.contents import count_copies, first_of_each_content, hashes_of
from lookalike.retrieval.loaded import SpaceVectors
from lookalike.retrieval.match_rows import MatchRows
from lookalike.retrieval.pages import append_rows, page_searches
from lookalike.retrieval.query import QueryInput, WeightedQuery
from lookalike.retrieval.ranking import (
    PLAIN,
    Candidates,
    Ranking,
    merge_candidates,
    resolve_ranking,
)
from lookalike.retrieval.request import SearchRequest, check_k
from lookalike.retrieval.texts import SpaceTexts, only_text
from lookalike.store import ann
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import (
    DEFAULT_GAMMA,
    NO_IDS,
    Distances,
    Ids,
    Matches,
    Neighbors,
    VectorsF16,
)

__all__ = ["SearchRequest", "Searcher"]


# A search for different contents that finds too few asks for this many times more rows.
_MORE_ROWS = 3


class Searcher:
    """Searches one Space; keeps its embedder and, after the first exact search, its vectors.

    Parameters
    ----------
    view
        The collection's table. If it moves on to another version, the vectors are read again.
    space
        The name of the Space; None for the first.
    embedder
        The embedder of the Space's Model; loaded at the first image if it is not given.

    Attributes
    ----------
    space
        The name of the Space.
    model
        The Model that fills the Space.
    filled_by
        Identifies the Model that fills the Space: equal values, equal vectors.
    candidates
        Finds the rows nearest to a vector.

    Raises
    ------
    SpaceError
        If the collection has no such Space.
    """

    def __init__(
        self, view: View, space: str | None = None, embedder: Embedder | None = None
    ) -> None:
        self.space = view.space(space)
        self._view = view
        self._loaded = embedder
        self._loading = threading.Lock()
        model = view.models[self.space]
        if embedder is not None:
            model = embedder.model
        self.model = model
        # Computing a fingerprint takes longer than some searches.
        fingerprint = model.fingerprint
        self.filled_by: tuple[str, str, str | None] = (
            model.name,
            fingerprint,
            model.graph,
        )
        self._vectors = SpaceVectors(view, self.space)
        self._calibrations = StoredCalibrations(view, self.space)
        self._texts = SpaceTexts(view, self.space)
        self._match_rows = MatchRows(view)
        self.candidates = CandidateSearch(
            view, self.space, self._vectors, self.row_vectors
        )

    def report_fit(self, progress: Callable[[int, int], None] | None) -> None:
        """Call a function with the work done and its total while a ranking compares all images."""
        self._vectors.fit_progress = progress

    def has_fit(self, ranking: Ranking) -> bool:
        """Return whether a ranking's vectors of the newest version are in memory."""
        return self._vectors.has_fit(ranking)

    def numbers_to_compare(self) -> int | None:
        """Return how many numbers a plain search compares, all of which are in memory.

        Returns None if it would use an index of the Space, or first read its vectors or its
        calibration.
        """
        if ann.current_tuning(self._view, self.space) is not None:
            return None
        if not self._calibrations.are_read:
            return None
        return self._vectors.loaded_size()

    def fit(self, ranking: Ranking, progress: Callable[[int, int], None]) -> None:
        """Compute a ranking's vectors, as the first search by it does."""
        self.report_fit(progress)
        try:
            self._vectors.fitted(ranking)
        finally:
            self.report_fit(None)

    def search(self, request: SearchRequest) -> Matches:
        """Return the matches of a request, with their uris and labels.

        Raises
        ------
        InputError, ImageError, SpaceError, CollectionError
            As `lookalike.Collection.search`.
        """
        found = self.find(request)
        return self.read_matches(found)

    def find(self, request: SearchRequest) -> Neighbors:
        """Return the ids and distances of a request's matches, without uris and labels."""
        where = request.where
        clause = None
        if where is not None:
            clause = self._view.filter_clause(where)

        vector = self.encode(request.positive, request.negative, request.gamma)
        excluded = NO_IDS
        if request.exclude_self:
            queries = request.queries
            excluded = self._own_rows(queries)
        first_page = request.first_page
        if first_page is None:
            found = self._find_best(request, vector, clause, excluded)
        else:
            found = self._find_pages(request, first_page, vector, clause, excluded)
        if request.unique:
            copies = count_copies(self._view, found.ids, clause, excluded)
            found = found._replace(copies=copies)
        examples = request.examples
        understood = self._texts.understood(examples, found.ids, self._vectors)
        found = found._replace(understood=understood)
        min_confidence = request.min_confidence
        text = only_text(examples)
        if text is not None and min_confidence is not None:
            return self._texts.cut(text, found, self._vectors, min_confidence)
        return self._with_confidences(
            examples,
            vector,
            found,
            resolve_ranking(request.ranking),
            min_confidence or 0,
        )

    def _find_best(
        self,
        request: SearchRequest,
        vector: VectorsF16,
        clause: str | None,
        excluded: Ids,
    ) -> Neighbors:
        """Return the k best rows, or the k best with different contents."""
        if request.unique:
            return self._find_unique(request, vector, clause, excluded)
        found, _ = self._rank_nearest(request, request.k, vector, clause, excluded)
        return found

    def _find_pages(
        self,
        request: SearchRequest,
        first_page: int,
        vector: VectorsF16,
        clause: str | None,
        excluded: Ids,
    ) -> Neighbors:
        """Return the first k rows of an answer whose first page an approximate search has found."""
        k = request.k
        no_distances = np.empty(0)
        found = Neighbors(NO_IDS, no_distances, recall=None)
        for count, exact in page_searches(k, first_page):
            part = replace(request, k=count, exact=exact)
            others = self._find_best(part, vector, clause, excluded)
            found = append_rows(self._view, found, others, unique=request.unique)
        ids = found.ids[:k]
        distances = found.distances[:k]
        return found._replace(ids=ids, distances=distances)

    def _with_confidences(
        self,
        examples: Sequence[WeightedQuery],
        vector: VectorsF16,
        found: Neighbors,
        ranking: Ranking,
        min_confidence: float = 0,
    ) -> Neighbors:
        """Return the matches of at least a confidence, with their confidences."""
        if min_confidence > 0:
            state = self._calibrations.require(examples)
        else:
            current = self._calibrations.current(examples)
            if current is None:
                return found
            state = current
        distances = found.distances
        if ranking is not PLAIN:
            # The calibration is of plain distances, whatever orders the matches.
            distances = self._plain_distances(vector, found.ids)
        return cut(found, distances, state, min_confidence)

    def _plain_distances(self, vector: VectorsF16, ids: Ids) -> Distances:
        """Return the distances of some rows to a vector, float64 ``[n]``."""
        rows = self.row_vectors(ids)
        differences = rows.astype(np.float64)
        differences -= vector
        distances: Distances = np.linalg.norm(differences, axis=1)
        return distances

    def _rank_nearest(
        self,
        request: SearchRequest,
        k: int,
        vector: VectorsF16,
        clause: str | None,
        excluded: Ids,
    ) -> tuple[Neighbors, bool]:
        """Return the k best rows, and whether there may be more."""
        ranking = resolve_ranking(request.ranking)
        count = ranking.candidate_count(k)
        found = [
            self.candidates.find(
                searched,
                count,
                clause=clause,
                excluded=excluded,
                exact=request.exact,
                ranking=ranking,
            )
            for searched in self._searched(request, vector)
        ]
        candidates = merge_candidates(found, count)
        max_distance = request.max_distance
        if max_distance is not None:
            candidates = candidates.within(max_distance)
        has_more = len(candidates.ids) == count
        ranked = ranking.rank(vector, candidates, k)
        return ranked, has_more

    def _searched(
        self, request: SearchRequest, vector: VectorsF16
    ) -> Sequence[VectorsF16]:
        """Return the vectors whose nearest rows are found: more than one for a text of kinds."""
        ranking = resolve_ranking(request.ranking)
        if ranking is not PLAIN:
            return [vector]
        kinds = self._texts.kinds(request.examples)
        if kinds is None:
            return [vector]
        return list(kinds)

    def _find_unique(
        self,
        request: SearchRequest,
        vector: VectorsF16,
        clause: str | None,
        excluded: Ids,
    ) -> Neighbors:
        """Return the k best rows with different contents, the best row of each."""
        k = request.k
        count = k
        while True:
            found, has_more = self._rank_nearest(
                request, count, vector, clause, excluded
            )
            ids = found.ids
            places = first_of_each_content(self._view, ids)
            is_enough = len(places) >= k
            if is_enough or not has_more:
                break
            # Copies took the other places.
            count *= _MORE_ROWS

        firsts = places[:k]
        ids = found.ids[firsts]
        distances = found.distances[firsts]
        return found._replace(ids=ids, distances=distances)

    def search_many(
        self,
        queries: Iterable[QueryInput],
        *,
        k: int = 10,
        ranking: str | Ranking = "plain",
    ) -> list[Matches]:
        """Return the k best matches of each query; one pass over all rows serves all queries."""
        check_k(k)
        ranking = resolve_ranking(ranking)
        examples = [WeightedQuery(query) for query in queries]
        encoded = [example.query.encode(self) for example in examples]
        if not encoded:
            return []
        compared = encoded
        space_vectors = self._vectors
        index = space_vectors.index()
        if ranking.changes_vectors:
            fitted = space_vectors.fitted(ranking)
            index = fitted.index
            compared = [fitted.encode(vector) for vector in encoded]
        count = ranking.candidate_count(k)
        with span("compare"):
            stacked = np.stack(compared)
            ids, distances = index.search_many(stacked, count)
            if ranking.keeps_nearest:
                ids, distances = self._keep_nearest(encoded, ids, distances)

        answers = []
        answered = zip(examples, encoded, ids, distances, strict=True)
        for example, vector, row_ids, row_distances in answered:
            examples_of_one = [example]
            if self._texts.kinds(examples_of_one) is not None:
                # A text that has several vectors is a search of its own.
                request = SearchRequest(
                    examples_of_one, k=k, exact=True, ranking=ranking
                )
                matches = self.search(request)
                answers.append(matches)
                continue
            candidates = Candidates(
                ids=row_ids,
                distances=row_distances,
                recall=None,
                read_vectors=self.row_vectors,
            )
            neighbors = ranking.rank(vector, candidates, k)
            understood = self._texts.understood(examples_of_one, row_ids, self._vectors)
            neighbors = neighbors._replace(understood=understood)
            found = self._with_confidences(examples_of_one, vector, neighbors, ranking)
            matches = self.read_matches(found)
            answers.append(matches)
        return answers

    def _keep_nearest(
        self, encoded: Sequence[VectorsF16], ids: Ids, distances: Distances
    ) -> tuple[Ids, Distances]:
        """Return the rows of each query, the one whose stored vector is nearest in front."""
        stored = self._vectors.index()
        stacked = np.stack(encoded)
        nearest, _ = stored.search_many(stacked, 1)
        kept_ids = []
        kept_distances = []
        answers = zip(ids, distances, nearest, strict=True)
        for row_ids, row_distances, first in answers:
            found = Neighbors(row_ids, row_distances, recall=None)
            kept = put_first(found, first)
            kept_ids.append(kept.ids)
            kept_distances.append(kept.distances)
        return np.stack(kept_ids), np.stack(kept_distances)

    def encode(
        self,
        positive: Sequence[WeightedQuery],
        negative: Sequence[WeightedQuery] = (),
        gamma: float = DEFAULT_GAMMA,
    ) -> VectorsF16:
        """Return the one vector that stands for some queries, float16 ``[dim]``.

        See `lookalike.retrieval.combination.combine_queries`.
        """
        return combine_queries(self, positive, negative, gamma)

    def distances(self, vector: VectorsF16) -> tuple[Ids, Distances]:
        """Return all row ids in ascending order and their distances to a vector, in float32."""
        index = self._vectors.index()
        ids = index.ids
        distances = index.distances(vector)
        return ids, distances

    def embed_image(self, image: Image.Image) -> VectorsF16:
        """Return the vector of an upright RGB image, float16 ``[dim]``.

        It is rounded as the collection's vectors are, so that the distance of an image to itself
        is 0.
        """
        model = self.model
        with span("decode query"):
            prepared = imaging.prepare(image, model)
        batch = prepared[np.newaxis]
        embedded = self.embed_prepared(batch)
        vector: VectorsF16 = embedded[0]
        return vector

    def embed_prepared(self, images: npt.NDArray[np.uint8]) -> VectorsF16:
        """Return the vectors of prepared images, float16 ``[n, dim]``.

        Raises
        ------
        ModelError, WeightsError
            If the Space's Model cannot be run.
        """
        embedder = self._embedder()
        with span("embed query"):
            embedded = embedder.embed(images)
        rounded: VectorsF16 = embedded.astype(np.float16)
        return rounded

    def _embedder(self) -> Embedder:
        """Return the embedder; rows and texts are searched without one."""
        with self._loading:
            if self._loaded is None:
                self._loaded = load_for_query(self.model)
            return self._loaded

    def row_vector(self, row_id: int) -> VectorsF16:
        """Return the vector that the collection holds for a row, float16 ``[dim]``.

        Raises
        ------
        InputError
            If the row does not exist or has no vector in the Space.
        """
        found = None
        # Lance's ids are 64-bit integers; anything else is the id of no row.
        is_whole = isinstance(row_id, int | np.integer)
        is_id = is_whole and 0 <= row_id < 2**63
        if is_id:
            row_ids = np.array([row_id], np.int64)
            space_vectors = self._vectors
            found = space_vectors.of(row_ids)
        if found is None:
            path = self._view.path
            space = self.space
            raise InputError(
                f"The collection {path} has no row {row_id!r} with a vector in {space}."
            )
        vector: VectorsF16 = found[0]
        return vector

    def read_text(self, text: str) -> ReadText:
        """Return a text as a vector, float32 ``[dim]``, and what was understood of it.

        Raises
        ------
        InputError
            If the Space reads no text, or the text was not understood.
        WeightsError
            If the files that read it are missing or refused.
        """
        return self._texts.read(text)

    def row_vectors(self, row_ids: Ids) -> VectorsF16:
        """Return the vectors of some rows, float16 ``[n, dim]``, in their order.

        Raises
        ------
        InputError
            If one of the rows does not exist or has no vector in the Space.
        """
        found = self._vectors.of(row_ids)
        if found is None:
            raise InputError(
                f"The collection {self._view.path} lacks one of {len(row_ids):,} rows, or its "
                f"vector in {self.space}."
            )
        return found

    def hashes(self, row_ids: Ids) -> list[bytes]:
        """Return the sha256 of the content of each of some rows."""
        return hashes_of(self._view, row_ids)

    def read_matches(self, found: Neighbors) -> Matches:
        """Return the matches of what `find` has found, with their uris and labels."""
        uris, labels = self._match_rows.read(found.ids)
        copies: list[int] | None = None
        if found.copies is not None:
            copies = found.copies.tolist()
        return Matches(
            ids=found.ids,
            uris=uris,
            labels=labels,
            distances=found.distances,
            space=self.space,
            exact=found.recall is None,
            recall=found.recall,
            copies=copies,
            confidences=found.confidences,
            answer=found.answer,
            understood=found.understood,
        )

    def _own_rows(self, queries: Sequence[WeightedQuery]) -> Ids:
        view = self._view
        own_rows = [NO_IDS]
        for weighted in queries:
            query = weighted.query
            row_ids = query.own_rows(view)
            own_rows.append(row_ids)
        concatenated = np.concatenate(own_rows)
        return np.unique(concatenated)
