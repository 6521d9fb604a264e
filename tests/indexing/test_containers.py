"""Archives and Parquet files in a collection: unchanged runs, removals, names, and originals."""

from __future__ import annotations

import json

import pytest

import lookalike
from command import lookalike as command
from container_files import png, write_parquet, write_tar, write_zip
from live import serving
from lookalike.errors import SourceError
from lookalike.indexing.run import IndexSettings


@pytest.fixture
def paths(tmp_path):
    """A folder, a zip archive, a compressed and a plain shard and a table, with 11 images."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "0.png").write_bytes(png(0))
    return [
        folder,
        write_zip(tmp_path / "photos.zip", {f"cat/{n}.png": png(n) for n in (1, 2, 3)}),
        write_tar(tmp_path / "a.tar.gz", {"4.png": png(4), "5.png": png(5)}, "w:gz"),
        write_tar(
            tmp_path / "shard-0.tar",
            {"6.png": png(6), "6.cls": b"tabby", "7.png": png(7)},
        ),
        write_parquet(
            tmp_path / "pets.parquet",
            [png(8), png(9), None, png(10)],
            labels=[0, 1, 0, 1],
            names=["cat", "dog"],
        ),
    ]


@pytest.fixture
def index(tmp_path, paths):
    """Return a function that indexes the paths in pixel space."""

    def index(*some, **options):
        return lookalike.index(
            list(some) or paths, tmp_path / "c", models=["pixels"], **options
        )

    return index


def test_all_kinds_are_indexed_at_once_and_skipped_when_unchanged(
    index, tmp_path, no_decoding, monkeypatch
):
    report = index()
    assert (report.added, report.failed, report.skipped.null_images) == (11, 0, 1)
    rows = {
        match.uri.rpartition("/")[2]: match.label
        for match in lookalike.Collection.open(tmp_path / "c").search(png(6), k=11)
    }
    assert rows == {
        "0.png": "data",
        "1.png": "cat",
        "2.png": "cat",
        "3.png": "cat",
        "4.png": None,
        "5.png": None,
        "6.png": "tabby",
        "7.png": None,
        "0": "cat",
        "1": "dog",
        "3": "dog",
    }
    no_decoding()
    monkeypatch.setattr(
        "lookalike.indexing.worker.Worker.load", lambda *_: pytest.fail("read")
    )
    again = index()
    assert (again.unchanged, again.added, again.updated, again.removed) == (11, 0, 0, 0)


def test_missing_members_are_removed_and_broken_archives_keep_theirs(index, paths):
    index()
    _, zipped, packed, shard, table = paths
    write_zip(zipped, {"cat/1.png": png(1)})
    write_parquet(table, [png(8)], labels=[0], names=["cat", "dog"])
    content = packed.read_bytes()
    packed.write_bytes(content[:-200])
    shard.write_bytes(shard.read_bytes()[:1200])
    report = index()
    assert report.removed == 4
    assert report.images == 7
    reasons = dict(report.failures)
    assert len(reasons) == 2
    assert all("to its end" in reason for reason in reasons.values())
    # The repaired archive has no failure any more.
    packed.write_bytes(content)
    write_tar(shard, {"6.png": png(6), "6.cls": b"tabby", "7.png": png(7)})
    report = index()
    assert (report.failed, report.removed, report.images) == (0, 0, 7)


def test_a_missing_archive_is_an_error_and_its_rows_stay(index, paths):
    index()
    paths[1].unlink()
    with pytest.raises(SourceError, match=r"photos\.zip"):
        index()
    assert index(paths[0]).images == 11


def test_an_emptied_archive_keeps_its_rows_until_someone_agrees(index, paths):
    index()
    write_zip(paths[1], {"readme.md": b"#"})
    report = index(paths[1])
    assert [(held.folder, held.missing) for held in report.withheld] == [
        (str(paths[1]), 3)
    ]
    assert index(paths[1], settings=IndexSettings(prune=True)).removed == 3


def test_images_that_move_into_an_archive_keep_their_vectors(
    index, paths, tmp_path, no_decoding
):
    index(paths[0])
    no_decoding()
    packed = write_tar(tmp_path / "packed.tar", {"0.png": png(0)})
    report = index(packed)
    assert (report.added, report.failed) == (1, 0)


def test_commands_take_the_archive_for_its_members(index, paths, tmp_path):
    index()
    collection = tmp_path / "c"
    member = f"zip://{paths[1]}!/cat/2.png"
    found = command("search", member, "-c", collection, "--json", "-k", 1)
    assert json.loads(found.stdout)["matches"][0]["uri"] == member
    moved = paths[1].with_name("renamed.zip")
    paths[1].rename(moved)
    command("move", paths[1], moved, "-c", collection)
    moved_member = f"zip://{moved}!/cat/2.png"
    found = command("search", moved_member, "-c", collection, "--json", "-k", 1)
    assert json.loads(found.stdout)["matches"][0]["distance"] == 0
    checked = command("check", "--files", "-c", collection)
    assert "11 same, 0 missing" in checked.stdout
    command("remove", moved, "-c", collection)
    assert len(lookalike.Collection.open(collection)) == 8


def test_the_command_counts_members_that_are_not_images(paths, tmp_path):
    done = command("index", *paths, "-c", tmp_path / "c", "--model", "pixels")
    assert "Passed over 1 row without an image." in done.stderr + done.stdout
    assert "cls 1" in done.stderr + done.stdout


def test_the_server_names_members_and_sends_their_originals(index, tmp_path):
    index()
    with serving("-c", tmp_path / "c") as live:
        listed = live.api.get("rows", params={"limit": 20}).json()["rows"]
        rows = {row["name"]: row["id"] for row in listed}
        assert {"2.png", "5.png", "6.png", "pets.parquet row 3"} <= rows.keys()
        for name, number in (("2.png", 2), ("5.png", 5), ("pets.parquet row 3", 10)):
            original = live.api.get(f"rows/{rows[name]}/original")
            assert original.content == png(number)
            assert live.api.get(f"rows/{rows[name]}/thumbnail").status_code == 200
