"""Bounded work: so much at once, so much waiting, and a plain refusal beyond."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from lookalike.server.problems import busy

__all__ = ["BoundedPool"]

P = ParamSpec("P")
T = TypeVar("T")


class BoundedPool:
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
