"""Where the time goes: ``LOOKALIKE_TRACE=1`` prints each step's seconds to standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["enabled", "report", "span"]

_begun = time.perf_counter()
_spent: dict[str, float] = {}


def enabled() -> bool:
    """Tell whether the user asked for a trace."""
    return os.environ.get("LOOKALIKE_TRACE", "") not in {"", "0"}


@contextmanager
def span(step: str) -> Iterator[None]:
    """Add the time spent inside to `step`. Steps may nest; each counts its own whole time."""
    start = time.perf_counter()
    try:
        yield
    finally:
        _spent[step] = _spent.get(step, 0.0) + time.perf_counter() - start


def report() -> None:
    """Print the steps in the order they first ended, and forget them."""
    for step, seconds in {**_spent, "since the start": time.perf_counter() - _begun}.items():
        sys.stderr.write(f"trace  {seconds * 1000:8.1f} ms  {step}\n")
    _spent.clear()
