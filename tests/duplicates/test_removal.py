"""Removing duplicates, and bringing them back, on real files and collections."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

import lookalike
from duplicate_files import groups_of, state
from lookalike.duplicates.removal import RemovalSettings, remove_copies
from lookalike.duplicates.runs import list_runs
from lookalike.duplicates.undo import delete_removed, undo_removal
from lookalike.errors import BusyError, CollectionError, InputError
from lookalike.store.lock import DUPLICATES, hold
from rated_images import make_image, ratings, trashed

TRASH = RemovalSettings("trash")
LINK = RemovalSettings("hardlink")


def uris(copies) -> list[str]:
    return [copy.uri for copy in copies]


def test_copies_go_into_the_trash_and_come_back_exactly(table, found, root):
    before, rated = state(root), ratings(table.path)
    report = remove_copies(table, found, TRASH)

    copies = [str(root / "copies" / name) for name in ("a.png", "b.png")]
    assert uris(report.removed) == copies
    assert report.bytes == sum(len(before[f"copies/{name}.png"][0]) for name in "ab")
    assert not any((root / "copies").iterdir())
    # Search no longer answers with them, and indexing has nothing to do.
    assert set(ratings(table.path)) == set(rated) - set(copies)
    again = lookalike.index(root, table.path)
    assert (again.added, again.removed, again.moved) == (0, 0, 0)

    undone = undo_removal(table)
    assert undone.run == report.run
    assert sorted(undone.restored) == copies
    assert undone.withheld == []
    assert state(root) == before
    assert ratings(table.path) == rated
    assert trashed(table.path) == {}
    again = lookalike.index(root, table.path)
    assert (again.added, again.updated, again.unchanged) == (0, 0, 5)
    assert not table.location.file_trash.exists()
    with pytest.raises(InputError, match="nothing to undo"):
        undo_removal(table)


def test_a_dry_run_changes_nothing(table, found, root):
    before = state(root)
    report = remove_copies(table, found, TRASH, dry_run=True)
    assert len(report.removed) == 2
    assert report.run is None
    assert state(root) == before
    assert not table.location.file_trash.exists()


def test_links_share_one_file_and_undo_separates_them(table, found, root):
    copy, kept = root / "copies" / "a.png", root / "kept" / "a.png"
    copy.chmod(0o640)
    os.utime(copy, ns=(10**18, 10**18))
    lookalike.index(root, table.path)
    before = state(root)

    remove_copies(table, found, LINK)
    assert copy.samefile(kept)
    assert len(ratings(table.path)) == 5
    assert remove_copies(table, found, LINK).removed == []

    undo_removal(table)
    assert not copy.samefile(kept)
    assert state(root) == before


def test_files_that_are_moved_keep_their_paths(table, found, root, tmp_path):
    before = state(root)
    target = tmp_path / "out"
    report = remove_copies(table, found, RemovalSettings("move", folder=target))
    assert sorted(state(target)) == ["copies/a.png", "copies/b.png"]
    assert len(ratings(table.path)) == 3

    # A second run overwrites nothing there.
    shutil.copy2(target / "copies" / "a.png", root / "copies")
    lookalike.index(root, table.path)
    table.refresh()
    again = groups_of(table, [(root / "kept/a.png", [root / "copies/a.png"])])
    refused = remove_copies(table, again, RemovalSettings("move", folder=target))
    assert refused.removed == []
    assert "already" in refused.withheld[0].reason

    (root / "copies" / "a.png").unlink()
    undo_removal(table, report.run)
    assert state(root) == before
    assert state(target) == {}


@pytest.fixture
def elsewhere(tmp_path):
    """A folder on another disk than the images."""
    own_disk = tmp_path.stat().st_dev
    for folder in map(Path, ("/dev/shm", "/var/tmp", Path.home())):
        if os.access(folder, os.W_OK) and folder.stat().st_dev != own_disk:
            with tempfile.TemporaryDirectory(dir=folder) as other:
                yield Path(other)
            return
    pytest.skip("needs a second disk")


def test_files_are_moved_to_another_disk_and_back(table, found, root, elsewhere):
    before = state(root)
    target = elsewhere / "moved"
    remove_copies(table, found, RemovalSettings("move", folder=target))
    moved = state(target)
    assert moved["copies/a.png"] == before["copies/a.png"]
    undo_removal(table)
    assert state(target) == {}
    assert state(root) == before


def test_files_of_another_disk_go_into_a_trash_there(table, found, root, elsewhere):
    before = state(root)
    path = elsewhere / "collection"
    shutil.copytree(table.path, path)
    other = type(table).open(path)
    remove_copies(other, found, TRASH)
    assert list(root.glob(".Trash-lookalike/*/*/a.png"))
    # No walk finds them there, not even one of hidden files.
    assert lookalike.index(root, path, hidden=True).added == 0
    undo_removal(other)
    assert state(root) == before
    assert not (root / ".Trash-lookalike").exists()


@pytest.mark.parametrize("settings", [TRASH, LINK])
@pytest.mark.parametrize("change", ["removed", "changed", "replaced by a link"])
def test_without_the_image_to_keep_nothing_of_its_group_is_touched(
    table, found, root, settings, change
):
    kept = root / "kept" / "a.png"
    if change == "removed":
        kept.unlink()
    elif change == "changed":
        kept.write_bytes(kept.read_bytes() + b"more")
    else:
        kept.unlink()
        kept.symlink_to(root / "copies" / "a.png")
    before = (root / "copies" / "a.png").read_bytes()

    report = remove_copies(table, found, settings)
    [withheld] = report.withheld
    assert withheld.uri == str(root / "copies" / "a.png")
    assert str(kept) in withheld.reason
    assert uris(report.removed) == [str(root / "copies" / "b.png")]
    assert (root / "copies" / "a.png").read_bytes() == before


def test_a_copy_that_changed_or_vanished_is_named_and_stays(table, found, root):
    first, second = root / "copies" / "a.png", root / "copies" / "b.png"
    make_image(first, 99)
    second.unlink()
    before = first.read_bytes()
    report = remove_copies(table, found, TRASH)
    assert [(one.uri, one.reason) for one in report.withheld] == [
        (str(first), "the file changed since the search"),
        (str(second), "the file is missing"),
    ]
    assert first.read_bytes() == before
    assert (report.removed, report.run) == ([], None)


def test_one_file_under_two_names_is_never_touched(table, root, tmp_path):
    alias = tmp_path / "alias"
    alias.symlink_to(root / "kept")
    linked = root / "copies" / "linked.png"
    linked.hardlink_to(root / "kept" / "b.png")
    lookalike.index(root, table.path)
    lookalike.index(alias, table.path)
    table.refresh()
    found = groups_of(
        table,
        [
            (alias / "a.png", [root / "kept" / "a.png"]),
            (root / "kept" / "b.png", [linked]),
        ],
    )
    for settings in (TRASH, LINK):
        report = remove_copies(table, found, settings)
        assert report.removed == []
        assert report.skipped == {"the same file as the image to keep": 2}
    assert (root / "kept" / "a.png").exists()
    assert linked.exists()


def test_a_copy_comes_back_if_the_image_to_keep_vanishes_with_it(
    table, found, root, monkeypatch
):
    """As where one name leads to the other by a way that no look at the files shows before."""
    kept = root / "kept" / "a.png"
    spare = kept.read_bytes()
    from lookalike.duplicates import steps

    def move_both(source, target, move=steps.move_file):
        move(source, target)
        if source.name == "a.png":
            kept.unlink(missing_ok=True)

    monkeypatch.setattr(steps, "move_file", move_both)
    report = remove_copies(table, found, TRASH)
    assert (root / "copies" / "a.png").read_bytes() == spare
    assert [one.reason for one in report.withheld] == [
        "the image to keep changed meanwhile"
    ]


def test_protected_folders_and_other_tiers_are_skipped(table, root, found):
    protected = groups_of(
        table, [(root / "kept/a.png", [root / "copies/a.png"])], protected=True
    )
    report = remove_copies(
        table, protected, RemovalSettings("trash", ("identical", "copy"))
    )
    assert report.skipped == {"in a protected folder": 1}

    copies = groups_of(
        table, [(root / "kept/a.png", [root / "copies/a.png"])], tier="copy"
    )
    assert remove_copies(table, copies, TRASH).skipped == {"of another tier": 1}
    chosen = RemovalSettings("trash", ("copy",))
    assert len(remove_copies(table, copies, chosen).removed) == 1


def test_members_of_archives_are_skipped(table, root, tmp_path):
    archive = tmp_path / "images"
    shutil.make_archive(str(archive), "zip", root / "kept")
    lookalike.index(tmp_path / "images.zip", table.path)
    table.refresh()
    [member] = [
        uri for uri in ratings(table.path) if uri.endswith("a.png") and "zip" in uri
    ]
    pair = groups_of(table, [(root / "kept/a.png", [root / "copies/a.png"])])
    [group] = pair.groups
    from dataclasses import replace

    in_archive = replace(group.copies[0], uri=member)
    kept_in_archive = replace(group.keeper, uri=member)
    for keeper, copy in (
        (group.keeper, in_archive),
        (kept_in_archive, group.copies[0]),
    ):
        one = replace(pair, groups=(replace(group, keeper=keeper, copies=(copy,)),))
        report = remove_copies(table, one, TRASH)
        assert report.removed == []
        assert report.skipped == {"not a local file of its own": 1}


@pytest.mark.parametrize("is_empty", [False, True])
def test_undo_overwrites_no_file_and_says_which_it_left(table, found, root, is_empty):
    remove_copies(table, found, TRASH)
    new = make_image(root / "copies" / "a.png", 50)
    if is_empty:
        new.write_bytes(b"")
    content = new.read_bytes()
    report = undo_removal(table)
    assert report.restored == [str(root / "copies" / "b.png")]
    assert [(one.uri, one.reason) for one in report.withheld] == [
        (str(new), "another file has its name")
    ]
    assert new.read_bytes() == content

    # It can be brought back once the name is free.
    new.unlink()
    assert undo_removal(table).restored == [str(new)]


def test_the_trash_is_deleted_for_good_on_request(table, found, root):
    report = remove_copies(table, found, TRASH)
    assert [journal.run for journal in list_runs(table)] == [report.run]
    assert delete_removed(table) == (2, report.bytes)
    assert not table.location.file_trash.exists()
    with pytest.raises(InputError, match="nothing to undo"):
        undo_removal(table)
    assert sorted(state(root)) == ["kept/a.png", "kept/alone.png", "kept/b.png"]


def test_a_second_removal_waits_for_the_first(table, found, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_LOCK_TIMEOUT", "0.05")
    errors = []

    def remove():
        try:
            remove_copies(table.reopen(), found, TRASH)
        except BusyError as error:
            errors.append(error)

    with hold(table.path, DUPLICATES):
        second = threading.Thread(target=remove)
        second.start()
        second.join()
    assert len(errors) == 1
    assert len(remove_copies(table, found, TRASH).removed) == 2
    again = remove_copies(table, found, TRASH)
    assert again.skipped == {"that the collection has no longer": 2}
    assert again.withheld == []


def test_a_folder_without_permission_stops_only_its_own_copies(
    table, found, root, monkeypatch
):
    locked = root / "copies" / "a.png"
    from lookalike.duplicates import steps

    def refuse(source, target, move=steps.move_file):
        if source == locked:
            raise PermissionError(13, "Permission denied", str(source))
        move(source, target)

    monkeypatch.setattr(steps, "move_file", refuse)
    report = remove_copies(table, found, TRASH)
    assert [(one.uri, one.reason) for one in report.withheld] == [
        (str(locked), "Permission denied")
    ]
    assert uris(report.removed) == [str(root / "copies" / "b.png")]


def test_a_full_disk_ends_the_run_and_what_was_done_can_be_undone(
    table, found, root, monkeypatch
):
    before = state(root)
    from lookalike.duplicates.journal import JournalWriter

    lines = []

    def fill(writer, values, append=JournalWriter._append):
        lines.append(values)
        if len(lines) > 3:
            raise OSError(28, "No space left on device")
        append(writer, values)

    with monkeypatch.context() as patch:
        patch.setattr(JournalWriter, "_append", fill)
        with pytest.raises(CollectionError, match="no space is left"):
            remove_copies(table, found, TRASH)
    assert undo_removal(table).withheld == []
    assert state(root) == before
    assert len(ratings(table.path)) == 5


def test_a_folder_that_would_be_indexed_again_is_refused(table, found, root):
    with pytest.raises(InputError, match="indexed folder"):
        remove_copies(table, found, RemovalSettings("move", folder=root / "out"))
    hidden = RemovalSettings("move", folder=root / ".out")
    assert len(remove_copies(table, found, hidden).removed) == 2


def test_a_name_that_is_too_long_there_stops_only_its_own_copy(table, found, root):
    """A path has at most 4,095 bytes on Linux."""
    folder = root.parent / "out"
    while len(str(folder)) < 3900:
        folder /= "d" * 100
    folder /= "e" * (4095 - len(str(folder / "copies" / "b.png")) - 1)
    longer = root / "copies" / "a longer name.png"
    (root / "copies" / "a.png").rename(longer)
    lookalike.index(root, table.path)
    table.refresh()
    pairs = [
        (root / "kept" / "a.png", [longer]),
        (root / "kept" / "b.png", [root / "copies" / "b.png"]),
    ]
    before = state(root)
    settings = RemovalSettings("move", folder=folder)
    report = remove_copies(table, groups_of(table, pairs), settings)
    assert uris(report.removed) == [str(root / "copies" / "b.png")]
    assert [one.reason for one in report.withheld] == ["File name too long"]
    undo_removal(table)
    assert state(root) == before
