"""The thumbnails kept with the rows, read for many requests at once."""

from __future__ import annotations

from lookalike.server.problems import Problem
from lookalike.server.registry import CollectionView

__all__ = ["read"]


def read(asked: list[tuple[CollectionView, int]]) -> list[bytes | Exception]:
    """Return the JPEG kept with each of some rows, a problem with status 404 if there is none, or why it is not read.

    To read twenty rows takes twice as long as to read one, and a page asks for as many at a time.
    """
    found: dict[tuple[CollectionView, int], bytes | Exception] = {}
    for view in {view for view, _ in asked}:
        ids = sorted({row for of, row in asked if of is view})
        try:
            kept = view.collection.take(ids, ["thumbnail"])["thumbnail"].to_pylist()
        except Exception as error:  # noqa: BLE001 (that of one collection, which others are not to hear of)
            kept = [error] * len(ids)
        found |= {(view, row): data for row, data in zip(ids, kept, strict=True)}
    return [
        found[one] or Problem(404, "No thumbnail", f"The row {one[1]} has no thumbnail.")
        for one in asked
    ]
