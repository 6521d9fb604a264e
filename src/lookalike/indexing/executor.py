"""Executors: where and how the work of indexing is done."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from lookalike.indexing.read_ahead import Read
from lookalike.indexing.worker import Result, Task, Worker
from lookalike.io.processors import cores

__all__ = [
    "ClusterExecutor",
    "ClusterReport",
    "Executor",
    "NodeReport",
    "ThreadExecutor",
]


@dataclass(frozen=True, slots=True)
class NodeReport:
    """The work of one node of a cluster in an index run.

    Attributes
    ----------
    node
        The name of the machine, and the start of the cluster's id of the node.
    workers
        The most workers that ran there at one time.
    images, images_per_second
        The number of images, and that number by the time from the first worker's start to the last
        result.
    busy
        The share of that time in which a worker there had work, as a mean over its workers.
    slow_batches
        Batches that took 10 seconds and ten times as long for each image as the median.
    """

    node: str
    workers: int
    images: int
    images_per_second: float
    busy: float
    slow_batches: int


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """The work of a cluster in an index run.

    Attributes
    ----------
    nodes
        Its nodes by name.
    restarts
        The number of workers that died, alone or with their node.
    repeated
        The number of images that were given to another worker after a death.
    """

    nodes: list[NodeReport]
    restarts: int
    repeated: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``lookalike index --json`` prints it."""
        fields = asdict(self)
        for node in fields["nodes"]:
            node["images_per_second"] = round(node["images_per_second"], 1)
            node["busy"] = round(node["busy"], 3)
        return fields


class Executor(Protocol):
    """Runs a Worker on the tasks of an index run.

    Tasks come in chunks of any size. An executor reads the next chunk only when it can soon begin
    with it, so that memory stays flat however large the source is.
    """

    def run(
        self, worker: Worker, chunks: Iterable[Sequence[Task]]
    ) -> Iterator[list[Result]]:
        """Yield the results of all tasks in lists of any size."""
        ...

    def stop(self) -> list[Result]:
        """Begin no further task, wait for those in progress, and return the results not yielded.

        It is called at most once a run, when the run is interrupted or an error ends it.
        """
        ...


@runtime_checkable
class ClusterExecutor(Executor, Protocol):
    """An Executor whose workers run on the nodes of a cluster."""

    def report(self) -> ClusterReport | None:
        """Return what the nodes did in the last run; None before the first."""
        ...


class ThreadExecutor:
    """Runs a Worker in the threads of this process; results come in the order of the tasks.

    Parameters
    ----------
    threads
        The number of threads; 0 for one per core.
    batch
        The most tasks that a thread takes at once.
    """

    def __init__(self, threads: int = 0, batch: int = 16) -> None:
        self._threads = threads or cores()
        self._batch = batch
        # Batches in progress or waiting. Two per thread keep all threads busy while the main thread
        # looks up a chunk or commits.
        self._window = 2 * self._threads
        self._pool: ThreadPoolExecutor | None = None
        self._worker: Worker | None = None
        self._pending: deque[Future[list[Result]]] = deque()
        self._stopped = threading.Event()

    def run(
        self, worker: Worker, chunks: Iterable[Sequence[Task]]
    ) -> Iterator[list[Result]]:
        """Yield the results of each batch of tasks, in their order."""
        pool = ThreadPoolExecutor(self._threads, "index")
        pending = self._pending
        self._pool = pool
        self._worker = worker
        pending.clear()
        self._stopped.clear()

        for chunk in chunks:
            for batch in self._split(chunk):
                # Remote files are read while the batch waits for a thread.
                reads = worker.begin(batch)
                future = pool.submit(self._work, worker, batch, reads)
                pending.append(future)
                is_full = len(pending) >= self._window
                if is_full:
                    yield self._next_results()
        while pending:
            yield self._next_results()
        pool.shutdown()
        worker.close()

    def stop(self) -> list[Result]:
        """Let each thread finish its current image, and return the results not yielded yet.

        An image whose content has not arrived from a network is not waited for.
        """
        if self._pool is None:
            return []
        self._stopped.set()
        if self._worker is not None:
            self._worker.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

        results = []
        for future in self._pending:
            if future.cancelled() or future.exception() is not None:
                continue
            results += future.result()
        self._pending.clear()
        return results

    def _work(
        self, worker: Worker, tasks: Sequence[Task], reads: Sequence[Read]
    ) -> list[Result]:
        """Return the results of some tasks; called in a thread."""
        is_stopped = self._stopped.is_set
        return worker(tasks, is_stopped, reads)

    def _split(self, chunk: Sequence[Task]) -> Iterator[Sequence[Task]]:
        """Yield batches that get smaller towards the end, so that all threads end together."""
        rest = chunk
        while rest:
            rest_count = len(rest)
            share = rest_count // self._window
            size = min(self._batch, share)
            size = max(1, size)
            batch = rest[:size]
            yield batch
            rest = rest[size:]

    def _next_results(self) -> list[Result]:
        # Removed after the wait, so that an interrupt of the wait leaves the results to `stop`.
        results = self._pending[0].result()
        self._pending.popleft()
        return results
