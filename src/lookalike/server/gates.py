"""Bounded work: so much at once, so much waiting, and a plain refusal beyond."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Generic, ParamSpec, TypeVar

from lookalike.server.problems import busy

__all__ = ["Gate", "Together"]

P = ParamSpec("P")
T = TypeVar("T")
J = TypeVar("J")


class Gate:
    """Threads that do what would hold up the event loop, and a queue before them that is not endless.

    Attributes
    ----------
    inside
        How many requests are worked on or wait now.
    """

    def __init__(self, name: str, workers: int, waiting: int) -> None:
        self.inside = 0
        self._most = workers + waiting
        self._name = name
        self._pool = ThreadPoolExecutor(workers, name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something in a thread, and return what it returns.

        Raises
        ------
        Problem
            503, if as many wait already as may.
        """
        with self.place():
            return await self.thread(lambda: work(*args, **kwargs))

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count a request as inside; it is refused, as by `run`, if as many wait already as may."""
        if self.inside >= self._most:
            raise busy(
                f"{self.inside} requests are before this one ({self._name}). Try again in a moment."
            )
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do something in the next free thread, for requests that have their place."""
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Together(Generic[J, T]):
    """Work that costs less for several requests at once: who is free takes several of those that wait.

    Parameters
    ----------
    gate
        Whose threads do it.
    work
        Gives a result, or an exception, for each of some requests.
    runs, most
        How many threads it may have at once, and how many requests one of them takes at a time.
    """

    def __init__(
        self, gate: Gate, work: Callable[[list[J]], list[T | Exception]], *, runs: int, most: int
    ) -> None:
        self._gate, self._work, self._runs, self._most = gate, work, runs, most
        self._free = runs
        self._waiting: deque[tuple[J, asyncio.Future[T]]] = deque()

    async def run(self, job: J) -> T:
        """Return the result of one request, or raise its exception.

        Raises
        ------
        Problem
            503, if as many wait already as may.
        """
        with self._gate.place():
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
                running = self._gate.thread(partial(self._work, jobs))
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
