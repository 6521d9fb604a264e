"""A folder with duplicates, its collection, and the groups as a search returns them."""

from __future__ import annotations

from pathlib import Path

import pytest

import lookalike
from duplicate_files import copy_into, groups_of
from lookalike.duplicates.groups import Duplicates
from lookalike.store.table import Table
from rated_images import make_image


@pytest.fixture
def root(tmp_path) -> Path:
    """Two photographs with copies of the same bytes, and an image of its own."""
    folder = tmp_path / "images"
    for number, name in enumerate(("a", "b", "alone")):
        make_image(folder / "kept" / f"{name}.png", number)
    for name in ("a", "b"):
        copy_into(folder / "kept" / f"{name}.png", folder / "copies")
    return folder


@pytest.fixture
def table(root, tmp_path) -> Table:
    """The collection of that folder, with a rating of each image."""
    rows = [f"{path},{len(path.name)}" for path in sorted(root.rglob("*.png"))]
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("\n".join(["filename,rating", *rows]))
    lookalike.index(root, tmp_path / "c", models=["pixels"], metadata=ratings)
    return Table.open(tmp_path / "c")


@pytest.fixture
def found(table, root) -> Duplicates:
    """What a search finds there."""
    pairs = [(root / "kept" / name, [root / "copies" / name]) for name in NAMES]
    return groups_of(table, pairs)


NAMES = ("a.png", "b.png")
