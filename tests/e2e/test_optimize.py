"""``lookalike optimize``, and ``lookalike search`` after it."""

from __future__ import annotations

import json

import pytest

from command import lookalike, lookalike_json

KEYS = [
    "fragments_before",
    "fragments",
    "freed",
    "purged",
    "trash",
    "seconds",
    "spaces",
]
SPACE_KEYS = [
    "space", "rows", "did", "index", "target", "recall", "probes", "candidates", "filtered_recall",
]  # fmt: skip


@pytest.fixture(scope="module")
def indexed(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "collection"
    lookalike("index", sample, "-c", path, "--model", "pixels")
    return path


@pytest.fixture(scope="module")
def query(sample):
    return sample / "teapot" / "teapot_0003.jpg"


@pytest.mark.slow
def test_optimize_prints_its_json_contract_and_search_states_the_recall(indexed, query):
    done = lookalike(
        "optimize",
        "-c",
        indexed,
        "--min-rows",
        40,
        "--recall",
        0.95,
        "--keep-days",
        0,
        "--json",
    )
    report = json.loads(done.stdout)
    assert list(report) == KEYS
    assert [list(space) for space in report["spaces"]] == [SPACE_KEYS]
    space = report["spaces"][0]
    assert (space["space"], space["rows"], space["did"], space["target"]) == (
        "pixels",
        45,
        "built",
        0.95,
    )
    assert report["freed"] > 0
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    answer = lookalike_json("search", query, "-c", indexed, "-k", 3)
    assert (answer["exact"], answer["recall"]) == (False, space["recall"])
    exact = lookalike_json("search", query, "-c", indexed, "-k", 3, "--exact")
    assert (exact["exact"], exact["recall"], exact["matches"]) == (
        True,
        None,
        answer["matches"],
    )
    printed = lookalike("search", query, "-c", indexed, "-k", 3).stdout.splitlines()
    assert len(printed) == 4
    assert (
        printed[3]
        == "Approximate search, measured recall 100.0%. Use --exact to compare every image."
    )
    assert (
        len(
            lookalike(
                "search", query, "-c", indexed, "-k", 3, "--exact"
            ).stdout.splitlines()
        )
        == 3
    )


def test_optimize_prints_a_summary(sample, tmp_path):
    for part in ("cat", "car"):
        lookalike("index", sample / part, "-c", tmp_path / "c", "--model", "pixels")
    lines = lookalike("optimize", "-c", tmp_path / "c").stdout.splitlines()
    assert lines[0] == "pixels: 10 rows, searched exactly, without an index."
    assert lines[1] == "2 fragments merged into 1."
    assert lines[2].startswith("0 kB freed. Took ")
    lines = lookalike(
        "optimize", "-c", tmp_path / "c", "--min-rows", 5, "--space", "pixels"
    ).stdout.splitlines()
    index = "index built (IVF_RQ, 1 partition, 5 bits a number)"
    assert lines[0] == (
        f"pixels: 10 rows, {index}, recall 1.0000 with 1 partition probed "
        "and 20 candidates compared."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--recall", "2"),
            "recall = 2.0 is out of range. Expected a share above 0 and at most 1, such as 0.99.",
        ),
        (
            ("--keep-days", "-1"),
            "keep_days = -1.0 is out of range. Expected a number of days, 0 or more.",
        ),
        (("--space", "nope"), "has no Space 'nope'; it has pixels."),
    ],
)
def test_misuse_is_one_paragraph_and_status_2(indexed, options, message):
    done = lookalike("optimize", "-c", indexed, *options, status=2)
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr


def test_a_missing_collection_is_an_error(tmp_path):
    done = lookalike("optimize", "-c", tmp_path / "none", status=2)
    assert "does not exist. Create it with: lookalike index FOLDER" in done.stderr
