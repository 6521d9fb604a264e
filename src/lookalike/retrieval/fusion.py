"""Answers from several Spaces as one, by reciprocal rank fusion.

A row scores ``1 / (60 + rank)`` in each Space, and the sums order the rows. Distances in different
Spaces have different units; ranks have none. See Cormack, Clarke, Büttcher: Reciprocal Rank Fusion
outperforms Condorcet and individual Rank Learning Methods, SIGIR 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lookalike.errors import InputError
from lookalike.retrieval.request import SearchRequest
from lookalike.types import Distances, Ids, Matches, Neighbors, Places, Understood

if TYPE_CHECKING:
    from lookalike.retrieval.search import Searcher

__all__ = [
    "FUSED_METRIC",
    "FUSED_ROWS",
    "find_in_spaces",
    "fuse_orders",
    "fused_name",
    "search_spaces",
]

FUSED_METRIC = "rank fusion"
# The rows of each Space that count; a later rank would add less than a thousandth.
FUSED_ROWS = 1000

# The published constant: it keeps a first place in one Space from outweighing all others.
_OFFSET = 60


def fused_name(spaces: Sequence[str]) -> str:
    """Return the name of several Spaces as one: ``a + b``."""
    return " + ".join(spaces)


def search_spaces(searchers: Sequence[Searcher], request: SearchRequest) -> Matches:
    """Return the matches of a request in one Space, or the fused ones of several.

    Raises
    ------
    InputError
        If no Space is named, one is named twice, or several are named and the request has limits
        in the units of one Space.
    """
    if len(searchers) == 1:
        (searcher,) = searchers
        return searcher.search(request)
    found = find_in_spaces(searchers, request)
    first = searchers[0]
    matches = first.read_matches(found)
    spaces = [searcher.space for searcher in searchers]
    return replace(matches, space=fused_name(spaces), metric=FUSED_METRIC)


def find_in_spaces(searchers: Sequence[Searcher], request: SearchRequest) -> Neighbors:
    """Return the fused ids and distances of a request in several Spaces, without uris and labels.

    Returns
    -------
    neighbors
        Its distances are 0 for a row that is the first in every Space, and less than 1.

    Raises
    ------
    InputError
        As `search_spaces`.
    """
    spaces = {searcher.space for searcher in searchers}
    if not spaces or len(spaces) < len(searchers):
        named = ", ".join(searcher.space for searcher in searchers) or "none"
        raise InputError(
            f"The Spaces are {named}. Name one, or several different ones."
        )
    pool = _pool_request(request)
    answers = [searcher.find(pool) for searcher in searchers]
    if request.unique:
        answers = _with_shared_rows(searchers[0], answers)
    return _fuse(answers, request.k)


def _with_shared_rows(
    searcher: Searcher, answers: Sequence[Neighbors]
) -> list[Neighbors]:
    """Return answers in which each content has one id: a Space may hold another copy of it."""
    shared_ids: dict[bytes, int] = {}
    shared = []
    for answer in answers:
        contents = searcher.hashes(answer.ids)
        row_ids = answer.ids.tolist()
        for content, row_id in zip(contents, row_ids, strict=True):
            # The row of the first answer that has a content stands for it.
            shared_ids.setdefault(content, row_id)
        ids = [shared_ids[content] for content in contents]
        with_shared = answer._replace(ids=np.array(ids, np.int64))
        shared.append(with_shared)
    return shared


def _pool_request(request: SearchRequest) -> SearchRequest:
    """Return the request that is made in each Space for a fused one."""
    limits = {
        "A largest distance": request.max_distance,
        "A smallest confidence": request.min_confidence,
    }
    for name, value in limits.items():
        if value is not None:
            raise InputError(
                f"{name} was given with several Spaces, whose distances have different units. "
                "Search in one Space, or leave it out."
            )
    count = max(request.k, FUSED_ROWS)
    return replace(request, k=count)


def _fuse(answers: Sequence[Neighbors], k: int) -> Neighbors:
    """Return the k best rows of several answers to one query."""
    id_columns = [answer.ids for answer in answers]
    all_ids = np.concatenate(id_columns)
    ids, first_places = np.unique(all_ids, return_index=True)
    scores = np.zeros(len(ids))
    for answer in answers:
        places = np.searchsorted(ids, answer.ids)
        scores[places] += _gains(len(places))
    order = _by_falling_score(scores)
    best = order[:k]

    highest = len(answers) * _gains(1)[0]
    return Neighbors(
        ids=ids[best],
        distances=1 - scores[best] / highest,
        recall=_lowest_recall(answers),
        # They come from the answer that names a row first.
        copies=_copies_of(answers, first_places[best]),
        understood=_understood_in_any(answers),
    )


def fuse_orders(orders: Sequence[Places]) -> Places:
    """Return one order of some rows from several of them, intp ``[n]`` each.

    Every rank counts here. A search counts the first thousand of each Space.
    """
    count = len(orders[0])
    scores = np.zeros(count)
    gains = _gains(count)
    for order in orders:
        scores[order] += gains
    return _by_falling_score(scores)


def _gains(count: int) -> Distances:
    """Return what each rank adds to a row's score, float64 ``[count]``."""
    ranks = np.arange(1, count + 1)
    gains: Distances = 1 / (_OFFSET + ranks)
    return gains


def _by_falling_score(scores: Distances) -> Places:
    """Return the places of scores, the highest first; equal scores keep their order."""
    order: Places = np.argsort(-scores, kind="stable")
    return order


def _lowest_recall(answers: Sequence[Neighbors]) -> float | None:
    """Return the lowest recall of approximate answers; None if all are exact."""
    recalls = []
    for answer in answers:
        if answer.recall is not None:
            recalls.append(answer.recall)
    return min(recalls, default=None)


def _understood_in_any(answers: Sequence[Neighbors]) -> tuple[Understood, ...]:
    """Return what each text was understood as in any Space, and what one of them did not know."""
    by_text = [answer.understood for answer in answers]
    merged = []
    for of_one_text in zip(*by_text, strict=True):
        words: dict[str, None] = {}
        unknown: dict[str, None] = {}
        for understood in of_one_text:
            words.update(dict.fromkeys(understood.words))
            unknown.update(dict.fromkeys(understood.unknown))
        text = of_one_text[0].text
        one = Understood(text, tuple(words), tuple(unknown))
        merged.append(one)
    return tuple(merged)


def _copies_of(answers: Sequence[Neighbors], places: Places) -> Ids | None:
    """Return the copies at places of all answers, one behind the other; None if not counted."""
    counts = []
    for answer in answers:
        if answer.copies is None:
            return None
        counts.append(answer.copies)
    of_all = np.concatenate(counts)
    return of_all[places]
