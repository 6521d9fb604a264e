"""A drive that is not mounted loses no rows; a deleted or moved album is swept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from lookalike.indexing.run import IndexSettings
from rated_images import counts, make_image, ratings, trashed, withheld

PRUNE = IndexSettings(prune=True)


def test_an_emptied_folder_keeps_its_rows_until_someone_agrees(rated, run, root):
    before = ratings(rated)
    for path in (root / "usb").iterdir():
        path.unlink()
    for _ in range(2):
        report = run()
        assert counts(report) == {"unchanged": 6, "images": 10}
        assert withheld(report) == [(str(root / "usb"), "empty", 4, 4)]
        assert ratings(rated) == before
    assert report.to_dict()["withheld"] == [
        {"folder": str(root / "usb"), "reason": "empty", "missing": 4, "images": 4}
    ]
    report = run(settings=PRUNE)
    assert counts(report) == {"unchanged": 6, "removed": 4, "images": 6}
    assert withheld(report) == []
    assert trashed(rated) == {
        str(root / "usb" / f"{number}.png"): "missing" for number in range(4)
    }


def test_an_emptied_root_keeps_its_rows(rated, run, root):
    before = ratings(rated)
    root.rename(root.with_name("unplugged"))
    root.mkdir()
    # Not an image: a folder without images is empty too.
    (root / "notes.txt").touch()
    report = run()
    assert counts(report) == {"images": 10}
    assert withheld(report) == [(str(root), "empty", 10, 10)]
    assert ratings(rated) == before
    shutil.rmtree(root)
    root.with_name("unplugged").rename(root)
    assert counts(run()) == {"unchanged": 10, "images": 10}


def test_a_deleted_album_is_swept(rated, run, root):
    shutil.rmtree(root / "album")
    report = run()
    assert counts(report) == {"unchanged": 6, "removed": 4, "images": 6}
    assert withheld(report) == []


def test_a_moved_album_is_swept_although_its_folder_is_empty(rated, run, root):
    before = ratings(rated)
    (root / "other").mkdir()
    for path in (root / "album").iterdir():
        path.rename(root / "other" / path.name)
    report = run()
    assert counts(report) == {"unchanged": 6, "moved": 4, "images": 10}
    assert withheld(report) == []
    assert trashed(rated) == {}
    assert sorted(ratings(rated).values()) == sorted(before.values())


def test_the_mount_point_behind_a_link_may_be_empty(rated, run, root, tmp_path):
    usb = tmp_path / "media"
    make_image(usb / "deep" / "x.png", 80)
    (root / "link").symlink_to(usb)
    run()
    (usb / "deep").rename(tmp_path / "unplugged")
    report = run()
    assert counts(report) == {"unchanged": 10, "images": 11}
    assert withheld(report) == [(str(root / "link"), "empty", 1, 1)]
    (tmp_path / "unplugged").rename(usb / "deep")
    assert counts(run()) == {"unchanged": 11, "images": 11}


def test_under_a_third_of_a_large_root_and_more_of_a_small_one_is_swept(run, root):
    for number in range(100):
        make_image(root / f"{number % 3}" / f"{number}.jpg", 100 + number)
    run()
    shutil.rmtree(root / "0")
    make_image(root / "new.png", 300)
    report = run()
    assert counts(report) == {"added": 1, "unchanged": 76, "removed": 34, "images": 77}
    shutil.rmtree(root / "1")
    shutil.rmtree(root / "album")
    report = run()
    assert counts(report) == {"unchanged": 40, "removed": 37, "images": 40}
    assert withheld(report) == []


def test_more_than_a_third_of_a_large_root_is_withheld(run, root):
    for number in range(100):
        make_image(root / f"{number % 2}" / f"{number}.jpg", 100 + number)
    run()
    shutil.rmtree(root / "0")
    report = run()
    assert counts(report) == {"unchanged": 60, "images": 110}
    assert withheld(report) == [(str(root), "share", 50, 110)]
    assert counts(run(settings=PRUNE)) == {"unchanged": 60, "removed": 50, "images": 60}


@pytest.fixture
def devices(monkeypatch):
    """Give folders another file system: the fixture maps paths to identities."""
    known = {}
    real = os.stat

    class Status:
        def __init__(self, path, status):
            self._status = status
            self.st_dev = status.st_dev
            for folder, number in known.items():
                if os.fspath(path).startswith(str(folder)):
                    self.st_dev = number

        def __getattr__(self, name):
            return getattr(self._status, name)

    monkeypatch.setattr(
        "lookalike.sources.walk.os.stat",
        lambda path, **options: Status(path, real(path, **options)),
    )
    monkeypatch.setattr(
        "lookalike.sources.walk._file_system", lambda path, device: str(device)
    )
    return known


def test_a_stray_file_in_a_mount_point_does_not_lose_the_drive(
    devices, rated, run, root
):
    before = ratings(rated)
    devices[root / "usb"] = 77
    run()
    # Unmounted: the folder is on the device of its parent, with a file that was below it.
    devices.clear()
    shutil.move(root / "usb", root.parent / "unplugged")
    make_image(root / "usb" / "stray.png", 90)
    for new, unchanged in ((1, 6), (0, 7)):
        report = run()
        assert report.added == new
        assert (report.unchanged, report.removed, report.images) == (unchanged, 0, 11)
        assert withheld(report) == [(str(root / "usb"), "device", 4, 5 - new)]
    # Mounted again, with another number.
    shutil.rmtree(root / "usb")
    shutil.move(root.parent / "unplugged", root / "usb")
    devices[root / "usb"] = 78
    report = run()
    assert counts(report) == {"unchanged": 10, "removed": 1, "images": 10}
    assert ratings(rated) == before


def test_a_new_number_of_a_device_does_not_block_a_sweep(devices, rated, run, root):
    devices[root / "usb"] = 77
    run()
    devices[root / "usb"] = 78
    (root / "usb" / "0.png").unlink()
    report = run()
    # A quarter of its images: the others show that it is the same drive.
    assert counts(report) == {"unchanged": 9, "removed": 1, "images": 9}
    (root / "usb" / "1.png").unlink()
    (root / "usb" / "2.png").unlink()
    report = run()
    # The new number has been recorded.
    assert counts(report) == {"unchanged": 7, "removed": 2, "images": 7}


def test_another_drive_is_recorded_once_it_is_accepted(devices, rated, run, root):
    devices[root / "usb"] = 77
    run()
    devices[root / "usb"] = 78
    for path in (root / "usb").iterdir():
        path.unlink()
    make_image(root / "usb" / "other.png", 91)
    make_image(root / "usb" / "another.png", 92)
    assert withheld(run()) == [(str(root / "usb"), "device", 4, 4)]
    assert counts(run(settings=PRUNE)) == {"unchanged": 8, "removed": 4, "images": 8}
    (root / "usb" / "other.png").unlink()
    assert counts(run()) == {"unchanged": 7, "removed": 1, "images": 7}


def test_a_drive_mounted_over_indexed_files_hides_them(devices, rated, run, root):
    run()
    shutil.move(root / "album", root.parent / "hidden")
    make_image(root / "album" / "foreign.png", 93)
    devices[root / "album"] = 79
    for images in (4, 5):
        assert withheld(run()) == [(str(root / "album"), "device", 4, images)]


MOUNTS = """
import json, subprocess, sys, pathlib, lookalike

root, stray = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
usb = root / "usb"


def mount():
    subprocess.run(["mount", "-t", "tmpfs", "none", str(usb)], check=True)
    for path in (root / "album").iterdir():
        (usb / path.name).write_bytes(path.read_bytes() + b" ")


def index():
    report = lookalike.index(root, sys.argv[3], models=["pixels"])
    print(json.dumps(report.to_dict()))


mount()
index()
subprocess.run(["umount", str(usb)], check=True)
index()
(usb / "stray.png").write_bytes(stray.read_bytes())
index()
mount()
index()
"""


@pytest.mark.slow
def test_a_real_drive_is_unmounted(root, tmp_path):
    for command in (["unshare", "-m"], ["unshare", "-rm"]):
        probe = [*command, "mount", "-t", "tmpfs", "none", str(root / "usb")]
        if (
            shutil.which("unshare")
            and subprocess.run(probe, check=False).returncode == 0
        ):
            break
    else:
        pytest.skip("needs a mount namespace: unshare -m is not allowed here")
    shutil.rmtree(root / "usb")
    (root / "usb").mkdir()
    stray = make_image(tmp_path / "stray.png", 95)
    done = subprocess.run(
        [*command, sys.executable, "-c", MOUNTS, root, stray, tmp_path / "c"],
        capture_output=True,
        text=True,
        check=True,
    )
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    mounted, empty, with_stray, again = reports
    usb = str(root / "usb")
    assert (mounted["added"], mounted["images"]) == (10, 10)
    assert (empty["removed"], empty["images"]) == (0, 10)
    assert empty["withheld"] == [
        {"folder": usb, "reason": "empty", "missing": 4, "images": 4}
    ]
    assert (with_stray["added"], with_stray["removed"]) == (1, 0)
    assert with_stray["withheld"] == [
        {"folder": usb, "reason": "device", "missing": 4, "images": 4}
    ]
    # The new mount hides the stray file.
    assert (again["images"], again["removed"]) == (10, 1)
    assert again["withheld"] == []
