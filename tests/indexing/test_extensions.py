"""New sources and executors are added by new classes alone."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BufferedReader, BytesIO

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike.errors import SourceError
from lookalike.indexing.executor import Executor
from lookalike.indexing.run import IndexSettings
from lookalike.indexing.worker import Result, Task, Worker
from lookalike.sources import (
    FolderState,
    SkippedFiles,
    Source,
    UriReader,
    read_uri,
    register_reader,
    uri_exists,
)
from lookalike.store.table import Table
from lookalike.types import Item


def png(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


class MemorySource:
    """Images of a dictionary, with uris such as ``memory://name``."""

    def __init__(self, images: dict[str, bytes]) -> None:
        self.images = images
        self.roots: Sequence[str] = ["memory:"]

    def __iter__(self) -> Iterator[Item]:
        for name, data in self.images.items():
            version = int.from_bytes(hashlib.sha256(data).digest()[:4])
            yield Item(
                f"memory://{name}", len(data), version, None, partial(bytes, data)
            )

    def count(self) -> int:
        return len(self.images)

    def completed(self) -> Mapping[str, int]:
        return {"memory:": len(self.images)}

    def unreachable(self) -> Sequence[str]:
        return []

    def skipped(self) -> SkippedFiles:
        return SkippedFiles()

    def prefixes(self, root: str) -> Sequence[str]:
        return [f"{root}//"]

    def exists(self, uri: str) -> bool:
        return uri.removeprefix("memory://") in self.images

    def folders_of(self, uri: str) -> Sequence[str]:
        return ["memory://"]

    def folder_state(self, folder: str) -> FolderState:
        return FolderState.FILLED if self.images else FolderState.EMPTY

    def devices(self) -> Mapping[str, str]:
        return {}

    def empty_error(self) -> SourceError:
        return SourceError("There are no images in memory. Add some.")


class MemoryReader:
    """Access to the images of a dictionary by their uris."""

    def __init__(self, images: dict[str, bytes]) -> None:
        self.images = images

    def read(self, uri: str) -> bytes:
        name = uri.removeprefix("memory://")
        if name not in self.images:
            raise FileNotFoundError(f"{uri} does not exist")
        return self.images[name]

    def open(self, uri: str) -> BufferedReader:
        return BufferedReader(BytesIO(self.read(uri)))

    def exists(self, uri: str) -> bool:
        return uri.removeprefix("memory://") in self.images


class SerialExecutor:
    """Runs the worker in the calling thread, one task at a time."""

    def __init__(self) -> None:
        self.batches = 0

    def run(
        self, worker: Worker, chunks: Iterable[Sequence[Task]]
    ) -> Iterator[list[Result]]:
        for chunk in chunks:
            for task in chunk:
                self.batches += 1
                yield worker([task])

    def stop(self) -> list[Result]:
        return []


class SpawnExecutor:
    """Runs the worker in other processes, which receive it once for each chunk."""

    def run(
        self, worker: Worker, chunks: Iterable[Sequence[Task]]
    ) -> Iterator[list[Result]]:
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            for chunk in chunks:
                half = len(chunk) // 2
                yield from pool.map(worker, [chunk[:half], chunk[half:]])

    def stop(self) -> list[Result]:
        return []


def stored(path) -> dict[str, tuple]:
    """Return the content and the pixel vector of each uri of a collection."""
    table = Table.open(path)
    ids, vectors = table.vectors("pixels")
    rows = table.take(ids, ["uri", "sha256"])
    columns = zip(
        rows["uri"].to_pylist(), rows["sha256"].to_pylist(), vectors, strict=True
    )
    return {uri: (sha256, vector.tobytes()) for uri, sha256, vector in columns}


def counts(report) -> dict[str, int]:
    names = ("added", "updated", "unchanged", "moved", "removed", "failed", "images")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def test_a_source_of_another_kind_is_indexed_and_swept(tmp_path):
    images = {f"{seed}.png": png(seed) for seed in range(4)}
    source: Source = MemorySource(images)

    def run():
        return counts(lookalike.index(source, tmp_path / "c", models=["pixels"]))

    assert run() == {"added": 4, "images": 4}
    assert run() == {"unchanged": 4, "images": 4}
    images["moved.png"] = images.pop("0.png")
    images["1.png"] = png(100)
    del images["2.png"]
    images["bad.png"] = b"not an image"
    expected = {
        "updated": 1,
        "unchanged": 1,
        "moved": 1,
        "removed": 1,
        "failed": 1,
        "images": 3,
    }
    assert run() == expected
    assert stored(tmp_path / "c").keys() == {
        "memory://moved.png",
        "memory://1.png",
        "memory://3.png",
    }


def test_an_empty_source_raises_its_own_error(tmp_path):
    with pytest.raises(SourceError, match="no images in memory"):
        lookalike.index(MemorySource({}), tmp_path / "c", models=["pixels"])
    assert not (tmp_path / "c").exists()


def test_a_source_that_turns_empty_loses_no_rows(tmp_path):
    images = {"a.png": png(0)}
    lookalike.index(MemorySource(images), tmp_path / "c", models=["pixels"])
    images.clear()
    report = lookalike.index(MemorySource(images), tmp_path / "c")
    assert [(kept.folder, kept.missing) for kept in report.withheld] == [("memory:", 1)]
    assert len(stored(tmp_path / "c")) == 1


def test_uris_of_a_registered_scheme_are_read_and_searched_by(tmp_path, monkeypatch):
    monkeypatch.setattr("lookalike.sources.uris._readers", {})
    images = {f"{seed}.png": png(seed) for seed in range(3)}
    lookalike.index(MemorySource(images), tmp_path / "c", models=["pixels"])
    with pytest.raises(OSError, match="memory:// uris need a registered reader"):
        read_uri("memory://1.png")

    reader: UriReader = MemoryReader(images)
    register_reader("memory", reader)
    assert read_uri("memory://1.png") == images["1.png"]
    assert uri_exists("memory://1.png")
    assert not uri_exists("memory://9.png")
    first = next(iter(lookalike.search(tmp_path / "c", "memory://1.png")))
    assert (first.uri, first.distance) == ("memory://1.png", 0)


@pytest.mark.parametrize("make_executor", [SerialExecutor, SpawnExecutor])
def test_an_executor_of_another_kind_gives_the_same_rows(tmp_path, make_executor):
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(7):
        (folder / f"{seed}.png").write_bytes(png(seed))
    (folder / "bad.png").write_bytes(b"not an image")
    executor: Executor = make_executor()

    threads = lookalike.index(folder, tmp_path / "threads", models=["pixels"])
    settings = IndexSettings(executor=executor)
    other = lookalike.index(
        folder, tmp_path / "other", models=["pixels"], settings=settings
    )
    assert counts(other) == counts(threads) == {"added": 7, "failed": 1, "images": 7}
    assert stored(tmp_path / "other") == stored(tmp_path / "threads")
    if isinstance(executor, SerialExecutor):
        assert executor.batches == 8


def test_an_interrupt_keeps_the_results_of_any_executor(tmp_path):
    def interrupt(count: int) -> None:
        if len(progress) == 3:
            raise KeyboardInterrupt
        progress.append(count)

    progress: list[int] = []
    images = {f"{seed}.png": png(seed) for seed in range(6)}
    source = MemorySource(images)
    settings = IndexSettings(executor=SerialExecutor())
    with pytest.raises(KeyboardInterrupt):
        lookalike.index(
            source,
            tmp_path / "c",
            models=["pixels"],
            settings=settings,
            progress=interrupt,
        )
    # The first call reports the images that need no work: none.
    assert len(stored(tmp_path / "c")) == 3
