"""Maps kept beside a collection's images: one small Lance table for each Space and method."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.errors import CollectionError
from lookalike.store import lock

__all__ = ["Kept", "folder", "places", "read", "write"]

_FACTS_KEY = b"lookalike.map"
_COLUMNS = {
    "id": pa.int64(),
    "x": pa.float32(),
    "y": pa.float32(),
    "fitted": pa.bool_(),
    "digest": pa.uint64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
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


def folder(path: str, space: str, method: str) -> Path:
    """Return where the map of a Space by a method lies, in the collection at `path`."""
    return Path(path, "maps", f"{quote(space, safe='')}-{method}.lance")


def places(path: str) -> list[Path]:
    """Return where the maps lie that the collection at `path` keeps; not one whose first writing was cut short."""
    return sorted(place for place in Path(path, "maps").glob("*.lance") if any(place.glob("_versions/*.manifest")))


def read(path: str, space: str, method: str) -> Kept | None:
    """Return the map that a collection keeps for a Space and method, or None.

    Raises
    ------
    CollectionError
        If there is one but it cannot be read.
    """
    place = folder(path, space, method)
    if place not in places(path):
        return None
    with _guard(place, "read"):
        rows = lance.dataset(str(place)).to_table()
        facts = json.loads(rows.schema.metadata[_FACTS_KEY])
        values = {name: rows[name].to_numpy() for name in _COLUMNS}
    xy = np.stack([values["x"], values["y"]], axis=1)
    return Kept(values["id"], xy, values["fitted"], values["digest"], facts)


def write(path: str, space: str, method: str, kept: Kept) -> None:
    """Keep a map in place of the one before, in one commit: a reader finds the one or the other, whole.

    Of two processes that make the same map the later one's stays; it is brought up to date when it is next asked for.

    Raises
    ------
    CollectionError
        If it cannot be written.
    """
    place = folder(path, space, method)
    values = (kept.ids, kept.xy[:, 0], kept.xy[:, 1], kept.fitted, kept.digests)
    arrays = [pa.array(column, kind) for column, kind in zip(values, _COLUMNS.values(), strict=True)]
    schema = pa.schema(_COLUMNS, metadata={_FACTS_KEY: json.dumps(kept.facts).encode()})
    with lock.held(path), _guard(place, "written"):
        place.parent.mkdir(parents=True, exist_ok=True)
        mode = "overwrite" if place.is_dir() else "create"
        table = lance.write_dataset(pa.table(arrays, schema=schema), str(place), mode=mode)
        table.cleanup_old_versions(older_than=timedelta(days=1))


@contextmanager
def _guard(place: Path, done: str) -> Iterator[None]:
    """Turn what the store raises into a CollectionError that names the map."""
    try:
        yield
    # Lance raises plain OSError, ValueError and RuntimeError, Arrow its own kinds; a KeyError is a missing column.
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].split(", rust/")[0]
        raise CollectionError(
            f"The map {place} could not be {done}: {reason}. Remove that folder and make the map again: "
            "the collection itself is whole."
        ) from error
