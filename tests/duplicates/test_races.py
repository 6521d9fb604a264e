"""Other programs that change files in the middle of a step: no content may be lost by it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import lookalike
from duplicate_files import copy_into, groups_of
from lookalike.duplicates.removal import RemovalSettings, remove_copies
from lookalike.duplicates.runs import list_runs
from lookalike.duplicates.steps import StepError, bring_back
from lookalike.duplicates.undo import undo_removal
from lookalike.io import file_moves
from lookalike.store.table import Table
from rated_images import make_image

LINK = RemovalSettings("hardlink")


def replace_file(path: Path, number: int = 77) -> bytes:
    """Put another image in the place of a file by a rename, as an editor does."""
    new = make_image(path.with_name("new.png"), number)
    content = new.read_bytes()
    new.replace(path)
    return content


def act_before(
    monkeypatch: pytest.MonkeyPatch, name: str, is_moment: Callable, act: Callable
) -> None:
    """Run something once, right before a certain call of a function of `os`."""
    original = getattr(os, name)
    acted = []

    def run(*given, **options):
        if not acted and is_moment(*map(Path, given[:2])):
            acted.append(act())
        return original(*given, **options)

    monkeypatch.setattr(os, name, run)


def test_a_copy_never_becomes_a_link_to_another_image(table, found, root, monkeypatch):
    kept, copy = root / "kept" / "a.png", root / "copies" / "a.png"
    before = copy.read_bytes()
    act_before(
        monkeypatch,
        "link",
        lambda source, target: source == kept,
        lambda: replace_file(kept),
    )
    report = remove_copies(table, found, LINK)
    assert copy.read_bytes() == before
    assert not copy.samefile(kept)
    reasons = {one.uri: one.reason for one in report.withheld}
    assert reasons == {str(copy): "the image to keep changed meanwhile"}


def test_a_link_that_is_taken_back_removes_no_new_file(table, found, root, monkeypatch):
    copy = root / "copies" / "a.png"
    spare = []

    def write_and_replace() -> bytes:
        """Write to the former file through its spare name, and put a new file in its place."""
        with spare[0].open("ab") as file:
            file.write(b"more")
        return replace_file(copy)

    real = file_moves.replace_by_link

    def linked(path, *given, **options):
        real(path, *given, **options)
        if path == copy:
            spare.append(options["spare"])
            spare.append(write_and_replace())

    from lookalike.duplicates import steps

    monkeypatch.setattr(steps, "replace_by_link", linked)
    remove_copies(table, found, LINK)
    kept_bytes, new = spare[0].read_bytes(), spare[1]
    assert copy.read_bytes() == new
    assert kept_bytes.endswith(b"more")


@pytest.fixture
def other_disk(monkeypatch, tmp_path) -> Path:
    """A folder to move to that links cannot reach, as on another disk."""
    folder = tmp_path / "out"
    link = os.link

    def link_or_refuse(source, target, **options):
        if (folder in Path(source).parents) != (folder in Path(target).parents):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target, **options)

    monkeypatch.setattr(os, "link", link_or_refuse)
    return folder


def test_two_collections_move_to_one_folder_at_a_time(
    table, found, root, tmp_path, other_disk, monkeypatch
):
    """The second one begins while the first one has a complete copy under its temporary name."""
    second_root = tmp_path / "second"
    kept = make_image(second_root / "kept" / "z.png", 5)
    copy_into(kept, second_root / "copies")
    lookalike.index(second_root, tmp_path / "c2", models=["pixels"])
    second = Table.open(tmp_path / "c2")
    copy = second_root / "copies" / "z.png"
    second_found = groups_of(second, [(kept, [copy])])
    settings = RemovalSettings("move", folder=other_disk)
    before = {path.read_bytes() for path in (root / "copies").iterdir()}
    before.add(copy.read_bytes())

    act_before(
        monkeypatch,
        "link",
        lambda source, target: other_disk in source.parents and target.name == "a.png",
        lambda: remove_copies(second, second_found, settings),
    )
    remove_copies(table, found, settings)
    after = {path.read_bytes() for path in (other_disk / "copies").iterdir()}
    assert after == before


def test_a_copy_comes_back_from_another_disk_if_the_image_to_keep_vanishes(
    table, found, root, other_disk, monkeypatch
):
    kept, copy = root / "kept" / "a.png", root / "copies" / "a.png"
    before = copy.read_bytes()
    act_before(monkeypatch, "unlink", lambda path, *_: path == copy, kept.unlink)
    report = remove_copies(table, found, RemovalSettings("move", folder=other_disk))
    assert copy.read_bytes() == before
    assert [one.reason for one in report.withheld] == [
        "the image to keep changed meanwhile"
    ]


def test_a_file_that_changes_on_its_way_back_is_not_lost(
    table, found, root, other_disk, monkeypatch
):
    remove_copies(table, found, RemovalSettings("move", folder=other_disk))
    copy, moved = root / "copies" / "a.png", other_disk / "copies" / "a.png"
    new = []
    act_before(
        monkeypatch,
        "link",
        # Not the first try, which is refused because the disks differ.
        lambda source, target: target == copy and source.parent == copy.parent,
        lambda: new.append(replace_file(moved)),
    )
    undo_removal(table)
    contents = [path.read_bytes() for path in (copy, moved) if path.exists()]
    assert contents == new


@pytest.mark.parametrize("moment", ["replaced", "removed and written again"])
def test_undo_of_a_link_overwrites_no_file_that_appears_meanwhile(
    table, found, root, monkeypatch, moment
):
    remove_copies(table, found, LINK)
    copy = root / "copies" / "a.png"
    if moment != "replaced":
        copy.unlink()
    new = []
    act_before(
        monkeypatch,
        "utime",
        # The copy of this file, the first of the run, under its temporary name.
        lambda path, *_: path.parent == copy.parent and path.name.endswith("-0"),
        lambda: new.append(replace_file(copy)),
    )
    report = undo_removal(table)
    assert copy.read_bytes() == new[0]
    assert [one.uri for one in report.withheld] == [str(copy)]


def test_undo_of_a_link_says_that_another_image_has_its_name(table, found, root):
    """The new file may have the number that the former one had on the disk."""
    remove_copies(table, found, LINK)
    [entry] = [one for one in list_runs(table)[0].entries if one.path.name == "a.png"]
    replace_file(entry.path)
    status = entry.path.stat()
    same_number = replace(entry.stamp, inode=status.st_ino, device=status.st_dev)
    with pytest.raises(StepError, match="its content changed since"):
        bring_back(replace(entry, stamp=same_number), root / "kept" / "a.png")
