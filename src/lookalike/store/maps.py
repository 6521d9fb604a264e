"""Maps kept beside a collection's images: one small Lance table for each Space and method."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.errors import CollectionError
from lookalike.store.guard import of_the_disk, reason_of

__all__ = ["Kept", "folder", "listed", "read", "write"]

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


def listed(path: str) -> list[tuple[str, str]]:
    """Return the Space and the method of each map that a collection keeps."""
    names = sorted(place.stem for place in Path(path, "maps").glob("*.lance") if _is_whole(place))
    return [(unquote(name.rpartition("-")[0]), name.rpartition("-")[2]) for name in names]


def read(path: str, space: str, method: str) -> Kept | None:
    """Return the map that a collection keeps for a Space and method, or None.

    Raises
    ------
    CollectionError
        If there is one but it cannot be read.
    """
    place = folder(path, space, method)
    if not _is_whole(place):
        return None
    with _guard(place, "read"):
        rows = lance.dataset(str(place)).to_table()
        facts = json.loads(rows.schema.metadata[_FACTS_KEY])
        values = {name: rows[name].to_numpy() for name in _COLUMNS}
    xy = np.stack([values["x"], values["y"]], axis=1)
    return Kept(values["id"], xy, values["fitted"], values["digest"], facts)


def write(path: str, space: str, method: str, kept: Kept) -> None:
    """Keep a map in place of the one before, in one commit: a reader finds the one or the other, whole.

    Raises
    ------
    CollectionError
        If it cannot be written; a ReadOnlyError if that is because the collection may only be read.
    """
    place = folder(path, space, method)
    values = (kept.ids, kept.xy[:, 0], kept.xy[:, 1], kept.fitted, kept.digests)
    arrays = [pa.array(column, kind) for column, kind in zip(values, _COLUMNS.values(), strict=True)]
    schema = pa.schema(_COLUMNS, metadata={_FACTS_KEY: json.dumps(kept.facts).encode()})
    with _guard(place, "written"):
        place.parent.mkdir(exist_ok=True)  # without its parents: a collection that has gone is not begun anew
        mode = "overwrite" if _is_whole(place) else "create"
        table = lance.write_dataset(pa.table(arrays, schema=schema), str(place), mode=mode)
        table.cleanup_old_versions(older_than=timedelta(days=1))


def _is_whole(place: Path) -> bool:
    """Tell whether a map was ever committed; a folder without is what was left when the first one could not be."""
    return any(place.joinpath("_versions").glob("*.manifest"))


@contextmanager
def _guard(place: Path, done: str) -> Iterator[None]:
    """Turn what the store raises into a CollectionError that names the map."""
    try:
        yield
    # Lance raises plain OSError, ValueError and RuntimeError, Arrow its own kinds; a KeyError is a missing column.
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, pa.ArrowException) as error:
        what = f"The map {place} could not be {done}"
        raise of_the_disk(what, str(place.parents[1]), done, error) or CollectionError(
            f"{what}: {reason_of(error)}. Remove that folder and make the map again: the collection itself is whole."
        ) from error
