"""Nothing that a person made is lost by an unmounted drive, a moved folder or a deleted file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike.errors import InputError
from lookalike.indexing.run import IndexSettings
from lookalike.models.registry import resolve
from lookalike.store.table import Table

PRUNE = IndexSettings(prune=True)


def make_image(path, seed):
    """Write a small image with a content of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(noise).resize((24, 18)).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    """A folder with ten images: four on ``usb``, four in an album, two at the top."""
    for number in range(10):
        folder = ("usb", "usb", "album", "album", ".")[number // 2]
        make_image(tmp_path / "root" / folder / f"{number}.png", number)
    return tmp_path / "root"


@pytest.fixture
def run(root, tmp_path):
    """Return a function that indexes the folder in pixel space, which needs no network."""

    def run(*paths, **options):
        options = {"models": ["pixels"], **options}
        return lookalike.index(list(paths) or root, tmp_path / "c", **options)

    return run


@pytest.fixture
def rated(run, root, tmp_path):
    """A collection in which each image has a rating."""
    lines = ["filename,rating"]
    for path in sorted(root.rglob("*.png")):
        lines.append(f"{path},{path.stem}")
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
    run(metadata=tmp_path / "ratings.csv")
    return tmp_path / "c"


@pytest.fixture
def no_decoding(monkeypatch):
    """Make it an error to decode an image."""

    def forbid():
        monkeypatch.setattr(
            "lookalike.imaging.decode_small", lambda *_, **__: pytest.fail("decoded")
        )

    return forbid


def counts(report):
    names = ("added", "updated", "unchanged", "moved", "restored", "removed", "images")
    return {name: report.to_dict()[name] for name in names if report.to_dict()[name]}


def withheld(report):
    return [
        (kept.folder, str(kept.reason), kept.missing, kept.images)
        for kept in report.withheld
    ]


def ratings(path):
    """Return {uri: rating} of the images of a collection."""
    table = Table.open(path)
    ids = table.select("uri is not null")
    rows = table.take(ids, ["uri", "rating"])
    return dict(zip(rows["uri"].to_pylist(), rows["rating"].to_pylist(), strict=True))


def vectors(path):
    """Return {uri: pixel vector} of the images of a collection."""
    table = Table.open(path)
    ids, matrix = table.vectors("pixels")
    uris = table.take(ids, ["uri"])["uri"].to_pylist()
    return {uri: vector.tolist() for uri, vector in zip(uris, matrix, strict=True)}


def trashed(path):
    """Return {uri: reason} of the rows in the trash."""
    rows = Table.open(path).trash.rows()
    return dict(zip(rows["uri"].to_pylist(), rows["reason"].to_pylist(), strict=True))


# Drives that are not mounted


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


def test_more_than_a_third_of_a_large_root_is_withheld(run, root, tmp_path):
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


def test_a_large_share_is_withheld(run, root, tmp_path):
    for number in range(100):
        make_image(root / f"{number % 2}" / f"{number}.jpg", 100 + number)
    run()
    shutil.rmtree(root / "0")
    report = run()
    assert counts(report) == {"unchanged": 60, "images": 110}
    assert withheld(report) == [(str(root), "share", 50, 110)]
    assert counts(run(settings=PRUNE)) == {
        "unchanged": 60,
        "removed": 50,
        "images": 60,
    }


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
    assert counts(run(settings=PRUNE)) == {
        "unchanged": 8,
        "removed": 4,
        "images": 8,
    }
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


# Files that come back


def test_a_file_that_comes_back_has_its_row_again(rated, run, root, no_decoding):
    before = (ratings(rated), vectors(rated))
    (root / "album").rename(root.parent / "away")
    assert counts(run()) == {"unchanged": 6, "removed": 4, "images": 6}
    (root.parent / "away").rename(root / "album")
    no_decoding()
    assert counts(run()) == {"unchanged": 6, "restored": 4, "images": 10}
    assert (ratings(rated), vectors(rated)) == before
    assert trashed(rated) == {}
    assert not Table.open(rated).location.has_trash()


def test_a_touched_file_that_comes_back_is_recognized_by_its_content(
    rated, run, root, no_decoding
):
    before = (ratings(rated), vectors(rated))
    data = (root / "album" / "4.png").read_bytes()
    (root / "album" / "4.png").unlink()
    run()
    (root / "album" / "4.png").write_bytes(data)
    no_decoding()
    assert counts(run()) == {"unchanged": 9, "restored": 1, "images": 10}
    assert (ratings(rated), vectors(rated)) == before
    assert trashed(rated) == {}


def test_content_that_comes_back_elsewhere_brings_its_metadata(
    rated, run, root, no_decoding
):
    shutil.move(root / "album", root.parent / "away")
    run()
    shutil.move(root.parent / "away", root / "renamed")
    no_decoding()
    assert counts(run()) == {"unchanged": 6, "restored": 4, "images": 10}
    assert {
        uri: rating for uri, rating in ratings(rated).items() if "renamed" in uri
    } == {str(root / "renamed" / f"{number}.png"): number for number in range(4, 8)}
    assert trashed(rated) == {}


def test_each_of_several_equal_files_gets_its_own_metadata_back(rated, run, root):
    for number in (5, 6):
        shutil.copyfile(root / "album" / "4.png", root / "album" / f"{number}.png")
    run()
    before = ratings(rated)
    shutil.move(root / "album", root.parent / "away")
    run()
    shutil.move(root.parent / "away", root / "album")
    # Without the times: the content decides.
    for path in (root / "album").iterdir():
        os.utime(path, ns=(1, 1))
    assert counts(run()) == {"unchanged": 6, "restored": 4, "images": 10}
    assert ratings(rated) == before


def test_another_file_at_the_same_path_is_not_the_one_that_was_removed(
    rated, run, root
):
    uri = str(root / "album" / "4.png")
    (root / "album" / "4.png").unlink()
    run()
    make_image(root / "album" / "4.png", 99)
    assert counts(run()) == {"unchanged": 9, "added": 1, "images": 10}
    assert ratings(rated)[uri] is None
    assert trashed(rated) == {uri: "missing"}
    # Its own row comes back with its content.
    make_image(root / "album" / "back.png", 4)
    assert counts(run()) == {"unchanged": 10, "restored": 1, "images": 11}
    assert ratings(rated)[str(root / "album" / "back.png")] == 4


def test_a_space_that_was_added_meanwhile_is_filled(rated, run, root):
    half = replace(resolve("pixels"), name="half", size=(16, 16), dim=768)
    away = root.parent / "away"
    shutil.move(root / "album", away)
    run()
    run(models=[half])
    for touched in (False, True):
        shutil.move(away, root / "album")
        if touched:
            for path in (root / "album").iterdir():
                os.utime(path, ns=(1, 1))
        report = run(models=[])
        assert counts(report) == {"unchanged": 6, "restored": 4, "images": 10}
        table = Table.open(rated)
        assert (table.count("half"), table.count("pixels")) == (10, 10)
        assert ratings(rated)[str(root / "album" / "5.png")] == 5
        table.trash.empty()
        if not touched:
            # Once more, from a trash whose rows lack the Space.
            shutil.move(root / "album", away)
            run(models=[])


def test_a_moved_twin_keeps_its_own_metadata_in_the_trash(rated, run, root):
    shutil.copyfile(root / "album" / "4.png", root / "album" / "5.png")
    run()
    shutil.move(root / "album", root / "renamed")
    report = run()
    assert counts(report)["moved"] == 4
    # Both new rows took the metadata of the first; that of the second is in the trash.
    assert trashed(rated) == {str(root / "album" / "5.png"): "moved"}


def test_removed_images_are_restored_by_indexing(rated, run, root, no_decoding):
    before = ratings(rated)
    collection = lookalike.Collection.open(rated)
    assert collection.remove([root / "album"]) == 4
    assert trashed(rated) == {
        str(root / "album" / f"{number}.png"): "removed" for number in range(4, 8)
    }
    no_decoding()
    assert counts(run()) == {"unchanged": 6, "restored": 4, "images": 10}
    assert ratings(rated) == before


def test_a_collection_from_before_the_trash_works(rated, run, root):
    """A collection without a trash and without recorded devices."""
    table = Table.open(rated)
    table.record_devices({})
    assert trashed(rated) == {}
    (root / "album" / "4.png").unlink()
    assert counts(run()) == {"unchanged": 9, "removed": 1, "images": 9}
    assert Table.open(rated).devices == {
        str(root): Table.open(rated).devices[str(root)]
    }


# Folders that moved


def test_a_moved_root_is_reported_and_carried_over(rated, run, root, no_decoding):
    before = ratings(rated)
    new = root.rename(root.with_name("elsewhere"))
    report = run(new)
    assert counts(report) == {"added": 10, "images": 20}
    assert report.to_dict()["relocations"] == [
        {"old": str(root), "new": str(new), "rows": 10}
    ]
    collection = lookalike.Collection.open(rated)
    moved = collection.move(root, new)
    assert (moved.moved, moved.merged) == (0, 10)
    assert len(collection) == 10
    assert list(ratings(rated).values()) == list(before.values())
    assert trashed(rated) == {}
    report = run(new)
    assert counts(report) == {"unchanged": 10, "images": 10}
    assert report.relocations == []


def test_a_moved_root_need_not_be_indexed_first(rated, run, root, no_decoding):
    before = (ratings(rated), vectors(rated))
    table = Table.open(rated)
    ids = sorted(table.select("uri is not null"))
    new = root.rename(root.with_name("elsewhere"))
    (new / "usb" / "0.png").rename(new / "0.png")
    moved = lookalike.Collection.open(rated).move(root, new)
    assert (moved.moved, moved.merged, moved.missing, moved.present) == (9, 0, 1, 0)
    table.refresh()
    assert sorted(table.select("uri is not null")) == ids
    no_decoding()
    run(new)
    renamed = {
        uri.replace(str(root), str(new)): rating for uri, rating in before[0].items()
    }
    renamed[str(new / "0.png")] = 0
    old = str(root / "usb" / "0.png")
    assert ratings(rated)[old] == 0
    assert {uri: rating for uri, rating in ratings(rated).items() if uri != old} == {
        uri: rating
        for uri, rating in renamed.items()
        if uri != str(new / "usb" / "0.png")
    }


def test_move_leaves_copies_and_other_images_alone(rated, run, root):
    new = shutil.copytree(root, root.with_name("copy"))
    (root / "usb" / "0.png").unlink()
    (root / "usb" / "1.png").unlink()
    make_image(new / "usb" / "1.png", 70)
    run(new)
    moved = lookalike.Collection.open(rated).move(root, new)
    assert (moved.moved, moved.merged, moved.present) == (0, 1, 8)
    assert moved.different == [str(root / "usb" / "1.png")]
    assert ratings(rated)[str(root / "usb" / "1.png")] == 1
    assert ratings(rated)[str(new / "usb" / "0.png")] == 0


def test_move_names_what_is_wrong(rated, run, root):
    collection = lookalike.Collection.open(rated)
    with pytest.raises(InputError, match="There is no file or folder"):
        collection.move(root, root / "nowhere")
    with pytest.raises(InputError, match="has no image below"):
        collection.move(root / "nowhere", root)
