"""The decision which missing rows a sweep removes without asking, as a pure function."""

from __future__ import annotations

import pytest

from lookalike.indexing.sweep import (
    MissingRow,
    RootFacts,
    WithheldReason,
    changed_device,
    decide,
    empty_folders,
    next_devices,
)
from lookalike.sources import FolderState


def rows(folder, count, *, start=0, is_image=True):
    """Return missing rows of a folder such as ``/root/a/b``, whose root is ``/root``."""
    parts = folder.split("/")[1:]
    folders = tuple("/" + "/".join(parts[:end]) for end in range(len(parts), 0, -1))
    return [
        MissingRow(start + number, is_image=is_image, folders=folders)
        for number in range(count)
    ]


def summary(decision):
    withheld = [
        (kept.folder, str(kept.reason), kept.missing, kept.images)
        for kept in decision.withheld
    ]
    return len(decision.removed), len(decision.kept), withheld


def test_a_deleted_album_is_removed():
    facts = RootFacts("/root", 300, 200)
    assert summary(decide(rows("/root/album", 100), facts)) == (100, 0, [])


@pytest.mark.parametrize(("missing", "images"), [(34, 101), (34, 100), (67, 200)])
def test_more_than_a_third_of_a_large_root_is_withheld(missing, images):
    facts = RootFacts("/root", images, images - missing)
    decision = decide(rows("/root/album", missing), facts)
    assert summary(decision) == (0, missing, [("/root", "share", missing, images)])


@pytest.mark.parametrize(("missing", "images"), [(33, 100), (98, 99), (66, 200)])
def test_a_third_of_a_root_and_most_of_a_small_one_are_removed(missing, images):
    facts = RootFacts("/root", images, images - missing)
    assert summary(decide(rows("/root/album", missing), facts)) == (missing, 0, [])


def test_failures_are_not_counted_but_are_kept_or_removed_with_the_images():
    facts = RootFacts("/root", 100, 70)
    failures = rows("/root/album", 50, start=100, is_image=False)
    assert summary(decide(rows("/root/album", 30) + failures, facts)) == (80, 0, [])
    decision = decide(rows("/root/album", 40) + failures, facts)
    assert summary(decision) == (0, 90, [("/root", "share", 40, 100)])


def test_rows_below_an_empty_folder_are_withheld_under_the_outermost_one():
    facts = RootFacts(
        "/root", 10, 4, empty=frozenset({"/root/usb", "/root/usb/inner", "/root/other"})
    )
    missing = [
        *rows("/root/usb/a", 1),
        *rows("/root/usb/inner", 2),
        *rows("/root/other", 1),
        *rows("/root/album", 2),
    ]
    decision = decide(missing, facts)
    assert summary(decision) == (
        2,
        4,
        [("/root/usb", "empty", 3, 3), ("/root/other", "empty", 1, 1)],
    )


def test_a_root_without_images_keeps_every_row():
    decision = decide(rows("/root/a", 3), RootFacts("/root", 3, 0))
    assert summary(decision) == (0, 3, [("/root", "empty", 3, 3)])


def test_on_another_device_a_third_decides_however_small_the_folder():
    missing = rows("/root/usb/a", 4)
    facts = RootFacts("/root", 50, 46, changed={"/root/usb": 4})
    assert summary(decide(missing, facts)) == (0, 4, [("/root/usb", "device", 4, 4)])
    # Most of its files are there: it is the same drive with another number.
    facts = RootFacts("/root", 50, 46, changed={"/root/usb": 40})
    assert summary(decide(missing, facts)) == (4, 0, [])


def test_only_folders_without_files_above_missing_rows_are_empty():
    states = {
        "/root": FolderState.FILLED,
        "/root/usb": FolderState.EMPTY,
        "/root/usb/a": FolderState.MISSING,
        "/root/album": FolderState.MISSING,
    }
    asked = []

    def state_of(folder):
        asked.append(folder)
        return states[folder]

    missing = rows("/root/usb/a", 2) + rows("/root/album", 2)
    assert empty_folders(missing, state_of) == {"/root/usb"}
    assert sorted(asked) == sorted(states)


FOLDERS = ("/root/usb/a", "/root/usb", "/root")


@pytest.mark.parametrize(
    ("recorded", "current", "expected"),
    [
        ({}, {"/root": "1"}, None),
        ({"/root": "1"}, {}, None),
        ({"/root": "1"}, {"/root": "1"}, None),
        ({"/root": "1"}, {"/root": "2"}, "/root"),
        # The drive is not mounted; another one is; one is mounted over indexed files.
        ({"/root": "1", "/root/usb": "8"}, {"/root": "1"}, "/root/usb"),
        (
            {"/root": "1", "/root/usb": "8"},
            {"/root": "1", "/root/usb": "9"},
            "/root/usb",
        ),
        ({"/root": "1"}, {"/root": "1", "/root/usb": "9"}, "/root/usb"),
        # The root has another number, the drive below it does not.
        ({"/root": "1", "/root/usb": "8"}, {"/root": "2", "/root/usb": "8"}, None),
    ],
)
def test_the_device_of_a_folder_is_that_of_its_nearest_record(
    recorded, current, expected
):
    assert changed_device(FOLDERS, recorded, current) == expected


def test_current_devices_are_recorded_except_where_rows_were_kept():
    recorded = {"/root": "1", "/root/usb": "8"}
    current = {"/root": "2", "/root/usb": "9"}
    assert next_devices([], recorded, current) == current
    kept = rows("/root/usb/a", 1)
    assert next_devices(kept, recorded, current) == {"/root": "2", "/root/usb": "8"}
    assert next_devices(kept, recorded, {"/root": "2"}) == {
        "/root": "2",
        "/root/usb": "8",
    }
    # A drive mounted over indexed files is not their device.
    assert next_devices(kept, {"/root": "1"}, {"/root": "1", "/root/usb": "9"}) == {
        "/root": "1"
    }


def test_reasons_are_plain_words():
    assert [str(reason) for reason in WithheldReason] == ["empty", "device", "share"]
