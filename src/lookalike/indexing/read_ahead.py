"""Reads of remote files that begin before the work needs their contents."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from lookalike.types import Item

__all__ = ["Read", "ReadAhead"]

# Returns the bytes of a file; raises OSError.
Read = Callable[[], bytes]

# With a latency of 50 ms, 64 reads at a time are at most 1,280 files a second.
_READS_AT_ONCE = 64
# Contents that are read, or being read, and not used yet.
_BUDGET_BYTES = 256 << 20
# A file of unknown size counts as a large photograph.
_UNKNOWN_BYTES = 8 << 20


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
        self._reads = reads
        self._budget_bytes = budget_bytes
        self._reserved_bytes = 0
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def begin(self, items: Sequence[Item]) -> list[Read]:
        """Begin to read the remote ones of some Items; return a function for each content.

        It is called at most once, and waits for the end of the read.
        """
        reads: list[Read] = []
        for item in items:
            size = item.size if item.size >= 0 else _UNKNOWN_BYTES
            if item.is_remote and self._reserve(size):
                reads.append(self._submit(item, size))
            else:
                reads.append(item.read)
        return reads

    def close(self) -> None:
        """Drop the reads that have not begun. Nothing may wait for one."""
        with self._lock:
            pool = self._pool
            self._pool = None
            self._reserved_bytes = 0
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, item: Item, size: int) -> Read:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._reads, "read")
            future = self._pool.submit(item.read)

        def finish() -> bytes:
            return self._finish(future, size)

        return finish

    def _finish(self, future: Future[bytes], size: int) -> bytes:
        try:
            return future.result()
        finally:
            with self._lock:
                self._reserved_bytes -= size

    def _reserve(self, size: int) -> bool:
        with self._lock:
            total = self._reserved_bytes + size
            if total > self._budget_bytes:
                return False
            self._reserved_bytes = total
            return True
