"""An executor whose images are decoded by processes, ahead of a GPU that embeds them.

Python's lock limits how many images the threads of one process can decode:
docs/decisions/0043-gpu.md has the measurements.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from lookalike.indexing.executor import ThreadExecutor
from lookalike.indexing.pipes import receive, send
from lookalike.indexing.read_ahead import Read
from lookalike.indexing.worker import LoadedImage, Result, Task, Worker
from lookalike.io.processors import cores

__all__ = ["LoaderExecutor"]

# Starting the processes takes longer than decoding fewer images in threads.
_MIN_TASKS = 256
# The batches that the GPU computes or that wait for it, beside those that are being loaded.
_BATCHES_AHEAD = 4

_PROGRAM = [sys.executable, "-m", "lookalike.indexing.loader_process"]


class LoaderExecutor(ThreadExecutor):
    """Runs a Worker in threads that have processes decode their images.

    Parameters
    ----------
    loaders
        The number of processes; 0 for one per core.
    batch
        The most tasks that a process takes at once.
    """

    def __init__(self, loaders: int = 0, batch: int = 64) -> None:
        self._count = loaders or cores()
        self._loaders: _LoaderPool | None = None
        super().__init__(self._count + _BATCHES_AHEAD, batch)

    def run(
        self, worker: Worker, chunks: Iterable[Sequence[Task]]
    ) -> Iterator[list[Result]]:
        """Yield the results of each batch of tasks, in their order."""
        chunks = iter(chunks)
        first_chunk = next(chunks, [])
        all_chunks = chain([first_chunk], chunks)
        if len(first_chunk) >= _MIN_TASKS:
            self._loaders = _LoaderPool(worker, self._count)
        yield from super().run(worker, all_chunks)
        # After an error or Ctrl-C, `stop` does it: until then, the processes finish their batches.
        self._close_loaders()

    def stop(self) -> list[Result]:
        """Let each process finish its batch, and return the results not yielded yet."""
        results = super().stop()
        self._close_loaders()
        return results

    def _work(
        self, worker: Worker, tasks: Sequence[Task], reads: Sequence[Read]
    ) -> list[Result]:
        """Return the results of some tasks, whose images a process loads if it can."""
        loaders = self._loaders
        # Remote files are being read in this process.
        is_remote = any(task.item.is_remote for task in tasks)
        images = None
        if loaders is not None and not is_remote and not self._stopped.is_set():
            images = loaders.load(tasks)
        if images is None:
            return super()._work(worker, tasks, reads)
        return worker.finish(images)

    def _split(self, chunk: Sequence[Task]) -> Iterator[Sequence[Task]]:
        """Yield whole batches: a GPU takes as long for a part of one."""
        for start in range(0, len(chunk), self._batch):
            end = start + self._batch
            yield chunk[start:end]

    def _close_loaders(self) -> None:
        if self._loaders is not None:
            self._loaders.close()
        self._loaders = None


class _LoaderPool:
    """Processes that load images; each is started when it is first needed."""

    def __init__(self, worker: Worker, size: int) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._places = threading.Semaphore(size)
        # Loaders that may still be started: each place, and as many that take those of dead ones.
        self._allowed_starts = 2 * size
        self._idle: list[_Loader] = []
        self._all: list[_Loader] = []

    def load(self, tasks: Sequence[Task]) -> list[LoadedImage] | None:
        """Return the loaded images of some tasks; None if no process could load them."""
        with self._places:
            try:
                loader = self._take()
                if loader is None:
                    return None
                images = loader.load(tasks)
            # A process that died leaves a broken pipe, or a part of an answer.
            except (OSError, EOFError, pickle.UnpicklingError):
                return None
            with self._lock:
                self._idle.append(loader)
            return images

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            loaders = self._all
            self._allowed_starts = 0
        for loader in loaders:
            loader.close()

    def _take(self) -> _Loader | None:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._allowed_starts == 0:
                return None
            self._allowed_starts -= 1
            loader = _Loader()
            self._all.append(loader)
        loader.prepare(self._worker)
        return loader


class _Loader:
    """A process that loads images."""

    def __init__(self) -> None:
        folders = [folder for folder in sys.path if folder]
        search_path = os.pathsep.join(folders)
        environment = {**os.environ, "PYTHONPATH": search_path}
        self._process = subprocess.Popen(  # noqa: S603 (this very program)
            _PROGRAM,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
            # Ctrl-C goes to this process alone, also while the new one is starting.
            start_new_session=True,
        )

    def prepare(self, worker: Worker) -> None:
        """Send the Worker; its embedders stay here."""
        self._send(worker)

    def load(self, tasks: Sequence[Task]) -> list[LoadedImage]:
        """Return the loaded images of some tasks."""
        self._send(tasks)
        answers = self._process.stdout
        assert answers is not None  # noqa: S101 (for the type checker)
        images: list[LoadedImage] = receive(answers)
        return images

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _send(self, value: object) -> None:
        requests = self._process.stdin
        assert requests is not None  # noqa: S101 (for the type checker)
        send(requests, value)
