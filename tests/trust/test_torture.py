"""One kill at a random moment for most actions; `scripts/torture` runs many of them."""

from __future__ import annotations

import random
import re
import shutil
from dataclasses import replace

import lance
import pytest

from local_server import local_server
from trust.torture.checks import check_after_kill, check_after_rerun
from trust.torture.removal import REMOVALS, attempt_removal, run_removal_reference
from trust.torture.trial import attempt
from trust.torture.workspace import ACTIONS, Workspace

# Each test runs whole commands or networks; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow

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
def workspace(request, tmp_path_factory):
    try:
        photographs = request.getfixturevalue("photographs")
    except pytest.skip.Exception:
        photographs = None
    with local_server() as server:
        made = Workspace(tmp_path_factory.mktemp("torture"), server)
        assert made.make(photographs, 90) > 20
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_a_kill_loses_nothing_and_a_rerun_continues(workspace, name):
    random_source = random.Random(name)
    known = workspace.run_reference(BY_NAME[name])
    trial = attempt(workspace, BY_NAME[name], known, random_source)
    while not trial.was_interrupted:
        # The action is faster than it was: the next moment is an earlier one.
        known = replace(known, seconds=known.seconds / 2)
        trial = attempt(workspace, BY_NAME[name], known, random_source)
    assert trial.findings == []


@pytest.mark.parametrize("action", REMOVALS, ids=lambda action: action.name)
def test_a_kill_of_a_removal_of_duplicates_loses_no_image(workspace, action):
    random_source = random.Random(action.name)
    known = run_removal_reference(workspace, action)
    trial = attempt_removal(workspace, action, known, random_source)
    while not trial.was_interrupted:
        known = replace(known, seconds=known.seconds / 2)
        trial = attempt_removal(workspace, action, known, random_source)
    assert trial.findings == []


def test_a_full_disk_is_reported_and_loses_nothing(workspace):
    random_source, action = random.Random(3), BY_NAME["metadata"]
    known = workspace.run_reference(action)
    trials = [
        attempt(workspace, action, known, random_source, "full disk") for _ in range(2)
    ]
    assert [finding for trial in trials for finding in trial.findings] == []
    assert any(trial.was_interrupted for trial in trials)


@pytest.mark.parametrize("name", ["metadata", "map"])
def test_on_a_full_disk_nothing_needs_to_be_removed(workspace, name):
    workspace.reset(BY_NAME[name].start)
    with workspace.start(BY_NAME[name].command, file_size=2048) as done:
        _, errors = done.communicate()
    assert done.returncode == 2
    assert re.search(
        r"no space is left on its disk. Everything that was committed is safe. "
        r"Free some space, then run the command again",
        errors,
    )


@pytest.fixture(scope="module")
def mapped(workspace):
    """An uninterrupted run that maps a few images, and a copy of its result."""
    known = workspace.run_reference(BY_NAME["map"])
    shutil.copytree(workspace.folder, workspace.root / "mapped")
    return known


@pytest.fixture
def known(workspace, mapped):
    """The same, with its result in the workspace, to be tampered with."""
    shutil.rmtree(workspace.folder)
    shutil.copytree(workspace.root / "mapped", workspace.folder)
    return mapped


def kinds(workspace, known, committed: int = 0) -> set[str]:
    _, findings = check_after_kill(workspace.folder, known.end, known.end, committed)
    return {
        finding.kind
        for finding in [*findings, *check_after_rerun(workspace.folder, known.end)]
    }


def test_an_undisturbed_collection_has_no_findings(workspace, known):
    assert kinds(workspace, known, known.end.version) == set()


def turned(table):
    """Return the rows with their vectors in reverse order."""
    rows = table.to_table(columns=["uri", "small"], filter="sha256 IS NOT NULL")
    return rows.set_column(
        1, rows.schema.field("small"), rows["small"].take(list(range(len(rows)))[::-1])
    )


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (lambda table, uri: table.delete(f"uri = '{uri}'"), "lost"),
        (
            lambda table, uri: table.insert(table.to_table(filter=f"uri = '{uri}'")),
            "doubled",
        ),
        (
            lambda table, uri: (
                table.merge_insert("uri")
                .when_matched_update_all()
                .execute(turned(table))
            ),
            "wrong",
        ),
        (
            lambda table, uri: table.update({"spaces": "NULL"}, f"uri = '{uri}'"),
            "wrong",
        ),
        (
            lambda table, uri: table.update({"sha256": "NULL"}, f"uri = '{uri}'"),
            "wrong",
        ),
    ],
)
def test_a_wrong_row_is_found(workspace, known, tamper, kind):
    tamper(
        lance.dataset(str(workspace.folder / "collection" / "images.lance")),
        min(known.end.rows),
    )
    assert kind in kinds(workspace, known)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("collection/maps/small-tsne.arrow", "unusable"),
        ("out/map.html", "unusable"),
        ("cache/lookalike/graphs/*.onnx", "unusable"),
        ("collection/images.lance/_versions/*.manifest", "unusable"),
    ],
)
def test_a_half_written_file_is_found(workspace, known, name, kind):
    for file in workspace.folder.glob(name):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert kind in kinds(workspace, known)


@pytest.mark.parametrize(
    "name",
    ["out/.lookalike-00.html", "collection/maps/.lookalike-00.arrow", "cache/w.part"],
)
def test_a_leftover_is_found(workspace, known, name):
    (workspace.folder / name).write_bytes(b"half")
    assert "leftover" in kinds(workspace, known)


def test_a_lost_commit_is_found(workspace, known):
    assert kinds(workspace, known, known.end.version + 1) == {"lost"}
