"""The share of the machine's processors that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["cores"]

_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return the number of processor cores that this process may use, at least 1.

    It is the smaller of two limits: the cores that the scheduler assigns, and a container's CPU
    quota, rounded up. `joblib.cpu_count` computes the same, but importing it takes longer than
    starting a search.
    """
    assigned = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        processors = os.sched_getaffinity(0)
        assigned = len(processors)
    quota = _cgroup_quota()
    if quota is None:
        return assigned
    whole_quota = math.ceil(quota)
    smaller = min(assigned, whole_quota)
    return max(smaller, 1)


def _cgroup_quota() -> float | None:
    """Return the CPU quota of a Linux container in cores, or None without a quota."""
    version_2 = _CGROUP / "cpu.max"
    version_1 = _CGROUP / "cpu"
    try:
        # cgroup v2 has one file: "150000 100000" are 1.5 cores, "max 100000" has no limit.
        if version_2.exists():
            quota, period = version_2.read_text().split()
        else:
            quota = (version_1 / "cpu.cfs_quota_us").read_text()
            period = (version_1 / "cpu.cfs_period_us").read_text()
        share = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    # cgroup v1 writes -1 for no limit.
    return share if share > 0 else None
