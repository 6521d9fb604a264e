"""The image column of a Parquet file: which one it is, its cells, and their bytes.

A row group may be larger than the memory, so its cells are read in order, a few at a time. Readers
of cells near each other share what was read.
"""

from __future__ import annotations

import errno
import json
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lookalike.errors import ImageError, SourceError
from lookalike.io.reasons import first_line
from lookalike.sources.containers import (
    MAX_EXPANSION,
    MAX_MEMBER_BYTES,
    ContainerFile,
    ContainerStamp,
    container_store,
    largest_expansion,
)

__all__ = [
    "Cell",
    "CellRead",
    "ImageColumn",
    "ParquetError",
    "cells_of",
    "image_column",
]

_LABEL_COLUMN = "label"
_FEATURES_KEY = b"huggingface"

_MAX_OPEN_COLUMNS = 8
_BATCH_ROWS = 32
_LABEL_BATCH_ROWS = 1 << 14
# Pages are read through a buffer of this size rather than whole columns.
_PAGE_BUFFER_BYTES = 1 << 20
# Batches that are kept, because threads take rows in turns.
_RECENT_BYTES = 1 << 28
_RECENT_BATCHES = 64

_opening = threading.Lock()


class ParquetError(Exception):
    """A part of a file cannot be read.

    Parameters
    ----------
    message
        Why.
    is_damaged
        Whether it is damaged, so that another attempt must fail.
    """

    def __init__(self, message: str, *, is_damaged: bool = True) -> None:
        super().__init__(message)
        self.is_damaged = is_damaged


class _RowGroup(NamedTuple):
    """A row group of an image column.

    Attributes
    ----------
    first_row, rows
        Its rows.
    nulls
        The number of cells without an image, or None if unknown.
    size, stored_size
        The bytes of its images, and those that they take in the file.
    """

    first_row: int
    rows: int
    nulls: int | None
    size: int
    stored_size: int

    @property
    def image_count(self) -> int:
        """The number of images, or of rows if the number of empty cells is unknown."""
        if self.nulls is None:
            return self.rows
        return self.rows - self.nulls


@dataclass(frozen=True, slots=True, eq=False)
class ImageColumn:
    """A column of images in a Parquet file.

    Attributes
    ----------
    address, stamp
        The file.
    name
        The column.
    is_struct
        Whether its cells are structs with a field ``bytes``.
    metadata, schema
        The footer of the file.
    groups
        Its row groups.
    """

    address: str
    stamp: ContainerStamp
    name: str
    is_struct: bool
    metadata: pq.FileMetaData
    schema: pa.Schema
    groups: tuple[_RowGroup, ...]

    @property
    def rows(self) -> int:
        """The number of rows of the file."""
        return sum(group.rows for group in self.groups)

    @property
    def count(self) -> int:
        """The number of images, as far as the statistics of the file show it."""
        return sum(group.image_count for group in self.groups)

    def batches(self, column: str, group: int, rows: int) -> Iterator[pa.Array]:
        """Yield a column of a row group, some rows at a time.

        Raises
        ------
        ParquetError
            If it cannot be read.
        """
        try:
            file = _open_table(self.address, self.stamp, self.metadata)
            batches = file.iter_batches(
                batch_size=rows, row_groups=[group], columns=[column], use_threads=False
            )
            for batch in batches:
                yield batch.column(0)
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            # An error of the system has a number.
            is_damaged = getattr(error, "errno", None) is None
            message = f"row group {group}: {first_line(error)}"
            raise ParquetError(message, is_damaged=is_damaged) from error

    def images(self, group: int) -> Iterator[pa.Array]:
        """Yield the bytes of a row group, some rows at a time; null without an image."""
        row_group = self.groups[group]
        most = largest_expansion(row_group.stored_size)
        if row_group.size > most:
            raise ParquetError(
                f"row group {group} expands to more than {MAX_EXPANSION} times its size"
            )
        leaf = _leaf(self.name, self.is_struct)
        for cells in self.batches(leaf, group, _BATCH_ROWS):
            if self.is_struct:
                yield pc.struct_field(cells, "bytes")
            else:
                yield cells


class Cell(NamedTuple):
    """A row of an image column: its number, its label, and whether it has no image."""

    row: int
    label: str | None
    is_null: bool


@dataclass(frozen=True, slots=True)
class CellRead:
    """Reads the bytes of a cell. It can be pickled.

    Attributes
    ----------
    address, stamp
        The file, and the state that it must have.
    column, row
        The cell.
    """

    address: str
    stamp: ContainerStamp
    column: str
    row: int

    def __call__(self) -> bytes:
        """Return the bytes, or raise OSError or ImageError."""
        # Threads that begin together share a cursor.
        with _opening:
            cursor = _cursor(self.address, self.stamp, self.column)
        return cursor.read(self.row)


@lru_cache(maxsize=_MAX_OPEN_COLUMNS)
def image_column(
    address: str, stamp: ContainerStamp, name: str | None = None
) -> ImageColumn:
    """Return a column of images of a file.

    Parameters
    ----------
    address, stamp
        The file.
    name
        The column; None for the only one that holds images.

    Raises
    ------
    OSError
        If the file cannot be read.
    SourceError
        If the column does not exist or holds no images, or if several do.
    """
    metadata, schema = _footer(address, stamp)
    if name is None:
        name = _only_image_column(schema, address)
    elif not _can_hold_images(schema, name):
        columns = ", ".join(schema.names)
        raise SourceError(
            f"The table {address} has no column of images {name!r}; its columns are {columns}. "
            "Expected bytes, or a struct with a field bytes."
        )

    is_struct = pa.types.is_struct(schema.field(name).type)
    with _as_os_error(address):
        groups = _row_groups(metadata, _leaf(name, is_struct))
    return ImageColumn(address, stamp, name, is_struct, metadata, schema, groups)


@lru_cache(maxsize=_MAX_OPEN_COLUMNS)
def _footer(address: str, stamp: ContainerStamp) -> tuple[pq.FileMetaData, pa.Schema]:
    with _as_os_error(address):
        file = _open_table(address, stamp)
        return file.metadata, file.schema_arrow


@contextmanager
def _as_os_error(address: str) -> Iterator[None]:
    """Raise OSError for the errors by which a damaged footer shows."""
    try:
        yield
    except (pa.ArrowException, ValueError, ArithmeticError, MemoryError) as error:
        reason = first_line(error)
        raise OSError(errno.EIO, reason, address) from error


def _leaf(name: str, is_struct: bool) -> str:
    """Return the path in the schema of the bytes of a column."""
    if is_struct:
        return f"{name}.bytes"
    return name


def _row_groups(metadata: pq.FileMetaData, leaf: str) -> tuple[_RowGroup, ...]:
    """Return the row groups of a column."""
    groups = []
    first_row = 0
    for number in range(metadata.num_row_groups):
        row_group = metadata.row_group(number)
        rows = row_group.num_rows
        if rows < 0:
            raise ValueError(f"row group {number} has {rows} rows")
        for index in range(row_group.num_columns):
            chunk = row_group.column(index)
            if chunk.path_in_schema == leaf:
                groups.append(_row_group(chunk, first_row, rows))
                break
        else:
            raise ValueError(f"row group {number} has no column {leaf}")
        first_row += rows
    return tuple(groups)


def _row_group(chunk: pq.ColumnChunkMetaData, first_row: int, rows: int) -> _RowGroup:
    nulls = None
    # pyarrow ends the process if it reads the statistics of another type.
    if chunk.physical_type != "BYTE_ARRAY":
        raise ValueError(f"a column chunk has the type {chunk.physical_type}")
    statistics = chunk.statistics
    if statistics is not None and statistics.has_null_count:
        nulls = statistics.null_count
    size = chunk.total_uncompressed_size
    return _RowGroup(first_row, rows, nulls, size, chunk.total_compressed_size)


def _open_table(
    address: str, stamp: ContainerStamp, metadata: pq.FileMetaData | None = None
) -> pq.ParquetFile:
    worthwhile_bytes = container_store(address).buffer_bytes
    return pq.ParquetFile(
        ContainerFile(address, stamp),
        metadata=metadata,
        buffer_size=max(_PAGE_BUFFER_BYTES, worthwhile_bytes),
        pre_buffer=False,
    )


def _can_hold_images(schema: pa.Schema, name: str) -> bool:
    if schema.names.count(name) != 1:
        return False
    kind = schema.field(name).type
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        if index < 0:
            return False
        field = kind.field(index)
        return _is_bytes(field.type)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    kinds = pa.types
    if kinds.is_binary(kind):
        return True
    if kinds.is_large_binary(kind):
        return True
    is_view = kinds.is_binary_view(kind)
    return bool(is_view)


def _only_image_column(schema: pa.Schema, address: str) -> str:
    """Return the column of Hugging Face's Image feature, or else the one that holds bytes."""
    names: list[str] = schema.names
    candidates = [name for name in names if _can_hold_images(schema, name)]
    features = _features(schema)
    declared = [
        name for name in candidates if _feature(features, name).get("_type") == "Image"
    ]
    structs = [
        name for name in candidates if pa.types.is_struct(schema.field(name).type)
    ]
    chosen = declared or structs or candidates
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        example = f"{address}#{chosen[0]}"
        raise SourceError(
            f"The table {address} has several columns of images: {', '.join(chosen)}. "
            f"Name one after a number sign, as in {example}."
        )
    raise SourceError(
        f"The table {address} has no column of images; its columns are "
        f"{', '.join(schema.names)}. Expected bytes, or a struct with a field bytes."
    )


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Return the features of Hugging Face's metadata by column."""
    metadata = schema.metadata or {}
    try:
        described = json.loads(metadata[_FEATURES_KEY])
        features = described["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    if not isinstance(features, dict):
        return {}
    return features


def _feature(features: dict[str, Any], name: str) -> dict[str, Any]:
    feature = features.get(name)
    if not isinstance(feature, dict):
        return {}
    return feature


def cells_of(column: ImageColumn, *, with_labels: bool) -> Iterator[Cell]:
    """Yield the cells of a column, without their bytes.

    Raises
    ------
    ParquetError
        After the last cell, if the labels of some rows cannot be read; their cells are left out.
    """
    problem = None
    for group, row_group in enumerate(column.groups):
        rows = row_group.rows
        try:
            labels = _labels(column, group, rows) if with_labels else [None] * rows
        except ParquetError as error:
            problem = problem or error
            continue
        nulls = _nulls(column, group)
        for offset, (label, is_null) in enumerate(zip(labels, nulls, strict=False)):
            yield Cell(row_group.first_row + offset, label, is_null)
    if problem is not None:
        raise problem


def _nulls(column: ImageColumn, group: int) -> Iterator[bool]:
    """Yield whether each cell of a row group has no image.

    Only a row group with such cells is read. Cells that cannot be read count as images, and each
    becomes a failure.
    """
    if column.groups[group].nulls != 0:
        try:
            for images in column.images(group):
                yield from images.is_null().to_pylist()
        except ParquetError:
            pass
    yield from repeat(False)


def _labels(column: ImageColumn, group: int, rows: int) -> list[str | None]:
    """Return the labels of a row group."""
    if column.schema.names.count(_LABEL_COLUMN) != 1:
        return [None] * rows
    kind = column.schema.field(_LABEL_COLUMN).type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if pa.types.is_dictionary(kind):
        is_text = pa.types.is_string(kind.value_type)
    if not is_text and not pa.types.is_integer(kind):
        return [None] * rows

    names = _feature(_features(column.schema), _LABEL_COLUMN).get("names")
    labels: list[str | None] = []
    for values in column.batches(_LABEL_COLUMN, group, _LABEL_BATCH_ROWS):
        for value in values.to_pylist():
            labels.append(_label(value, names))
    return labels


def _label(value: int | str | None, names: object) -> str | None:
    """Return the text of a label; the name of a class, if the numbers have names."""
    if isinstance(value, int) and isinstance(names, list):
        # Hugging Face marks rows without a class by -1.
        has_name = 0 <= value < len(names)
        if not has_name:
            return None
        return str(names[value])
    if value is None:
        return None
    text = str(value)
    return text or None


@lru_cache(maxsize=_MAX_OPEN_COLUMNS)
def _cursor(address: str, stamp: ContainerStamp, name: str) -> _Cursor:
    try:
        column = image_column(address, stamp, name)
    except SourceError as error:
        raise OSError(errno.EIO, str(error), address) from error
    return _Cursor(column)


class _Cursor:
    """Reads cells of a column in any order; close to their order it is fast."""

    def __init__(self, column: ImageColumn) -> None:
        self._column = column
        self._lock = threading.Lock()
        # Batches that were read, each with its first row.
        self._recent: deque[tuple[int, pa.Array]] = deque()
        self._recent_bytes = 0
        self._batches: Iterator[pa.Array] = iter(())
        self._next_row = 0
        self._end = 0
        # For the end of each damaged row group, the first row that cannot be read, and why.
        self._damage: dict[int, tuple[int, str]] = {}

    def read(self, row: int) -> bytes:
        """Return the bytes of a cell.

        Raises
        ------
        OSError, ImageError
            If the cell cannot be read, is null or too large.
        """
        with self._lock:
            try:
                start, batch = self._batch_with(row)
            except ParquetError as error:
                if error.is_damaged:
                    self._damage[self._end] = (self._next_row, str(error))
                # The next read begins again.
                self._end = 0
                raise OSError(errno.EIO, str(error)) from error
        cell = batch[row - start]
        if not cell.is_valid:
            raise FileNotFoundError(errno.ENOENT, "the cell holds no image")
        size = cell.as_buffer().size
        if size > MAX_MEMBER_BYTES:
            raise ImageError(f"the cell has {size:,} bytes, more than any image")
        data: bytes = cell.as_py()
        return data

    def _batch_with(self, row: int) -> tuple[int, pa.Array]:
        """Return the batch that holds a row, with its first row."""
        for start, batch in self._recent:
            if start <= row < start + len(batch):
                return start, batch
        if not self._next_row <= row < self._end:
            self._go_to_group_of(row)
        first_damaged, reason = self._damage.get(self._end, (self._end, ""))
        if row >= first_damaged:
            raise ParquetError(reason)
        for batch in self._batches:
            start = self._next_row
            self._next_row += len(batch)
            self._keep(start, batch)
            if row < self._next_row:
                return start, batch
        raise ParquetError("its row group ends early")

    def _go_to_group_of(self, row: int) -> None:
        """Begin to read the row group of a row."""
        column = self._column
        group = bisect_right(column.groups, row, key=_first_row) - 1
        row_group = column.groups[group]
        self._next_row = row_group.first_row
        self._end = self._next_row + row_group.rows
        self._batches = column.images(group)

    def _keep(self, start: int, batch: pa.Array) -> None:
        """Keep a batch among the recent ones, whose size is bounded."""
        self._recent.append((start, batch))
        self._recent_bytes += batch.nbytes
        while len(self._recent) > 1:
            is_small = self._recent_bytes <= _RECENT_BYTES
            if is_small and len(self._recent) <= _RECENT_BATCHES:
                break
            _, oldest = self._recent.popleft()
            self._recent_bytes -= oldest.nbytes


def _first_row(group: _RowGroup) -> int:
    return group.first_row
