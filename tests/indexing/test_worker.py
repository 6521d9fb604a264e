"""The worker of indexing: each kind of result, and the same results in another process."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.imaging import MAX_PIXELS
from lookalike.indexing.run import index
from lookalike.indexing.worker import (
    Failed,
    Moved,
    New,
    Result,
    SameContent,
    Stale,
    Task,
    Updated,
    Worker,
)
from lookalike.models.registry import resolve
from lookalike.sources import LocalSource
from lookalike.store.table import Table


def make_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    for seed, name in enumerate(
        ["changed", "lost", "renamed", "touched", "unreadable"]
    ):
        make_image(tmp_path / "in" / f"{name}.png", seed)
    return tmp_path / "in"


@pytest.fixture
def tasks(folder, tmp_path) -> list[Task]:
    """Tasks with one result of each kind, by the names of their files."""
    table = Table.create(tmp_path / "c", [resolve("pixels")])
    index(folder, table)
    make_image(folder / "changed.png", 100)
    (folder / "broken.png").write_bytes(b"not an image")
    (folder / "renamed.png").rename(folder / "moved.png")
    (folder / "unreadable.png").unlink()
    (folder / "unreadable.png").symlink_to(tmp_path / "nowhere")
    make_image(folder / "new.png", 200)

    items = list(LocalSource([folder], labels="none"))
    rows = table.existing_rows([item.uri for item in items])
    return [Task(item, rows.get(item.uri)) for item in items]


@pytest.fixture
def worker(tasks, tmp_path) -> Worker:
    contents = Table.open(tmp_path / "c").content_index()
    return Worker({"pixels": resolve("pixels")}, contents, MAX_PIXELS)


def by_name(results: list[Result]) -> dict[str, Result]:
    return {Path(result.item.uri).stem: result for result in results}


def assert_same(result: Result, other: Result) -> None:
    """Compare two results by all their fields; Items are compared without their `read`."""
    assert type(result) is type(other)
    for name in type(result).__dataclass_fields__:
        value, expected = getattr(result, name), getattr(other, name)
        if name == "vectors":
            assert value.keys() == expected.keys()
            assert all((value[space] == expected[space]).all() for space in value)
        else:
            assert value == expected


def test_each_change_of_a_file_has_a_kind_of_result(worker, tasks):
    kinds = {name: type(result) for name, result in by_name(worker(tasks)).items()}
    assert kinds == {
        "broken": Failed,
        "changed": Updated,
        "lost": SameContent,
        "moved": Moved,
        "new": New,
        "touched": SameContent,
        "unreadable": Stale,
    }


def test_results_keep_what_was_read(worker, tasks, folder, tmp_path):
    results = by_name(worker(tasks))
    new = results["new"]
    assert (new.size, new.existing, len(new.sha256)) == ((12, 9), None, 32)
    assert new.vectors["pixels"].shape == (3072,)
    assert new.thumbnail.startswith(b"\xff\xd8")
    assert results["broken"].readable
    assert "not an image" in results["broken"].reason
    assert results["unreadable"].reason == "cannot be read: No such file or directory"
    # Only the label changed, so the vectors are not computed again.
    assert results["touched"].vectors == {}
    row = Table.open(tmp_path / "c").existing_rows([str(folder / "renamed.png")])
    assert results["moved"].source_id == row[str(folder / "renamed.png")].id


def test_a_file_that_was_never_read_is_not_readable(worker, folder):
    (folder / "unreadable.png").unlink(missing_ok=True)
    (folder / "unreadable.png").symlink_to(folder / "nowhere")
    (item,) = LocalSource([folder / "unreadable.png"])
    (result,) = worker([Task(item)])
    assert isinstance(result, Failed)
    assert not result.readable


def test_a_stopped_worker_begins_no_further_image(worker, tasks):
    begun = []

    def is_stopped() -> bool:
        begun.append(1)
        return len(begun) > 3

    assert len(worker(tasks, is_stopped)) == 3


def test_a_spawned_process_gives_the_same_results(worker, tasks):
    """The worker, its tasks and its results are pickled on the way."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        results = pool.submit(worker, tasks).result()
    expected = worker(tasks)
    assert len(results) == len(expected) == len(tasks)
    for result, other in zip(results, expected, strict=True):
        assert_same(result, other)


def test_a_pickled_worker_leaves_loaded_models_behind(worker, tasks):
    before = len(pickle.dumps(worker))
    worker(tasks)
    assert len(pickle.dumps(worker)) == before
