"""A backup is a complete, verified copy at any moment, and can be restored."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import lookalike
import made
from forked import start_python
from lookalike.errors import BusyError, CollectionError
from lookalike.maintenance.backup import backup
from lookalike.maintenance.optimize import optimize
from lookalike.projection.map import make_map
from lookalike.store import ann, upkeep
from lookalike.store import copy as copies
from lookalike.store.places import locate
from lookalike.store.table import Table
from made import SPACE


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    vectors, _ = made.clusters(4, 50)
    collection = made.make_collection(
        tmp_path_factory.mktemp("whole") / "collection", vectors
    )
    collection.delete(collection.ids_under(["/pictures/00019"]))
    optimize(collection, min_rows=10, recall=0.9)
    make_map(collection, method="pca")
    return Path(collection.path)


@pytest.fixture
def place(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "collection")


def contents(path: Path) -> dict[str, object]:
    """Return everything that a user finds in a collection."""
    collection = Table.open(path)
    rows = (
        collection.lance_dataset.to_table(with_row_id=True)
        .sort_by("_rowid")
        .to_pylist()
    )
    plane = make_map(collection, method="pca")
    return {
        "rows": rows,
        "map": plane.xy.tolist(),
        "version": collection.version,
        "tuned": ann.current_tuning(collection, SPACE),
    }


def files(path: Path) -> dict[str, int]:
    return {
        str(file.relative_to(path)): file.stat().st_ino
        for file in path.rglob("*")
        if file.is_file()
    }


@pytest.mark.slow
def test_a_backup_is_a_complete_collection(place, tmp_path):
    done = []
    copied = lookalike.backup(
        place, tmp_path / "backup", progress=lambda *now: done.append(now)
    )
    assert contents(tmp_path / "backup") == contents(place)
    assert contents(place)["tuned"] is not None
    assert lookalike.check(tmp_path / "backup").sound
    assert (copied.images, copied.version, copied.kept) == (
        190,
        Table.open(place).version,
        0,
    )
    assert done[-1][0] == done[-1][1] > 0
    parts = (tmp_path / "backup" / name for name in ("images.lance", "maps"))
    assert copied.copied == sum(
        file.stat().st_size
        for part in parts
        for file in part.rglob("*")
        if file.is_file()
    )
    lookalike.restore(tmp_path / "backup", tmp_path / "new" / "restored")
    assert contents(tmp_path / "new" / "restored") == contents(place)
    assert sorted(path.name for path in (tmp_path / "new" / "restored").iterdir()) == [
        ".writer",
        "images.lance",
        "maps",
    ]
    made.add_rows(
        Table.open(tmp_path / "new" / "restored"), np.eye(16, dtype=np.float32)
    )
    assert lookalike.check(tmp_path / "new" / "restored").images == 206


def test_an_earlier_backup_is_updated_without_copying_again(place, tmp_path):
    first = lookalike.backup(place, tmp_path / "backup")
    before = files(tmp_path / "backup")
    made.add_rows(Table.open(place), np.eye(16, dtype=np.float32)[:1])
    second = lookalike.backup(place, tmp_path / "backup")
    assert second.kept > first.copied * 0.7
    linked = {
        name
        for name, inode in files(tmp_path / "backup").items()
        if before.get(name) == inode
    }
    assert any("/data/" in name for name in linked)
    # No file of the previous version is left.
    fresh = lookalike.backup(place, tmp_path / "other")
    assert fresh.kept == 0
    assert files(tmp_path / "backup").keys() == files(tmp_path / "other").keys()
    assert contents(tmp_path / "backup") == contents(place)
    record = copies.read_record(tmp_path / "backup")
    assert record.files.keys() == files(tmp_path / "backup").keys() - {
        "backup.json",
        ".writer",
    }


@pytest.mark.slow
def test_a_first_index_is_copied_beside_rows_that_were_copied_before(tmp_path):
    collection = made.make_collection(tmp_path / "collection", made.clusters(4, 50)[0])
    backup(collection, tmp_path / "backup")
    optimize(collection, min_rows=10, recall=0.9)
    backup(collection, tmp_path / "backup")
    assert ann.current_tuning(Table.open(tmp_path / "backup"), SPACE) is not None


class Removing:
    """Another process that replaces and removes the version being copied, a number of times."""

    def __init__(self, path: Path, times: int) -> None:
        self.path, self.times = path, times

    def __call__(self, done: int, total: int) -> None:
        if self.times and done < total:
            self.times -= 1
            other = Table.open(self.path)
            made.add_rows(other, np.eye(16, dtype=np.float32)[[self.times % 16]])
            upkeep.remove_old_versions(other, timedelta(0))


def test_a_version_removed_during_the_copy_is_replaced_by_the_newer_one(
    place, tmp_path
):
    removing = Removing(place, 2)
    copied = lookalike.backup(place, tmp_path / "backup", progress=removing)
    assert (removing.times, copied.images) == (0, 192)
    assert lookalike.check(tmp_path / "backup").faults == []
    assert contents(tmp_path / "backup") == contents(place)


def test_a_copy_fails_if_every_version_is_removed_while_it_runs(place, tmp_path):
    with pytest.raises(BusyError, match="is busy: 5 times"):
        lookalike.backup(place, tmp_path / "backup", progress=Removing(place, 1000))
    assert not (tmp_path / "backup").exists()


def test_a_full_disk_is_reported_although_the_collection_keeps_changing(
    place, tmp_path, monkeypatch
):
    def full(descriptor: int) -> None:
        made.add_rows(Table.open(place), np.eye(16, dtype=np.float32)[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CollectionError, match="no space is left there"):
        lookalike.backup(place, tmp_path / "backup")


def test_a_collection_that_disappears_before_the_copy_is_reported(place, tmp_path):
    collection = Table.open(place)
    shutil.rmtree(place)
    with (
        pytest.raises(CollectionError, match=str(place)),
        copies.stage(
            collection, locate(tmp_path / "backup"), progress=lambda done, total: None
        ),
    ):
        pass
    assert not (tmp_path / "backup").exists()


@pytest.mark.slow
def test_a_backup_follows_a_collection_whose_files_were_all_rewritten(place, tmp_path):
    lookalike.backup(place, tmp_path / "backup")
    collection = Table.open(place)
    made.add_rows(collection, np.eye(16, dtype=np.float32)[:9])
    collection.remove(["/pictures/000003.jpg"])
    optimize(collection, keep_days=0, min_rows=10, recall=0.9)
    shutil.rmtree(place / "maps")
    backup(collection, tmp_path / "backup")
    assert not (tmp_path / "backup" / "maps").exists()
    assert contents(tmp_path / "backup") == contents(place)


def test_a_later_backup_has_the_map_that_was_made_again(place, tmp_path):
    lookalike.backup(place, tmp_path / "backup")
    collection = Table.open(place)
    made.add_rows(collection, np.eye(16, dtype=np.float32)[:9])
    make_map(collection, method="pca", rebuild=True)
    backup(collection, tmp_path / "backup")
    [file] = (place / "maps").glob("*.arrow")
    copied = tmp_path / "backup" / "maps" / file.name
    assert copied.read_bytes() == file.read_bytes()


def test_a_corrupted_file_of_the_earlier_backup_is_copied_again(place, tmp_path):
    lookalike.backup(place, tmp_path / "backup")
    decay(tmp_path / "backup")
    assert not lookalike.check(tmp_path / "backup").sound
    made.add_rows(Table.open(place), np.eye(16, dtype=np.float32)[:1])
    lookalike.backup(place, tmp_path / "backup")
    assert lookalike.check(tmp_path / "backup").sound


def decay(path: Path) -> str:
    """Change one number of a vector, which Lance does not notice; return the file's name."""
    vector = Table.open(path).vectors(SPACE)[1][10].tobytes()
    for file in (path / "images.lance" / "data").iterdir():
        data = bytearray(file.read_bytes())
        if vector in data:
            data[data.index(vector)] ^= 1
            file.write_bytes(data)
            return f"images.lance/data/{file.name}"
    raise AssertionError("no file holds the vector as it is")


def test_a_flipped_bit_in_a_backup_is_found(place, tmp_path):
    lookalike.backup(place, tmp_path / "backup")
    name = decay(tmp_path / "backup")
    report = lookalike.check(tmp_path / "backup")
    assert [fault.what for fault in report.faults] == [
        f"The file {name} has changed since this backup was made."
    ]
    with pytest.raises(
        CollectionError, match=f"is damaged: its file {name} has changed"
    ):
        lookalike.restore(tmp_path / "backup", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_a_damaged_collection_does_not_replace_a_backup(place, tmp_path):
    lookalike.backup(place, tmp_path / "backup")
    before = contents(tmp_path / "backup")
    collection = Table.open(place)
    made.add_rows(collection, np.full((1, 16), 3, np.float32))
    with pytest.raises(
        CollectionError,
        match=r"was not copied .*faults .1.\. The first: .*has the length 12.*lookalike check -c",
    ):
        lookalike.backup(place, tmp_path / "backup")
    assert contents(tmp_path / "backup") == before
    assert {path.name for path in (tmp_path / "backup").iterdir()} == {
        "images.lance",
        "maps",
        "backup.json",
        ".writer",
    }


def test_existing_files_are_never_overwritten(place, tmp_path):
    other = made.make_collection(tmp_path / "other", made.clusters(4, 5)[0])
    (tmp_path / "file").write_text("a file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").touch()
    for target in (place, tmp_path / "other", tmp_path / "full", tmp_path / "file"):
        with pytest.raises(
            CollectionError, match="holds something that is not a backup"
        ):
            lookalike.backup(place, target)
        with pytest.raises(CollectionError, match="is not empty"):
            lookalike.restore(place, target)
    lookalike.backup(place, tmp_path / "backup")
    with pytest.raises(
        CollectionError,
        match=r"holds a backup of the collection .*collection, not of .*other",
    ):
        backup(other, tmp_path / "backup")
    with pytest.raises(CollectionError, match="does not exist"):
        lookalike.restore(tmp_path / "nowhere", tmp_path / "new")


@pytest.mark.parametrize("copy", [lookalike.backup, lookalike.restore])
def test_a_collection_made_while_a_copy_is_on_its_way_stays(copy, place, tmp_path):
    target = tmp_path / "target"
    map_files = []

    def make_another(_done, _total):
        if not map_files:
            make_map(made.make_collection(target, made.drawn(3, dim=16)), method="pca")
            map_files.extend((target / "maps").glob("*.arrow"))
            map_files.append(map_files[0].read_bytes())

    with pytest.raises(CollectionError, match="another process has made a collection"):
        copy(place, target, progress=make_another)
    assert Table.open(target).count() == 3
    file, content = map_files
    assert file.read_bytes() == content


def test_an_older_or_diverged_collection_does_not_replace_a_newer_backup(
    place, tmp_path
):
    shutil.copytree(place, tmp_path / "older")
    made.add_rows(Table.open(place), np.eye(16, dtype=np.float32))
    lookalike.backup(place, tmp_path / "backup")
    shutil.rmtree(place)
    shutil.move(tmp_path / "older", place)
    for _ in range(2):
        with pytest.raises(CollectionError, match="newer than the collection"):
            lookalike.backup(place, tmp_path / "backup")
        # Another version with the same number.
        made.add_rows(Table.open(place), np.eye(16, dtype=np.float32)[:1])
    assert lookalike.check(tmp_path / "backup").images == 206


@pytest.mark.slow
def test_backups_beside_a_running_indexer_are_complete(sample, tmp_path):
    images, collection = tmp_path / "images", tmp_path / "collection"
    for turn in range(3):
        shutil.copytree(sample, images / str(turn))
        for file in (images / str(turn)).rglob("*.jpg"):
            file.write_bytes(file.read_bytes() + bytes([turn]))
    lookalike.index(images / "0", collection, models=["pixels"])
    program = (
        "import sys, lookalike\n"
        "from lookalike.indexing.run import IndexSettings\n"
        "lookalike.index(sys.argv[1], sys.argv[2], "
        "settings=IndexSettings(commit_rows=4, batch=1))\n"
        "lookalike.optimize(sys.argv[2], keep_days=0)\n"
    )
    words = ["-c", program, str(images), str(collection)]
    versions = []
    with start_python(words, env=os.environ) as indexer:
        while indexer.poll() is None:
            versions.append(lookalike.backup(collection, tmp_path / "backup").version)
    assert indexer.returncode == 0
    assert len(set(versions)) > 2
    lookalike.backup(collection, tmp_path / "backup")
    lookalike.restore(tmp_path / "backup", tmp_path / "restored")
    report = lookalike.check(tmp_path / "restored", files=True)
    assert report.sound
    assert report.files["same"] == report.images == 3 * 45
    assert lookalike.index(images, tmp_path / "restored").unchanged == report.images


KILLED = """
import os, signal, sys, lookalike
wanted, part = sys.argv[3:]
def kill(event, arguments):
    if event == wanted and part in str(arguments[0]) and (event == "os.remove" or ".images." in
    str(arguments[0])):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
lookalike.backup(sys.argv[1], sys.argv[2])
"""


def kill_backup(place: Path, target: Path, moment: tuple[str, str]) -> int | None:
    """Kill a backup at an event that its name and a part of its argument describe."""
    words = ["-c", KILLED, str(place), str(target), *moment]
    with start_python(words, env=os.environ) as process:
        return process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [("open", "/data/"), ("os.rename", "/maps"), ("os.rename", "/images.lance")],
)
def test_an_interrupted_first_backup_never_looks_complete(place, tmp_path, moment):
    target = tmp_path / "backup"
    assert kill_backup(place, target, moment) == -signal.SIGKILL
    for use in (
        lookalike.check,
        lambda path: lookalike.restore(path, tmp_path / "restored"),
    ):
        with pytest.raises(CollectionError, match="without a collection"):
            use(target)
    finish(place, target)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        ("open", "/data/"),
        ("os.rename", "/maps"),
        ("os.rename", "/data/"),
        ("os.rename", ".manifest"),
        ("os.remove", "/_versions/18"),
    ],
)
def test_an_interrupted_later_backup_leaves_the_old_or_the_new_one(
    place, tmp_path, moment
):
    target = tmp_path / "backup"
    lookalike.backup(place, target)
    before = Table.open(target).version
    made.add_rows(Table.open(place), np.eye(16, dtype=np.float32))
    assert kill_backup(place, target, moment) == -signal.SIGKILL
    assert Table.open(target).version == before + (moment[0] == "os.remove")
    report = lookalike.check(target)
    assert report.sound, report.faults
    finish(place, target)


def finish(place: Path, target: Path) -> None:
    """Back up again, which must leave a complete backup and no leftovers."""
    lookalike.backup(place, target)
    assert {path.name for path in target.iterdir()} == {
        "images.lance",
        "maps",
        "backup.json",
        ".writer",
    }
    assert contents(target) == contents(place)


def test_a_folder_with_a_damaged_record_is_not_a_backup(place, tmp_path):
    lookalike.backup(place, tmp_path / "backup")
    (tmp_path / "backup" / "backup.json").write_text("{")
    with pytest.raises(CollectionError, match="not a backup"):
        lookalike.backup(place, tmp_path / "backup")
    assert copies.read_record(tmp_path / "backup") is None
