"""Times as whole microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["microseconds_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds_of(time: datetime) -> int:
    """Return the microseconds from 1970 to a time, exactly."""
    elapsed = time - _EPOCH
    return elapsed // _MICROSECOND
