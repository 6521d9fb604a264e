"""The number of cores respects the scheduler and a container's CPU quota."""

from __future__ import annotations

from pathlib import Path

import pytest

from lookalike.io import processors
from lookalike.io.processors import cores


@pytest.fixture
def cgroup(tmp_path, monkeypatch) -> Path:
    """An empty folder in place of the system's control groups, on a machine of 8 cores."""
    monkeypatch.setattr(processors, "_CGROUP", tmp_path)
    monkeypatch.setattr(
        processors.os, "sched_getaffinity", lambda _: set(range(8)), raising=False
    )
    return tmp_path


def test_without_a_quota_all_assigned_cores_count(cgroup):
    assert cores() == 8


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("1000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
        ("x y", 8),
        ("100000 0", 8),
    ],
)
def test_quota_of_cgroup_v2_is_rounded_up(cgroup, content, expected):
    (cgroup / "cpu.max").write_text(content)
    assert cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("250000", 3)])
def test_quota_of_cgroup_v1_is_rounded_up(cgroup, quota, expected):
    (cgroup / "cpu").mkdir()
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (cgroup / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cores() == expected
