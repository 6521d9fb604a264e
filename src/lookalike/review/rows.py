"""The rows of a review: their vectors, labels and uris, read from one version of a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lookalike.errors import InputError, SpaceError
from lookalike.review.results import ReviewImage
from lookalike.store.names import first_tags
from lookalike.store.schema import row_ids, tag_column, vector_clause
from lookalike.store.view import View
from lookalike.types import Ids, Places, VectorsF16, VectorsF32
from lookalike.vectors import to_float32, unit_length

__all__ = [
    "MIN_COMPARED_ROWS",
    "NO_LABEL",
    "LabelCodes",
    "ReviewedRows",
    "read_reviewed_rows",
    "unit_rows",
]

# Fewer rows show neither which of them are together nor which are apart.
MIN_COMPARED_ROWS = 10

NO_LABEL = -1


class LabelCodes(NamedTuple):
    """Labels as numbers.

    Attributes
    ----------
    names
        The labels, sorted.
    codes
        intp ``[n]``, the place of each row's label among the names; `NO_LABEL` without one.
    """

    names: list[str]
    codes: Places


@dataclass(frozen=True, eq=False)
class ReviewedRows:
    """The rows that are reviewed.

    Attributes
    ----------
    ids
        int64 ``[n]``, ascending.
    vectors
        float16 ``[n, dim]``.
    uris, labels
        The uri and the label of each row.
    tags
        The first tag of each row; None without tags.
    """

    ids: Ids
    vectors: VectorsF16
    uris: list[str]
    labels: list[str | None]
    tags: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def label_codes(self) -> LabelCodes:
        """The labels as numbers."""
        present = set(self.labels)
        present.discard(None)
        names = sorted(map(str, present))
        # None has no number of its own.
        code_of: dict[str | None, int] = {}
        for name in names:
            code_of[name] = len(code_of)
        codes = []
        for label in self.labels:
            code = code_of.get(label, NO_LABEL)
            codes.append(code)
        as_array = np.array(codes, np.intp)
        return LabelCodes(names, as_array)

    @property
    def names(self) -> list[str | None]:
        """What a row is named after: its label, or its first tag if no row has a label."""
        has_labels = len(self.label_codes.names) > 0
        if has_labels or self.tags is None:
            return self.labels
        return self.tags

    def image(self, place: int) -> ReviewImage:
        """Return the image at a place."""
        row_id = self.ids[place]
        return ReviewImage(
            id=int(row_id), uri=self.uris[place], label=self.labels[place]
        )

    def images(self, places: Places) -> tuple[ReviewImage, ...]:
        """Return the images at some places."""
        numbers = places.tolist()
        images = map(self.image, numbers)
        return tuple(images)


def read_reviewed_rows(view: View, space: str, where: str | None) -> ReviewedRows:
    """Return the rows that have a vector in a Space and match a filter.

    Raises
    ------
    InputError
        If the filter cannot be parsed, or matches none of these rows.
    SpaceError
        If the Space is empty.
    """
    has_vector = vector_clause(space)
    clause = None
    selected = has_vector
    if where is not None:
        clause = view.filter_clause(where)
        selected = f"{has_vector} AND ({clause})"
    ids, vectors = view.vectors(space, clause)
    count = len(ids)
    if not count:
        raise _no_rows(view, space, where)

    # The scan has an order of its own.
    uris = [""] * count
    labels: list[str | None] = [None] * count
    tags: list[str | None] = [None] * count
    columns = ["uri", "label"]
    tagged = tag_column(view.metadata)
    if tagged is not None:
        columns.append(tagged)
    for batch in view.scan(columns, selected):
        batch_ids = row_ids(batch)
        places = np.searchsorted(ids, batch_ids)
        batch_uris = batch["uri"]
        batch_labels = batch["label"]
        batch_tags: list[str | None] = [None] * len(batch)
        if tagged is not None:
            batch_tags = first_tags(batch[tagged])
        for place, uri, label, tag in zip(
            places,
            batch_uris.to_pylist(),
            batch_labels.to_pylist(),
            batch_tags,
            strict=True,
        ):
            uris[place] = uri
            labels[place] = label
            tags[place] = tag
    return ReviewedRows(ids, vectors, uris, labels, tags)


def _no_rows(view: View, space: str, where: str | None) -> InputError | SpaceError:
    path = view.path
    if where is None or not view.count(space):
        return SpaceError(
            f"The Space {space!r} of {path} is empty: there is nothing to review. "
            f"Fill it with: lookalike index FOLDER -c {path} --model {space}"
        )
    return InputError(
        f"The filter {where!r} matches no image with a vector in the Space {space!r}. "
        f"See the columns and labels with: lookalike info -c {path}"
    )


def unit_rows(rows: VectorsF16) -> VectorsF32:
    """Return stored rows as float32 of unit length."""
    as_float32 = to_float32(rows)
    return unit_length(as_float32)
