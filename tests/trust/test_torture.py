"""Kills at random moments, one for each of most actions; `scripts/torture` does this for as long as it is told."""

from __future__ import annotations

import random
import re
import shlex
import shutil
import subprocess

import lance
import pytest

from local_server import local_server
from trust.torture.trial import attempt
from trust.torture.witness import after_the_blow, after_the_rerun
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
def test_a_kill_loses_nothing_and_a_rerun_continues(world, name):
    chance = random.Random(name)
    known = world.undisturbed(BY_NAME[name])
    # Where the machine was quicker than before, it was over before the kill.
    trial = next(
        trial for _ in range(5) if (trial := attempt(world, BY_NAME[name], known, chance)).struck
    )
    assert trial.findings == []


def test_a_full_disk_is_reported_and_loses_nothing(world):
    chance, action = random.Random(3), BY_NAME["metadata"]
    known = world.undisturbed(action)
    trials = [attempt(world, action, known, chance, "full disk") for _ in range(2)]
    assert [finding for trial in trials for finding in trial.findings] == []
    assert any(trial.struck for trial in trials)


@pytest.mark.parametrize("name", ["metadata", "map"])
def test_on_a_full_disk_nothing_needs_to_be_removed(world, name):
    world.begin(BY_NAME[name].start)
    command = f"ulimit -f 2; exec {shlex.join(world.command(BY_NAME[name]))}"
    done = subprocess.run(
        ["bash", "-c", command],
        env=world.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.search(
        r"no space is left on its disk. Everything that was committed is safe. Free some space, then run the command again",
        done.stderr,
    )


@pytest.fixture(scope="module")
def mapped(world):
    """An undisturbed run that maps a few pictures, and a copy of what it leads to."""
    known = world.undisturbed(BY_NAME["map"])
    shutil.copytree(world.place, world.root / "mapped")
    return known


@pytest.fixture
def known(world, mapped):
    """The same, its end in place, to be tampered with."""
    shutil.rmtree(world.place)
    shutil.copytree(world.root / "mapped", world.place)
    return mapped


def kinds(world, known, committed: int = 0) -> set[str]:
    _, findings = after_the_blow(world.place, known.end, known.end, committed)
    return {finding.kind for finding in [*findings, *after_the_rerun(world.place, known.end)]}


def test_an_undisturbed_collection_has_no_findings(world, known):
    assert kinds(world, known, known.end.version) == set()


def turned(table):
    """Return the rows with each other's vectors."""
    rows = table.to_table(columns=["uri", "small"], filter="sha256 IS NOT NULL")
    return rows.set_column(
        1, rows.schema.field("small"), rows["small"].take(list(range(len(rows)))[::-1])
    )


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (lambda table, uri: table.delete(f"uri = '{uri}'"), "lost"),
        (lambda table, uri: table.insert(table.to_table(filter=f"uri = '{uri}'")), "doubled"),
        (
            lambda table, uri: (
                table.merge_insert("uri").when_matched_update_all().execute(turned(table))
            ),
            "wrong",
        ),
        (lambda table, uri: table.update({"spaces": "NULL"}, f"uri = '{uri}'"), "wrong"),
        (lambda table, uri: table.update({"sha256": "NULL"}, f"uri = '{uri}'"), "wrong"),
    ],
)
def test_a_wrong_row_is_found(world, known, tamper, kind):
    tamper(lance.dataset(str(world.place / "collection" / "images.lance")), min(known.end.rows))
    assert kind in kinds(world, known)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("collection/maps/small-tsne.arrow", "unusable"),
        ("out/map.html", "unusable"),
        ("cache/lookalike/graphs/*.onnx", "unusable"),
        ("collection/images.lance/_versions/*.manifest", "unusable"),
    ],
)
def test_a_half_written_file_is_found(world, known, name, kind):
    for file in world.place.glob(name):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert kind in kinds(world, known)


@pytest.mark.parametrize(
    "name", ["out/.lookalike-00.html", "collection/maps/.lookalike-00.arrow", "cache/w.part"]
)
def test_a_leftover_is_found(world, known, name):
    (world.place / name).write_bytes(b"half")
    assert "leftover" in kinds(world, known)


def test_a_lost_commit_is_found(world, known):
    assert kinds(world, known, known.end.version + 1) == {"lost"}
