"""Take turns at hosts: few requests at a time, and none too soon after the last."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Hosts"]

# Beyond this number, hosts that are not in use are forgotten.
_MAX_HOSTS = 1000


@dataclass(slots=True)
class _HostQueue:
    """The requests to one host.

    Attributes
    ----------
    slots
        As many as requests may run at a time.
    users
        The number of threads that have a slot or wait for one.
    next_start
        When the next request may start, by `time.monotonic`.
    """

    slots: threading.Semaphore
    users: int = 0
    next_start: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reserve(self, interval: float) -> float:
        """Return the seconds to wait; 0 if a request may start now, which is then recorded."""
        with self.lock:
            now = time.monotonic()
            wait = self.next_start - now
            if wait > 0:
                return wait
            self.next_start = now + interval
            return 0.0

    def pause(self, seconds: float) -> None:
        with self.lock:
            end = time.monotonic() + seconds
            self.next_start = max(self.next_start, end)


class Hosts:
    """Limits the requests to each host, across the threads of this process.

    Parameters
    ----------
    concurrent
        The most requests to a host at a time.
    interval
        The seconds from the start of one request to a host to the start of the next.
    longest_pause
        The longest pause that is waited for. Requests to a host that asks for more fail at once.
    """

    def __init__(self, concurrent: int, interval: float, longest_pause: float) -> None:
        self._concurrent = concurrent
        self._interval = interval
        self._longest_pause = longest_pause
        self._hosts: dict[str, _HostQueue] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Wait for a turn at a host, which lasts until the block ends.

        Raises
        ------
        OSError
            If the host asked for a longer pause than is waited for.
        """
        host = self._enter(name)
        try:
            with host.slots:
                while (wait := host.reserve(self._interval)) > 0:
                    if wait > self._longest_pause:
                        problem = f"the host asks to be left alone for {wait:,.0f} s"
                        raise OSError(errno.EBUSY, problem)
                    time.sleep(wait)
                yield
        finally:
            self._leave(host)

    def pause(self, name: str, seconds: float) -> None:
        """Start no further request to a host for some seconds, because it asked for that."""
        host = self._enter(name)
        host.pause(seconds)
        self._leave(host)

    def _enter(self, name: str) -> _HostQueue:
        with self._lock:
            host = self._hosts.get(name)
            if host is None:
                self._forget_unused()
                slots = threading.Semaphore(self._concurrent)
                host = _HostQueue(slots)
                self._hosts[name] = host
            host.users += 1
            return host

    def _leave(self, host: _HostQueue) -> None:
        with self._lock:
            host.users -= 1

    def _forget_unused(self) -> None:
        """Bound the memory of a list with millions of hosts."""
        hosts = self._hosts
        count = len(hosts)
        if count < _MAX_HOSTS:
            return
        now = time.monotonic()
        entries = list(hosts.items())
        for name, host in entries:
            is_used = host.users > 0
            is_paused = host.next_start > now
            is_needed = is_used or is_paused
            if not is_needed:
                del hosts[name]
