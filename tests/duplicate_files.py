"""Copies of images in folders, their state, and groups as a search returns them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lookalike.duplicates.groups import (
    Duplicate,
    DuplicateGroup,
    Duplicates,
    Reason,
    Tier,
)
from lookalike.store.table import Table


def state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return the content, the time and the permissions of every file of a folder."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            name = str(path.relative_to(folder))
            files[name] = (path.read_bytes(), status.st_mtime_ns, status.st_mode)
    return files


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
                table, path, tier=tier, reason=Reason("content"), is_protected=protected
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
