"""Pairs of contents that were compared by points, kept beside a collection.

A later search reads them and compares only new pairs. Each file holds the pairs of one save; a
pair is known by a hash of its two contents, so it stays valid when files move.
"""

from __future__ import annotations

import hashlib
import secrets

import pyarrow as pa

from lookalike.duplicates.points import Alignment
from lookalike.store.location import Location

__all__ = ["PairStore"]

_PAIRS_FOLDER = "duplicates"
_KEY_BYTES = 16
# Raised when the comparison changes: pairs of an older one are compared again.
_METHOD = b"1"
_METHOD_KEY = b"lookalike.duplicates.method"
_SCHEMA = pa.schema(
    {
        "pair": pa.binary(_KEY_BYTES),
        "inliers": pa.uint16(),
        "correlation": pa.float64(),
        "is_mirrored": pa.bool_(),
    },
    metadata={_METHOD_KEY: _METHOD},
)
# More files than this are joined into one.
_MAX_FILES = 8


class PairStore:
    """The alignments of pairs of contents.

    A file that cannot be read counts as missing, and a collection that cannot be written keeps
    nothing: both only cost time.

    Parameters
    ----------
    location
        The collection's location.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._known: dict[bytes, Alignment] = {}
        self._new: dict[bytes, Alignment] = {}
        self._files: list[str] = []
        self._read()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, first: bytes, second: bytes) -> Alignment | None:
        """Return the alignment of two contents, or None."""
        key = _pair_key(first, second)
        known = self._known
        return known.get(key)

    def add(self, first: bytes, second: bytes, alignment: Alignment) -> None:
        """Remember the alignment of two contents until `save`."""
        key = _pair_key(first, second)
        self._known[key] = alignment
        self._new[key] = alignment

    def save(self) -> None:
        """Write what was added since the last save."""
        if not self._new:
            return
        joins_files = len(self._files) >= _MAX_FILES
        kept = self._known if joins_files else self._new
        name = f"{_PAIRS_FOLDER}/pairs-{secrets.token_hex(4)}.arrow"
        try:
            self._location.write(name, _to_bytes(kept))
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
            names = [file.name for file in self._location.files(_PAIRS_FOLDER)]
        except OSError:
            return
        for name in names:
            if not name.startswith(f"{_PAIRS_FOLDER}/pairs-") or not name.endswith(
                ".arrow"
            ):
                continue
            try:
                content = self._location.read(name)
                self._known |= _from_bytes(content)
            except (OSError, ValueError, KeyError, pa.ArrowException):
                continue
            self._files.append(name)


def _pair_key(first: bytes, second: bytes) -> bytes:
    smaller, larger = sorted((first, second))
    both = smaller + larger
    digest = hashlib.blake2b(both, digest_size=_KEY_BYTES)
    return digest.digest()


def _to_bytes(alignments: dict[bytes, Alignment]) -> bytes:
    inliers, correlations, are_mirrored = [], [], []
    for alignment in alignments.values():
        inliers.append(alignment.inliers)
        correlations.append(alignment.correlation)
        are_mirrored.append(alignment.is_mirrored)
    columns = {
        "pair": list(alignments),
        "inliers": inliers,
        "correlation": correlations,
        "is_mirrored": are_mirrored,
    }
    rows = pa.table(columns, schema=_SCHEMA)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_table(rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _from_bytes(content: bytes) -> dict[bytes, Alignment]:
    rows = pa.ipc.open_file(content).read_all()
    metadata = rows.schema.metadata or {}
    method = metadata.get(_METHOD_KEY)
    if method != _METHOD:
        return {}
    names = ("pair", "inliers", "correlation", "is_mirrored")
    columns = []
    for name in names:
        values = rows[name].to_pylist()
        columns.append(values)
    alignments = {}
    for key, *figures in zip(*columns, strict=True):
        alignment = Alignment(*figures)
        alignments[key] = alignment
    return alignments
