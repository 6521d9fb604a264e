"""Read a user's CSV or Parquet table, and convert its columns to the kinds that are stored."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types as arrow_types

from lookalike.errors import InputError
from lookalike.io.times import microseconds_of
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
    "tags": pa.list_(pa.string()),
}
KIND_NAMES: dict[Kind, str] = {
    "int64": "whole numbers",
    "float64": "numbers",
    "bool": "true or false",
    "timestamp": "times",
    "string": "text",
    "tags": "lists of words",
}

MOST_ROWS = 10_000_000

Converted = TypeVar("Converted")

# The years that Python's datetime and ISO 8601 without a sign can show, in microseconds.
_FIRST_INSTANT = microseconds_of(datetime.min.replace(tzinfo=UTC))
_LAST_INSTANT = microseconds_of(datetime.max.replace(tzinfo=UTC))

# A column becomes numbers only if no two different texts become equal: a number with a leading
# zero or with more than 18 digits stays text. The exponents are those of finite numbers.
_WHOLE = "(0|[1-9][0-9]{0,17})"
_DECIMAL = rf"({_WHOLE}(\.[0-9]*)?|\.[0-9]+)"
_EXPONENT = "([eE][+-]?([0-9]{1,2}|[12][0-8][0-9]))"
_PATTERNS = {
    "int64": rf"^[+-]?{_WHOLE}$",
    "float64": rf"^[+-]?{_DECIMAL}{_EXPONENT}?$",
    "bool": "(?i)^(true|false)$",
}


def read_table(path: Path) -> tuple[pa.Table, Callable[[int], str]]:
    """Read a ``.csv`` file (UTF-8, a header, commas) or a ``.parquet`` file.

    Returns
    -------
    table, locate
        The table; all columns of a CSV are text. `locate` maps a row number to its position in the
        file for an error message: ``line 7``.

    Raises
    ------
    InputError
        If the file cannot be read, or a line has more or fewer values than the header.
    """
    suffix = path.suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        raise InputError(
            f"{path} cannot be read as a table: its name must end in .csv or .parquet."
        )
    try:
        return _read_csv(path) if suffix == ".csv" else _read_parquet(path)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise InputError(
            f"{path} cannot be read as a table: {error}. Expected a CSV file in UTF-8 whose first "
            "line has the names of the columns, or a Parquet file."
        ) from error


def _read_csv(path: Path) -> tuple[pa.Table, Callable[[int], str]]:
    rows: list[list[str]] = []
    # The last line of each row: quoted values may hold line breaks.
    line_numbers: list[int] = []
    # utf-8-sig: spreadsheets begin a file with a byte order mark.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        names = next(reader, [])
        width = len(names)
        for row in reader:
            is_empty_line = not row
            if is_empty_line:
                continue
            line_number = reader.line_num
            count = len(row)
            if count != width:
                raise InputError(
                    f"{path}, line {line_number}: {count} values, but the header names {width} "
                    "columns. Correct the line: a value that holds a comma or a quote must be "
                    "quoted."
                )
            line_numbers.append(line_number)
            rows.append(row)

    columns: list[tuple[str, ...]] = [()] * width
    if rows:
        columns = list(zip(*rows, strict=True))
    text = pa.string()
    arrays = [pa.array(column, text) for column in columns]
    table = pa.table(arrays, names=names)

    def locate(row: int) -> str:
        number = line_numbers[row]
        return f"line {number}"

    return table, locate


def _read_parquet(path: Path) -> tuple[pa.Table, Callable[[int], str]]:
    schema = pq.read_schema(path)
    text_columns = []
    for column in schema:
        if arrow_types.is_string(column.type):
            text_columns.append(column.name)
    # As dictionaries, because a few bytes may encode any number of equal texts.
    with pq.ParquetFile(path, read_dictionary=text_columns) as file:
        count = file.metadata.num_rows
        if count > MOST_ROWS:
            raise InputError(
                f"{path} has {count:,} rows; expected at most {MOST_ROWS:,}. Divide the file."
            )
        table = file.read()
    table.validate(full=True)

    def locate(row: int) -> str:
        number = row + 1
        return f"row {number}"

    return table, locate


def parse_instant(text: str) -> int:
    """Return the microseconds from 1970 to an ISO 8601 date or time, in UTC if it has no offset.

    Raises
    ------
    ValueError
        If the text is not such a time, or lies outside the years 1 to 9999 in UTC.
    """
    time = datetime.fromisoformat(text)
    has_offset = time.tzinfo is not None
    if not has_offset:
        time = time.replace(tzinfo=UTC)
    microseconds = microseconds_of(time)
    is_shown = _FIRST_INSTANT <= microseconds <= _LAST_INSTANT
    if not is_shown:
        problem = f"{text} lies outside the years 1 to 9999 in UTC"
        raise ValueError(problem)
    return microseconds


def parses_as(texts: pa.Array, kind: Kind) -> pa.Array:
    """Return a boolean for each text: whether it can be read as a value of `kind`.

    Nulls fit every kind.
    """
    boolean = pa.bool_()
    is_text = kind == "string"
    if is_text:
        count = len(texts)
        all_true = [True] * count
        return pa.array(all_true, boolean)
    trimmed = pc.utf8_trim_whitespace(texts)
    is_time = kind == "timestamp"
    if is_time:
        are_instants = _convert_each(trimmed, _is_instant)
        fits = pa.array(are_instants, boolean)
    else:
        pattern = _PATTERNS[kind]
        fits = pc.match_substring_regex(trimmed, pattern)
    return pc.fill_null(fits, True)


def _is_instant(text: str) -> bool:
    try:
        parse_instant(text)
    except ValueError:
        return False
    return True


def parse_texts(texts: pa.Array, kind: Kind) -> pa.Array:
    """Convert texts to values of a kind that all of them fit."""
    is_text = kind == "string"
    if is_text:
        return texts
    trimmed = pc.utf8_trim_whitespace(texts)
    stored_type = ARROW_TYPES[kind]
    if kind == "timestamp":
        microseconds = _convert_each(trimmed, parse_instant)
        integer_type = pa.int64()
        integers = pa.array(microseconds, integer_type)
        return integers.cast(stored_type)
    # Arrow does not parse a leading plus sign.
    leading_plus = r"^\+"
    unsigned = pc.replace_substring_regex(trimmed, leading_plus, "")
    parsed = unsigned.cast(stored_type)
    return _normalize_floats(parsed)


def _convert_each(
    texts: pa.Array, convert: Callable[[str], Converted]
) -> list[Converted | None]:
    """Return the value of each text; nulls stay None."""
    values: list[Converted | None] = []
    for text in texts.to_pylist():
        value = None
        if text is not None:
            value = convert(text)
        values.append(value)
    return values


def to_known_kind(column: pa.Array) -> pa.Array | None:
    """Convert an Arrow column to a stored kind, or return None if no kind can hold its type.

    Times without a zone are read as UTC and cut to microseconds. NaN becomes null.

    Raises
    ------
    pyarrow.ArrowException
        If a value is outside the kind's range.
    """
    dtype = column.type
    if arrow_types.is_dictionary(dtype):
        dtype = dtype.value_type
        column = column.cast(dtype)
    if _is_text_type(dtype):
        return column.cast(pa.string())
    if arrow_types.is_integer(dtype):
        return column.cast(pa.int64())
    is_fraction = arrow_types.is_floating(dtype) or arrow_types.is_decimal(dtype)
    if is_fraction:
        floats = column.cast(pa.float64())
        return _normalize_floats(floats)
    if arrow_types.is_temporal(dtype):
        return _to_known_times(column)
    if arrow_types.is_boolean(dtype):
        return column
    return None


def _to_known_times(column: pa.Array) -> pa.Array | None:
    dtype = column.type
    stored_type = ARROW_TYPES["timestamp"]
    if arrow_types.is_timestamp(dtype):
        # Only the cut from nanoseconds loses digits.
        unit = dtype.unit
        is_exact = unit != "ns"
        times = column.cast(stored_type, safe=is_exact)
    elif arrow_types.is_date(dtype):
        without_zone = pa.timestamp("us")
        times = column.cast(without_zone).cast(stored_type)
    else:
        # A time of day or a duration.
        return None
    _require_displayable(times)
    return times


def _require_displayable(times: pa.Array) -> None:
    """Raise ArrowInvalid for a year that Arrow can hold, but Python and JSON cannot show."""
    microseconds = times.cast(pa.int64())
    extremes = pc.min_max(microseconds)
    smallest = extremes["min"]
    largest = extremes["max"]
    first = smallest.as_py()
    last = largest.as_py()
    if first is None:
        return
    is_too_early = first < _FIRST_INSTANT
    is_too_late = last > _LAST_INSTANT
    if is_too_early or is_too_late:
        raise pa.ArrowInvalid("a time lies outside the years 1 to 9999")


def _is_text_type(dtype: pa.DataType) -> bool:
    return bool(
        arrow_types.is_null(dtype)
        or arrow_types.is_string(dtype)
        or arrow_types.is_large_string(dtype)
        or dtype == pa.string_view()
    )


def _normalize_floats(values: pa.Array) -> pa.Array:
    """Replace NaN by null and -0.0 by 0.0 in floats; leave other types as they are."""
    float64 = pa.float64()
    if values.type != float64:
        return values
    null = pa.scalar(None, float64)
    is_nan = pc.is_nan(values)
    without_nan = pc.if_else(is_nan, null, values)
    # -0.0 + 0.0 is 0.0.
    return pc.add(without_nan, 0.0)
