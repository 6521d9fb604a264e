"""Collections with labels that a Space can be learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lookalike.store.table import Table
from lookalike.types import Model
from made import SPACE, add_rows

DIM = 24


def labeled_vectors(labels: int, each: int, seed: int = 0) -> tuple[np.ndarray, list]:
    """Return vectors with their labels: images of one label differ much in two directions."""
    random = np.random.default_rng(seed)
    corners = np.random.default_rng(7).normal(0, 1, (20, DIM))
    corners[:, :2] = 0
    numbers = np.repeat(np.arange(labels), each)
    rows = corners[numbers] + random.normal(0, 0.5, (len(numbers), DIM))
    rows[:, :2] += random.normal(0, 5, (len(numbers), 2))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), [f"label {number}" for number in numbers]


def labeled_collection(path: Path, labels: int = 6, each: int = 15) -> Table:
    """Make a collection of these vectors in a Space of pixels, which a server can load."""
    rows, names = labeled_vectors(labels, each)
    model = Model(SPACE, "Numbers", "pixels", (2, 4), DIM)
    table = Table.create(path, [model])
    add_rows(table, rows, labels=names)
    return table
