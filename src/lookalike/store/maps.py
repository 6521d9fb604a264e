"""Maps stored beside a collection's images: one small Arrow file for each Space and method."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.errors import CollectionError
from lookalike.store.failures import Operation, disk_error, reason_of
from lookalike.store.places import locate
from lookalike.types import Ids

__all__ = ["StoredMap", "list_maps", "map_path", "read", "write"]

_FACTS_KEY = b"lookalike.map"
_MAP_COLUMNS = {
    "id": pa.int64(),
    "x": pa.float32(),
    "y": pa.float32(),
    "fitted": pa.bool_(),
    "digest": pa.uint64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class StoredMap:
    """A map as it is stored.

    Attributes
    ----------
    ids
        int64 ``[n]``, ascending.
    xy
        float32 ``[n, 2]``, the positions.
    fitted
        bool ``[n]``, whether the row took part in fitting the map, or was placed on it later.
    digests
        uint64 ``[n]``, of each row's vector when it was placed; a changed image has another digest.
    facts
        The parameters and the quality of the map, as plain data.
    """

    ids: Ids
    xy: npt.NDArray[np.float32]
    fitted: npt.NDArray[np.bool_]
    digests: npt.NDArray[np.uint64]
    facts: Mapping[str, Any]


def map_path(path: str, space: str, method: str) -> str:
    """Return the file of the map of a Space by a method, in the collection at `path`."""
    location = locate(path)
    name = location.map_file_name(space, method)
    return location.uri(name)


def list_maps(path: str) -> list[tuple[str, str]]:
    """Return the Space and the method of each map of the collection at `path`."""
    location = locate(path)
    return location.list_maps()


def read(path: str, space: str, method: str) -> StoredMap | None:
    """Return the stored map of a Space by a method, or None.

    Raises
    ------
    CollectionError
        If the map exists but cannot be read.
    """
    location = locate(path)
    name = location.map_file_name(space, method)
    file = location.uri(name)
    with _translate_map_errors(path, file, Operation.READ):
        try:
            content = location.read(name)
        except FileNotFoundError:
            return None
        reader = pa.ipc.open_file(content)
        rows = reader.read_all()
        metadata = rows.schema.metadata
        facts_text = metadata[_FACTS_KEY]
        facts = json.loads(facts_text)
        values = {}
        for column_name in _MAP_COLUMNS:
            column = rows[column_name]
            values[column_name] = column.to_numpy()
    x = values["x"]
    y = values["y"]
    xy = np.stack([x, y], axis=1)
    return StoredMap(
        ids=values["id"],
        xy=xy,
        fitted=values["fitted"],
        digests=values["digest"],
        facts=facts,
    )


def write(path: str, space: str, method: str, stored: StoredMap) -> None:
    """Store a map in place of the previous one; a reader finds one of the two, complete.

    If two processes make the same map, the later one stays. The next request brings it up to date.

    Raises
    ------
    CollectionError
        If the map cannot be written; `ReadOnlyError` if the collection is read-only.
    """
    location = locate(path)
    name = location.map_file_name(space, method)
    file = location.uri(name)
    x = stored.xy[:, 0]
    y = stored.xy[:, 1]
    values = {
        "id": stored.ids,
        "x": x,
        "y": y,
        "fitted": stored.fitted,
        "digest": stored.digests,
    }
    facts = json.dumps(stored.facts)
    metadata = {_FACTS_KEY: facts.encode()}
    schema = pa.schema(_MAP_COLUMNS, metadata=metadata)
    rows = pa.table(values, schema=schema)
    content = pa.BufferOutputStream()
    with pa.ipc.new_file(content, schema) as sink:
        sink.write_table(rows)
    with _translate_map_errors(path, file, Operation.WRITE):
        location.write(name, content.getvalue().to_pybytes())


@contextmanager
def _translate_map_errors(path: str, file: str, operation: Operation) -> Iterator[None]:
    """Raise what Arrow raises as a `CollectionError` that names the map."""
    try:
        yield
    # A KeyError or TypeError reports a missing column or fact.
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        subject = f"The map {file} could not be {operation}"
        from_disk = disk_error(subject, path, operation, error)
        if from_disk is not None:
            raise from_disk from error
        raise CollectionError(
            f"{subject}: {reason_of(error)}. Delete the file and make the map again. "
            "The collection itself is not damaged."
        ) from error
