"""Times of files: the part that is stored, and how long one of them may hide a later write."""

from __future__ import annotations

import hashlib
import time

__all__ = ["storable_time", "wait_for_next_time", "with_fraction"]

# Two writes within one step of a file system's clock leave the same time. Linux has steps of at
# most 10 ms.
_CLOCK_STEP = 0.02

# Nanoseconds since 1970 in 64 bits. File systems store more: NTFS begins in 1601.
_FIRST_TIME = -(1 << 63)
_LAST_TIME = (1 << 63) - 1
_SECOND_NS = 10**9
_DAY_NS = 86_400 * _SECOND_NS


def storable_time(nanoseconds: int) -> int:
    """Return a file's time as 64 bits, which reach from 1677 to 2262.

    A time outside becomes one on the first or last day. It keeps the time of its day, so that a
    change of the file is still noticed.
    """
    time_of_day = nanoseconds % _DAY_NS
    if nanoseconds > _LAST_TIME:
        return _LAST_TIME - _DAY_NS + time_of_day
    if nanoseconds < _FIRST_TIME:
        return _FIRST_TIME + time_of_day
    return nanoseconds


def with_fraction(time_ns: int, identity: str) -> int:
    """Return a time whose fraction of a second depends on the identity of a content instead."""
    digest = hashlib.sha256(identity.encode()).digest()
    fraction = int.from_bytes(digest[:8]) % _SECOND_NS
    whole_seconds = time_ns - time_ns % _SECOND_NS
    return whole_seconds + fraction


def wait_for_next_time(mtime_ns: int) -> None:
    """Wait until a later write of a file with this time must leave another time."""
    mtime = mtime_ns / 1e9
    next_step = mtime + _CLOCK_STEP
    now = time.time()
    wait = next_step - now
    # A longer wait means that the file's time lies in the future: no wait would help.
    longest_wait = 2 * _CLOCK_STEP
    if 0 < wait <= longest_wait:
        time.sleep(wait)
