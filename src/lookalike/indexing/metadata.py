"""Metadata: the columns of a user's file, joined to the images of a table.

The file is CSV or Parquet. Its column ``uri`` (or ``path``, ``image_path``, ``file``, ``filename``,
``file_name``) names one image per row: by a uri, an absolute path, or a path relative to the folder
of the file. Every other column becomes a column of the table with text, whole numbers, numbers,
true or false, or times, which filters can use; see `lookalike.store.filters`. The numbered index
that pandas writes is passed over.

A row of the file replaces all earlier values of its image, also by an empty value. Images and
columns that the file does not name keep their values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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

__all__ = ["MetadataFile", "MetadataReport", "find_name_problem", "join_metadata"]

_KEY_NAMES = ("uri", "path", "image_path", "file", "filename", "file_name")
# The names that pandas gives to the index of a frame: in a CSV, in a CSV that was read and written
# again, and in Parquet.
_PANDAS_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
_COLUMN_NAME = re.compile(r"[^\W\d_][\w -]{0,63}")
_RESERVED_NAMES = (*BASE.names, "mtime", "id")
_MAX_UNMATCHED_SHOWN = 20

# Returns the position of a row in the file, for an error: "line 3" or "row 2".
_RowName = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class MetadataReport:
    """The outcome of joining a metadata file.

    Attributes
    ----------
    file
        The path of the file.
    columns
        The columns of the table that it set.
    images, changed
        The number of the table's images that it names, and of those with another value than before.
    unmatched
        The uris that it names and the table does not have.
    """

    file: str
    columns: list[str]
    images: int
    changed: int
    unmatched: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data, with the first unmatched uris."""
        return {
            "file": self.file,
            "columns": self.columns,
            "images": self.images,
            "changed": self.changed,
            "unmatched": len(self.unmatched),
            "first_unmatched": self.unmatched[:_MAX_UNMATCHED_SHOWN],
        }


def join_metadata(table: Table, file: str | os.PathLike[str]) -> MetadataReport:
    """Join the columns of a file to the images of a table.

    Raises
    ------
    InputError
        If the file cannot be read, names no images or one twice, or has a column with a reserved
        name or with another type than the table's column. Nothing is written then.
    CollectionError
        If the table cannot be read or written.
    """
    metadata = MetadataFile.read(file)
    return metadata.join(table)


@dataclass(frozen=True, slots=True, eq=False)
class MetadataFile:
    """A metadata file in memory. Its rows name each image once.

    Attributes
    ----------
    path
        The path of the file.
    uris
        The image of each row.
    columns
        The other columns by name: each of a kind that a table can store, or text to parse.
    is_text
        Whether the file is a CSV, whose text may be parsed as any kind.
    row_name
        Returns the position of a row in the file, for an error.
    """

    path: Path
    uris: list[str]
    columns: dict[str, pa.Array]
    is_text: bool
    row_name: _RowName

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> MetadataFile:
        """Read a file; see `join_metadata` for the errors."""
        path = Path(file).expanduser()
        data, row_name = read_table(path)
        names = [name.strip() for name in data.column_names]
        for position in reversed(range(len(names))):
            column = data.column(position)
            if _is_pandas_index(names[position], column):
                data = data.remove_column(position)
                del names[position]
        _check_unique(names, path)
        key = _key_column(names, path)
        if len(names) == 1:
            raise InputError(
                f"{path} has no column besides {key!r}. Add the columns to join to the images."
            )

        arrays = {}
        for name, chunks in zip(names, data.columns, strict=True):
            arrays[name] = _single_array(chunks)
        keys = arrays.pop(key)
        uris = _read_uris(keys, key, path, row_name)
        columns = {}
        for name, array in arrays.items():
            columns[name] = _storable(array, name, path)
        extension = path.suffix.lower()
        is_text = extension == ".csv"
        return cls(path, uris, columns, is_text, row_name)

    def fit(
        self, kinds: Mapping[str, Kind], spaces: Sequence[str]
    ) -> dict[str, pa.Array]:
        """Return the columns with the types that a table stores.

        A column without any value is left out unless the table has it.

        Parameters
        ----------
        kinds
            The kinds of the table's metadata columns.
        spaces
            The names of its Spaces.

        Raises
        ------
        InputError
            If a column's name is reserved or invalid, or its values are of another kind than the
            table's column.
        """
        fitted = {}
        row_count = len(self.uris)
        for name, values in self.columns.items():
            self._check_name(name, kinds, spaces)
            kind = kinds.get(name)
            is_empty = values.null_count == row_count
            if not is_empty:
                fitted[name] = self._convert(name, values, kind)
            elif kind is not None:
                arrow_type = ARROW_TYPES[kind]
                fitted[name] = pa.nulls(row_count, arrow_type)
        return fitted

    def join(self, table: Table) -> MetadataReport:
        """Write the values that differ from the table's, in one commit; see `join_metadata`."""
        step = partial(self._join, table)
        return table.transaction(step)

    def _join(self, table: Table) -> MetadataReport:
        uris = pa.array(self.uris, pa.string())
        kinds = table.metadata
        spaces = list(table.models)
        fitted = self.fit(kinds, spaces)
        with span("join metadata"):
            known_columns = [name for name in fitted if name in kinds]
            stored = _read_stored(table, known_columns)
            # The stored row of each row of the file; null without one.
            stored_uris = stored["uri"].combine_chunks()
            positions = pc.index_in(uris, value_set=stored_uris)

            rows = pa.table({"uri": uris, **fitted})
            matched = rows.filter(positions.is_valid())
            stored_matched = stored.take(positions.drop_null())
            changed = _changed_rows(matched, stored_matched)

        if len(matched):
            new_kinds = {name: _kind_of(values) for name, values in fitted.items()}
            table.add_metadata(new_kinds)
        if len(changed):
            values = {name: changed[name] for name in changed.column_names}
            table.update(values)

        columns = list(fitted) if len(matched) else []
        unmatched = uris.filter(positions.is_null())
        return MetadataReport(
            file=str(self.path),
            columns=columns,
            images=len(matched),
            changed=len(changed),
            unmatched=unmatched.to_pylist(),
        )

    def _check_name(
        self, name: str, kinds: Mapping[str, Kind], spaces: Sequence[str]
    ) -> None:
        start = f"{self.path} has a column {name!r}, but"
        if name.casefold() == "label":
            raise InputError(
                f"{start} labels are the names of the images' folders (--labels). Take the column "
                "out, or give it another name: a filter finds it under that one."
            )

        if kinds.get(name) == "tags":
            raise InputError(
                f"{start} the collection holds its automatic tags under that name. "
                "Rename the column."
            )

        other_columns = [other for other in kinds if other != name]
        problem = find_name_problem(name, [*spaces, *other_columns])
        if problem is not None:
            raise InputError(f"{start} {problem} Rename the column.")

    def _convert(self, name: str, values: pa.Array, kind: Kind | None) -> pa.Array:
        """Convert values to the kind of the table's column, or to the narrowest that fits all."""
        if self.is_text:
            kind = kind or _narrowest_kind(values)
            fits = parses_as(values, kind)
            found = fits.index(False)
            first_wrong = found.as_py()
            all_fit = first_wrong < 0
            if all_fit:
                return parse_texts(values, kind)
            row = self.row_name(first_wrong)
            wrong = values[first_wrong]
            value = wrong.as_py()
            problem = f", {row}: the column {name!r} holds {value!r}"
        else:
            own_kind = _kind_of(values)
            kind = kind or own_kind
            is_same = own_kind == kind
            is_widened = own_kind == "int64" and kind == "float64"
            if is_same or is_widened:
                arrow_type = ARROW_TYPES[kind]
                return values.cast(arrow_type)
            own_name = KIND_NAMES[own_kind]
            problem = f": the column {name!r} holds {own_name}"
        expected = KIND_NAMES[kind]
        raise InputError(
            f"{self.path}{problem}, but the collection has {expected} there. "
            "Correct the file, or rename the column."
        )


def find_name_problem(name: str, taken: Iterable[str]) -> str | None:
    """Return why a metadata column cannot have a name, as a clause with a full stop; or None.

    Parameters
    ----------
    name
        The name.
    taken
        The names of Spaces and of other metadata columns.
    """
    # Names that differ in case alone would be confused.
    for other in (*_RESERVED_NAMES, *taken):
        if other.casefold() == name.casefold():
            return f"that is the name of the collection's own {other!r}."
    if not _COLUMN_NAME.fullmatch(name):
        return (
            "that cannot be a column's name: expected a letter, then at most 63 letters, digits, "
            "spaces, '-' or '_'."
        )
    return None


def _check_unique(names: Sequence[str], path: Path) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{path} has the column {name!r} more than once. Rename one, or take it out."
            )


def _is_pandas_index(name: str, column: pa.ChunkedArray) -> bool:
    """Return whether a column is the numbered index of a pandas frame."""
    if not _PANDAS_INDEX.fullmatch(name):
        return False
    values = _single_array(column)
    if pa.types.is_integer(values.type):
        return True
    if not pa.types.is_string(values.type):
        return False
    is_number = parses_as(values, "int64")
    are_all_numbers = pc.all(is_number)
    return bool(are_all_numbers.as_py())


def _key_column(names: Sequence[str], path: Path) -> str:
    """Return the name of the column that names the images."""
    for key in _KEY_NAMES:
        for name in names:
            if name.casefold() == key:
                return name
    found = ", ".join(names) or "none"
    raise InputError(
        f"{path} has no column that names the images: it has {found}, and one must be called "
        f"{', '.join(_KEY_NAMES[:-1])} or {_KEY_NAMES[-1]}. Commas separate the columns of a CSV."
    )


def _single_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, with the values of a dictionary in place of their codes."""
    array = column.combine_chunks()
    array_type = array.type
    if pa.types.is_dictionary(array_type):
        return array.cast(array_type.value_type)
    return array


def _read_uris(keys: pa.Array, key: str, path: Path, row_name: _RowName) -> list[str]:
    """Return the uri of each row. Every row must name one, and none may repeat."""
    key_type = keys.type
    text_types = {pa.string(), pa.large_string()}
    is_text = key_type in text_types
    if not is_text:
        raise InputError(
            f"{path}: the column {key!r} is {keys.type}. Expected text: the paths of images."
        )

    absolute = path.absolute()
    folder = absolute.parent
    names = keys.to_pylist()
    rows: dict[str, int] = {}
    for row, name in enumerate(names):
        place = f"{path}, {row_name(row)}: the column {key!r}"
        if not name:
            raise InputError(f"{place} is empty. Name an image, or remove the row.")
        uri = resolve_uri(name, folder)
        is_repeated = uri in rows
        if is_repeated:
            first = rows[uri]
            first_row = row_name(first)
            raise InputError(
                f"{place} names {name!r}, which {first_row} names too. "
                "Keep one of the two."
            )
        rows[uri] = row
    return list(rows)


def _storable(column: pa.Array, name: str, path: Path) -> pa.Array:
    """Convert a column to one of the kinds that a table stores. Empty text becomes null."""
    try:
        converted = to_known_kind(column)
    except pa.ArrowException as error:
        raise InputError(
            f"{path}: the column {name!r} has a value that cannot be stored: {error}. Correct it."
        ) from error
    if converted is None:
        raise InputError(
            f"{path}: the column {name!r} is {column.type}. Expected text, numbers, true or false, "
            "or times; convert it, or take it out."
        )
    if converted.type == pa.string():
        trimmed = pc.utf8_trim_whitespace(converted)
        is_blank = pc.equal(trimmed, "")
        null = pa.scalar(None, pa.string())
        return pc.if_else(is_blank, null, converted)
    return converted


def _narrowest_kind(texts: pa.Array) -> Kind:
    """Return the first kind, from the narrowest to text, that all values can be parsed as."""
    for kind in ARROW_TYPES:
        fits = parses_as(texts, kind)
        if pc.all(fits).as_py():
            return kind
    raise AssertionError("every text can be parsed as text")


def _kind_of(values: pa.Array) -> Kind:
    own_type = values.type
    for kind, arrow_type in ARROW_TYPES.items():
        if arrow_type == own_type:
            return kind
    problem = f"a column of {own_type} was not converted to a known kind"
    raise AssertionError(problem)


def _read_stored(table: Table, columns: list[str]) -> pa.Table:
    """Return the uris of a table's images and some of their metadata columns."""
    types = {"uri": pa.string()}
    for name in columns:
        kind = table.metadata[name]
        types[name] = ARROW_TYPES[kind]
    schema = pa.schema(types)

    names = list(types)
    batches = []
    for batch in table.scan(names):
        selected = batch.select(names)
        converted = selected.cast(schema)
        batches.append(converted)
    return pa.Table.from_batches(batches, schema)


def _changed_rows(rows: pa.Table, stored: pa.Table) -> pa.Table:
    """Return the rows with a value that differs from the stored row at the same position."""
    count = len(rows)
    changed = pa.repeat(False, count)
    for name in rows.column_names:
        new = rows[name]
        # A column that the table does not have yet is null everywhere.
        old = pa.nulls(count, new.type)
        if name in stored.column_names:
            old = stored[name]
        differs = _differs(new, old)
        changed = pc.or_(changed, differs)
    return rows.filter(changed)


def _differs(new: pa.ChunkedArray, old: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return for each pair whether the values differ; null equals null only."""
    # A comparison with null is null.
    is_unequal = pc.not_equal(new, old)
    value_differs = pc.fill_null(is_unequal, False)
    new_has_value = new.is_valid()
    old_has_value = old.is_valid()
    null_differs = pc.xor(new_has_value, old_has_value)
    return pc.or_(value_differs, null_differs)
