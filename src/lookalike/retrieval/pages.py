"""Pages of one answer, so that each row is on one of them, also in an approximate search.

A search for more rows may find a row that a search for fewer has missed. So the rows of the first
page stay the first, and each later search only adds rows behind those that are there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lookalike.retrieval.contents import first_of_each_content
from lookalike.store.view import View
from lookalike.types import Ids, Neighbors, Places

__all__ = ["POOL_ROWS", "PageSearch", "append_rows", "page_searches"]

# The most rows that an index finds. A search for more compares all rows.
POOL_ROWS = 100

# The number of rows to search for, and whether all rows are compared.
PageSearch = tuple[int, bool]


def page_searches(k: int, first_page: int) -> Iterator[PageSearch]:
    """Yield the searches whose rows, one behind the other, are the first k of an answer.

    They depend on k only in how many of them there are, so that the rows of a page are the same
    whichever page is asked for.

    Parameters
    ----------
    k
        The number of rows.
    first_page
        The number of rows of the first page, which an approximate search has found.
    """
    yield first_page, False
    pool = max(first_page, POOL_ROWS)
    goes_on = k > first_page
    is_pool_longer = pool > first_page
    if goes_on and is_pool_longer:
        yield pool, False
    if k > pool:
        yield k, True


def append_rows(
    view: View, found: Neighbors, others: Neighbors, *, unique: bool
) -> Neighbors:
    """Return some rows, and behind them those of another search that are not among them.

    Parameters
    ----------
    view
        The collection.
    found, others
        The rows of the two searches.
    unique
        Whether rows with the same content count as one.
    """
    ids = np.concatenate([found.ids, others.ids])
    distances = np.concatenate([found.distances, others.distances])
    places = _first_places(view, ids, unique=unique)
    recall = _lower_recall(found.recall, others.recall)
    return Neighbors(ids[places], distances[places], recall)


def _first_places(view: View, ids: Ids, *, unique: bool) -> Places:
    """Return the places of the rows, or of the contents, that no earlier place holds."""
    if unique:
        return first_of_each_content(view, ids)
    _, first_places = np.unique(ids, return_index=True)
    places: Places = np.sort(first_places)
    return places


def _lower_recall(one: float | None, other: float | None) -> float | None:
    """Return the lower of two recalls; None stands for an exact search."""
    if one is None:
        return other
    if other is None:
        return one
    return min(one, other)
