"""Reads of remote files that begin before the work needs their contents."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from lookalike.io.requests import REQUEST_THREADS
from lookalike.types import Item

__all__ = ["Read", "ReadAhead", "ReadCancelledError"]

# Returns the bytes of a file; raises OSError, or ReadCancelledError.
Read = Callable[[], bytes]

# With a latency of 50 ms, 64 reads at a time are at most 1,280 files a second.
_READS_AT_ONCE = 64
# Contents that are read, or being read, and not used yet.
_BUDGET_BYTES = 256 << 20
# A file of unknown size counts as a large photograph.
_UNKNOWN_BYTES = 8 << 20


class ReadCancelledError(Exception):
    """A read was given up before it ended, because the run stops."""


class _Reads:
    """The threads of reads, the bytes that they may hold, and a future that ends all waits."""

    def __init__(self, threads: int, budget_bytes: int) -> None:
        self._pool = ThreadPoolExecutor(threads, REQUEST_THREADS)
        self._free_bytes = budget_bytes
        self._lock = threading.Lock()
        self._closed: Future[None] = Future()

    def reserve(self, size: int) -> bool:
        with self._lock:
            if size > self._free_bytes:
                return False
            self._free_bytes -= size
            return True

    def release(self, size: int) -> None:
        with self._lock:
            self._free_bytes += size

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._closed.set_result(None)

    def submit(self, item: Item) -> Future[bytes]:
        try:
            return self._pool.submit(item.read)
        except RuntimeError as error:
            # The pool was shut down.
            raise ReadCancelledError from error

    def result(self, future: Future[bytes]) -> bytes:
        ends: tuple[Future[Any], ...] = (future, self._closed)
        wait(ends, return_when=FIRST_COMPLETED)
        if not future.done() or future.cancelled():
            raise ReadCancelledError
        return future.result()


class ReadAhead:
    """Reads remote files at the same time, up to a number of bytes in memory.

    Parameters
    ----------
    reads
        The most reads at the same time.
    budget_bytes
        The most bytes of files that were begun and not used. A file beyond it is read when it is
        needed, as a local file is.
    """

    def __init__(
        self, reads: int = _READS_AT_ONCE, budget_bytes: int = _BUDGET_BYTES
    ) -> None:
        self._reads_at_once = reads
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._reads: _Reads | None = None

    def begin(self, items: Sequence[Item]) -> list[Read]:
        """Begin to read the remote ones of some Items; return a function for each content.

        It is called at most once, and waits for the end of the read or of this object.
        """
        return [self._begin_item(item) for item in items]

    def _begin_item(self, item: Item) -> Read:
        if not item.is_remote:
            return item.read
        reads = self._open()
        size = item.size if item.size >= 0 else _UNKNOWN_BYTES
        if not reads.reserve(size):
            return lambda: reads.result(reads.submit(item))
        future = reads.submit(item)

        def finish() -> bytes:
            try:
                return reads.result(future)
            finally:
                reads.release(size)

        return finish

    def close(self) -> None:
        """Give up all reads: nothing waits for one any more, and no further one begins.

        Requests in flight go on in their threads until they are answered.
        """
        with self._lock:
            reads = self._reads
            self._reads = None
        if reads is not None:
            reads.close()

    def _open(self) -> _Reads:
        with self._lock:
            if self._reads is None:
                self._reads = _Reads(self._reads_at_once, self._budget_bytes)
            return self._reads
