"""Contents: images with the same bytes, of which a search may return one each."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from lookalike.store.view import View
from lookalike.types import Ids, Neighbors

__all__ = ["first_of_each_content", "with_copies"]

Places = npt.NDArray[np.intp]

_NO_COPIES = np.empty(0, np.int64)


def first_of_each_content(view: View, ids: Ids) -> Places:
    """Return the places of the rows whose content no earlier row has, ascending."""
    contents = _contents_of(view, ids)
    seen: set[bytes] = set()
    places = []
    for place, content in enumerate(contents):
        if content not in seen:
            seen.add(content)
            places.append(place)
    return np.array(places, np.intp)


def with_copies(
    view: View, found: Neighbors, clause: str | None, excluded: Ids
) -> Neighbors:
    """Return rows with the number of images that share the content of each.

    Parameters
    ----------
    view, found
        The collection, and rows of it with different contents.
    clause
        Only images that fit this filter are counted; None counts all.
    excluded
        int64 ids of images that are not counted.
    """
    contents = _contents_of(view, found.ids)
    if not contents:
        return found._replace(copies=_NO_COPIES)
    rows = view.take_contents(contents, [], exclude=excluded, where=clause)
    column = rows["sha256"]
    counts = Counter(column.to_pylist())
    copies = [counts[content] for content in contents]
    numbers = np.array(copies, np.int64)
    return found._replace(copies=numbers)


def _contents_of(view: View, ids: Ids) -> list[bytes]:
    """Return the sha256 of the content of each row."""
    rows = view.take(ids, ["sha256"])
    column = rows["sha256"]
    contents: list[bytes] = column.to_pylist()
    return contents
