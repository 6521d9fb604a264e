"""The path of a query from a request to its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lookalike.imaging import as_region
from lookalike.retrieval.fusion import (
    FUSED_METRIC,
    FUSED_ROWS,
    find_in_spaces,
    fused_name,
)
from lookalike.retrieval.query import Encoder, Query, RowQuery, TextQuery, WeightedQuery
from lookalike.retrieval.request import SearchRequest
from lookalike.retrieval.search import Searcher
from lookalike.server.cursors import Cursor, digest_of
from lookalike.server.example_schemas import (
    ExampleBody,
    ImageExample,
    RowExample,
    TextExample,
    UploadExample,
)
from lookalike.server.problems import Problem
from lookalike.server.regions import RowRegionQuery, UploadRegionQuery
from lookalike.server.registry import CollectionView
from lookalike.server.replicas import catch_up_with_query
from lookalike.server.schemas import QueryBody, SearchBody
from lookalike.server.short_searches import is_short_search
from lookalike.server.state import ServerState
from lookalike.server.uploads import EmbedRequest, Upload, Uploads
from lookalike.store.view import View
from lookalike.types import Ids, Neighbors, VectorsF16

__all__ = [
    "ResolvedQuery",
    "UploadQuery",
    "embed_request",
    "images_used",
    "row_not_found",
    "run_query",
    "search_response",
    "sent_image",
]

QueryResult = TypeVar("QueryResult")
SentImage = TypeVar("SentImage", Upload, bytes)

# Fields without an influence on the order of the matches, and the examples: the digest has their
# identities.
_NOT_IN_DIGEST = {"k", "cursor", "positive", "negative"}
# Larger files do not share a batch, because other requests would wait while they are decoded.
_MAX_BATCHED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class UploadQuery:
    """A query by an uploaded image, whose vector is computed at most once."""

    upload: Upload
    uploads: Uploads

    def encode(self, encoder: Encoder) -> VectorsF16:
        """Return the vector of the image, float16 ``[dim]``."""
        uploads = self.uploads
        return uploads.vector(self.upload, encoder)

    def own_rows(self, view: View) -> Ids:
        """Return all rows with the image's content."""
        sha256 = self.upload.sha256
        content = bytes.fromhex(sha256)
        return view.ids_with_content(content)


@dataclass(slots=True)
class ResolvedQuery:
    """A query whose examples were looked up.

    Attributes
    ----------
    view, searchers
        The collection and the Spaces to search; the answers of several are fused.
    positive, negative
        The queries of each side.
    gamma
        The strength of the negative queries.
    uploads
        The images sent with the request, whether they are examples or not.
    """

    view: CollectionView
    searchers: list[Searcher]
    positive: list[WeightedQuery]
    negative: list[WeightedQuery]
    gamma: float
    uploads: list[Upload]

    @property
    def searcher(self) -> Searcher:
        """The searcher of the first Space."""
        return self.searchers[0]

    @property
    def is_fused(self) -> bool:
        """Whether several Spaces are searched."""
        return len(self.searchers) > 1

    @property
    def space(self) -> str:
        """The name of the Space, or of several as one."""
        names = [searcher.space for searcher in self.searchers]
        return fused_name(names)

    def find(self, request: SearchRequest) -> Neighbors:
        """Return the ids and distances of the matches of a request."""
        if self.is_fused:
            return find_in_spaces(self.searchers, request)
        return self.searcher.find(request)

    def vector(self) -> VectorsF16:
        """Return the one vector that stands for all examples, float16 ``[dim]``."""
        searcher = self.searcher
        return searcher.encode(self.positive, self.negative, self.gamma)

    @property
    def from_thumbnails(self) -> list[int]:
        """The ids of the rows whose region was cut from the thumbnail, after a search."""
        row_ids = []
        examples = [*self.positive, *self.negative]
        for weighted in examples:
            query = weighted.query
            if not isinstance(query, RowRegionQuery):
                continue
            if query.from_thumbnail:
                row_id = query.row["id"]
                row_ids.append(row_id)
        return row_ids


async def run_query(
    state: ServerState,
    body: QueryBody,
    images: list[bytes],
    use: Callable[[ResolvedQuery], QueryResult],
    *,
    batchable: bool = False,
    heavy: bool = False,
) -> QueryResult:
    """Resolve a query and return the result of `use`, all in one thread.

    Queries that need a Model run in the image pool, all others in the read pool.

    Parameters
    ----------
    state, body, images
        The server, the query, and the images sent with it.
    use
        Receives the resolved query.
    batchable
        Whether `use` is fast enough to share a thread's turn with other requests. This applies to
        queries with one small image.
    heavy
        Whether `use` is so slow that it belongs in the image pool in any case.

    Raises
    ------
    Problem
        404, 422 or 503, if an example does not exist, the query is empty, or the pool is full.
    """
    await catch_up_with_query(state, body)
    request = embed_request(state, body, images, use)
    is_light = not heavy and not images
    searchers = [request.searcher, *request.others]
    if is_light and _is_embedded(state, body, searchers):
        if is_short_search(body, searchers):
            answer: QueryResult = request.use([])
            return answer
        return await state.read_pool.run(request.use, [])
    result: QueryResult
    has_regions = any(
        _has_region(example) for example in (*body.positive, *body.negative)
    )
    # A region is decoded and embedded by the query itself.
    if batchable and not has_regions and _is_one_small_image(images):
        result = await state.embed_batcher.run(request)
    else:
        result = await state.image_pool.run(state.uploads.run_one, request)
    return result


def embed_request(
    state: ServerState,
    body: QueryBody,
    images: list[bytes],
    use: Callable[[ResolvedQuery], QueryResult],
) -> EmbedRequest:
    """Return the request that embeds the images of a query, resolves it and calls `use`.

    Raises
    ------
    Problem
        404, 422 or 503, if the collection or the Space does not exist, or the query is empty.
    """
    view = state.registry.view(body.collection)
    searchers = _searchers_of(view, body)

    def resolve_and_use(uploads: list[Upload]) -> QueryResult:
        query = ResolvedQuery(
            view=view,
            searchers=searchers,
            positive=_resolve(state, view, body.positive, uploads),
            negative=_resolve(state, view, body.negative, uploads),
            gamma=body.gamma,
            uploads=uploads,
        )
        return use(query)

    if not body.positive:
        detail = (
            "The query has no positive example: positive is empty. Add at least one."
        )
        raise Problem(422, "Empty query", detail)
    first, *others = searchers
    return EmbedRequest(images, first, resolve_and_use, others)


def _searchers_of(view: CollectionView, body: QueryBody) -> list[Searcher]:
    """Return the searchers of the Spaces of a query."""
    if not isinstance(body, SearchBody) or body.spaces is None:
        return [view.searcher(body.space)]
    if body.space is not None:
        detail = "The query has space and spaces. Give one of the two."
        raise Problem(422, "Two kinds of Spaces", detail)
    return [view.searcher(space) for space in body.spaces]


def images_used(
    body: SearchBody, images: list[bytes]
) -> tuple[SearchBody, list[bytes]]:
    """Return a search that refers to its own images alone, and these images.

    Raises
    ------
    Problem
        422, if it refers to an image that was not sent.
    """
    used: list[bytes] = []
    sides = {}
    for side in ("positive", "negative"):
        examples = []
        given = getattr(body, side)
        for example in given:
            renumbered = example
            if isinstance(example, ImageExample):
                image = sent_image(images, example.image)
                place = len(used)
                number = {"image": place}
                renumbered = example.model_copy(update=number)
                used.append(image)
            examples.append(renumbered)
        sides[side] = examples
    renumbered_body = body.model_copy(update=sides)
    return renumbered_body, used


def search_response(
    state: ServerState, query: ResolvedQuery, body: SearchBody, start: float
) -> dict[str, Any]:
    """Search, and return the fields of a `SearchResponse`.

    Parameters
    ----------
    state
        The server.
    query, body
        The query, and the request that it comes from.
    start
        The time at which the request arrived, by `time.perf_counter`.

    Raises
    ------
    Problem
        503, if the ranking is not ready.
    """
    view = query.view
    for searcher in query.searchers:
        state.fits.require(view, searcher, body.ranking)
    if body.where is not None:
        view.check_filter(body.where)
    version = view.table.version
    digest = _digest_of_query(query, body)
    offset = 0
    first_page = None
    is_exact = body.exact
    if body.cursor is not None:
        cursor = Cursor.from_text(body.cursor, version=version, query=digest)
        offset = cursor.offset
        # Every page is found in the way of the first, so that none overlaps another.
        first_page = cursor.first_page or None
        is_exact = body.exact or first_page is None
    end = offset + body.k
    last = len(view.row_cache)
    if query.is_fused:
        # More rows would change the ranks of those that other pages have.
        end = min(end, FUSED_ROWS)
        last = min(last, FUSED_ROWS)
    request = _search_request(query, body)
    request = replace(request, k=end, exact=is_exact, first_page=first_page)
    neighbors = query.find(request)
    matches = _match_infos(view, neighbors, offset)
    next_page: str | None = None
    is_full = len(matches) == body.k
    if is_full and end < last:
        is_first = body.cursor is None
        if is_first and neighbors.recall is not None:
            first_page = body.k
        cursor = Cursor(version, end, digest, first_page or 0)
        next_page = cursor.to_text()
    return {
        "collection": query.view.name,
        "space": query.space,
        "metric": FUSED_METRIC if query.is_fused else "euclidean",
        "exact": neighbors.recall is None,
        "recall": neighbors.recall,
        "uploads": [upload.sha256 for upload in query.uploads],
        "from_thumbnails": query.from_thumbnails,
        "seconds": round(time.perf_counter() - start, 6),
        "next": next_page,
        "answer": None if neighbors.answer is None else neighbors.answer.to_dict(),
        "understood": [one.to_dict() for one in neighbors.understood],
        "matches": matches,
    }


def _search_request(query: ResolvedQuery, body: SearchBody) -> SearchRequest:
    """Return the search of a body, for its first page."""
    return SearchRequest(
        query.positive,
        query.negative,
        k=body.k,
        gamma=query.gamma,
        where=body.where,
        max_distance=body.max_distance,
        min_confidence=body.min_confidence,
        exclude_self=body.exclude_self,
        unique=body.unique,
        exact=body.exact,
        ranking=body.ranking,
    )


def _digest_of_query(query: ResolvedQuery, body: SearchBody) -> str:
    """Return the digest of everything that decides the matches and their order."""
    # As JSON, because that is many times as fast as a dictionary.
    options = body.model_dump_json(exclude=_NOT_IN_DIGEST)
    positive = [_identity(weighted) for weighted in query.positive]
    negative = [_identity(weighted) for weighted in query.negative]
    searched = query.view.name, query.space
    return digest_of([options, *searched, positive, negative])


def _identity(weighted: WeightedQuery) -> tuple[Any, float]:
    """Return the row id, the text or the content of an example, with its region and its weight."""
    query = weighted.query
    weight = weighted.weight
    if isinstance(query, RowRegionQuery | UploadRegionQuery):
        return query.identity, weight
    if isinstance(query, UploadQuery):
        return query.upload.sha256, weight
    if isinstance(query, TextQuery):
        return query.text, weight
    assert isinstance(query, RowQuery)  # noqa: S101 (for the type checker)
    return query.id, weight


def _match_infos(
    view: CollectionView, neighbors: Neighbors, offset: int
) -> list[dict[str, Any]]:
    """Return the fields of a `MatchInfo` of each neighbor from an offset on."""
    rows = view.row_cache.rows(neighbors.ids[offset:])
    distances = neighbors.distances[offset:].tolist()
    copies = [None] * len(rows)
    if neighbors.copies is not None:
        copies = neighbors.copies[offset:].tolist()
    confidences = [None] * len(rows)
    if neighbors.confidences is not None:
        confidences = neighbors.confidences[offset:].tolist()
    matches: list[dict[str, Any]] = []
    columns = zip(rows, distances, copies, confidences, strict=True)
    for row, distance, count, confidence in columns:
        rank = offset + len(matches) + 1
        match = {"rank": rank, "distance": distance, "copies": count, **row}
        match["confidence"] = confidence
        matches.append(match)
    return matches


def row_not_found(view: CollectionView, row_id: int) -> Problem:
    """Return the problem of an unknown row id."""
    detail = f"The collection {view.name!r} has no row {row_id}."
    return Problem(404, "Row not found", detail)


def _is_one_small_image(images: list[bytes]) -> bool:
    if len(images) != 1:
        return False
    return len(images[0]) <= _MAX_BATCHED_BYTES


def _has_region(example: ExampleBody) -> bool:
    if isinstance(example, TextExample):
        return False
    return example.region is not None


def _is_embedded(
    state: ServerState, body: QueryBody, searchers: Sequence[Searcher]
) -> bool:
    """Return whether the vectors of all examples are in memory or in the collection."""
    uploads = state.uploads
    for example in (*body.positive, *body.negative):
        # Reading a text may load the weights that read it.
        if isinstance(example, TextExample) or _has_region(example):
            return False
        if not isinstance(example, UploadExample):
            continue
        upload = uploads.find(example.upload)
        for searcher in searchers:
            if not uploads.is_embedded(upload, searcher):
                return False
    return True


def _resolve(
    state: ServerState,
    view: CollectionView,
    examples: list[ExampleBody],
    uploads: list[Upload],
) -> list[WeightedQuery]:
    """Return the queries of one side."""
    queries = []
    for example in examples:
        query: Query
        if isinstance(example, TextExample):
            query = TextQuery(example.text)
        elif isinstance(example, RowExample):
            query = _row_query(state, view, example)
        elif isinstance(example, UploadExample):
            upload = state.uploads.find(example.upload)
            query = _upload_query(state, upload, example.region)
        else:
            upload = sent_image(uploads, example.image)
            query = _upload_query(state, upload, example.region)
        weighted = WeightedQuery(query, example.weight)
        queries.append(weighted)
    return queries


def _row_query(state: ServerState, view: CollectionView, example: RowExample) -> Query:
    row_id = example.id
    values = example.region
    rows = view.row_cache
    if row_id not in rows:
        raise row_not_found(view, row_id)
    if values is None:
        return RowQuery(row_id)
    row = rows.row(row_id)
    assert row is not None  # noqa: S101 (for the type checker)
    region = as_region(values)
    images = state.row_images
    vectors = state.region_vectors
    return RowRegionQuery(view, row, region, images, vectors)


def _upload_query(
    state: ServerState, upload: Upload, values: list[float] | None
) -> Query:
    uploads = state.uploads
    if values is None:
        return UploadQuery(upload, uploads)
    region = as_region(values)
    vectors = state.region_vectors
    return UploadRegionQuery(upload, region, uploads, vectors)


def sent_image(images: Sequence[SentImage], index: int) -> SentImage:
    """Return an image of the request by its number.

    Raises
    ------
    Problem
        422, if the request has fewer images.
    """
    if index < len(images):
        return images[index]
    raise Problem(
        422,
        "Image not found",
        f"The query refers to image {index}, but the form has {len(images)}; "
        "images are counted from 0.",
    )
