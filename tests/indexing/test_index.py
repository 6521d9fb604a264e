"""Indexing: new, changed, moved and missing files, whatever the order, batches and threads."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike.errors import ModelError, SourceError, SpaceError
from lookalike.indexing.run import IndexSettings
from lookalike.models.registry import resolve
from lookalike.store.table import Table


def make_image(path, seed, size=(48, 36)):
    """Write a small image with a content of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        make_image(
            tmp_path / "in" / ("cats" if number % 2 else "dogs") / f"{number}.png",
            number,
        )
    return tmp_path / "in"


@pytest.fixture
def run(folder, tmp_path):
    """Return a function that indexes the folder in pixel space, which needs no network."""

    def run(*paths, **options):
        options = {"models": ["pixels"], **options}
        return lookalike.index(list(paths) or folder, tmp_path / "c", **options)

    return run


def counts(report):
    names = ("added", "updated", "unchanged", "moved", "removed", "failed", "images")
    return {name: report.to_dict()[name] for name in names if report.to_dict()[name]}


def stored(path):
    """Return {uri: (label, width, height, pixel vector)} of a collection."""
    table = Table.open(path)
    ids, matrix = table.vectors("pixels")
    facts = table.take(ids, ["uri", "label", "width", "height"])
    columns = (facts[name].to_pylist() for name in ("uri", "label", "width", "height"))
    return {
        uri: (*rest, vector.tolist())
        for uri, *rest, vector in zip(*columns, matrix, strict=True)
    }


def test_the_second_run_finds_nothing_to_do(run, folder, tmp_path):
    report = run()
    assert counts(report) == {"added": 6, "images": 6}
    assert 0 < report.seconds < 300
    assert replace(report, seconds=1.23456).to_dict()["seconds"] == 1.235
    label, width, height, vector = stored(tmp_path / "c")[
        str(folder / "cats" / "1.png")
    ]
    expected = Image.open(folder / "cats" / "1.png").resize(
        (32, 32), Image.Resampling.BILINEAR
    )
    assert (label, width, height) == ("cats", 48, 36)
    assert vector == np.asarray(expected).ravel().tolist()
    assert counts(run()) == {"unchanged": 6, "images": 6}


def test_each_kind_of_change_is_counted(run, folder):
    run()
    os.utime(folder / "dogs" / "0.png", ns=(1, 1))
    make_image(folder / "cats" / "1.png", 101)
    (folder / "dogs" / "2.png").rename(folder / "cats" / "2-moved.png")
    (folder / "cats" / "3.png").unlink()
    make_image(folder / "new" / "9.png", 9)
    expected = {
        "added": 1,
        "updated": 2,
        "unchanged": 2,
        "moved": 1,
        "removed": 1,
        "images": 6,
    }
    assert counts(run()) == expected
    assert counts(run()) == {"unchanged": 6, "images": 6}


def test_changed_content_gets_a_new_vector(run, folder, tmp_path):
    run()
    make_image(folder / "cats" / "1.png", 101, size=(20, 30))
    run()
    _, width, height, vector = stored(tmp_path / "c")[str(folder / "cats" / "1.png")]
    expected = Image.open(folder / "cats" / "1.png").resize(
        (32, 32), Image.Resampling.BILINEAR
    )
    assert (width, height, vector) == (20, 30, np.asarray(expected).ravel().tolist())


def test_known_content_is_not_decoded_again(run, folder, tmp_path, monkeypatch):
    run()
    (folder / "dogs" / "2.png").rename(folder / "dogs" / "moved.png")
    shutil.copy(folder / "cats" / "1.png", folder / "cats" / "copy.png")
    os.utime(folder / "dogs" / "0.png", ns=(1, 1))
    before = stored(tmp_path / "c")
    monkeypatch.setattr(
        "lookalike.imaging.decode_small", lambda *_, **__: pytest.fail("decoded again")
    )
    assert counts(run()) == {
        "added": 1,
        "updated": 1,
        "unchanged": 4,
        "moved": 1,
        "images": 7,
    }
    after = stored(tmp_path / "c")
    assert (
        after[str(folder / "dogs" / "moved.png")]
        == before[str(folder / "dogs" / "2.png")]
    )
    assert (
        after[str(folder / "cats" / "copy.png")]
        == before[str(folder / "cats" / "1.png")]
    )


def test_each_of_several_equal_files_can_move(run, folder):
    shutil.copy(folder / "cats" / "1.png", folder / "cats" / "twin.png")
    run()
    (folder / "cats" / "1.png").rename(folder / "cats" / "a.png")
    (folder / "cats" / "twin.png").rename(folder / "cats" / "b.png")
    shutil.copy(folder / "cats" / "a.png", folder / "cats" / "c.png")
    assert counts(run()) == {"added": 1, "unchanged": 5, "moved": 2, "images": 8}
    (folder / "cats" / "a.png").rename(folder / "cats" / "d.png")
    (folder / "cats" / "b.png").unlink()
    (folder / "cats" / "c.png").rename(folder / "cats" / "e.png")
    assert counts(run()) == {"unchanged": 5, "moved": 2, "removed": 1, "images": 7}


@pytest.mark.parametrize("commit_rows", [1, 2, 512])
def test_files_that_swap_contents_get_the_right_vectors(
    run, folder, tmp_path, commit_rows
):
    run()
    before = stored(tmp_path / "c")
    names = [str(folder / "cats" / f"{number}.png") for number in (1, 3, 5)]
    contents = [(folder / name).read_bytes() for name in names]
    for name, content in zip(names, contents[1:] + contents[:1], strict=True):
        (folder / name).write_bytes(content)
    (folder / "cats" / "z.png").write_bytes(contents[0])
    make_image(folder / "cats" / "1.png", 300)
    run(settings=IndexSettings(commit_rows=commit_rows))
    after = stored(tmp_path / "c")
    assert after[names[1]] == before[names[2]]
    assert after[names[2]] == after[str(folder / "cats" / "z.png")] == before[names[0]]
    assert after[names[0]] not in before.values()


def test_the_sweep_covers_scanned_folders_alone(run, folder, tmp_path):
    other = make_image(tmp_path / "other" / "x.png", 50).parent
    run(folder, other)
    (folder / "cats" / "1.png").unlink()
    (folder / "dogs" / "0.png").unlink()
    (other / "x.png").unlink()
    make_image(other / "y.png", 51)
    assert counts(run(folder / "cats")) == {"unchanged": 2, "removed": 1, "images": 6}
    assert counts(run(folder / "dogs" / "2.png")) == {"unchanged": 1, "images": 6}
    assert counts(run(folder, other)) == {
        "added": 1,
        "unchanged": 4,
        "removed": 2,
        "images": 5,
    }


def test_a_folder_without_images_creates_no_collection(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("not an image")
    with pytest.raises(SourceError, match=r"no images under .*empty.*\.jpg"):
        run(tmp_path / "empty")
    assert not (tmp_path / "c").exists()
    run()
    with pytest.raises(SourceError, match="no images under"):
        run(tmp_path / "empty")


def test_a_model_that_cannot_run_creates_no_collection(run, tmp_path):
    with pytest.raises(ModelError, match="dim = 5"):
        run(models=[replace(resolve("pixels"), dim=5)])
    assert not (tmp_path / "c").exists()


def test_a_space_accepts_its_own_model_alone(run):
    run()
    with pytest.raises(SpaceError, match="'pixels'"):
        run(models=[replace(resolve("pixels"), filter="lanczos")])


def test_labels_can_be_removed_and_restored(run, tmp_path):
    run(labels="none")
    assert {row[0] for row in stored(tmp_path / "c").values()} == {None}
    assert counts(run(labels="folder")) == {"updated": 6, "images": 6}
    assert {row[0] for row in stored(tmp_path / "c").values()} == {"cats", "dogs"}


def test_hidden_files_are_indexed_on_request(run, folder):
    make_image(folder / ".hidden" / "h.png", 70)
    assert counts(run()) == {"added": 6, "images": 6}
    assert counts(run(hidden=True)) == {"added": 1, "unchanged": 6, "images": 7}


def test_a_bad_file_is_recorded_once_and_stops_nothing(run, folder, tmp_path):
    (folder / "cats" / "bad.jpg").write_text("not an image")
    report = run()
    assert counts(report) == {"added": 6, "failed": 1, "images": 6}
    assert report.failures == [
        (str(folder / "cats" / "bad.jpg"), report.failures[0][1])
    ]
    assert "not an image" in report.failures[0][1]
    again = run()
    assert counts(again) == {"unchanged": 6, "failed": 1, "images": 6}
    assert again.failures == []
    assert run(settings=IndexSettings(retry_failures=True)).failures == report.failures
    shutil.copy(folder / "cats" / "1.png", folder / "cats" / "bad.jpg")
    assert counts(run()) == {"added": 1, "unchanged": 6, "images": 7}
    assert len(Table.open(tmp_path / "c").failures()) == 0


def test_the_failure_of_a_deleted_file_is_removed(run, folder, tmp_path):
    (folder / "bad.jpg").write_text("not an image")
    run()
    (folder / "bad.jpg").unlink()
    assert counts(run()) == {"unchanged": 6, "images": 6}
    assert len(Table.open(tmp_path / "c").failures()) == 0


def test_an_image_overwritten_with_bad_content_is_no_longer_found(
    run, folder, tmp_path
):
    run()
    (folder / "cats" / "1.png").write_bytes(b"overwritten")
    assert counts(run()) == {"unchanged": 5, "failed": 1, "images": 5}
    assert str(folder / "cats" / "1.png") not in stored(tmp_path / "c")


def test_an_unreadable_image_keeps_its_vector(run, folder, tmp_path):
    run()
    target = folder / "cats" / "1.png"
    target.rename(tmp_path / "away.png")
    target.symlink_to(tmp_path / "nowhere")
    assert counts(run()) == {"unchanged": 5, "failed": 1, "images": 6}
    assert str(target) in stored(tmp_path / "c")
    assert counts(run()) == {"unchanged": 5, "failed": 1, "images": 6}
    target.unlink()
    (tmp_path / "away.png").rename(target)
    assert counts(run()) == {"updated": 1, "unchanged": 5, "images": 6}
    assert len(Table.open(tmp_path / "c").failures()) == 0


def test_the_pixel_limit_is_a_setting(run, folder):
    make_image(folder / "big.png", 1, size=(200, 100))
    report = run(settings=IndexSettings(max_pixels=10_000))
    assert counts(report) == {"added": 6, "failed": 1, "images": 6}
    assert "0.02 megapixels, more than the limit of 0.01" in report.failures[0][1]
    assert counts(run(settings=IndexSettings(retry_failures=True))) == {
        "added": 1,
        "unchanged": 6,
        "images": 7,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        IndexSettings(batch=1, threads=1),
        IndexSettings(batch=7, threads=4, commit_rows=5),
        IndexSettings(batch=32, threads=4, commit_rows=1),
        IndexSettings(batch=3, threads=2, commit_seconds=0),
    ],
)
def test_batches_threads_and_commits_do_not_change_the_rows(
    sample, tmp_path_factory, settings
):
    reference = tmp_path_factory.mktemp("rows") / "reference"
    other = reference.with_name("other")
    lookalike.index(sample, reference)
    lookalike.index(sample, other, settings=settings)
    names = [
        "uri",
        "size",
        "mtime_ns",
        "label",
        "sha256",
        "width",
        "height",
        "thumbnail",
        "error",
        "spaces",
    ]
    rows = []
    for path in (reference, other):
        ids, matrix = Table.open(path).vectors("efficientnet-lite0-int8")
        facts = Table.open(path).take(ids, names)
        order = np.argsort(facts["uri"].to_pylist())
        rows.append((facts.take(order).drop(["id"]), matrix[order]))
    assert rows[0][0].equals(rows[1][0])
    np.testing.assert_allclose(rows[0][1], rows[1][1], atol=2e-4)


def test_a_later_space_is_filled_for_existing_images(run, folder, tmp_path):
    run()
    table = Table.open(tmp_path / "c")
    half = replace(resolve("pixels"), name="half", size=(16, 16), dim=768)
    report = run(folder / "cats", models=[half])
    assert counts(report) == {"updated": 3, "images": 6}
    assert counts(run(models=[])) == {"updated": 3, "unchanged": 3, "images": 6}
    table.refresh()
    assert (table.count("half"), table.count("pixels")) == (6, 6)
    make_image(folder / "new.png", 77)
    run(models=[])
    table.refresh()
    assert (table.count("half"), table.count("pixels")) == (7, 7)
    ids, matrix = table.vectors("half")
    uris = table.take(ids, ["uri"])["uri"].to_pylist()
    with Image.open(folder / "new.png") as image:
        expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)).ravel()
    np.testing.assert_array_equal(matrix[uris.index(str(folder / "new.png"))], expected)


def test_the_run_after_an_interrupt_continues(run, folder, tmp_path):
    def interrupt(_count):
        interrupt.calls += 1
        if interrupt.calls == 4:
            raise KeyboardInterrupt

    interrupt.calls = 0
    with pytest.raises(KeyboardInterrupt):
        run(progress=interrupt, settings=IndexSettings(threads=1, batch=1))
    done = len(stored(tmp_path / "c"))
    assert 0 < done < 6
    assert counts(run()) == {"added": 6 - done, "unchanged": done, "images": 6}


def test_progress_counts_every_image_once(run):
    calls = []
    run(progress=calls.append)
    assert sum(calls) == 6
    calls.clear()
    run(progress=calls.append)
    assert sum(calls) == 6


def test_a_list_may_name_missing_files(run, folder, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{folder / 'cats' / '1.png'}\n{folder / 'missing.png'}\n")
    report = run(f"@{listed}")
    assert counts(report) == {"added": 1, "failed": 1, "images": 1}
    assert report.failures == [
        (str(folder / "missing.png"), "cannot be read: No such file or directory")
    ]


def test_the_default_collection_is_used(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_COLLECTION", str(tmp_path / "default"))
    lookalike.index(folder, models=["pixels"])
    assert len(stored(tmp_path / "default")) == 6
    assert len(lookalike.search(None, folder / "cats" / "1.png")) == 6


def test_an_unmounted_linked_folder_is_not_swept(run, folder, tmp_path):
    usb = make_image(tmp_path / "usb" / "x.png", 80).parent
    (folder / "link").symlink_to(usb)
    run()
    usb.rename(tmp_path / "unplugged")
    assert counts(run()) == {"unchanged": 6, "images": 7}
    (tmp_path / "unplugged").rename(usb)
    assert counts(run()) == {"unchanged": 7, "images": 7}
    (folder / "link").unlink()
    assert counts(run()) == {"unchanged": 6, "removed": 1, "images": 6}


def test_a_file_outside_the_scan_is_removed_only_if_missing(run, folder):
    hidden = make_image(folder / ".hidden" / "h.png", 70)
    make_image(folder / "odd.png", 71).rename(folder / "odd")
    run(folder, folder / "odd", hidden=True)
    assert counts(run()) == {"unchanged": 6, "images": 8}
    (folder / "odd").unlink()
    assert counts(run()) == {"unchanged": 6, "removed": 1, "images": 7}
    shutil.rmtree(hidden.parent)
    assert counts(run()) == {"unchanged": 6, "removed": 1, "images": 6}


def test_an_empty_folder_does_not_stop_the_sweep_of_others(run, folder, tmp_path):
    other = make_image(tmp_path / "other" / "x.png", 50).parent
    make_image(other / "y.png", 51)
    run(folder, other)
    shutil.rmtree(folder)
    folder.mkdir()
    (other / "x.png").unlink()
    report = run(folder, other)
    assert counts(report) == {"unchanged": 1, "removed": 1, "images": 7}
    assert [kept.folder for kept in report.withheld] == [str(folder)]


def test_an_outdated_table_object_is_refreshed(run, folder, tmp_path):
    other = make_image(tmp_path / "other" / "x.png", 50).parent
    run()
    lagging = Table.open(tmp_path / "c")
    run(other)
    make_image(other / "y.png", 51)
    (other / "x.png").unlink()
    assert counts(lookalike.index(other, lagging)) == {
        "added": 1,
        "removed": 1,
        "images": 7,
    }


def test_a_move_is_recognized_with_a_partly_filled_space(run, folder):
    run()
    run(
        folder / "cats",
        models=[replace(resolve("pixels"), name="half", size=(16, 16), dim=768)],
    )
    (folder / "dogs" / "0.png").rename(folder / "dogs" / "renamed.png")
    assert counts(run(folder / "dogs", models=[])) == {
        "updated": 2,
        "moved": 1,
        "images": 6,
    }


def test_a_tilde_stands_for_the_home_folder(run, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    lookalike.index(folder, "~/mine", models=["pixels"])
    assert len(stored(tmp_path / "mine")) == 6
    assert len(lookalike.search("~/mine", "~/in/cats/1.png", exclude_self=True)) == 5


def test_an_interrupted_creation_is_repeated(run, tmp_path):
    (tmp_path / "c" / ".images.0a1b2c3d" / "data").mkdir(parents=True)
    assert counts(run()) == {"added": 6, "images": 6}


def test_vectors_beyond_float16_are_an_error(run):
    with pytest.raises(ModelError, match="not finite or beyond 65,504"):
        run(models=[replace(resolve("pixels"), std=(0.001, 0.001, 0.001))])
