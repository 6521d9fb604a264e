"""The name of a row in a legend: its label, or its first tag where no row has a label."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from lookalike.store.schema import tag_column
from lookalike.store.view import View
from lookalike.types import Ids

__all__ = ["first_tags", "labels_or_tags", "take_names"]


def take_names(view: View, ids: Sequence[int] | Ids) -> list[str | None]:
    """Return the labels of rows in the order of their ids, or the first tags.

    Raises
    ------
    CollectionError
        If an id is not in the collection.
    """
    column = tag_column(view.metadata)
    names = ["label"]
    if column is not None:
        names.append(column)
    rows = view.take(ids, names)
    labels = rows["label"]
    lists = None
    if column is not None:
        lists = rows[column]
    return labels_or_tags(labels, lists)


def labels_or_tags(
    labels: pa.Array | pa.ChunkedArray, lists: pa.Array | pa.ChunkedArray | None
) -> list[str | None]:
    """Return the labels, or the first tag of each list if there is no label."""
    count = len(labels)
    has_labels = labels.null_count < count
    if has_labels or lists is None:
        values: list[str | None] = labels.to_pylist()
        return values
    return first_tags(lists)


def first_tags(lists: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """Return the first tag of each list; None for an empty or a missing one."""
    values = []
    for tags in lists.to_pylist():
        value = tags[0] if tags else None
        values.append(value)
    return values
