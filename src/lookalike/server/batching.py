"""Batching: a free thread takes several waiting requests at once."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from lookalike.server.limits import BoundedPool

__all__ = ["Batcher"]

BatchRequest = TypeVar("BatchRequest")
RequestResult = TypeVar("RequestResult")


@dataclass(frozen=True, slots=True, eq=False)
class _WaitingRequest(Generic[BatchRequest, RequestResult]):
    """A request, and the future that receives its result."""

    request: BatchRequest
    future: asyncio.Future[RequestResult]


class Batcher(Generic[BatchRequest, RequestResult]):
    """Runs work that costs less per request when several requests share one call.

    No request waits for others to arrive: a batch holds the requests that were already waiting when
    a thread became free.

    Parameters
    ----------
    pool
        Provides the threads and limits the requests in progress.
    work
        Returns one result or one exception per request, in order.
    workers
        How many threads of the pool may run `work` at the same time.
    max_batch
        The largest number of requests in one call.
    """

    def __init__(
        self,
        pool: BoundedPool,
        work: Callable[[list[BatchRequest]], list[RequestResult | Exception]],
        *,
        workers: int,
        max_batch: int,
    ) -> None:
        self._pool = pool
        self._work = work
        self._workers = workers
        self._max_batch = max_batch
        self._free_workers = workers
        self._waiting: deque[_WaitingRequest[BatchRequest, RequestResult]] = deque()

    async def run(self, request: BatchRequest) -> RequestResult:
        """Return the result of one request, or raise its exception.

        Raises
        ------
        Problem
            503, if the pool's queue is full.
        """
        with self._pool.slot():
            loop = asyncio.get_running_loop()
            future: asyncio.Future[RequestResult] = loop.create_future()
            waiting = _WaitingRequest(request, future)
            self._waiting.append(waiting)
            self._start_batches()
            return await future

    def _start_batches(self) -> None:
        """Give the waiting requests to the free threads, each at most its share of them."""
        while self._waiting and self._free_workers:
            batch = self._next_batch()
            requests = [waiting.request for waiting in batch]
            futures = [waiting.future for waiting in batch]
            work = partial(self._work, requests)
            finish = partial(self._finish_batch, futures)
            try:
                running = self._pool.submit(work)
            except RuntimeError:  # the pool was closed
                for future in futures:
                    future.cancel()
            else:
                self._free_workers -= 1
                running.add_done_callback(finish)

    def _next_batch(self) -> list[_WaitingRequest[BatchRequest, RequestResult]]:
        waiting_count = len(self._waiting)
        share = math.ceil(waiting_count / self._workers)
        count = min(self._max_batch, share)
        batch = []
        for _ in range(count):
            waiting = self._waiting.popleft()
            future = waiting.future
            # The client of a completed future has disconnected.
            if future.done():
                continue
            batch.append(waiting)
        return batch

    def _finish_batch(
        self,
        futures: list[asyncio.Future[RequestResult]],
        batch: asyncio.Future[list[RequestResult | Exception]],
    ) -> None:
        self._free_workers += 1
        if batch.cancelled():
            for future in futures:
                future.cancel()
        elif error := batch.exception():
            for future in futures:
                _settle(future, error)
        else:
            for future, result in zip(futures, batch.result(), strict=True):
                _settle(future, result)
        self._start_batches()


def _settle(
    future: asyncio.Future[RequestResult], result: RequestResult | BaseException
) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
