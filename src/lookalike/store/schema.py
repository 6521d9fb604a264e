"""The columns of a collection's table, and the clauses and arrays that fit them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.errors import ModelError
from lookalike.io.tables import ARROW_TYPES
from lookalike.models.schema import lacks_calibration, parse_model
from lookalike.types import Ids, Kind, Model, VectorsF16

__all__ = [
    "BASE",
    "FORMAT",
    "UNFINISHED",
    "UNFINISHED_SCHEMA",
    "array",
    "column",
    "column_vectors",
    "content_clause",
    "format_of",
    "given_columns",
    "has_value",
    "id_clause",
    "metadata_column",
    "metadata_of",
    "models_of",
    "prefix_clause",
    "quote",
    "quote_name",
    "row_ids",
    "tag_column",
    "vector_clause",
]

FORMAT = "1"
# The format of a table that a copy replaces once it is complete.
UNFINISHED = "unfinished"
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
UNFINISHED_SCHEMA = BASE.with_metadata({_FORMAT_KEY: UNFINISHED.encode()})


def column(model: Model) -> pa.Field:
    """Return the field of a Space: float16 vectors, with its Model in the field's metadata.

    Raises
    ------
    ModelError
        If the Model lacks the calibration without which nothing computes its vectors.
    """
    if lacks_calibration(model):
        raise ModelError(
            f"The model {model.name!r} is not calibrated yet. Index images with it, which "
            f"calibrates it on them: lookalike index FOLDER --model {model.name}"
        )
    description = model.to_json()
    metadata = {_MODEL_KEY: description.encode()}
    vector_type = pa.list_(pa.float16(), model.dim)
    return pa.field(model.name, vector_type, metadata=metadata)


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
        if _METADATA_KEY not in metadata:
            continue
        encoded_kind = metadata[_METADATA_KEY]
        kind = encoded_kind.decode()
        kinds[field.name] = cast(Kind, kind)
    return kinds


def given_columns(kinds: Mapping[str, Kind]) -> list[str]:
    """Return the metadata columns that hold what a person gave, so without the tags."""
    names = []
    for name, kind in kinds.items():
        if kind != "tags":
            names.append(name)
    return names


def tag_column(kinds: Mapping[str, Kind]) -> str | None:
    """Return the name of the column of tags among metadata columns, or None."""
    for name, kind in kinds.items():
        if kind == "tags":
            return name
    return None


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
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, np.ndarray) and values.ndim == 2:
        vectors_f16 = values.astype(np.float16)
        flat = vectors_f16.ravel()
        numbers = pa.array(flat)
        dim = kind.list_size
        return pa.FixedSizeListArray.from_arrays(numbers, dim)
    return pa.array(values, kind)


def row_ids(rows: pa.Table | pa.RecordBatch) -> Ids:
    """Return the ids of rows that were read with their ids: a new array, int64 ``[n]``."""
    column = rows["_rowid"]
    stored_ids = column.to_numpy()
    return cast(Ids, stored_ids.astype(np.int64))


def has_value(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return for each row whether it has a value in a column: bool ``[n]``."""
    validity = column.is_valid()
    flags = validity.to_numpy(zero_copy_only=False)
    return cast("npt.NDArray[np.bool_]", flags)


def column_vectors(column: pa.Array | pa.ChunkedArray) -> VectorsF16:
    """Return the vectors of a Space's column, float16 ``[n, dim]``, without missing ones."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    present = column.drop_null()
    flat = present.flatten()
    numbers = flat.to_numpy(zero_copy_only=False)
    vector_type = column.type
    dim = vector_type.list_size
    return cast(VectorsF16, numbers.reshape(-1, dim))


def quote(text: str) -> str:
    """Return a text as a literal of Lance's filter language, and of ours."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def quote_name(column: str) -> str:
    """Return a column's name as Lance's filter language writes it.

    The name must contain neither a backtick nor a full stop.
    """
    return f"`{column}`"


def vector_clause(space: str) -> str:
    """Return the clause of the rows that have a vector in a Space, in Lance's filter language."""
    literal = quote(space)
    return f"array_has(spaces, {literal})"


def prefix_clause(prefixes: Iterable[str]) -> str:
    """Return the clause of the rows whose uri has one of some prefixes."""
    clauses = []
    for prefix in prefixes:
        literal = quote(prefix)
        clause = f"starts_with(uri, {literal})"
        clauses.append(clause)
    return " OR ".join(clauses)


def content_clause(hashes: Iterable[bytes]) -> str:
    """Return the clause of the rows with one of some contents, given as sha256."""
    literals = []
    for sha256 in hashes:
        digits = sha256.hex()
        literals.append(f"X'{digits}'")
    if not literals:
        return "false"
    listed = ", ".join(literals)
    return f"sha256 IN ({listed})"


def id_clause(ids: Iterable[int]) -> str:
    """Return the clause of the rows with these ids, in Lance's filter language."""
    numbers = map(str, ids)
    listed = ", ".join(numbers)
    return f"_rowid IN ({listed})"
