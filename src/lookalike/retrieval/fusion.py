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
from lookalike.types import Distances, Matches, Places, Understood

if TYPE_CHECKING:
    from lookalike.retrieval.search import Searcher

__all__ = ["fuse_matches", "fuse_orders", "fused_name", "search_spaces"]

_METRIC = "rank fusion"

# The published constant: it keeps a first place in one Space from outweighing all others.
_OFFSET = 60

# The rows of each Space that count; a later rank would add less than a thousandth.
_POOL_ROWS = 1000


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
    spaces = {searcher.space for searcher in searchers}
    if not spaces or len(spaces) < len(searchers):
        named = ", ".join(searcher.space for searcher in searchers) or "none"
        raise InputError(
            f"The Spaces are {named}. Name one, or several different ones."
        )
    pool = _pool_request(request)
    answers = [searcher.search(pool) for searcher in searchers]
    if request.unique:
        answers = _with_shared_rows(searchers[0], answers)
    return fuse_matches(answers, request.k)


def _with_shared_rows(searcher: Searcher, answers: Sequence[Matches]) -> list[Matches]:
    """Return answers in which each content has one id: a Space may hold another copy of it."""
    shared_ids: dict[bytes, int] = {}
    shared = []
    for answer in answers:
        contents = searcher.hashes(answer.ids)
        row_ids = answer.ids.tolist()
        for content, row_id in zip(contents, row_ids, strict=True):
            # The first answer that has a content also gives its uri.
            shared_ids.setdefault(content, row_id)
        ids = [shared_ids[content] for content in contents]
        with_shared = replace(answer, ids=np.array(ids, np.int64))
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
    count = max(request.k, _POOL_ROWS)
    return replace(request, k=count)


def fuse_matches(answers: Sequence[Matches], k: int) -> Matches:
    """Return the k best rows of several answers to one query.

    Parameters
    ----------
    answers
        The matches in each Space, as many rows of each as count.
    k
        The number of matches.

    Returns
    -------
    matches
        Its distances are 0 for a row that is the first in every Space, and less than 1.
    """
    id_columns = [answer.ids for answer in answers]
    all_ids = np.concatenate(id_columns)
    ids, first_places = np.unique(all_ids, return_index=True)
    scores = np.zeros(len(ids))
    for answer in answers:
        places = np.searchsorted(ids, answer.ids)
        scores[places] += _gains(len(places))
    order = _by_falling_score(scores)
    best = order[:k]

    # Uris and copies come from the answer that names a row first.
    uris = [uri for answer in answers for uri in answer.uris]
    labels = [label for answer in answers for label in answer.labels]
    rows = first_places[best].tolist()
    spaces = [answer.space for answer in answers]
    highest = len(answers) * _gains(1)[0]
    return Matches(
        ids=ids[best],
        uris=[uris[row] for row in rows],
        labels=[labels[row] for row in rows],
        distances=1 - scores[best] / highest,
        space=fused_name(spaces),
        metric=_METRIC,
        exact=all(answer.exact for answer in answers),
        recall=_lowest_recall(answers),
        copies=_copies_of(answers, rows),
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


def _lowest_recall(answers: Sequence[Matches]) -> float | None:
    """Return the lowest recall of approximate answers; None if all are exact."""
    recalls = []
    for answer in answers:
        if answer.recall is not None:
            recalls.append(answer.recall)
    return min(recalls, default=None)


def _understood_in_any(answers: Sequence[Matches]) -> tuple[Understood, ...]:
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


def _copies_of(answers: Sequence[Matches], rows: Sequence[int]) -> list[int] | None:
    """Return the copies of some rows of all answers, one behind the other; None if not counted."""
    counts: list[int] = []
    for answer in answers:
        if answer.copies is None:
            return None
        counts += answer.copies
    return [counts[row] for row in rows]
