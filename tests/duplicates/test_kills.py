"""A kill before every single change of the disk: no content is lost, and undo restores all."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from duplicate_files import state
from file_limit import file_limit
from lookalike.duplicates import removal, runs, steps
from lookalike.duplicates.journal import JournalWriter
from lookalike.duplicates.removal import RemovalSettings, remove_copies
from lookalike.duplicates.undo import undo_removal
from lookalike.errors import InputError
from lookalike.io import file_moves

# Every way in which the code changes the disk. Journal lines are cut in half as well.
CHANGES = ("link", "unlink", "replace", "mkdir", "rmdir", "chmod", "utime")
MODES = ("trash", "hardlink", "move", "move to another disk", "trash without links")


class Killed(BaseException):
    """Ends the process: no handler of errors sees it, and no change follows it."""


class Kill:
    """Counts the changes of the disk, and kills the process before one of them."""

    def __init__(self, patch: pytest.MonkeyPatch, before: int | None) -> None:
        self.before = before
        self.count = 0
        for name in CHANGES:
            patch.setattr(os, name, self.counted(getattr(os, name)))
        patch.setattr(
            JournalWriter, "_append", self.half_written(JournalWriter._append)
        )

    def step(self) -> None:
        if self.before is not None and self.count >= self.before:
            raise Killed
        self.count += 1

    def counted(self, change):
        def run(*given, **options):
            self.step()
            return change(*given, **options)

        return run

    def half_written(self, append):
        def run(writer, values):
            try:
                self.step()
            except Killed:
                writer._file.write(b'{"event": "do')
                raise
            append(writer, values)

        return run


@pytest.fixture(params=MODES)
def settings(request, monkeypatch, tmp_path) -> RemovalSettings:
    """Each action, also where links are impossible and where the disks differ."""
    # The rows are of no interest here, and their commits take most of the time.
    monkeypatch.setattr(runs, "_match_table", lambda *_: None)
    link = os.link

    def link_or_refuse(source, target, **options):
        if request.param == "trash without links":
            raise OSError(errno.EPERM, "Operation not permitted")
        is_elsewhere = ("images" in Path(source).parts) != (
            "images" in Path(target).parts
        )
        if request.param == "move to another disk" and is_elsewhere:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target, **options)

    monkeypatch.setattr(os, "link", link_or_refuse)
    action = request.param.split()[0]
    folder = tmp_path / "out" if action == "move" else None
    return RemovalSettings(action, folder=folder)


def kill(run, before: int) -> bool:
    """Run something up to one change of the disk; return whether it was killed."""
    with pytest.MonkeyPatch.context() as patch:
        Kill(patch, before)
        try:
            run()
        except Killed:
            return True
    return False


def contents(*folders: Path) -> set[bytes]:
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {file.read_bytes() for file in files}


def undo_all(table) -> None:
    try:
        report = undo_removal(table)
    except InputError:
        # Killed before it began.
        return
    assert report.withheld == []


def check_restored(table, root: Path, before, settings: RemovalSettings) -> None:
    """Check that the images are as before, and nothing is left of the run."""
    undo_all(table)
    assert state(root) == before
    trash = table.location.file_trash
    assert not trash.exists() or state(trash) == {}
    if settings.folder is not None:
        assert state(settings.folder) == {} or not settings.folder.exists()


def test_a_kill_of_a_removal_loses_nothing(table, found, root, settings, tmp_path):
    before = state(root)
    saved = shutil.copytree(root, tmp_path / "saved", copy_function=shutil.copy2)
    moment = 0
    while kill(lambda: remove_copies(table, found, settings), moment):
        assert contents(tmp_path / "saved") <= contents(
            root, tmp_path / "c", tmp_path / "out"
        )
        check_restored(table, root, before, settings)
        moment += 1
    assert moment > 10
    check_restored(table, root, before, settings)
    assert saved.is_dir()


def test_a_kill_of_an_undo_loses_nothing(table, found, root, settings, tmp_path):
    before = state(root)
    every = contents(root)
    remove_copies(table, found, settings)
    moment = 0
    while kill(lambda: undo_all(table), moment):
        assert every <= contents(root, tmp_path / "c", tmp_path / "out")
        check_restored(table, root, before, settings)
        remove_copies(table, found, settings)
        moment += 1
    assert moment > 5
    assert state(root) == before


def test_a_removal_that_was_killed_is_completed_by_the_next(
    table, found, root, settings, tmp_path
):
    remove_copies(table, found, settings)
    complete = state(root)
    undo_all(table)
    moment = 0
    while kill(lambda: remove_copies(table, found, settings), moment):
        remove_copies(table, found, settings)
        assert state(root) == complete
        while not all_undone(table):
            pass
        moment += 1


def all_undone(table) -> bool:
    """Undo the newest run; return whether there was none."""
    try:
        undo_removal(table)
    except InputError:
        return True
    return False


def no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("length", [0, 10])
def test_a_kill_while_a_name_is_reserved_leaves_the_way_back_open(
    table, found, root, monkeypatch, length
):
    """A file system without links reserves a name by a small file, which may be incomplete."""
    before = state(root)
    monkeypatch.setattr(os, "link", no_links)
    remove_copies(table, found, RemovalSettings("trash"))

    def cut_short(target: Path) -> None:
        target.write_bytes(file_moves._PLACEHOLDER[:length])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(file_moves, "_reserve", cut_short)
        with pytest.raises(Killed):
            undo_removal(table)
    check_restored(table, root, before, RemovalSettings("trash"))


def test_a_full_disk_while_a_name_is_reserved_leaves_no_file(monkeypatch, tmp_path):
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    source.write_bytes(b"image")
    monkeypatch.setattr(os, "link", no_links)
    with file_limit(10), pytest.raises(OSError, match="File too large"):
        file_moves.move_file(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def kill_after_first_move(patch: pytest.MonkeyPatch) -> None:
    """End the process once a file has moved."""

    def move(source: Path, target: Path) -> None:
        file_moves.move_file(source, target)
        raise Killed

    def end(*_: object) -> None:
        raise Killed

    patch.setattr(steps, "move_file", move)
    patch.setattr(removal, "finish_run", end)


def test_a_disk_that_is_missing_after_a_kill_is_waited_for(
    table, found, root, tmp_path, monkeypatch
):
    before = state(root)
    out = tmp_path / "disk" / "out"
    settings = RemovalSettings("move", folder=out)
    with monkeypatch.context() as patch:
        kill_after_first_move(patch)
        with pytest.raises(Killed):
            remove_copies(table, found, settings)

    out.parent.rename(tmp_path / "unplugged")
    report = remove_copies(table, found, RemovalSettings("trash"))
    assert len(report.removed) == 1
    (tmp_path / "unplugged").rename(out.parent)
    while not all_undone(table):
        pass
    assert state(root) == before


def test_a_folder_that_cannot_be_read_after_a_kill_stops_nothing_else(
    table, found, root, monkeypatch
):
    before = state(root)
    with monkeypatch.context() as patch:
        kill_after_first_move(patch)
        with pytest.raises(Killed):
            remove_copies(table, found, RemovalSettings("trash"))

    def refuse(path, stamp_of=steps._stamp_or_none):
        if path.name == "a.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stamp_of(path)

    with monkeypatch.context() as patch:
        patch.setattr(steps, "_stamp_or_none", refuse)
        report = remove_copies(table, found, RemovalSettings("trash"))
        assert len(report.removed) == 1
    while not all_undone(table):
        pass
    assert state(root) == before
