"""Other programs that change files in the middle of a step: no content may be lost by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lookalike.duplicates.removal import RemovalSettings, remove_copies
from lookalike.duplicates.undo import undo_removal
from lookalike.io import file_moves
from rated_images import make_image

TRASH = RemovalSettings("trash")
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
