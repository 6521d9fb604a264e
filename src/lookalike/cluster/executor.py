"""Run the work of indexing on a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lookalike.cluster.batches import BatchQueue
from lookalike.cluster.connection import Connection, import_ray
from lookalike.cluster.progress import RunProgress
from lookalike.indexing.executor import ClusterReport
from lookalike.indexing.worker import Result, Task, Worker

if TYPE_CHECKING:
    from lookalike.cluster.pool import ActorPool

__all__ = ["COMMIT_ROWS", "COMMIT_SECONDS", "RayExecutor"]

# For `IndexSettings` of a run on a cluster: few versions of a large table.
COMMIT_ROWS = 100_000
COMMIT_SECONDS = 300.0


class RayExecutor:
    """Runs a Worker in processes of a Ray cluster; results come as they are finished.

    The process that indexes, the driver, plans and commits. Actors read and embed, one per core.
    Each holds a few batches, and the driver reads the next chunk of the source only when one of
    them needs work. The batches of an actor or node that dies are given to others. An image that
    kills three actors becomes a failure.

    Parameters
    ----------
    address
        ``auto`` for the running cluster of this machine or of ``RAY_ADDRESS``, ``local`` for a new
        one on this machine, ``HOST:PORT``, or ``ray://HOST:PORT``. A process that is connected
        already keeps its connection.
    workers
        The number of actors; 0 for one per core of the cluster, also of nodes that join later.
    batch
        The most images that an actor takes at once.
    options
        Options of Ray for each actor, such as ``{"resources": {"embedding": 1}}``.

    Raises
    ------
    ClusterError
        If Ray is not installed.
    """

    def __init__(
        self,
        address: str = "auto",
        workers: int = 0,
        batch: int = 16,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        import_ray()
        self._address = address
        self._workers = workers
        self._batch = batch
        self._options = dict(options or {})
        self._connection: Connection | None = None
        self._pool: ActorPool | None = None
        self._progress: RunProgress | None = None

    def run(
        self, worker: Worker, chunks: Iterable[Sequence[Task]]
    ) -> Iterator[list[Result]]:
        """Yield results as they are finished, in any order.

        Raises
        ------
        ClusterError
            If no cluster answers, or it cannot run the work.
        """
        # It imports Ray.
        from lookalike.cluster.pool import ActorPool

        self._connection = Connection(self._address)
        self._progress = RunProgress()
        pool = ActorPool(worker, self._workers, self._options, self._progress)
        self._pool = pool
        queue = BatchQueue(chunks, self._batch)
        is_exhausted = False
        while True:
            # Give the batches of dead actors to others first.
            if pool.lost:
                queue.put_back(pool.lost)
                pool.lost = []
                is_exhausted = False
            if not is_exhausted:
                is_exhausted = _hand_out(queue, pool)
            if is_exhausted and not pool.is_working():
                break

            results = pool.wait()
            if results:
                before = time.monotonic()
                yield results
                pool.plan_ahead(time.monotonic() - before)
        self._close()

    def stop(self) -> list[Result]:
        """Let each actor finish its current batch, and return the results not yielded yet."""
        results: list[Result] = []
        if self._pool is not None:
            results = self._pool.stop()
        self._close()
        return results

    def report(self) -> ClusterReport | None:
        """Return what the nodes did in the last run; None before the first."""
        if self._progress is None:
            return None
        return self._progress.report()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _hand_out(queue: BatchQueue, pool: ActorPool) -> bool:
    """Give batches to the actors that have room; return whether the queue is at its end."""
    while pool.has_room():
        batch = queue.take(pool.window)
        if batch is None:
            return True
        if not pool.can_take(batch):
            queue.put_back([batch])
            return False
        pool.submit(batch)
    return False
