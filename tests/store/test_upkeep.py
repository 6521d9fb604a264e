"""Upkeep: fragments are merged, indices are updated, and files that are not needed are removed."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import CollectionError
from lookalike.maintenance import optimize as optimizing
from lookalike.maintenance.optimize import optimize
from lookalike.store import upkeep
from lookalike.store.table import Table
from made import SPACE, add_rows, drawn, in_two_parts

ROWS = 1500


@pytest.fixture
def collection(tmp_path):
    return in_two_parts(tmp_path / "c", ROWS)


@pytest.mark.slow
def test_fragments_are_merged_and_old_versions_removed(collection):
    for seed in range(6):
        add_rows(collection, drawn(10, seed=seed))
    ids, matrix = collection.vectors(SPACE)
    first = optimize(collection, min_rows=1000)
    assert (first.fragments_before, first.fragments) == (8, 1)
    assert first.freed == 0
    assert len(collection.lance_dataset.versions()) > 8
    second = optimize(collection, keep_days=0)
    assert second.freed > 0
    assert len(collection.lance_dataset.versions()) == 1
    again = Table.open(collection.path).vectors(SPACE)
    np.testing.assert_array_equal(again[0], ids)
    np.testing.assert_array_equal(again[1], matrix)


def indexed(collection):
    """Return the number of rows in each index, by its column."""
    return {
        index.field_names[0]: index.num_rows_indexed
        for index in collection.lance_dataset.describe_indices()
    }


def test_current_indices_of_uris_and_labels_are_not_updated_again(collection):
    upkeep.update_scalar_indices(collection)
    assert indexed(collection) == {"uri": ROWS + 20}
    upkeep.update_scalar_indices(collection, make=True)
    add_rows(collection, drawn(5, seed=5))
    upkeep.update_scalar_indices(collection)
    assert indexed(collection) == {"uri": ROWS + 25, "label": ROWS + 25}
    version = collection.version
    upkeep.update_scalar_indices(collection, make=True)
    assert collection.version == version


def test_indexed_and_unindexed_fragments_are_merged_separately(collection):
    upkeep.update_scalar_indices(collection, make=True)
    for seed in (5, 6):
        add_rows(collection, drawn(5, seed=seed))
    upkeep.compact(collection)
    assert sorted(
        fragment.count_rows() for fragment in collection.lance_dataset.get_fragments()
    ) == [10, ROWS + 20]


def strays(collection):
    """Put files of no version into a collection, as killed writers leave them."""
    folder = Path(collection.path)
    names = [
        "data/a.lance",
        "data/.tmpAb12",
        "data/b.lance#1",
        "_versions/18446744073709551600.manifest#1",
        "_versions/.tmp_9.manifest",
        "_transactions/3-aa.txn",
        "_indices/aa/b.idx",
    ]
    tables = [folder / "images.lance", folder / "trash.lance"]
    files = [table / name for table in tables for name in names if table.exists()]
    files.append(folder / "maps" / ".lookalike-aa.arrow")
    files.append(folder / ".images.aa" / "data")
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(1000))
    return files


@pytest.mark.slow
def test_files_of_no_version_are_removed_and_all_others_stay(collection):
    optimize(collection, min_rows=1000)
    old = Table.open(collection.path)
    before = old.vectors(SPACE)
    add_rows(collection, drawn(5, seed=5))
    collection.remove(["/pictures/000003.jpg"])
    # Those of the trash have no readers for long: its old versions are removed at once.
    existing = {
        file
        for file in Path(collection.path).rglob("*")
        if "trash.lance" not in file.parts
    }
    made = strays(collection)
    report = optimize(collection)
    assert not any(file.exists() for file in made)
    assert report.freed >= 1000 * len(made)
    assert not Path(collection.path, ".images.aa").exists()
    assert not [file for file in existing if not file.exists()]
    # A reader of the previous version still reads it, also files that it has not opened yet.
    np.testing.assert_array_equal(old.vectors(SPACE)[1], before[1])
    assert len(old.take(before[0][:9], ["uri", "thumbnail"])) == 9
    assert collection.count() == ROWS + 24


def test_an_index_run_keeps_recent_orphans_and_recent_versions(collection, monkeypatch):
    monkeypatch.setattr("lookalike.store.upkeep._MANY_FRAGMENTS", 1)
    made, reader = strays(collection), Table.open(collection.path)
    optimizing.maintain(collection)
    assert len(reader.vectors(SPACE)[0]) == ROWS + 20
    assert len(collection.lance_dataset.get_fragments()) == 1
    assert [file.exists() for file in made] == [True] * 7 + [False] * 2


def test_a_version_that_was_just_replaced_stays_however_old_it_is(collection):
    time.sleep(1.1)
    reader = Table.open(collection.path)
    add_rows(collection, drawn(5, seed=5))
    upkeep.remove_old_versions(collection, timedelta(seconds=1))
    assert [found["version"] for found in collection.lance_dataset.versions()] == [
        reader.version,
        collection.version,
    ]
    assert len(reader.vectors(SPACE)[0]) == ROWS + 20


def test_reading_a_removed_version_raises_its_own_error(collection):
    reader = Table.open(collection.path)
    version = reader.version
    add_rows(collection, drawn(5, seed=5))
    optimize(collection, keep_days=0)
    message = (
        rf"Version {version} of the collection .* was removed by another process"
        r".*Open the collection again"
    )
    for read in (
        lambda: reader.vectors(SPACE),
        lambda: reader.select("label is null"),
        lambda: list(reader.scan(["uri"])),
    ):
        with pytest.raises(CollectionError, match=message):
            read()
    reader.refresh()
    assert len(reader.vectors(SPACE)[0]) == ROWS + 25


def test_an_index_run_skips_upkeep_while_another_process_optimizes(
    collection, monkeypatch
):
    monkeypatch.setattr("lookalike.store.upkeep._MANY_FRAGMENTS", 1)
    done = threading.Thread(
        target=optimizing.maintain, args=(Table.open(collection.path),)
    )
    with upkeep.maintenance_lock(collection):
        done.start()
        done.join()
    collection.refresh()
    assert len(collection.lance_dataset.get_fragments()) == 2
