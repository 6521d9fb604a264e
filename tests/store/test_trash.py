"""The trash: rows that leave the table and come back, whole, whatever happens in between."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import lookalike
from lookalike.errors import CollectionError, InputError
from lookalike.store import trash as trash_module
from lookalike.store import trash_table
from lookalike.store.table import Table
from made import SPACE, drawn, make_collection


@pytest.fixture
def table(tmp_path):
    """A collection of six rows with a rating; the names are /pictures/000000.jpg and so on."""
    table = make_collection(tmp_path / "c", drawn(6))
    table.add_metadata({"rating": "int64"})
    uris = [f"/pictures/{number:06}.jpg" for number in range(6)]
    table.update({"uri": uris, "rating": list(range(6))})
    return table


def uri(number):
    return f"/pictures/{number:06}.jpg"


def contents(table):
    """Return {uri: (rating, thumbnail, vector)} of the images."""
    ids, matrix = table.vectors(SPACE)
    rows = table.take(ids, ["uri", "rating", "thumbnail"]).to_pylist()
    return {
        row["uri"]: (row["rating"], row["thumbnail"], vector.tolist())
        for row, vector in zip(rows, matrix, strict=True)
    }


def trashed(table):
    return table.trash.rows()["uri"].to_pylist()


def test_rows_come_back_whole(table):
    before = contents(table)
    assert table.remove([uri(1), uri(3)]) == 2
    assert sorted(contents(table)) == [uri(0), uri(2), uri(4), uri(5)]
    assert trashed(table) == [uri(1), uri(3)]
    report = table.trash.restore([uri(3)])
    assert report.to_dict() == {"restored": 1, "occupied": []}
    assert trashed(table) == [uri(1)]
    assert table.trash.restore().restored == 1
    assert contents(table) == before
    assert not table.location.has_trash()


def test_the_trash_of_an_old_collection_is_empty(table):
    assert trashed(table) == []
    assert table.trash.count() == 0
    assert table.trash.restore().restored == 0
    assert table.trash.empty() == 0
    assert table.trash.purge(0) == 0
    assert table.trash.compact() == 0
    table.trash.settle()
    with pytest.raises(InputError, match="has no image"):
        table.trash.restore(["/pictures/1.jpg"])


def test_a_process_killed_between_both_commits_loses_and_doubles_nothing(
    table, monkeypatch
):
    before = contents(table)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Table, "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        table.remove([uri(1)])
    monkeypatch.undo()
    # The row is in both places: the one in the table counts.
    assert contents(table) == before
    assert table.trash.count() == 1
    assert trashed(table) == []
    table.remove([uri(1)])
    assert trashed(table) == [uri(1)]

    # And on the way back.
    monkeypatch.setattr(trash_table.TrashTable, "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        table.trash.restore()
    monkeypatch.undo()
    table.refresh()
    assert contents(table) == before
    assert trashed(table) == []
    lookalike.optimize(table.path)
    assert table.trash.count() == 0
    table.refresh()
    assert contents(table) == before


def test_metadata_of_a_row_in_both_places_is_kept(table):
    table.remove([uri(1)])
    rows = table.trash.view()
    assert rows is not None
    # Another program added the row again, without its metadata.
    names = [name for name in table.schema.names if name != "rating"]
    table.insert(table.trash._rows.stream([0], names))
    assert contents(table)[uri(1)][0] is None
    table.trash.settle([uri(1)])
    assert contents(table)[uri(1)][0] == 1
    assert table.trash.count() == 0


def test_a_row_that_expires_gives_its_metadata_to_the_row_of_the_table(table):
    table.remove([uri(1), uri(2)])
    names = [name for name in table.schema.names if name != "rating"]
    table.insert(table.trash._rows.stream([0], names))
    assert table.trash.purge(0) == 2
    assert contents(table)[uri(1)][0] == 1
    assert table.trash.count() == 0


def test_of_several_rows_of_a_uri_the_last_one_comes_back(table):
    vector = drawn(1, seed=9)
    first = contents(table)[uri(1)]
    table.remove([uri(1)])
    table.upsert(
        {"uri": [uri(1)], "sha256": [b"\7" * 32], "spaces": [[SPACE]], SPACE: vector},
        replace=True,
    )
    # Its place is taken.
    report = table.trash.restore()
    assert (report.restored, report.occupied) == (0, [uri(1)])
    table.remove([uri(1)])
    assert table.trash.count() == 2
    assert trashed(table) == [uri(1)]
    assert table.trash.restore().restored == 1
    assert contents(table)[uri(1)][2] != first[2]
    assert trashed(table) == [uri(1)]


def test_columns_that_are_added_later_are_kept_too(table):
    table.remove([uri(1)])
    table.add_metadata({"place": "string"})
    table.update({"uri": [uri(2)], "place": ["Rome"]})
    table.remove([uri(2)])
    assert table.trash.restore().restored == 2
    ids = table.select("place = 'Rome'")
    assert table.take(ids, ["uri"])["uri"].to_pylist() == [uri(2)]
    assert contents(table)[uri(1)][0] == 1


def test_failures_are_kept_only_with_metadata(table):
    table.upsert({"uri": ["/bad", "/rated"], "error": ["x", "x"]}, replace=True)
    table.update({"uri": ["/rated"], "rating": [5]})
    table.remove(["/bad", "/rated"])
    assert trashed(table) == ["/rated"]


def test_rows_expire(table, monkeypatch):
    long_ago = datetime.now(UTC) - timedelta(days=31)

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return long_ago

    monkeypatch.setattr(trash_table, "datetime", Clock)
    table.remove([uri(1)])
    monkeypatch.undo()
    table.remove([uri(2)])
    monkeypatch.setenv("LOOKALIKE_TRASH_DAYS", "40")
    assert table.trash.purge() == 0
    report = lookalike.optimize(table.path, trash_days=32)
    assert (report.purged, report.trash) == (0, 2)
    monkeypatch.delenv("LOOKALIKE_TRASH_DAYS")
    report = lookalike.optimize(table.path)
    assert (report.purged, report.trash) == (1, 1)
    assert report.freed > 0
    assert trashed(table) == [uri(2)]
    monkeypatch.setenv("LOOKALIKE_TRASH_DAYS", "soon")
    with pytest.raises(InputError, match="LOOKALIKE_TRASH_DAYS=soon is invalid"):
        table.trash.purge()
    with pytest.raises(InputError, match="trash_days = -1 is out of range"):
        lookalike.optimize(table.path, trash_days=-1)


def test_optimize_frees_the_space_of_deleted_rows(table):
    for number in range(4):
        table.remove([uri(number)])
    folder = Path(table.path, "trash.lance")
    before = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert table.trash.empty([uri(0), uri(1)]) == 2
    lookalike.optimize(table.path)
    after = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert after < before
    assert len(list(folder.glob("data/*"))) == 1
    assert trashed(table) == [uri(2), uri(3)]
    table.trash.empty()
    assert not folder.exists()


def test_a_damaged_trash_is_reported_and_can_be_emptied(table):
    table.remove([uri(1)])
    assert lookalike.check(table.path).trash == 1
    (file,) = Path(table.path, "trash.lance").glob("data/*")
    file.write_bytes(file.read_bytes()[:100])
    report = lookalike.check(table.path)
    assert not report.sound
    assert "lookalike trash empty" in report.faults[0].remedy
    with pytest.raises(CollectionError, match="The trash of the collection"):
        table.trash.restore()
    table.trash.empty()
    assert lookalike.check(table.path).sound


def test_backups_have_the_trash(table, tmp_path):
    backup = tmp_path / "backup"
    lookalike.backup(table.path, backup)
    table.remove([uri(1)])
    table.remove([uri(2)])
    lookalike.backup(table.path, backup)
    copy = Table.open(backup)
    assert (len(contents(copy)), trashed(copy)) == (4, [uri(1), uri(2)])
    table.trash.restore([uri(1)])
    table.remove([uri(3)])
    again = lookalike.backup(table.path, backup)
    assert again.kept > 0
    lookalike.restore(backup, tmp_path / "restored")
    restored = Table.open(tmp_path / "restored")
    assert trashed(restored) == [uri(2), uri(3)]
    assert lookalike.check(restored.path).sound
    # Every byte of the trash is compared, too.
    file = next(Path(backup, "trash.lance").glob("data/*"))
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert not lookalike.check(backup).sound
    table.trash.empty()
    lookalike.backup(table.path, backup)
    assert trashed(Table.open(backup)) == []
    assert lookalike.check(backup).sound


def test_a_trash_that_changes_during_a_backup_is_copied_with_its_table(
    table, tmp_path, monkeypatch
):
    other = Table.open(table.path)
    real = trash_module.Trash.open
    calls = []

    def remove_between(self):
        opened = real(self)
        calls.append(None)
        if len(calls) == 1:
            other.remove([uri(1)])
        return opened

    monkeypatch.setattr(trash_module.Trash, "open", remove_between)
    lookalike.backup(table.path, tmp_path / "backup")
    monkeypatch.undo()
    copy = Table.open(tmp_path / "backup")
    assert sorted([*contents(copy), *trashed(copy)]) == [uri(n) for n in range(6)]


def test_leftovers_of_a_killed_removal_of_the_trash_are_cleaned(table, monkeypatch):
    table.remove([uri(1)])
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    table.trash.empty()
    monkeypatch.undo()
    assert len(list(Path(table.path).glob(".images.*"))) == 1
    lookalike.optimize(table.path)
    assert list(Path(table.path).glob(".images.*")) == []


def test_ids_of_unknown_rows_are_skipped(table):
    table.trash.discard(np.array([99], np.int64), trash_module.RemovalReason.MISSING)
    assert table.trash.count() == 0
