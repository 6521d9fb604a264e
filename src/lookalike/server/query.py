"""From a question, as the interface takes it, to a vector in a Space and to an answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lookalike.retrieval.query import VectorQuery, WeightedQuery
from lookalike.retrieval.ranking import PLAIN
from lookalike.retrieval.search import Searcher
from lookalike.server.problems import Problem
from lookalike.server.registry import CollectionView
from lookalike.server.schemas import Example, Question, RowExample, Search, UploadExample
from lookalike.server.state import ServerState
from lookalike.server.uploads import EmbedRequest, Upload

__all__ = ["ResolvedQuery", "ask", "found", "no_row", "vector_of"]

T = TypeVar("T")

# Bytes: others do not wait for what may take long to decode.
_SMALL_FILE = 1 << 20


@dataclass(slots=True)
class ResolvedQuery:
    """A question as it was understood.

    Attributes
    ----------
    view, searcher
        Where it is asked.
    plus, minus
        What it names, pictures or rows, each with its weight.
    uploads
        The pictures that came with it, whether it names them or not.
    """

    view: CollectionView
    searcher: Searcher
    plus: list[tuple[Upload | int, float]]
    minus: list[tuple[Upload | int, float]]
    uploads: list[Upload]

    def own_rows(self) -> npt.NDArray[np.int64]:
        """Return the ids of the rows that it names, and of those with the content of a picture that it names."""
        named = [one for one, _ in (*self.plus, *self.minus)]
        same = [
            self.view.collection.ids_with_content(bytes.fromhex(one.sha256))
            for one in named
            if isinstance(one, Upload)
        ]
        rows = np.array([one for one in named if not isinstance(one, Upload)], np.int64)
        return np.unique(np.concatenate([rows, *same]))


async def ask(
    state: ServerState,
    question: Question,
    pictures: list[bytes],
    use: Callable[[ResolvedQuery], T],
    *,
    quick: bool = False,
    heavy: bool = False,
) -> T:
    """Take in a question and its pictures, and return what `use` makes of it, all in one thread.

    What a network has to see, and what is `heavy` itself, waits for its turn behind other pictures; no other does.
    What is `quick`, with one picture in a small file, may share a thread's turn with others of the kind.
    """
    view = state.registry.view(question.collection)
    searcher = view.searcher(question.space)

    def whole(uploads: list[Upload]) -> T:
        plus, minus = (
            [(_named(state, view, one, uploads), one.weight) for one in side]
            for side in (question.plus, question.minus)
        )
        return use(ResolvedQuery(view, searcher, plus, minus, uploads))

    if not question.plus:
        raise Problem(
            422, "Nothing to search by", "The question names no picture to be like: plus is empty."
        )
    named = [
        one.upload for one in (*question.plus, *question.minus) if isinstance(one, UploadExample)
    ]
    seen = not pictures and all(
        state.uploads.embedded(state.uploads.find(upload), searcher) for upload in named
    )
    if seen and not heavy:
        return await state.read.run(whole, [])
    embed_request = EmbedRequest(pictures, searcher, whole)
    small = len(pictures) == 1 and len(pictures[0]) <= _SMALL_FILE
    return await (
        state.embed_requests.run(embed_request)
        if quick and small
        else state.work.run(state.uploads.run_one, embed_request)
    )


def vector_of(state: ServerState, asked: ResolvedQuery) -> npt.NDArray[np.float16]:
    """Return the one vector, float16 ``[dim]``, that a question comes to."""

    def of(one: Upload | int) -> npt.NDArray[np.float16]:
        return (
            state.uploads.vector(one, asked.searcher)
            if isinstance(one, Upload)
            else asked.searcher.row_vector(one)
        )

    positive, negative = (
        [WeightedQuery(VectorQuery(of(one)), weight) for one, weight in side]
        for side in (asked.plus, asked.minus)
    )
    return asked.searcher.encode(positive, negative)


def found(state: ServerState, asked: ResolvedQuery, search: Search, began: float) -> dict[str, Any]:
    """Return the answer to a search; `began` is when it came, by `time.perf_counter`."""
    left_out = asked.own_rows() if search.not_self else np.empty(0, np.int64)
    where = None if search.where is None else asked.view.clause(search.where)
    vector = vector_of(state, asked)
    candidates = asked.searcher.candidates(
        vector, search.k, clause=where, excluded=left_out, exact=search.exact
    )
    near = PLAIN.rank(vector, candidates, search.k)
    facts = asked.view.row_cache.rows(near.ids)
    matches = [
        {"rank": rank, "distance": distance, **fact}
        for rank, (fact, distance) in enumerate(
            zip(facts, near.distances.tolist(), strict=True), start=1
        )
    ]
    return {
        "collection": asked.view.name,
        "space": asked.searcher.space,
        "metric": "euclidean",
        "exact": near.recall is None,
        "recall": near.recall,
        "uploads": [upload.sha256 for upload in asked.uploads],
        "seconds": round(time.perf_counter() - began, 6),
        "matches": matches,
    }


def _named(
    state: ServerState, view: CollectionView, example: Example, uploads: list[Upload]
) -> Upload | int:
    """Return the picture, or the id of the row, that an example names."""
    if isinstance(example, RowExample):
        if example.id not in view.row_cache:
            raise no_row(view, example.id)
        return example.id
    if isinstance(example, UploadExample):
        return state.uploads.find(example.upload)
    if example.image >= len(uploads):
        raise Problem(
            422,
            "No such picture",
            f"The question names image {example.image}, and {len(uploads)} came with it; they are counted from 0.",
        )
    return uploads[example.image]


def no_row(view: CollectionView, row: int) -> Problem:
    """Return the problem of a row that is not there."""
    return Problem(404, "No such row", f"The collection {view.name!r} has no row {row}.")
