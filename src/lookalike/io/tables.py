"""Tables that people bring, as CSV or Parquet, and the few kinds that their columns are kept as."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lookalike.errors import InputError
from lookalike.types import Kind

__all__ = [
    "ARROW_TYPES",
    "KIND_NAMES",
    "parse_instant",
    "parse_texts",
    "parses_as",
    "read_table",
    "to_known_kind",
]

ARROW_TYPES: dict[Kind, pa.DataType] = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
    "string": pa.string(),
}
KIND_NAMES: dict[Kind, str] = {
    "int64": "whole numbers",
    "float64": "numbers",
    "bool": "true or false",
    "timestamp": "times",
    "string": "text",
}

MOST_ROWS = 10_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Digits that a number loses when it is kept would make two names one: with a leading zero, or more than 18 digits,
# it is text. The exponents are those that stay finite.
_WHOLE = "(0|[1-9][0-9]{0,17})"
_WRITTEN = {
    "int64": rf"^[+-]?{_WHOLE}$",
    "float64": rf"^[+-]?({_WHOLE}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?([0-9]{{1,2}}|[12][0-8][0-9]))?$",
    "bool": "(?i)^(true|false)$",
}


def read_table(path: Path) -> tuple[pa.Table, Callable[[int], str]]:
    """Read a ``.csv`` file (UTF-8, a header, commas) or a ``.parquet`` file.

    Returns
    -------
    table, where
        The table, a CSV's columns all text; and a function from a row's number to its place for an error: ``line 7``.

    Raises
    ------
    InputError
        If the file cannot be read, or a line has not as many values as the header has names.
    """
    kind = path.suffix.lower()
    if kind not in {".csv", ".parquet"}:
        raise InputError(
            f"{path} cannot be read as a table: its name must end in .csv or .parquet."
        )
    try:
        return _read_csv(path) if kind == ".csv" else _read_parquet(path)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise InputError(
            f"{path} cannot be read as a table: {error}. Expected a CSV in UTF-8 that begins with a line of the "
            "columns' names, or a Parquet file."
        ) from error


def _read_csv(path: Path) -> tuple[pa.Table, Callable[[int], str]]:
    lines: list[int] = []  # where each row ends: a name may hold line breaks
    rows: list[list[str]] = []
    with path.open(
        encoding="utf-8-sig", newline=""
    ) as file:  # -sig: spreadsheets put a mark at the beginning
        reader = csv.reader(file, strict=True)
        names = next(reader, [])
        for row in filter(None, reader):  # an empty line is none
            if len(row) != len(names):
                raise InputError(
                    f"{path}, line {reader.line_num}: {len(row)} values where the header names {len(names)} columns. "
                    "Correct the line: a value that holds a comma or a quote must be quoted."
                )
            lines.append(reader.line_num)
            rows.append(row)
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    table = pa.table([pa.array(column, pa.string()) for column in columns], names=names)
    return table, lambda row: f"line {lines[row]}"


def _read_parquet(path: Path) -> tuple[pa.Table, Callable[[int], str]]:
    schema = pq.read_schema(path)
    texts = [name for name in schema.names if pa.types.is_string(schema.field(name).type)]
    # As dictionaries: a few bytes may stand for any number of texts, but those are all alike.
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        count = file.metadata.num_rows
        if count > MOST_ROWS:
            raise InputError(
                f"{path} has {count:,} rows; expected at most {MOST_ROWS:,}. Divide it."
            )
        table = file.read()
    table.validate(full=True)
    return table, lambda row: f"row {row + 1}"


def parse_instant(text: str) -> int:
    """Return the microseconds from 1970 to an ISO 8601 date or time; one without an offset is in UTC.

    Raises
    ------
    ValueError
        If the text is no such time.
    """
    time = datetime.fromisoformat(text)
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def parses_as(texts: pa.Array, kind: Kind) -> pa.Array:
    """Tell of each text whether it can be read as a value of a kind; null, where there is no text, fits any."""
    if kind == "string":
        return pa.array([True] * len(texts), pa.bool_())
    trimmed = pc.utf8_trim_whitespace(texts)
    if kind == "timestamp":
        fits = pa.array(
            [text is None or _is_time(text) for text in trimmed.to_pylist()], pa.bool_()
        )
    else:
        fits = pc.match_substring_regex(trimmed, _WRITTEN[kind])
    return pc.fill_null(fits, True)


def _is_time(text: str) -> bool:
    try:
        parse_instant(text)
    except ValueError:
        return False
    return True


def parse_texts(texts: pa.Array, kind: Kind) -> pa.Array:
    """Return texts that all fit a kind as values of it."""
    if kind == "string":
        return texts
    trimmed = pc.utf8_trim_whitespace(texts)
    if kind == "timestamp":
        return pa.array(
            [None if text is None else parse_instant(text) for text in trimmed.to_pylist()],
            pa.int64(),
        ).cast(ARROW_TYPES[kind])
    # Arrow's numbers have no plus sign in front.
    return _plain(pc.replace_substring_regex(trimmed, r"^\+", "").cast(ARROW_TYPES[kind]))


def to_known_kind(column: pa.Array) -> pa.Array | None:
    """Return an Arrow column as one of the kinds that are kept, or None for a type that none of them can hold.

    Times without a zone are in UTC, and lose what is finer than a microsecond; a NaN becomes null.

    Raises
    ------
    pyarrow.ArrowException
        If a value is out of the kind's range.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if (
        pa.types.is_null(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or kind == pa.string_view()
    ):
        return column.cast(pa.string())
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _plain(column.cast(pa.float64()))
    if pa.types.is_timestamp(kind):
        return column.cast(ARROW_TYPES["timestamp"], safe=kind.unit != "ns")
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us")).cast(ARROW_TYPES["timestamp"])
    return column if pa.types.is_boolean(kind) else None


def _plain(values: pa.Array) -> pa.Array:
    """Return numbers with null for NaN, which is no value, and 0 for -0, which is no other value."""
    if values.type != pa.float64():
        return values
    return pc.add(pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values), 0.0)
