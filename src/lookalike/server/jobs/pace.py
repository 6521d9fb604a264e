"""The pace of a job: how fast it proceeds, and the time that is left."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

__all__ = ["Pace"]

# The rate is that of the last seconds, because images differ in size and known ones take no time.
_WINDOW_SECONDS = 15.0
# A shorter observation says little.
_MIN_SECONDS = 0.5


class _Mark(NamedTuple):
    """The number of processed images at a time."""

    time: float
    done: int


class Pace:
    """The progress of a job over time; times are those of `time.monotonic`."""

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque()

    def mark(self, now: float, done: int) -> None:
        """Record the number of processed images at a time."""
        marks = self._marks
        mark = _Mark(now, done)
        marks.append(mark)
        oldest = now - _WINDOW_SECONDS
        while marks[0].time < oldest:
            marks.popleft()

    @property
    def rate(self) -> float | None:
        """The number of images a second, or None before it is known."""
        marks = self._marks
        if not marks:
            return None
        first = marks[0]
        last = marks[-1]
        seconds = last.time - first.time
        if seconds < _MIN_SECONDS:
            return None
        images = last.done - first.done
        return round(images / seconds, 2)

    def seconds_left(self, done: int, total: int | None) -> float | None:
        """Return the expected time until all images are processed, or None if it is unknown."""
        rate = self.rate
        if not rate or total is None:
            return None
        remaining = max(0, total - done)
        return round(remaining / rate, 1)
