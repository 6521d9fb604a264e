"""Metadata: the columns of a user's own file, joined to the images of a collection.

The file is CSV or Parquet. Its column ``uri`` (or ``path``, ``file``, ``filename``) names a picture a row: an absolute
path or a uri, or a path from the folder that the file lies in. Every other column becomes one of the collection, of
text, whole numbers, numbers, true or false, or times. Filters name them; see `lookalike.store.filters`.

What a row of the file says of its picture replaces what was said before, an empty value included. Pictures and columns
that the file does not name keep what they have.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lookalike.errors import InputError
from lookalike.io.tables import (
    ARROW_TYPES,
    KIND_NAMES,
    parse_texts,
    parses_as,
    read_table,
    to_known_kind,
)
from lookalike.sources import resolve_uri
from lookalike.store.schema import BASE
from lookalike.store.table import Table
from lookalike.tracing import span
from lookalike.types import Kind

__all__ = ["Described", "Metadata", "describe"]

_KEYS = ("uri", "path", "file", "filename")
_NAME = re.compile(r"[^\W\d_][\w -]{0,63}")
_TAKEN = (*BASE.names, "mtime", "id")
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Described:
    """What a file of metadata did.

    Attributes
    ----------
    file
        The file.
    columns
        The columns that it gave values to.
    images, changed
        How many pictures of the collection it names, and how many of them got another value than they had.
    unmatched
        The uris that it names and the collection does not hold.
    """

    file: str
    columns: list[str]
    images: int
    changed: int
    unmatched: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data, with the first uris that match nothing."""
        return {
            "file": self.file,
            "columns": self.columns,
            "images": self.images,
            "changed": self.changed,
            "unmatched": len(self.unmatched),
            "first_unmatched": self.unmatched[:_SHOWN],
        }


def describe(collection: Table, file: str | os.PathLike[str]) -> Described:
    """Join the columns of a file to the images of a collection.

    Raises
    ------
    InputError
        If the file cannot be read, names no pictures or one twice, or has a column whose name is taken or whose type
        is not that of the collection's column. Then nothing is written.
    CollectionError
        If the collection cannot be read or written.
    """
    return Metadata.read(file).join(collection)


@dataclass(frozen=True, slots=True, eq=False)
class Metadata:
    """A file of metadata that was read and whose rows name each picture once.

    Attributes
    ----------
    file
        Where it lies.
    uris
        Of which picture each row tells.
    columns
        The other columns by name, each of one of the kinds that are kept, or text that may stand for any.
    written
        Whether it is a CSV, whose text stands for the values of any kind.
    where
        Returns the place of a row, for an error.
    """

    file: Path
    uris: list[str]
    columns: dict[str, pa.Array]
    written: bool
    where: Callable[[int], str]

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> Metadata:
        """Read a file; see `describe`."""
        path = Path(file).expanduser()
        table, where = read_table(path)
        names = [name.strip() for name in table.column_names]
        columns = dict(zip(names, map(_whole, table.columns), strict=True))
        if len(columns) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(
                f"{path} has the column {twice!r} more than once. Rename one, or take it out."
            )
        key = next((name for key in _KEYS for name in names if name.casefold() == key), None)
        if key is None:
            raise InputError(
                f"{path} has no column that names the pictures: it has {', '.join(names) or 'none'}, and one must be "
                f"called {', '.join(_KEYS[:-1])} or {_KEYS[-1]}. A CSV's columns are divided by commas."
            )
        if len(columns) == 1:
            raise InputError(
                f"{path} has no column besides {key!r}. Add those that shall be joined to the pictures."
            )
        uris = _uris(columns.pop(key), key, path, where)
        plain = {name: _plain(column, name, path) for name, column in columns.items()}
        return cls(path, uris, plain, path.suffix.lower() == ".csv", where)

    def fit(self, held: Mapping[str, Kind], spaces: Sequence[str]) -> dict[str, pa.Array]:
        """Return the columns as a collection keeps them; one without any value is left out, unless it is held.

        Parameters
        ----------
        held
            The kinds of the collection's columns of metadata.
        spaces
            The names of its Spaces.

        Raises
        ------
        InputError
            If a column's name is taken or none, or its values are not of the kind that is held.
        """
        fitted = {}
        for name, values in self.columns.items():
            self._check_name(name, held, spaces)
            kind = held.get(name)
            if values.null_count < len(values):
                fitted[name] = self._typed(name, values, kind)
            elif kind is not None:
                fitted[name] = pa.nulls(len(values), ARROW_TYPES[kind])
        return fitted

    def join(self, collection: Table) -> Described:
        """Write what the collection's images have not yet, in one commit; see `describe`."""
        with collection.write_lock():
            return self._join(collection)

    def _join(self, collection: Table) -> Described:
        fitted = self.fit(collection.metadata, list(collection.models))
        uris = pa.array(self.uris, pa.string())
        with span("join metadata"):
            there = _there(collection, [name for name in fitted if name in collection.metadata])
            place = pc.index_in(uris, value_set=there["uri"].combine_chunks())
            rows = pa.table({"uri": uris, **fitted}).filter(place.is_valid())
            changed = _changed(rows, there.take(place.drop_null()))
        if len(rows):
            collection.add_metadata({name: _kind(values) for name, values in fitted.items()})
        if len(changed):
            collection.update({name: changed[name] for name in changed.column_names})
        unmatched = uris.filter(place.is_null()).to_pylist()
        return Described(
            str(self.file), list(fitted) if len(rows) else [], len(rows), len(changed), unmatched
        )

    def _check_name(self, name: str, held: Mapping[str, Kind], spaces: Sequence[str]) -> None:
        start = f"{self.file} has a column {name!r}, but"
        if name.casefold() == "label":
            raise InputError(
                f"{start} labels are the names of the pictures' folders (--labels). Take the column out, or give it "
                "another name: a filter finds it under that one."
            )
        others = [*_TAKEN, *spaces, *(other for other in held if other != name)]
        taken = next((other for other in others if other.casefold() == name.casefold()), None)
        if taken is not None:
            raise InputError(
                f"{start} that is the name of the collection's own {taken!r}. Rename the column."
            )
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{start} that cannot be a column's name. Rename it: a letter, then at most 63 letters, digits, "
                "spaces, '-' or '_'."
            )

    def _typed(self, name: str, values: pa.Array, held: Kind | None) -> pa.Array:
        """Return values as those of the kind that the collection holds, or of the narrowest that they all are."""
        if self.written:
            wanted = held or _narrowest(values)
            wrong = parses_as(values, wanted).index(False).as_py()
            if wrong < 0:
                return parse_texts(values, wanted)
            found = f", {self.where(wrong)}: the column {name!r} holds {values[wrong].as_py()!r}"
        else:
            wanted, own = held or _kind(values), _kind(values)
            if own == wanted or (own, wanted) == ("int64", "float64"):
                return values.cast(ARROW_TYPES[wanted])
            found = f": the column {name!r} holds {KIND_NAMES[own]}"
        raise InputError(
            f"{self.file}{found}, but the collection keeps {KIND_NAMES[wanted]} there. Correct the file, or rename the "
            "column."
        )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, a dictionary's values in the place of their numbers."""
    whole = column.combine_chunks()
    return whole.cast(whole.type.value_type) if pa.types.is_dictionary(whole.type) else whole


def _uris(keys: pa.Array, key: str, path: Path, where: Callable[[int], str]) -> list[str]:
    """Return the uri that each row names, or tell which row names none or one that was there."""
    folder = path.absolute().parent
    rows: dict[str, int] = {}
    if not pa.types.is_string(keys.type) and not pa.types.is_large_string(keys.type):
        raise InputError(
            f"{path}: the column {key!r} is {keys.type}. Expected text: the paths of pictures."
        )
    for row, name in enumerate(keys.to_pylist()):
        if not name:
            raise InputError(
                f"{path}, {where(row)}: the column {key!r} is empty. Name a picture, or remove the row."
            )
        uri = resolve_uri(name, folder)
        if rows.setdefault(uri, row) != row:
            raise InputError(
                f"{path}, {where(row)}: the column {key!r} names {name!r}, which {where(rows[uri])} names too. "
                "Keep one of the two."
            )
    return list(rows)


def _plain(column: pa.Array, name: str, path: Path) -> pa.Array:
    """Return a column as one of the kinds that are kept; an empty text is no value."""
    try:
        plain = to_known_kind(column)
    except pa.ArrowException as error:
        raise InputError(
            f"{path}: the column {name!r} has a value that cannot be kept: {error}. Correct it."
        ) from error
    if plain is None:
        raise InputError(
            f"{path}: the column {name!r} is {column.type}. Expected text, numbers, true or false, or times; "
            "convert it, or take it out."
        )
    if plain.type == pa.string():
        blank = pc.equal(pc.utf8_trim_whitespace(plain), "")
        return pc.if_else(blank, pa.scalar(None, pa.string()), plain)
    return plain


def _narrowest(texts: pa.Array) -> Kind:
    return next(kind for kind in ARROW_TYPES if pc.all(parses_as(texts, kind)).as_py())


def _kind(values: pa.Array) -> Kind:
    return next(kind for kind, stored in ARROW_TYPES.items() if stored == values.type)


def _there(collection: Table, columns: list[str]) -> pa.Table:
    """Return the uris of a collection's images, and some columns of metadata."""
    fields = [
        pa.field("uri", pa.string()),
        *(pa.field(name, ARROW_TYPES[collection.metadata[name]]) for name in columns),
    ]
    batches = (batch.select(["uri", *columns]) for batch in collection.scan(["uri", *columns]))
    arrays = [pa.Table.from_batches([batch]).cast(pa.schema(fields)) for batch in batches]
    return pa.concat_tables([pa.schema(fields).empty_table(), *arrays])


def _changed(rows: pa.Table, before: pa.Table) -> pa.Table:
    """Return the rows of which a value is not what it was; a column that was not there was null."""
    changed = pa.array([False] * len(rows), pa.bool_())
    for name in rows.column_names:
        old = before[name] if name in before.column_names else pa.nulls(len(rows), rows[name].type)
        other = pc.fill_null(pc.not_equal(rows[name], old), False)
        changed = pc.or_(changed, pc.or_(other, pc.xor(rows[name].is_valid(), old.is_valid())))
    return rows.filter(changed)
