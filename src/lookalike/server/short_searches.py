"""Searches that take less time than to pass them to another thread and back."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike.retrieval.search import Searcher
from lookalike.server.example_schemas import RowExample
from lookalike.server.schemas import QueryBody, SearchBody

__all__ = ["is_short_search"]

# Comparing this many numbers of 8 bits takes about 0.3 ms.
_MAX_NUMBERS = 1 << 23
_MAX_MATCHES = 100
_MAX_EXAMPLES = 4


def is_short_search(body: QueryBody, searchers: Sequence[Searcher]) -> bool:
    """Return whether the event loop may answer a query by itself.

    That is a search by a few whole rows, where all that it reads is in memory. Other requests wait
    for it no longer than for a thread of its own, with which they would share Python's lock.
    """
    if not isinstance(body, SearchBody) or not _is_simple(body):
        return False
    examples = [*body.positive, *body.negative]
    if len(examples) > _MAX_EXAMPLES:
        return False
    for example in examples:
        if not isinstance(example, RowExample) or example.region is not None:
            return False
    total = 0
    for searcher in searchers:
        numbers = searcher.numbers_to_compare()
        if numbers is None:
            return False
        total += numbers
    return total <= _MAX_NUMBERS


def _is_simple(body: SearchBody) -> bool:
    """Return whether a search has no option that may read the table or compare rows twice."""
    if body.where is not None or body.cursor is not None:
        return False
    if body.unique or body.ranking != "plain":
        return False
    return body.k <= _MAX_MATCHES
