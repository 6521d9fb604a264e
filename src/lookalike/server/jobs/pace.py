"""The pace of a job: how fast it proceeds, and the time that is left."""

from __future__ import annotations

from collections import deque

__all__ = ["Pace"]

# The rate is that of the last seconds, because images differ in size and known ones take no time.
_WINDOW_SECONDS = 15.0
# A shorter observation says little.
_MIN_SECONDS = 0.5


class Pace:
    """The progress of a job over time; times are those of `time.monotonic`."""

    def __init__(self) -> None:
        # Times, and the number of processed images at each.
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, now: float, done: int) -> None:
        """Record the number of processed images at a time."""
        marks = self._marks
        marks.append((now, done))
        oldest = now - _WINDOW_SECONDS
        while marks[0][0] < oldest:
            marks.popleft()

    @property
    def rate(self) -> float | None:
        """The number of images a second, or None before it is known."""
        marks = self._marks
        if not marks:
            return None
        first_time, first_done = marks[0]
        last_time, last_done = marks[-1]
        seconds = last_time - first_time
        if seconds < _MIN_SECONDS:
            return None
        images = last_done - first_done
        return round(images / seconds, 2)

    def seconds_left(self, done: int, total: int | None) -> float | None:
        """Return the expected time until all images are processed, or None if it is unknown."""
        rate = self.rate
        if not rate or total is None:
            return None
        remaining = max(0, total - done)
        return round(remaining / rate, 1)
