"""A thread pool that refuses work when its queue is full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from lookalike.server.problems import server_busy

__all__ = ["BoundedPool"]

WorkParams = ParamSpec("WorkParams")
WorkResult = TypeVar("WorkResult")


class BoundedPool:
    """Threads for work that would block the event loop, behind a queue of limited length.

    Parameters
    ----------
    name
        Appears in thread names and in the message of a refused request.
    workers, queue_size
        The number of threads, and of requests that may wait for one.

    Attributes
    ----------
    in_progress, finished
        The number of requests that run or wait, and of those that ran.
    """

    def __init__(self, name: str, workers: int, queue_size: int) -> None:
        self.in_progress = 0
        self.finished = 0
        self._limit = workers + queue_size
        self._name = name
        self._threads = ThreadPoolExecutor(workers, name)

    async def run(
        self,
        work: Callable[WorkParams, WorkResult],
        *args: WorkParams.args,
        **kwargs: WorkParams.kwargs,
    ) -> WorkResult:
        """Run a function in a thread and return its result.

        Raises
        ------
        Problem
            503, if the queue is full.
        """
        call = partial(work, *args, **kwargs)
        with self.slot():
            return await self.submit(call)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Count a request as in progress.

        Raises
        ------
        Problem
            503, if the queue is full.
        """
        if self.in_progress >= self._limit:
            raise server_busy(
                f"{self.in_progress} requests are waiting ({self._name}). Try again in a moment."
            )
        self.in_progress += 1
        try:
            yield
        finally:
            self.in_progress -= 1
            self.finished += 1

    def submit(self, work: Callable[[], WorkResult]) -> asyncio.Future[WorkResult]:
        """Run a function in the next free thread, for a request that holds a slot."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, work)

    def close(self) -> None:
        """Cancel waiting work and accept no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
