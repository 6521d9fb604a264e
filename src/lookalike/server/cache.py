"""A cache of bounded size: what was used longest ago goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["SizedCache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SizedCache(Generic[K, V]):
    """Values by key, each with a weight; many threads may use it.

    Parameters
    ----------
    most
        What all weights together may come to.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.weight = 0

    def get(self, key: K) -> V | None:
        """Return what is kept under a key, which is now the last to go; or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, weight: int) -> None:
        """Keep a value, unless it alone is too heavy."""
        with self._lock:
            _, before = self._kept.pop(key, (None, 0))
            self.weight -= before
            if weight > self._most:
                return
            self._kept[key] = value, weight
            self.weight += weight
            while self.weight > self._most:
                _, (_, gone) = self._kept.popitem(last=False)
                self.weight -= gone
