"""A thread-safe cache with a bounded total size."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

from cachetools import LRUCache

__all__ = ["SizedCache"]

CacheKey = TypeVar("CacheKey", bound=Hashable)
CacheValue = TypeVar("CacheValue")


class SizedCache(Generic[CacheKey, CacheValue]):
    """Values by key; the least recently used ones are dropped when the cache is full.

    Parameters
    ----------
    capacity
        The largest sum of all sizes.
    size_of
        Returns a value's size.
    """

    def __init__(self, capacity: int, size_of: Callable[[CacheValue], int]) -> None:
        self._lock = threading.Lock()
        self._values: LRUCache[CacheKey, CacheValue]
        self._values = LRUCache(capacity, getsizeof=size_of)

    @property
    def size(self) -> int:
        """The sum of all sizes."""
        return int(self._values.currsize)

    def get(self, key: CacheKey) -> CacheValue | None:
        """Return the value of a key, or None; the value becomes the most recently used one."""
        with self._lock:
            value: CacheValue | None = self._values.get(key)
        return value

    def put(self, key: CacheKey, value: CacheValue) -> None:
        """Store a value, unless the value alone exceeds the capacity."""
        with self._lock, suppress(ValueError):
            self._values[key] = value
