"""Carry the rows of a folder over to its new place, with their metadata and vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from lookalike.errors import InputError
from lookalike.sources import display_path, resolve_uri, uri_exists, uri_prefixes
from lookalike.store.diff import ExistingRow
from lookalike.store.schema import given_columns
from lookalike.store.table import Table

__all__ = ["MoveReport", "move"]


@dataclass(slots=True)
class MoveReport:
    """The result of carrying rows over.

    Attributes
    ----------
    old, new
        The folders.
    moved
        The number of rows that have the new uri now.
    merged
        The number of rows whose new uri was indexed already, with the same content. It has their
        metadata where it had none.
    different
        The uris of rows that stay because their new uri has other content in the collection.
    present
        The number of rows that stay because their file is still below the old folder.
    missing
        The number of rows that stay because the new folder lacks their files.
    """

    old: str
    new: str
    moved: int = 0
    merged: int = 0
    different: list[str] = field(default_factory=list)
    present: int = 0
    missing: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``lookalike move --json`` prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row below the old folder, and its new uri."""

    id: int
    uri: str
    sha256: bytes | None
    new_uri: str


def move(
    table: Table, old: str | os.PathLike[str], new: str | os.PathLike[str]
) -> MoveReport:
    """Give the rows below a folder that was moved the uris of its new place.

    Metadata, vectors and ids stay. No image is read. A row is carried over if its file no longer
    exists below the old folder, and exists below the new one.

    Parameters
    ----------
    table
        The collection's table.
    old, new
        The folder before and after the move, or an image.

    Raises
    ------
    InputError
        If the new folder does not exist, or the collection has no image below the old one.
    """
    old_uri = resolve_uri(old)
    new_uri = resolve_uri(new)
    old_path = display_path(old_uri)
    new_path = display_path(new_uri)
    prefixes = _prefix_pairs(old_uri, new_uri)
    if not uri_exists(new_uri):
        raise InputError(
            f"There is no file or folder {new_path!r}. "
            "Name the folder to which the images were moved."
        )

    def step() -> MoveReport:
        report = MoveReport(old_path, new_path)
        count = 0
        for old_prefix, new_prefix in prefixes:
            rows = _rows_below(table, old_prefix, new_prefix)
            _move_rows_below(table, rows, (old_prefix, new_prefix), report)
            count += len(rows)
        if not count:
            raise InputError(
                f"The collection {table.path} has no image below {old_path!r}. "
                "Name the folder from which the images were indexed."
            )
        return report

    return table.transaction(step)


def _prefix_pairs(old_uri: str, new_uri: str) -> list[tuple[str, str]]:
    """Return each start of a uri below the old folder with the one that replaces it."""
    old_prefixes = uri_prefixes(old_uri)
    new_prefixes = uri_prefixes(new_uri)
    if len(old_prefixes) != len(new_prefixes):
        old_path = display_path(old_uri)
        new_path = display_path(new_uri)
        raise InputError(
            f"{old_path!r} and {new_path!r} have names of different encodings. Rename the new "
            "folder so that its name is valid Unicode, or index it."
        )
    pairs = zip(old_prefixes, new_prefixes, strict=True)
    # An image itself.
    return [(old_uri, new_uri), *pairs]


def _rows_below(table: Table, old_prefix: str, new_prefix: str) -> list[_Row]:
    if old_prefix.endswith(("/", os.sep)):
        ids = table.ids_under([old_prefix])
    else:
        existing = table.existing_rows([old_prefix])
        ids = np.array([row.id for row in existing.values()], np.int64)
    stored = table.take(ids, ["uri", "sha256"])
    rows = []
    for row in stored.to_pylist():
        rest = row["uri"][len(old_prefix) :]
        rows.append(_Row(row["id"], row["uri"], row["sha256"], new_prefix + rest))
    return rows


def _move_rows_below(
    table: Table, rows: Sequence[_Row], prefixes: tuple[str, str], report: MoveReport
) -> None:
    """Carry rows over whose files moved, and count all of them."""
    to_move = []
    for row in rows:
        is_present = uri_exists(row.uri)
        if is_present:
            report.present += 1
        elif not uri_exists(row.new_uri):
            report.missing += 1
        else:
            to_move.append(row)

    occupied = _rows_at_new_uris(table, to_move)
    renamed_ids = []
    merged = []
    for row in to_move:
        other = occupied.get(row.new_uri)
        if other is None:
            renamed_ids.append(row.id)
        elif row.sha256 in {None, other.sha256}:
            merged.append(row)
        else:
            report.different.append(row.uri)

    old_prefix, new_prefix = prefixes
    ids = np.array(renamed_ids, np.int64)
    table.move_uris(ids, old_prefix, new_prefix)
    _merge(table, merged)
    moved_count = len(renamed_ids)
    merged_count = len(merged)
    report.moved += moved_count
    report.merged += merged_count


def _rows_at_new_uris(table: Table, rows: Sequence[_Row]) -> dict[str, ExistingRow]:
    """Return the rows of the new uris; those in the trash with the same content come back."""
    new_uris = []
    contents = {}
    for row in rows:
        new_uri = row.new_uri
        sha256 = row.sha256
        new_uris.append(new_uri)
        if sha256 is not None:
            contents[new_uri] = sha256
    # Otherwise, metadata that was given at the new place would be hidden in the trash.
    trash = table.trash
    restored = trash.restore_contents(contents)
    restored_uris = sorted(restored)
    trash.settle(restored_uris)
    return table.existing_rows(new_uris)


def _merge(table: Table, rows: Sequence[_Row]) -> None:
    """Give the metadata of rows to the rows of their new uris, and remove them."""
    if not rows:
        return
    ids = np.array([row.id for row in rows], np.int64)
    new_uris = pa.array([row.new_uri for row in rows])
    names = given_columns(table.metadata)
    metadata = table.take(ids, names).drop(["id"])
    with_new_uris = metadata.append_column("uri", new_uris)
    table.fill_metadata(with_new_uris)
    # Values that differ from those of the new rows stay in the trash.
    table.trash.discard_moved(ids)
