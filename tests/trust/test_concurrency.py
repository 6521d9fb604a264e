"""Several processes use one collection: none loses rows, and readers see complete versions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lookalike
from command import COMMAND
from command import lookalike_forked as command
from forked import Process, start_python
from lookalike.errors import CollectionError
from lookalike.indexing.run import IndexSettings
from lookalike.models.registry import resolve
from lookalike.retrieval.query import ImageQuery
from lookalike.retrieval.search import Searcher
from lookalike.store.lock import UPKEEP, WRITER, hold
from lookalike.store.table import Table
from trust.side_by_side import faults

# Each test runs whole commands or networks; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow

PART = [sys.executable, str(Path(__file__).with_name("side_by_side.py"))]
SMALL = 'architecture = "pixels"\nsize = [4, 4]\ndim = 48\nunit_length = false\n'


def draw(file: Path, seed: int) -> None:
    """Write an image that is unique to the seed."""
    file.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(pixels).resize((24, 24)).save(file)


@pytest.fixture
def images(tmp_path):
    """Three folders of 20 images each, some of them with the same content."""
    root = tmp_path / "images"
    root.mkdir()
    for number in range(60):
        draw(root / "abc"[number // 20] / f"{number}.png", number % 45)
    return root


@pytest.fixture
def small(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    return str(tmp_path / "small.toml")


def start(*arguments: object, words: list[str] = COMMAND) -> Process:
    _, *first = words
    return start_python([*first, *map(str, arguments)], env=os.environ)


def start_reader(*arguments: object) -> subprocess.Popen[str]:
    """Start a reader, which ends when its standard input does."""
    pipes = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    words = [*PART, "read", *map(str, arguments)]
    return subprocess.Popen(words, **pipes, text=True)


def finish(*processes: Process, status: int = 0) -> list[str]:
    """Wait for processes, check their exit status, and return their output."""
    message = []
    for process in processes:
        with process:
            out, error = process.communicate(timeout=300)
        assert process.returncode == status, error
        message.append(out)
    return message


def check(path: Path, root: Path, spaces: tuple[str, ...]) -> None:
    """Check that a collection holds each image of a folder once, with the right vectors."""
    table = Table.open(path)
    assert faults(table) == []
    batches = [batch.to_pydict() for batch in table.scan(["uri"])]
    uris = {
        row_id: uri
        for batch in batches
        for row_id, uri in zip(batch["_rowid"], batch["uri"], strict=True)
    }
    assert sorted(uris.values()) == sorted(map(str, root.rglob("*.png")))
    for space in spaces:
        row_ids, matrix = table.vectors(space)
        assert len(row_ids) == len(uris)
        searcher = Searcher(table, space)
        for row_id, vector in zip(row_ids.tolist(), matrix, strict=True):
            np.testing.assert_array_equal(
                vector, ImageQuery(uris[row_id]).encode(searcher)
            )


def test_indexers_an_optimizer_a_map_and_readers_run_concurrently(
    images, small, tmp_path
):
    path, query = tmp_path / "c", images / "a" / "0.png"
    reader = start_reader(path, query)
    folders = [("a", "b"), ("b", "c")]
    # Both create the collection, each with its own Space, and both index the second folder.
    indexers = [
        start("index", *(images / name for name in names), "-c", path, "--model", model)
        for names, model in zip(folders, ("pixels", small), strict=True)
    ]
    finish(*indexers)
    beside = [
        start(*words, "-c", path)
        for words in (["index", images], ["index", images / "a"], ["optimize"])
    ]
    beside.append(
        start(
            "map",
            "-c",
            path,
            "--space",
            "pixels",
            "--method",
            "pca",
            "--output",
            tmp_path / "map.html",
        )
    )
    finish(*beside, start("search", query, "-c", path))
    [message] = finish(reader)
    report = json.loads(message)
    assert report["wrong"] == []
    assert report["turns"] > 3
    check(path, images, ("pixels", "small"))
    assert (
        json.loads(command("index", images, "-c", path, "--json").stdout)["unchanged"]
        == 60
    )


def test_rows_read_for_a_change_stay_unchanged_until_its_commit(indexed, images):
    uri = str(images / "a" / "0.png")
    Table.open(indexed).update({"uri": [uri], "label": ["0"]})
    finish(*(start("count", indexed, uri, 15, words=PART) for _ in range(2)))
    assert Table.open(indexed).existing_rows([uri])[uri].label == "30"


def test_two_simultaneous_first_runs_make_one_collection(images, small, tmp_path):
    folder, rounds = images / "a", 6
    finish(
        *(
            start("index", tmp_path, folder, model, rounds, words=PART)
            for model in ("pixels", small)
        )
    )
    for number in range(rounds):
        assert faults(Table.open(tmp_path / str(number))) == []
        lookalike.index(folder, tmp_path / str(number))
        check(tmp_path / str(number), folder, ("pixels", "small"))


def test_simultaneous_metadata_columns_of_one_name_have_one_kind(images, tmp_path):
    rounds = 6
    for number in range(rounds):
        lookalike.index(images / "a", tmp_path / str(number), models=["pixels"])
    (images / "a" / "whole.csv").write_text("file,number\n0.png,1\n1.png,2\n")
    (images / "a" / "words.csv").write_text("file,number\n2.png,one\n3.png,two\n")
    files = [images / "a" / name for name in ("whole.csv", "words.csv")]
    message = finish(
        *(start("join", tmp_path, file, rounds, words=PART) for file in files)
    )
    for number, results in enumerate(
        zip(*(out.splitlines() for out in message), strict=True)
    ):
        table = Table.open(tmp_path / str(number))
        # A whole number can be stored as text, but a text not as a number.
        joined = {"int64": ["joined", False], "string": ["joined", "joined"]}[
            table.metadata["number"]
        ]
        assert [result == "joined" and result for result in results] == joined
        assert len(table.select("number is not null")) == 2 * joined.count("joined")


def index_while(images, path, act, **options):
    """Index, and call `act` after the first images are done and before any is committed."""
    todo = [act]

    def progress(count):
        if count and todo:
            todo.pop()()

    return lookalike.index(
        images, path, progress=progress, settings=IndexSettings(threads=1, **options)
    )


@pytest.fixture
def indexed(images, tmp_path):
    lookalike.index(images, tmp_path / "c", models=["pixels"])
    return tmp_path / "c"


def test_a_row_never_has_vectors_of_two_contents(indexed, images, small):
    changed = images / "a" / "0.png"

    def change():
        draw(changed, 1000)
        lookalike.index(images, indexed)

    Table.open(indexed).add_space(resolve(small))
    index_while(images, indexed, change)
    assert faults(Table.open(indexed)) == []
    lookalike.index(images, indexed)
    check(indexed, images, ("pixels", "small"))


def test_additions_of_another_process_to_the_same_files_stay(images, small, tmp_path):
    lookalike.index(images / "c", tmp_path / "c", models=["pixels"])
    index_while(
        images,
        tmp_path / "c",
        lambda: lookalike.index(images, tmp_path / "c", models=[small]),
    )
    check(tmp_path / "c", images, ("pixels", "small"))


def test_rows_of_a_process_with_fewer_spaces_are_completed(images, small, tmp_path):
    lookalike.index(images / "c", tmp_path / "c", models=["pixels"])
    begun, read = threading.Event(), threading.Event()

    def wait(_):
        begun.set()
        assert read.wait(60)

    def other(_):
        read.set()
        earlier.result()

    with ThreadPoolExecutor(1) as pool:
        earlier = pool.submit(lookalike.index, images, tmp_path / "c", progress=wait)
        assert begun.wait(60)
        lookalike.index(images, tmp_path / "c", models=[small], progress=other)
    check(tmp_path / "c", images, ("pixels", "small"))


@pytest.mark.parametrize("change", ["indexed", "changed", "removed"])
def test_changes_of_another_process_to_one_file_stay_and_block_no_others(
    indexed, images, change
):
    folder, first = images / "d", images / "d" / "0.png"
    for number in range(6):
        draw(folder / f"{number}.png", 2000 + number)
    if change == "removed":
        lookalike.index(first, indexed)
        draw(first, 3000)

    def other():
        if change == "changed":
            draw(first, 3000)
        if change == "removed":
            Table.open(indexed).remove([str(first)])
        else:
            lookalike.index(first, indexed)

    index_while(folder, indexed, other, batch=2)
    existing = Table.open(indexed).existing_rows(
        [str(file) for file in folder.iterdir()]
    )
    assert len(existing) == 6 - (change == "removed")
    if change == "changed":
        assert (
            existing[str(first)].sha256 == hashlib.sha256(first.read_bytes()).digest()
        )


def test_a_sweep_respects_rows_that_another_process_added_or_removed(indexed, images):
    deleted = [images / "a" / "3.png", images / "a" / "4.png"]
    for file in deleted:
        file.unlink()
    draw(images / "b" / "new.png", 2000)

    def other():
        draw(images / "c" / "new.png", 3000)
        Table.open(indexed).remove([str(deleted[0])])
        lookalike.index(images / "c", indexed)

    report = index_while(images, indexed, other)
    assert report.removed == 1
    check(indexed, images, ("pixels",))


def test_an_indexer_continues_when_the_version_it_read_is_removed(indexed, images):
    draw(images / "b" / "new1.png", 2000)
    draw(images / "b" / "new2.png", 2001)
    index_while(
        images,
        indexed,
        lambda: lookalike.optimize(indexed, keep_days=0),
        batch=1,
        commit_rows=1,
    )
    check(indexed, images, ("pixels",))


def test_a_searcher_stays_at_its_version_or_reports_its_removal(indexed, images):
    query = images / "a" / "0.png"
    collection = lookalike.Collection.open(indexed)
    answer = collection.search(query)
    Table.open(indexed).remove([str(query)])
    lookalike.optimize(indexed)
    assert collection.search(query).uris == answer.uris
    lookalike.optimize(indexed, keep_days=0)
    uris = answer.uris
    with suppress(CollectionError):  # a file that is still open can be read
        uris = collection.search(query).uris
    assert uris == answer.uris
    assert str(query) not in lookalike.search(indexed, query).uris


def test_a_command_waits_for_a_busy_collection_and_reports_it(
    indexed, images, monkeypatch
):
    draw(images / "a" / "new.png", 2000)
    with hold(str(indexed), WRITER):
        waiting = start("index", images, "-c", indexed)
        monkeypatch.setenv("LOOKALIKE_LOCK_TIMEOUT", "0.2")
        done = command("index", images, "-c", indexed, status=2)
        assert done.stderr.startswith(
            f"Error: The collection {indexed} is busy: process "
        )
        assert waiting.stderr.readline().startswith("Waiting for process ")
    finish(waiting)
    check(indexed, images, ("pixels",))


def test_an_optimizer_does_not_block_an_indexer(indexed, images, monkeypatch):
    draw(images / "a" / "new.png", 2000)
    monkeypatch.setenv("LOOKALIKE_LOCK_TIMEOUT", "0.2")
    with hold(str(indexed), UPKEEP):
        command("index", images, "-c", indexed)
        assert "is busy" in command("optimize", "-c", indexed, status=2).stderr
    check(indexed, images, ("pixels",))


WRITE = """
import sys, numpy as np
from lookalike.store.table import Table
table = Table.open(sys.argv[1])
for turn in range(100):
    uris = [f"/w/{turn % 5}/{row}" for row in range(1000)]
    table.upsert({"uri": uris, "sha256": [bytes(32)] * 1000, "spaces": [["pixels"]] * 1000,
                 "thumbnail": [b"x"] * 1000, "pixels": np.full((1000, 3072), turn, np.float32)},
                 replace=True)
"""


def test_optimize_removes_the_leftovers_of_killed_writers(indexed, images):
    def half_written():
        return [*indexed.rglob("*#[0-9]*")]

    for _ in range(10):
        with start(indexed, words=[sys.executable, "-c", WRITE]) as writer:
            try:
                while not half_written():
                    assert writer.poll() is None
            finally:
                writer.kill()
        if half_written():
            break
    assert half_written()
    before = Table.open(indexed)
    count = before.count()
    assert faults(before) == []
    command("optimize", "-c", indexed)
    assert not half_written()
    after = Table.open(indexed)
    assert (after.count(), faults(after), faults(before)) == (count, [], [])
    after.delete(after.ids_under(["/w/"]))
    check(indexed, images, ("pixels",))
