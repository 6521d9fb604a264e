"""Contents: images with the same bytes, of which a search may return one each."""

from __future__ import annotations

from collections import Counter

import numpy as np

from lookalike.store.view import View
from lookalike.types import Ids, Places

__all__ = ["count_copies", "first_of_each_content", "hashes_of"]


def hashes_of(view: View, ids: Ids) -> list[bytes]:
    """Return the sha256 of the content of each row."""
    rows = view.take(ids, ["sha256"])
    column = rows["sha256"]
    contents: list[bytes] = column.to_pylist()
    return contents


def first_of_each_content(view: View, ids: Ids) -> Places:
    """Return the places of the rows whose content no earlier row has, ascending."""
    contents = hashes_of(view, ids)
    seen: set[bytes] = set()
    places = []
    for place, content in enumerate(contents):
        if content not in seen:
            seen.add(content)
            places.append(place)
    return np.array(places, np.intp)


def count_copies(view: View, ids: Ids, clause: str | None, excluded: Ids) -> Ids:
    """Return the number of images that share the content of each row, the row included.

    Parameters
    ----------
    view, ids
        The collection, and int64 ``[k]`` ids of rows with different contents.
    clause
        Only images that fit this filter are counted; None counts all.
    excluded
        int64 ids of images that are not counted.

    Returns
    -------
    copies
        int64 ``[k]``.
    """
    contents = hashes_of(view, ids)
    if not contents:
        return np.empty(0, np.int64)
    rows = view.take_contents(contents, [], exclude=excluded, where=clause)
    column = rows["sha256"]
    found = column.to_pylist()
    counts = Counter(found)
    copies = [counts[content] for content in contents]
    return np.array(copies, np.int64)
