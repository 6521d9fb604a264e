"""Kills at random moments, one for each of most actions; `scripts/torture` does this for as long as it is told."""

from __future__ import annotations

import random

import pytest

from local_server import local_server
from trust.torture.trial import attempt
from trust.torture.world import ACTIONS, World

BY_NAME = {action.name: action for action in ACTIONS}
NAMES = [
    "index, many commits",
    "sweep, many commits",
    "backfill, many commits",
    "metadata",
    "remove",
    "optimize",
    "map",
    "download",
    "graph",
    "sample",
]


@pytest.fixture(scope="module")
def world(request, tmp_path_factory):
    try:
        photographs = request.getfixturevalue("photographs")
    except pytest.skip.Exception:
        photographs = None
    with local_server() as server:
        made = World(tmp_path_factory.mktemp("torture"), server)
        assert made.make(photographs, 90) > 20
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_a_kill_loses_nothing_and_a_rerun_goes_on(world, name):
    chance = random.Random(name)
    known = world.undisturbed(BY_NAME[name])
    # Where the machine was quicker than before, it was over before the kill.
    trial = next(trial for _ in range(5) if (trial := attempt(world, BY_NAME[name], known, chance)).struck)
    assert trial.findings == []


def test_a_full_disk_is_told_and_loses_nothing(world):
    chance, action = random.Random(3), BY_NAME["metadata"]
    known = world.undisturbed(action)
    trials = [attempt(world, action, known, chance, "full disk") for _ in range(2)]
    assert [finding for trial in trials for finding in trial.findings] == []
    assert any(trial.struck for trial in trials)
