"""A folder with duplicates, its collection, and the groups as a search returns them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

import lookalike
from lookalike.duplicates.groups import (
    Duplicate,
    DuplicateGroup,
    Duplicates,
    Reason,
    Tier,
)
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


def copy_into(path: Path, folder: Path) -> Path:
    """Copy a file with its time, as a person's backup does."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(path, folder))


def groups_of(
    table: Table,
    pairs: Sequence[tuple[Path, Sequence[Path]]],
    *,
    tier: Tier = "identical",
    protected: bool = False,
) -> Duplicates:
    """Return groups of an image to keep and its copies."""
    groups = []
    for kept, copies in pairs:
        keeper = image_of(table, kept)
        others = [
            image_of(
                table,
                path,
                tier=tier,
                reason=Reason("content"),
                is_protected=protected,
            )
            for path in copies
        ]
        groups.append(DuplicateGroup(keeper, tuple(others)))
    return Duplicates(tuple(groups), images=table.count(), version=table.version)


def image_of(table: Table, path: Path, **fields: object) -> Duplicate:
    """Return the image of a row."""
    [row] = table.existing_rows([str(path)]).values()
    assert row.sha256 is not None
    return Duplicate(
        id=row.id,
        uri=str(path),
        sha256=row.sha256.hex(),
        width=24,
        height=18,
        bytes=row.size,
        format="PNG",
        label=row.label,
        **fields,
    )
