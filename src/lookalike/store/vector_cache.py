"""A local cache of the vectors of collections that lie elsewhere.

A file holds all vectors of one Space at one version of a table. Its name and its header have the
table's address, its version and the store's tag of that version's manifest, so that it answers for
nothing else. A file is written under another name and renamed, and the files that were used longest
ago are removed when all of them take more than a bound.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import platformdirs
import pyarrow as pa

from lookalike.io.files import atomic_write, remove_oldest
from lookalike.store.schema import column_vectors
from lookalike.types import Ids, VectorsF16
from lookalike.vectors.sorted_ids import places_of_ids

__all__ = [
    "MOST_BYTES",
    "CachedVectors",
    "VectorCacheKey",
    "cache_folder",
    "keep",
    "look_up",
]

# The bytes of all files together.
MOST_BYTES = 8 << 30
_KEY = b"lookalike.vectors"
_SUFFIX = ".arrow"


@dataclass(frozen=True, slots=True)
class VectorCacheKey:
    """What a file of the cache holds.

    Attributes
    ----------
    table, version, tag
        The table's address, its version, and the store's tag of that version's manifest: a table
        that is made again at an address has other tags.
    space
        The Space.
    """

    table: str
    version: int
    tag: str
    space: str

    def to_json(self) -> str:
        """Return the text that the file holds."""
        return json.dumps(asdict(self))

    @property
    def file(self) -> Path:
        """The file, which may not exist."""
        text = self.to_json()
        content = text.encode()
        digest = hashlib.sha256(content)
        name = digest.hexdigest()
        folder = cache_folder()
        return folder / f"{name}{_SUFFIX}"


@dataclass(frozen=True, slots=True, eq=False)
class CachedVectors:
    """The vectors of a Space, which the system reads from the disk when they are needed.

    Attributes
    ----------
    ids
        int64 ``[n]``, ascending.
    vectors
        float16 ``[n, dim]``.
    """

    ids: Ids
    vectors: VectorsF16

    def of(self, ids: Ids) -> tuple[Ids, VectorsF16]:
        """Return those of `ids` that have a vector, and their vectors."""
        positions, is_known = places_of_ids(ids, self.ids)
        known_ids = ids[is_known]
        known_positions = positions[is_known]
        return known_ids, self.vectors[known_positions]


def cache_folder() -> Path:
    """Return the folder of the cache, in the user's cache folder."""
    caches = platformdirs.user_cache_dir("lookalike", appauthor=False)
    return Path(caches, "vectors")


def look_up(key: VectorCacheKey) -> CachedVectors | None:
    """Return cached vectors, or None if their file is missing or damaged."""
    try:
        file = key.file
        path = str(file)
        with pa.memory_map(path) as source:
            reader = pa.ipc.open_file(source)
            rows = reader.read_all()
        schema = rows.schema
        metadata = schema.metadata or {}
        encoded_key = metadata.get(_KEY, b"")
        stored_key = encoded_key.decode()
        own_key = key.to_json()
        is_same_key = stored_key == own_key
        count = len(rows)
        is_usable = is_same_key and count > 0
        if not is_usable:
            return None
        # The files that were used longest ago are removed first.
        with suppress(OSError):
            os.utime(file)
        id_column = rows["id"]
        vector_column = rows["vector"]
        ids: Ids = id_column.to_numpy()
        vectors = column_vectors(vector_column)
        return CachedVectors(ids, vectors)
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None


def keep(key: VectorCacheKey, ids: Ids, vectors: VectorsF16) -> None:
    """Keep vectors; a full disk, a folder that cannot be written or their size may prevent it."""
    count = len(ids)
    is_too_large = vectors.nbytes > MOST_BYTES
    if not count or is_too_large:
        return
    contiguous = np.ascontiguousarray(vectors)
    flat = contiguous.reshape(-1)
    values = pa.array(flat)
    dim = vectors.shape[1]
    id_column = pa.array(ids)
    vector_column = pa.FixedSizeListArray.from_arrays(values, dim)
    columns = {"id": id_column, "vector": vector_column}
    unmarked = pa.table(columns)
    metadata = {_KEY: key.to_json()}
    rows = unmarked.replace_schema_metadata(metadata)
    with suppress(OSError, pa.ArrowException):
        file = key.file
        with (
            atomic_write(file) as temporary,
            pa.ipc.new_file(str(temporary), rows.schema) as sink,
        ):
            sink.write_table(rows)
        remove_oldest(file, MOST_BYTES)
