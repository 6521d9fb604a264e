"""The columns of a collection's table, and the clauses and arrays that fit them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import pyarrow as pa

from lookalike.errors import ModelError
from lookalike.io.tables import ARROW_TYPES
from lookalike.models.schema import parse_model
from lookalike.types import Kind, Model

__all__ = [
    "BASE",
    "FORMAT",
    "array",
    "column",
    "format_of",
    "id_clause",
    "metadata_column",
    "metadata_of",
    "models_of",
    "quote",
    "quote_name",
    "vector_clause",
]

FORMAT = "1"
_FORMAT_KEY = b"lookalike.format"
_MODEL_KEY = b"lookalike.model"
_METADATA_KEY = b"lookalike.indexing.metadata"
_PRIMARY_KEY = {b"lance-schema:unenforced-primary-key": b"true"}

BASE = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("size", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("label", pa.string()),
        pa.field("sha256", pa.binary(32)),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("thumbnail", pa.binary()),
        pa.field("error", pa.string()),
        pa.field("spaces", pa.list_(pa.string())),
    ],
    metadata={_FORMAT_KEY: FORMAT.encode()},
)


def column(model: Model) -> pa.Field:
    """Return the field of a Space: float16 vectors, with its Model in the field's metadata."""
    return pa.field(
        model.name,
        pa.list_(pa.float16(), model.dim),
        metadata={_MODEL_KEY: model.to_json().encode()},
    )


def models_of(schema: pa.Schema) -> dict[str, Model]:
    """Return the Model of each Space of a table, by the Space's name.

    Raises
    ------
    ModelError
        If a description is invalid, or does not describe its column; the message is the reason
        alone.
    """
    models = {}
    for field in schema:
        metadata = field.metadata or {}
        if _MODEL_KEY not in metadata:
            continue
        text = metadata[_MODEL_KEY].decode(errors="replace")
        model = parse_model(text)
        expected = column(model)
        if field.name != expected.name or field.type != expected.type:
            raise ModelError(
                f"the column {field.name!r} does not hold the vectors that its model describes"
            )
        models[field.name] = model
    return models


def metadata_column(name: str, kind: Kind) -> pa.Field:
    """Return the field of a metadata column, with its kind in the field's metadata."""
    metadata = {_METADATA_KEY: kind.encode()}
    arrow_type = ARROW_TYPES[kind]
    return pa.field(name, arrow_type, metadata=metadata)


def metadata_of(schema: pa.Schema) -> dict[str, Kind]:
    """Return the kind of each metadata column of a table, by the column's name."""
    kinds = {}
    for field in schema:
        metadata = field.metadata or {}
        if _METADATA_KEY in metadata:
            kind = metadata[_METADATA_KEY].decode()
            kinds[field.name] = cast(Kind, kind)
    return kinds


def format_of(schema: pa.Schema) -> str:
    """Return the format version that a table declares, or an empty string."""
    metadata = schema.metadata or {}
    declared = metadata.get(_FORMAT_KEY, b"")
    return str(declared.decode())


def array(values: Any, kind: pa.DataType, count: int) -> pa.Array:
    """Return values as one column of a table.

    Parameters
    ----------
    values
        An Arrow array, a list, vectors as a matrix ``[count, dim]`` of any float, or None for a
        column of nulls.
    kind
        The column's type; vectors are stored as float16.
    count
        The number of rows.
    """
    if values is None:
        return pa.nulls(count, kind)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        halves = values.astype(np.float16)
        numbers = pa.array(halves.ravel())
        return pa.FixedSizeListArray.from_arrays(numbers, kind.list_size)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    return pa.array(values, kind)


def quote(text: str) -> str:
    """Return a text as a literal of Lance's filter language."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def quote_name(column: str) -> str:
    """Return a column's name as Lance's filter language writes it.

    The name must contain neither a backtick nor a full stop.
    """
    return f"`{column}`"


def vector_clause(space: str) -> str:
    """Return the clause of the rows that have a vector in a Space, in Lance's filter language."""
    return f"array_has(spaces, {quote(space)})"


def id_clause(ids: Iterable[int]) -> str:
    """Return the clause of the rows with these ids, in Lance's filter language."""
    listed = ", ".join(map(str, ids))
    return f"_rowid IN ({listed})"
