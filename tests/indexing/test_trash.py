"""A deleted file that comes back, or a folder that moved, has its metadata and vectors again."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

import lookalike
from lookalike.errors import InputError
from lookalike.indexing.run import IndexSettings
from lookalike.models.registry import resolve
from lookalike.store.table import Table
from rated_images import counts, make_image, ratings, trashed, vectors

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


def test_content_that_replaces_another_image_leaves_its_row_in_the_trash(
    rated, run, root
):
    data = (root / "album" / "4.png").read_bytes()
    (root / "album" / "4.png").unlink()
    run()
    # Another image is overwritten with the content, and keeps its own rating.
    (root / "album" / "5.png").write_bytes(data)
    run()
    assert ratings(rated)[str(root / "album" / "5.png")] == 5
    assert trashed(rated) == {str(root / "album" / "4.png"): "missing"}
    (root / "album" / "4.png").write_bytes(data)
    run()
    assert ratings(rated)[str(root / "album" / "4.png")] == 4
    assert ratings(rated)[str(root / "album" / "5.png")] == 5
    assert trashed(rated) == {}


def test_an_image_that_comes_back_as_a_failure_first_has_its_metadata_again(
    rated, run, root
):
    before = ratings(rated)
    path = root / "album" / "4.png"
    data = path.read_bytes()
    path.unlink()
    run()
    path.write_bytes(b"half a copy")
    assert run().failed == 1
    path.write_bytes(data)
    assert counts(run()) == {"unchanged": 9, "restored": 1, "images": 10}
    assert ratings(rated) == before
    assert trashed(rated) == {}


def test_a_file_that_comes_back_beside_a_copy_has_its_own_metadata(rated, run, root):
    before = ratings(rated)
    path = root / "album" / "4.png"
    data = path.read_bytes()
    path.unlink()
    run()
    # The collection has its content under a name with another rating.
    (root / "album" / "5.png").write_bytes(data)
    run()
    path.write_bytes(data)
    run()
    assert ratings(rated) == before
    assert trashed(rated) == {}


def test_all_copies_of_a_removed_image_are_restored_by_one_run(
    rated, run, root, no_decoding
):
    path = root / "album" / "4.png"
    data = path.read_bytes()
    path.unlink()
    run()
    for number in range(3):
        (root / f"copy-{number}.png").write_bytes(data)
    no_decoding()
    one_by_one = IndexSettings(batch=1, commit_rows=1)
    report = run(settings=one_by_one)
    assert counts(report) == {"unchanged": 9, "restored": 3, "images": 12}
    assert [
        ratings(rated)[str(root / f"copy-{number}.png")] for number in range(3)
    ] == [4, 4, 4]
    assert trashed(rated) == {}


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


def test_move_brings_back_the_row_that_was_removed_from_the_new_folder(
    rated, run, root
):
    new = shutil.copytree(root, root.with_name("copy"))
    run(new)
    old_uri, new_uri = str(root / "usb" / "0.png"), str(new / "usb" / "0.png")
    table = Table.open(rated)
    table.update({"uri": [new_uri], "rating": [50]})
    table.remove([new_uri])
    (root / "usb" / "0.png").unlink()
    moved = lookalike.Collection.open(rated).move(root, new)
    assert (moved.moved, moved.merged, moved.present) == (0, 1, 9)
    assert ratings(rated)[new_uri] == 50
    # The value that differs.
    assert trashed(rated) == {old_uri: "moved"}
    assert Table.open(rated).trash.count() == 1


def test_move_names_what_is_wrong(rated, run, root):
    collection = lookalike.Collection.open(rated)
    with pytest.raises(InputError, match="There is no file or folder"):
        collection.move(root, root / "nowhere")
    with pytest.raises(InputError, match="has no image below"):
        collection.move(root / "nowhere", root)
