"""Processes that decode ahead of a GPU give the rows that threads give, and may die."""

from __future__ import annotations

import io
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import lookalike
from lookalike.indexing import loaders
from lookalike.indexing.executor import ThreadExecutor
from lookalike.indexing.loaders import LoaderExecutor
from lookalike.indexing.pipes import receive, send
from lookalike.indexing.run import IndexSettings
from lookalike.indexing.worker import New, Task, Worker
from lookalike.models.registry import resolve
from lookalike.store.diff import ContentIndex
from lookalike.store.table import Table
from lookalike.types import Item


@pytest.fixture(autouse=True)
def _few_tasks(monkeypatch):
    monkeypatch.setattr(loaders, "_MIN_TASKS", 1)


@dataclass
class ReadInParent:
    """Reads a file in the process that made this; another one dies."""

    path: Path
    process: int

    def __call__(self) -> bytes:
        if os.getpid() != self.process:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.path.read_bytes()


@dataclass
class SlowInChild:
    """Takes a while to read a file in another process, and fails in the one that made this."""

    path: Path
    process: int
    started: Path

    def __call__(self) -> bytes:
        if os.getpid() == self.process:
            raise OSError("read in the process that was interrupted")
        self.started.touch()
        time.sleep(0.5)
        return self.path.read_bytes()


class ShortWrites(io.BytesIO):
    """A pipe that takes few bytes at a time, as one does when a signal arrives."""

    def write(self, content) -> int:
        return super().write(content[:3])


def tasks(sample, make_read) -> list[Task]:
    """Return six tasks, whose contents are read by what a function makes of a path."""
    made = []
    for path in sorted(sample.glob("*/*.jpg"))[:6]:
        item = Item(str(path), path.stat().st_size, 0, None, make_read(path))
        made.append(Task(item))
    return made


def worker() -> Worker:
    return Worker({"pixels": resolve("pixels")}, ContentIndex.of([], []), 10**8)


def test_rows_are_those_of_threads(sample, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted(sample.glob("*/*.jpg"))[:12]:
        (images / path.name).write_bytes(path.read_bytes())
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff not an image")
    tables = []
    for executor in (ThreadExecutor(2), LoaderExecutor(2)):
        settings = IndexSettings(executor=executor)
        path = tmp_path / type(executor).__name__
        report = lookalike.index(images, path, models=["pixels"], settings=settings)
        assert report.added == 12
        assert report.failed == 1
        table = Table.open(path)
        ids, vectors = table.vectors("pixels")
        uris = table.uris(ids.tolist())
        tables.append(
            {
                uris[at]: row.tobytes()
                for at, row in zip(ids.tolist(), vectors, strict=True)
            }
        )
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_images_of_a_process_that_dies_are_loaded_in_this_one(sample):
    chunk = tasks(sample, lambda path: ReadInParent(path, os.getpid()))
    parts = LoaderExecutor(1, batch=2).run(worker(), [chunk])
    found = [result for part in parts for result in part]
    assert [result.item for result in found] == [task.item for task in chunk]
    assert all(isinstance(result, New) for result in found)


def test_no_process_outlives_its_run(sample):
    executor = LoaderExecutor(2)
    chunk = tasks(sample, lambda path: path.read_bytes)
    parts = executor.run(worker(), [chunk])
    next(parts)
    processes = [loader._process for loader in executor._loaders._all]
    assert processes
    executor.stop()
    assert all(process.returncode is not None for process in processes)


def test_a_gpu_gets_whole_batches(sample):
    executor = LoaderExecutor(2, batch=4)
    parts = executor.run(worker(), [tasks(sample, lambda path: path.read_bytes)])
    assert [len(part) for part in parts] == [4, 2]


@pytest.mark.slow
def test_ctrl_c_keeps_the_batch_of_each_process(sample, tmp_path, monkeypatch):
    started = tmp_path / "started"
    executor = LoaderExecutor(1)
    chunk = tasks(sample, lambda path: SlowInChild(path, os.getpid(), started))

    def interrupt():
        while not started.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(executor, "_next_results", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(executor.run(worker(), [chunk]))
    found = executor.stop()
    assert [result.item for result in found] == [task.item for task in chunk]
    assert all(isinstance(result, New) for result in found)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no sessions")
def test_ctrl_c_does_not_reach_a_process_that_starts(sample):
    executor = LoaderExecutor(1)
    parts = executor.run(worker(), [tasks(sample, lambda path: path.read_bytes)])
    next(parts)
    [process] = [loader._process.pid for loader in executor._loaders._all]
    groups = os.getpgid(process), os.getpgid(0)
    executor.stop()
    assert groups[0] != groups[1]


def test_a_message_is_complete_although_a_pipe_takes_a_part_at_a_time():
    value = {"array": np.arange(100), "text": "abc"}
    pipe = ShortWrites()
    send(pipe, value)
    pipe.seek(0)
    received = receive(pipe)
    assert received["text"] == "abc"
    assert np.array_equal(received["array"], value["array"])
