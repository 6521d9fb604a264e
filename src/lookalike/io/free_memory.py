"""The memory that this process may still take."""

from __future__ import annotations

from pathlib import Path

__all__ = ["free_memory"]

_MEMINFO = Path("/proc/meminfo")
_MEMORY_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Return the bytes that the machine, or the container's limit, has left; None if unknown."""
    known = []
    machine = _left_of_machine()
    if machine is not None:
        known.append(machine)
    container = _left_of_container()
    if container is not None:
        known.append(container)
    return min(known, default=None)


def _left_of_machine() -> int | None:
    try:
        text = _MEMINFO.read_text()
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                number, *_ = value.split()
                return int(number) << 10
    except (OSError, ValueError):
        return None
    return None


def _left_of_container() -> int | None:
    try:
        limit = (_MEMORY_CGROUP / "memory.max").read_text()
        used = (_MEMORY_CGROUP / "memory.current").read_text()
        left = int(limit) - int(used)
    except (OSError, ValueError):
        # "max" stands for no limit.
        return None
    return max(left, 0)
