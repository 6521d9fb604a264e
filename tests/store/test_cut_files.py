"""Writes that fail at the end of a file: a commit succeeds with complete files, or not at all."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

import made
from file_limit import file_limit
from lookalike.errors import CollectionError
from lookalike.maintenance.check import check_rows
from lookalike.store import upkeep
from lookalike.store.table import Table

pytestmark = pytest.mark.slow

ROWS = 400


def replace(table: Table) -> None:
    """Give the rows of a table new vectors, which deletes the old rows."""
    uris = table.lance_dataset.to_table(["uri"])["uri"].to_pylist()[::2]
    vectors = made.drawn(len(uris), dim=16, seed=2)
    table.update({"uri": uris, made.SPACE: vectors})


def discard(table: Table) -> None:
    """Move rows into the trash."""
    table.remove([f"/pictures/{number:06}.jpg" for number in range(40)])


def merge(table: Table) -> None:
    """Merge the files of a table, and update its indices."""
    upkeep.compact(table)
    upkeep.update_scalar_indices(table, make=True)


def files(table: Table) -> dict[str, int]:
    """Return the size of each of a table's files, by its path."""
    return {file.name: file.size for file in table.location.files()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "collection"
    table = made.make_collection(path, made.drawn(ROWS, dim=16))
    # Another fragment, that can be merged with the first.
    made.add_rows(table, made.drawn(20, dim=16, seed=1))
    return path


@pytest.mark.parametrize("change", [replace, discard, merge])
def test_a_commit_with_an_incomplete_file_fails(change, whole, tmp_path):
    table = Table.open(shutil.copytree(whole, tmp_path / "first"))
    existing = files(table)
    change(table)
    new_sizes = {size for name, size in files(table).items() if name not in existing}
    for size in new_sizes:
        place = shutil.copytree(whole, tmp_path / str(size))
        with file_limit(size - 1), suppress(CollectionError):
            change(Table.open(place))
        report = check_rows(Table.open(place))
        assert report.sound, report.faults
