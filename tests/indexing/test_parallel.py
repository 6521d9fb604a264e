"""Threads: the rows of a single thread, and no finished image lost when they stop."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike import imaging
from lookalike.errors import ModelError
from lookalike.indexing.run import IndexSettings, index
from lookalike.models import embedder
from lookalike.models.registry import resolve
from lookalike.sources import local
from lookalike.store.table import Table

SPACES = ["efficientnet-lite0-int8", "pixels"]


def rows(path) -> dict[str, tuple]:
    """Return the values of each uri of a collection, vectors included."""
    table = Table.open(path)
    ids, _ = table.vectors("pixels")
    facts = table.take(
        ids, ["uri", "label", "sha256", "width", "height", "thumbnail", "spaces"]
    ).to_pylist()
    matrices = [dict(zip(*table.vectors(space), strict=True)) for space in table.models]
    return {
        row.pop("uri"): (*(str(value) for value in row.values() if not isinstance(value, int)),
                         *(matrix[number].tobytes() for matrix in matrices))
        for number, row in zip(ids, facts, strict=True)
    }  # fmt: skip


@pytest.fixture(scope="module")
def one_by_one(sample, tmp_path_factory) -> dict[str, tuple]:
    path = tmp_path_factory.mktemp("rows") / "c"
    lookalike.index(
        sample, path, models=SPACES, settings=IndexSettings(batch=1, threads=1)
    )
    return rows(path)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 7, 32])
@pytest.mark.parametrize("threads", [1, 4])
def test_batches_and_threads_change_no_bit_of_an_8_bit_space(
    sample, one_by_one, tmp_path, batch, threads
):
    settings = IndexSettings(batch=batch, threads=threads, commit_rows=13)
    lookalike.index(sample, tmp_path / "c", models=SPACES, settings=settings)
    assert rows(tmp_path / "c") == one_by_one
    assert len(one_by_one) == 45


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(40):
        noise = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(noise).resize((48, 36)).save(
            tmp_path / "in" / f"{number:02}.png"
        )
    return tmp_path / "in"


@pytest.mark.parametrize(("batch", "threads"), [(4, 1), (4, 3), (40, 1)])
def test_an_interrupt_keeps_all_finished_images(
    folder, tmp_path, monkeypatch, batch, threads
):
    """Ctrl-C comes while batches are finished, in progress and waiting. None is completed."""
    decode, decoded, lock = imaging.decode_small, [], threading.Lock()

    def slow(*arguments, **options):
        with lock:
            decoded.append(1)
            if len(decoded) == 15:
                os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)
        return decode(*arguments, **options)

    monkeypatch.setattr(imaging, "decode_small", slow)
    with pytest.raises(KeyboardInterrupt):
        lookalike.index(
            folder,
            tmp_path / "c",
            models=["pixels"],
            settings=IndexSettings(batch=batch, threads=threads),
        )
    done = Table.open(tmp_path / "c").count()
    assert done == len(decoded)
    assert 15 <= done < 40
    report = lookalike.index(folder, tmp_path / "c")
    assert (report.added, report.unchanged) == (40 - done, done)


def test_a_model_error_in_a_thread_ends_the_run_and_keeps_commits(folder, tmp_path):
    """One image gives too large numbers. The commits before it stay."""
    Image.new("RGB", (9, 9), "white").save(folder / "20-white.png")
    for number in range(40):
        path = folder / f"{number:02}.png"
        image = Image.open(path)
        darker = image.point(lambda value: value // 2)
        darker.save(path)
    dark = replace(resolve("pixels"), std=(0.003,) * 3)
    settings = IndexSettings(batch=2, threads=2, commit_rows=4)
    with pytest.raises(ModelError, match="not finite or beyond 65,504"):
        lookalike.index(folder, tmp_path / "c", models=[dark], settings=settings)
    done = Table.open(tmp_path / "c").count()
    assert 0 < done < 40
    (folder / "20-white.png").unlink()
    report = lookalike.index(folder, tmp_path / "c", settings=settings)
    assert (report.added, report.unchanged) == (40 - done, done)


# With 0 seconds, each batch is a commit: nine of four images, then two, one and one.
@pytest.mark.parametrize(
    ("options", "commits"),
    [({}, 1), ({"commit_rows": 8}, 5), ({"commit_seconds": 0.0}, 12)],
)
def test_a_commit_follows_enough_rows_or_time(folder, tmp_path, options, commits):
    table = Table.create(tmp_path / "c", [resolve("pixels")])
    before = table.version
    settings = replace(
        IndexSettings(batch=4, threads=1, commit_seconds=1000.0), **options
    )
    index(folder, table, settings=settings)
    # The last commit records the device of the folder.
    assert Table.open(tmp_path / "c").version - before == commits + 1


def test_only_the_missing_space_is_embedded(folder, tmp_path, monkeypatch):
    lookalike.index(folder, tmp_path / "c", models=["pixels"])
    prepare, prepared = imaging.prepare, set()
    monkeypatch.setattr(
        imaging,
        "prepare",
        lambda image, model: prepared.add(model.name) or prepare(image, model),
    )
    half = replace(resolve("pixels"), name="half", size=(16, 16), dim=768)
    report = lookalike.index(folder, tmp_path / "c", models=[half])
    assert (report.updated, report.unchanged, prepared) == (40, 0, {"half"})


def test_an_unchanged_file_is_retried_after_a_disk_error(folder, tmp_path, monkeypatch):
    """Disk errors pass, so they must not exclude a file until it changes."""
    read, refused = local._read_file, sorted(map(os.fspath, folder.iterdir()))[3]

    def faulty(path, *stamp):
        if os.fspath(path) == refused:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path, *stamp)

    with monkeypatch.context() as patched:
        patched.setattr(local, "_read_file", faulty)
        first = lookalike.index(folder, tmp_path / "c", models=["pixels"])
    assert [uri for uri, _ in first.failures] == [refused]
    second = lookalike.index(folder, tmp_path / "c", models=["pixels"])
    assert (second.added, second.failed, second.unchanged) == (1, 0, first.added)


def test_a_model_is_loaded_once_for_all_threads(folder, tmp_path, monkeypatch):
    loads, load = [], embedder.load

    def counted(model, **options):
        loads.append((model.name, options))
        return load(model, **options)

    monkeypatch.setattr(embedder, "load", counted)
    lookalike.index(
        folder,
        tmp_path / "c",
        models=["pixels"],
        settings=IndexSettings(batch=2, threads=4),
    )
    ((name, options),) = loads
    assert (name, options["threads"]) == ("pixels", 1)
