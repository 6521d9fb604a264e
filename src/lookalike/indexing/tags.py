"""Tags: a column with the words that a network has for each image, from vectors that are there.

The column is made by the first run. From then on each run of `index` fills it for new images. A
change of an image empties it, because tags come from the content.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from lookalike.errors import InputError
from lookalike.indexing.metadata import find_name_problem
from lookalike.maintenance import optimize
from lookalike.models.text.tags import Tagger, has_tags
from lookalike.store.schema import (
    column_vectors,
    id_clause,
    quote_name,
    row_ids,
    tag_column,
    vector_clause,
)
from lookalike.store.table import Table
from lookalike.types import Ids, Kind, Model
from lookalike.vectors import to_float32, unit_length

__all__ = [
    "TagRemoval",
    "TagReport",
    "check_taggable",
    "check_tagged",
    "remove_tags",
    "tag_images",
    "tag_new_images",
]

_DEFAULT_COLUMN = "tags"
# The rows of one commit: their vectors take some tens of MiB.
_ROWS_OF_COMMIT = 10_000
_WORDS_LISTED = 10


@dataclass(slots=True)
class TagReport:
    """The outcome of tagging.

    Attributes
    ----------
    column, space
        The column of the tags, and the Space whose vectors they come from.
    images, tagged, changed
        The number of images that were looked at, of those that have a tag, and of those whose tags
        are others than before.
    words
        How many images have each tag.
    seconds
        The duration.
    """

    column: str
    space: str
    images: int = 0
    tagged: int = 0
    changed: int = 0
    words: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: TagReport) -> None:
        """Add the counts of other images."""
        images = other.images
        tagged = other.tagged
        changed = other.changed
        words = other.words
        self.images += images
        self.tagged += tagged
        self.changed += changed
        self.words += words

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data, with the most frequent tags."""
        most_frequent = self.words.most_common(_WORDS_LISTED)
        return {
            "column": self.column,
            "space": self.space,
            "images": self.images,
            "tagged": self.tagged,
            "changed": self.changed,
            "words": dict(most_frequent),
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class TagRemoval:
    """The outcome of removing the tags.

    Attributes
    ----------
    column
        The column that is removed.
    images
        The number of images that had a tag.
    """

    column: str
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain data."""
        return asdict(self)


def tag_images(
    table: Table,
    *,
    column: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> TagReport:
    """Tag all images from their vectors, without reading an image.

    Parameters
    ----------
    table
        The collection's table.
    column
        The column to fill; None is the one that the collection has for its tags, or else ``tags``.
    progress
        Called with the number of images done since the last call.

    Raises
    ------
    InputError
        If no Space can be tagged, the column holds other metadata, or the tags are in another
        column.
    WeightsError, CollectionError
        If the classifier cannot be read, or the table cannot be read or written.
    """
    kinds = table.metadata
    models = table.models
    name = check_taggable(kinds, models, column=column)
    report = _tag(table, name, only_new=False, progress=progress)
    optimize.maintain(table)
    return report


def tag_new_images(table: Table, *, make: bool = False) -> TagReport | None:
    """Tag the images without tags, if the collection has a column of tags.

    With `make`, the column is made if there is none.
    """
    kinds = table.metadata
    models = table.models
    existing = tag_column(kinds)
    if existing is None and not make:
        return None
    column = check_taggable(kinds, models)
    return _tag(table, column, only_new=True)


def remove_tags(table: Table) -> TagRemoval:
    """Remove the column of tags; `index` then tags no more images.

    Columns of other metadata stay, whatever their names. A row that is in the trash gets its tags
    back only if it is restored after the images have been tagged again.

    Raises
    ------
    InputError
        If the collection has no tags.
    CollectionError
        If the table cannot be read or written.
    """
    step = partial(_remove_column, table)
    return table.transaction(step)


def _remove_column(table: Table) -> TagRemoval:
    column = check_tagged(table.metadata)
    quoted = quote_name(column)
    tagged = _select_ids(table, f"array_length({quoted}) > 0")
    table.remove_tag_column()
    return TagRemoval(column, images=len(tagged))


def check_tagged(kinds: Mapping[str, Kind]) -> str:
    """Return the name of the column of tags among metadata columns.

    Raises
    ------
    InputError
        If there is none.
    """
    column = tag_column(kinds)
    if column is not None:
        return column
    message = "The collection has no tags, so none can be removed."
    if _DEFAULT_COLUMN in kinds:
        message += f" The column {_DEFAULT_COLUMN!r} holds metadata that you gave."
    raise InputError(message)


def check_taggable(
    kinds: Mapping[str, Kind],
    models: Mapping[str, Model],
    *,
    column: str | None = None,
    new_columns: Iterable[str] = (),
) -> str:
    """Return the name of the column that tags go to.

    Parameters
    ----------
    kinds, models
        The kinds of the metadata columns, and the Model of each Space.
    column
        The column that is asked for; None for the existing one, or else ``tags``.
    new_columns
        Metadata columns that are about to be added.

    Raises
    ------
    InputError
        As for `tag_images`.
    """
    _find_space(models)
    existing = tag_column(kinds)
    name = column or existing or _DEFAULT_COLUMN
    if existing == name:
        return name
    if existing is not None:
        raise InputError(
            f"The tags cannot go to the column {name!r}: the collection has them in "
            f"{existing!r}. Leave out --column."
        )
    taken = {*kinds, *new_columns}
    if name in taken:
        raise InputError(
            f"The column {name!r} holds metadata that you gave, which tags never overwrite. "
            "Give the tags another column: lookalike tag --column auto"
        )
    problem = find_name_problem(name, [*models, *taken])
    if problem is not None:
        raise InputError(
            f"The tags cannot go to the column {name!r}: {problem} Give another --column."
        )
    return name


def _find_space(models: Mapping[str, Model]) -> str:
    """Return the first Space that can be tagged."""
    for space, model in models.items():
        if has_tags(model):
            return space
    names = ", ".join(models)
    raise InputError(
        f"No image can be tagged: the networks of the Spaces ({names}) have no classifier. "
        "Add a Space with: lookalike index FOLDER --model efficientnet-lite0-int8"
    )


def _tag(
    table: Table,
    column: str,
    *,
    only_new: bool,
    progress: Callable[[int], None] | None = None,
) -> TagReport:
    start = time.perf_counter()
    models = table.models
    space = _find_space(models)
    kinds: dict[str, Kind] = {column: "tags"}
    table.add_metadata(kinds)
    report = TagReport(column, space)

    clause = vector_clause(space)
    if only_new:
        quoted = quote_name(column)
        clause = f"{clause} AND {quoted} IS NULL"
    ids = _select_ids(table, clause)
    if len(ids):
        model = models[space]
        tagger = Tagger.load(model)
        parts = _split_by_commit(ids)
        for part in parts:
            step = partial(_tag_rows, table, tagger, space, column, part)
            part_report = table.transaction(step)
            report.add(part_report)
            if progress is not None:
                count = len(part)
                progress(count)
    end = time.perf_counter()
    report.seconds = end - start
    return report


def _select_ids(table: Table, clause: str) -> Ids:
    """Return the ids of the images that match a clause, ascending."""
    none = np.empty(0, np.int64)
    found = [none]
    columns = ["uri"]
    batches = table.scan(columns, clause)
    for batch in batches:
        batch_ids = row_ids(batch)
        found.append(batch_ids)
    ids = np.concatenate(found)
    ids.sort()
    return ids


def _split_by_commit(ids: Ids) -> Iterator[Ids]:
    count = len(ids)
    for start in range(0, count, _ROWS_OF_COMMIT):
        end = start + _ROWS_OF_COMMIT
        yield ids[start:end]


def _tag_rows(
    table: Table, tagger: Tagger, space: str, column: str, ids: Ids
) -> TagReport:
    """Tag rows in one commit; those that are no longer there are left out."""
    report = TagReport(column, space)
    if tag_column(table.metadata) != column:
        # Another process has removed the tags meanwhile.
        return report
    has_vector = vector_clause(space)
    numbers = ids.tolist()
    is_named = id_clause(numbers)
    clause = f"{has_vector} AND {is_named}"
    columns = ["uri", space, column]

    uris: list[str] = []
    tags: list[list[str]] = []
    for batch in table.scan(columns, clause):
        batch_uris = batch["uri"]
        stored = batch[column]
        vectors = batch[space]
        for uri, old, new in zip(
            batch_uris.to_pylist(),
            stored.to_pylist(),
            _tags_of(vectors, tagger),
            strict=True,
        ):
            report.images += 1
            if new:
                report.tagged += 1
                words = report.words
                words.update(new)
            if old != new:
                uris.append(uri)
                tags.append(new)
    report.changed = len(uris)
    if uris:
        changed = {"uri": uris, column: tags}
        table.update(changed)
    return report


def _tags_of(vectors: pa.Array, tagger: Tagger) -> list[list[str]]:
    stored = column_vectors(vectors)
    as_float32 = to_float32(stored)
    unit_vectors = unit_length(as_float32)
    return tagger.tag(unit_vectors)
