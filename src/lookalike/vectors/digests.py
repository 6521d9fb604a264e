"""Hashes of rows, which show the rows that came, were removed, or changed."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from lookalike.types import Ids, Places, VectorsF16
from lookalike.vectors.sorted_ids import places_of_ids

__all__ = ["RowDigests", "row_digests", "row_origins"]

# uint8 ``[n, 16]``, a hash of each row.
RowDigests = npt.NDArray[np.uint8]

_DIGEST_BYTES = 16


def row_digests(rows: VectorsF16) -> RowDigests:
    """Return a hash of each row, uint8 ``[n, 16]``."""
    digests = []
    for row in np.ascontiguousarray(rows):
        hashed = hashlib.blake2b(row, digest_size=_DIGEST_BYTES)
        digest = hashed.digest()
        digests.append(digest)
    joined = b"".join(digests)
    values = np.frombuffer(joined, np.uint8)
    count = len(rows)
    return values.reshape(count, _DIGEST_BYTES)


def row_origins(
    old_ids: Ids, old_digests: RowDigests, ids: Ids, digests: RowDigests
) -> Places:
    """Return the place of each row among earlier ones, intp ``[n]``; -1 if it is new or changed.

    Parameters
    ----------
    old_ids, old_digests
        int64 ``[m]``, rising, and uint8 ``[m, 16]``, the rows before.
    ids, digests
        int64 ``[n]`` and uint8 ``[n, 16]``, the rows now.
    """
    if not len(old_ids):
        return np.full(len(ids), -1, np.intp)
    places, is_same_id = places_of_ids(ids, old_ids)
    is_same_vector = (old_digests[places] == digests).all(axis=1)
    origins: Places = np.where(is_same_id & is_same_vector, places, -1)
    return origins
