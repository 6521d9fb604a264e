"""Figures about contents that cost time to compute, kept beside a collection.

A later search reads them. Each file holds the rows of one save. A row is known by a hash of the
contents that it is about, so it stays valid when files move.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import pyarrow as pa

from lookalike.store.location import Location

__all__ = ["KEY", "KeptRows", "content_key"]

_KEPT_FOLDER = "duplicates"
_KEY_BYTES = 16
# The first column of each table.
KEY = pa.field("key", pa.binary(_KEY_BYTES))
_METHOD_KEY = b"lookalike.duplicates.method"
# More files than this are joined into one.
_MAX_FILES = 8

Row = tuple[Any, ...]


def content_key(*sha256: bytes) -> bytes:
    """Return the key of a row about some contents, whatever their order."""
    ordered = sorted(sha256)
    joined = b"".join(ordered)
    digest = hashlib.blake2b(joined, digest_size=_KEY_BYTES)
    return digest.digest()


class KeptRows:
    """Rows of figures by their key.

    A file that cannot be read counts as missing, and a collection that cannot be written keeps
    nothing: both only cost time.

    Parameters
    ----------
    location
        The collection's location.
    name
        How the names of the files begin.
    fields
        The columns after the key.
    method
        Another one when the computation changes: rows of an older one are computed again.
    """

    def __init__(
        self, location: Location, name: str, fields: list[pa.Field], method: str
    ) -> None:
        self._location = location
        self._prefix = f"{_KEPT_FOLDER}/{name}-"
        metadata = {_METHOD_KEY: method.encode()}
        self._schema = pa.schema([KEY, *fields], metadata=metadata)
        self._known: dict[bytes, Row] = {}
        self._new: dict[bytes, Row] = {}
        self._files: list[str] = []
        self._read()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: bytes) -> Row | None:
        """Return the row of a key, or None."""
        known = self._known
        return known.get(key)

    def add(self, key: bytes, row: Row) -> None:
        """Remember a row until `save`."""
        self._known[key] = row
        self._new[key] = row

    def save(self) -> None:
        """Write what was added since the last save."""
        if not self._new:
            return
        joins_files = len(self._files) >= _MAX_FILES
        kept = self._known if joins_files else self._new
        name = f"{self._prefix}{secrets.token_hex(4)}.arrow"
        try:
            self._location.write(name, self._to_bytes(kept))
            self._new = {}
            if joins_files:
                for file in self._files:
                    self._location.remove(file)
                self._files = []
        except OSError:
            return
        self._files.append(name)

    def _read(self) -> None:
        try:
            names = [file.name for file in self._location.files(_KEPT_FOLDER)]
        except OSError:
            return
        for name in names:
            is_own = name.startswith(self._prefix)
            if not is_own or not name.endswith(".arrow"):
                continue
            try:
                content = self._location.read(name)
                self._known |= self._from_bytes(content)
            except (OSError, ValueError, KeyError, pa.ArrowException):
                continue
            self._files.append(name)

    def _to_bytes(self, rows: dict[bytes, Row]) -> bytes:
        keys = list(rows)
        columns = [keys]
        columns += [list(values) for values in zip(*rows.values(), strict=True)]
        named = dict(zip(self._schema.names, columns, strict=True))
        table = pa.table(named, schema=self._schema)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, self._schema) as writer:
            writer.write_table(table)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def _from_bytes(self, content: bytes) -> dict[bytes, Row]:
        table = pa.ipc.open_file(content).read_all()
        own_metadata = self._schema.metadata
        if table.schema.metadata != own_metadata:
            return {}
        columns = []
        for name in self._schema.names:
            values = table[name].to_pylist()
            columns.append(values)
        keys, *others = columns
        rows = zip(*others, strict=True)
        return dict(zip(keys, rows, strict=True))
