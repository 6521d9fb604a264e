"""Tracing: ``LOOKALIKE_TRACE=1`` prints the seconds of each step to standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["enabled", "report", "span"]

_process_start = time.perf_counter()
_seconds: dict[str, float] = {}


def enabled() -> bool:
    """Return whether the user asked for a trace."""
    value = os.environ.get("LOOKALIKE_TRACE", "")
    return value not in {"", "0"}


@contextmanager
def span(step: str) -> Iterator[None]:
    """Add the time of a block to a step. Steps may nest; each counts its own whole time."""
    start = time.perf_counter()
    try:
        yield
    finally:
        elapsed = time.perf_counter() - start
        _seconds[step] = _seconds.get(step, 0.0) + elapsed


def report() -> None:
    """Print the steps in the order in which they first ended, and clear them."""
    for step, seconds in _seconds.items():
        _print(step, seconds)
    elapsed = time.perf_counter() - _process_start
    _print("since the start", elapsed)
    _seconds.clear()


def _print(step: str, seconds: float) -> None:
    milliseconds = seconds * 1000
    line = f"trace  {milliseconds:8.1f} ms  {step}\n"
    sys.stderr.write(line)
