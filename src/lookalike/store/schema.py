"""The columns of a collection's table, and how values become what they hold."""

from __future__ import annotations

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
    "metadata_column",
    "metadata_of",
    "models_of",
    "quote",
    "quote_name",
]

FORMAT = "1"
_FORMAT_KEY = b"lookalike.format"
_MODEL_KEY = b"lookalike.model"
_METADATA_KEY = b"lookalike.indexing.metadata"
_KEY = {b"lance-schema:unenforced-primary-key": b"true"}

BASE = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False, metadata=_KEY),
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
    """Return the field of a Space: its vectors, and in its metadata the Model that fills it."""
    return pa.field(
        model.name,
        pa.list_(pa.float16(), model.dim),
        metadata={_MODEL_KEY: model.to_json().encode()},
    )


def models_of(schema: pa.Schema) -> dict[str, Model]:
    """Return the Model of each Space that a table has, by the Space's name.

    Raises
    ------
    ModelError
        If what the table says of one is no description, or not that of its column; the message is the reason alone.
    """
    models = {}
    for field in schema:
        if _MODEL_KEY in (field.metadata or {}):
            model = parse_model(field.metadata[_MODEL_KEY].decode(errors="replace"))
            if field.name != model.name or field.type != column(model).type:
                raise ModelError(
                    f"the column {field.name!r} does not hold the vectors that its model describes"
                )
            models[field.name] = model
    return models


def metadata_column(name: str, kind: Kind) -> pa.Field:
    """Return the field of a column that a user's file fills; its metadata says which kind of value it holds."""
    return pa.field(name, ARROW_TYPES[kind], metadata={_METADATA_KEY: kind.encode()})


def metadata_of(schema: pa.Schema) -> dict[str, Kind]:
    """Return the kind of each column of metadata that a table has, by the column's name."""
    fields = [field for field in schema if _METADATA_KEY in (field.metadata or {})]
    return {field.name: cast(Kind, field.metadata[_METADATA_KEY].decode()) for field in fields}


def format_of(schema: pa.Schema) -> str:
    """Return the version of the layout that a table says it has; an empty text if it says none."""
    return str((schema.metadata or {}).get(_FORMAT_KEY, b"").decode())


def array(values: Any, kind: pa.DataType, count: int) -> pa.Array:
    """Return one column of `count` values; vectors come as a matrix and are kept as float16."""
    if values is None:
        return pa.nulls(count, kind)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(
            pa.array(values.astype(np.float16).ravel()), kind.list_size
        )
    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, kind)


def quote(text: str) -> str:
    """Return a text as a literal of the store's filter language."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(column: str) -> str:
    """Return a column's name as the store's filter language writes it; it holds no backtick and no full stop."""
    return f"`{column}`"
