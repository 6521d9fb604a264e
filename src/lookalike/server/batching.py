"""Batching: a free thread takes several waiting requests at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from lookalike.server.limits import BoundedPool

__all__ = ["Batcher"]

T = TypeVar("T")
J = TypeVar("J")


class Batcher(Generic[J, T]):
    """Work that costs less for several requests at once: who is free takes several of those that wait.

    Parameters
    ----------
    pool
        Whose threads do it.
    work
        Gives a result, or an exception, for each of some requests.
    runs, most
        How many threads it may have at once, and how many requests one of them takes at a time.
    """

    def __init__(
        self,
        pool: BoundedPool,
        work: Callable[[list[J]], list[T | Exception]],
        *,
        runs: int,
        most: int,
    ) -> None:
        self._pool, self._work, self._runs, self._most = pool, work, runs, most
        self._free = runs
        self._waiting: deque[tuple[J, asyncio.Future[T]]] = deque()

    async def run(self, job: J) -> T:
        """Return the result of one request, or raise its exception.

        Raises
        ------
        Problem
            503, if as many wait already as may.
        """
        with self._pool.place():
            future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            self._waiting.append((job, future))
            self._begin()
            return await future

    def _begin(self) -> None:
        """Give what waits to the threads that are free, to none more than its share of all."""
        while self._waiting and self._free:
            share = min(self._most, -(-len(self._waiting) // self._runs))
            # Who asked may have gone away.
            taken = [
                one for one in (self._waiting.popleft() for _ in range(share)) if not one[1].done()
            ]
            jobs, futures = [job for job, _ in taken], [future for _, future in taken]
            try:
                running = self._pool.thread(partial(self._work, jobs))
            except RuntimeError:  # closed meanwhile
                for future in futures:
                    future.cancel()
            else:
                self._free -= 1
                running.add_done_callback(partial(self._end, futures))

    def _end(
        self, futures: list[asyncio.Future[T]], done: asyncio.Future[list[T | Exception]]
    ) -> None:
        self._free += 1
        failed = None if done.cancelled() else done.exception()
        for at, future in enumerate(futures):
            if done.cancelled():
                future.cancel()
            elif not future.done():
                result = failed or done.result()[at]
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        self._begin()
