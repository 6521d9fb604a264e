"""Collections made straight from vectors, without images or models."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lookalike.store.table import Table
from lookalike.types import Model

SPACE = "numbers"


def clusters(
    count: int, each: int, *, dim: int = 16, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return unit-length vectors near `count` corners, and the corner of each.

    The corners take turns.
    """
    of = np.arange(count * each) % count
    noise = np.random.default_rng(seed).normal(0, 0.06, (len(of), dim))
    vectors = np.eye(dim)[of] + noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
        np.float32
    ), of


def drawn(count: int, *, seed: int = 0, dim: int = 32) -> np.ndarray:
    """Return vectors of length 1 in all directions, float32 ``[count, dim]``."""
    found = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def in_two_parts(path: Path, rows: int = 1500) -> Table:
    """Make a collection of ``rows`` random vectors, and 20 more in their own fragment."""
    collection = make_collection(path, drawn(rows))
    add_rows(collection, drawn(20, seed=1))
    return collection


def picture(color: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> bytes:
    """Return a JPEG of one color."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "JPEG", quality=90)
    return file.getvalue()


def make_collection(path: Path, vectors: np.ndarray) -> Table:
    """Make a collection of rows with these vectors; see `add_rows`."""
    model = Model(SPACE, "numbers", "pixels", (1, 1), vectors.shape[1])
    collection = Table.create(path, [model])
    add_rows(collection, vectors)
    return collection


def add_rows(
    collection: Table,
    vectors: np.ndarray,
    *,
    uris: Sequence[str] | None = None,
    labels: Sequence[str | None] | None = None,
    thumbnails: Sequence[bytes] | None = None,
) -> None:
    """Add rows, or give a new vector to the rows whose uris exist.

    Without uris, the numbering continues after the last row.
    """
    first, count = collection.count(), len(vectors)
    columns = {
        "uri": uris or [f"/pictures/{first + index:06}.jpg" for index in range(count)],
        "sha256": [vector.tobytes().ljust(32, b"\0")[:32] for vector in vectors],
        "label": labels or [None] * count,
        "thumbnail": thumbnails or [picture((90, 120, 150))] * count,
        "spaces": [[SPACE]] * count,
        SPACE: vectors,
    }
    collection.upsert(columns, replace=True)
