"""Maps kept beside a collection's images: one small Arrow file for each Space and method."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.errors import CollectionError
from lookalike.io.files import atomic_write
from lookalike.store.failures import Operation, disk_error, reason_of

__all__ = ["StoredMap", "list_maps", "map_path", "read", "write"]

_FACTS_KEY = b"lookalike.map"
_COLUMNS = {
    "id": pa.int64(),
    "x": pa.float32(),
    "y": pa.float32(),
    "fitted": pa.bool_(),
    "digest": pa.uint64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class StoredMap:
    """What is kept of a map.

    Attributes
    ----------
    ids
        int64 ``[n]``, rising.
    xy
        float32 ``[n, 2]``.
    fitted
        bool ``[n]``: whether the row took part in making the map, or was placed on it later.
    digests
        uint64 ``[n]``, of each row's vector when it was placed: a picture that has changed since is known by it.
    facts
        The parameters and the fidelity: plain data.
    """

    ids: npt.NDArray[np.int64]
    xy: npt.NDArray[np.float32]
    fitted: npt.NDArray[np.bool_]
    digests: npt.NDArray[np.uint64]
    facts: Mapping[str, Any]


def map_path(path: str, space: str, method: str) -> Path:
    """Return where the map of a Space by a method lies, in the collection at `path`."""
    return Path(path, "maps", f"{quote(space, safe='')}-{method}.arrow")


def list_maps(path: str) -> list[tuple[str, str]]:
    """Return the Space and the method of each map that a collection keeps."""
    names = sorted(place.stem for place in Path(path, "maps").glob("*.arrow"))
    return [(unquote(name.rpartition("-")[0]), name.rpartition("-")[2]) for name in names]


def read(path: str, space: str, method: str) -> StoredMap | None:
    """Return the map that a collection keeps for a Space and method, or None.

    Raises
    ------
    CollectionError
        If there is one but it cannot be read.
    """
    place = map_path(path, space, method)
    if not place.exists():
        return None
    with _translate_map_errors(place, Operation.READ):
        with pa.OSFile(str(place)) as source:
            rows = pa.ipc.open_file(source).read_all()
        facts = json.loads(rows.schema.metadata[_FACTS_KEY])
        values = {name: rows[name].to_numpy() for name in _COLUMNS}
    xy = np.stack([values["x"], values["y"]], axis=1)
    return StoredMap(values["id"], xy, values["fitted"], values["digest"], facts)


def write(path: str, space: str, method: str, kept: StoredMap) -> None:
    """Keep a map in place of the one before: a reader finds the one or the other, whole.

    Of two processes that make the same map the later one's stays; it is brought up to date when it is next asked for.

    Raises
    ------
    CollectionError
        If it cannot be written; a ReadOnlyError if that is because the collection may only be read.
    """
    place = map_path(path, space, method)
    values = (kept.ids, kept.xy[:, 0], kept.xy[:, 1], kept.fitted, kept.digests)
    arrays = [
        pa.array(column, kind) for column, kind in zip(values, _COLUMNS.values(), strict=True)
    ]
    schema = pa.schema(_COLUMNS, metadata={_FACTS_KEY: json.dumps(kept.facts).encode()})
    with _translate_map_errors(place, Operation.WRITE):
        place.parent.mkdir(
            exist_ok=True
        )  # without its parents: a collection that has gone is not begun anew
        with atomic_write(place) as temporary, pa.ipc.new_file(str(temporary), schema) as sink:
            sink.write_table(pa.table(arrays, schema=schema))


@contextmanager
def _translate_map_errors(place: Path, operation: Operation) -> Iterator[None]:
    """Turn what Arrow raises into a CollectionError that names the map."""
    try:
        yield
    # A KeyError or TypeError is a missing column or fact.
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        what = f"The map {place} could not be {operation}"
        raise disk_error(what, str(place.parents[1]), operation, error) or CollectionError(
            f"{what}: {reason_of(error)}. Remove that file and make the map again: the collection itself is whole."
        ) from error
