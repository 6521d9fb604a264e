"""Indexing and searching 3,079 real photographs with real weights."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from command import lookalike_json


@pytest.fixture(scope="module")
def copied(photographs, tmp_path_factory):
    """A copy of the photographs that tests may change, indexed once without a network."""
    place = tmp_path_factory.mktemp("copied")
    folder = shutil.copytree(photographs, place / "photographs")
    collection = place / "c"
    report = lookalike_json("index", folder, "-c", collection, "--model", "pixels")
    return folder, collection, report


def test_a_second_run_leaves_every_image_unchanged(copied):
    folder, collection, first = copied
    assert (first["added"], first["failed"], first["images"]) == (3079, 0, 3079)
    again = lookalike_json("index", folder, "-c", collection)
    assert (again["unchanged"], again["images"]) == (3079, 3079)
    assert (
        again["added"]
        + again["updated"]
        + again["moved"]
        + again["removed"]
        + again["failed"]
        == 0
    )


def test_touched_moved_deleted_and_added_files_are_counted_exactly(copied):
    folder, collection, _ = copied
    contents = Counter(file.read_bytes() for file in folder.glob("*/*.jpg"))
    files = sorted(
        file for file in folder.glob("*/*.jpg") if contents[file.read_bytes()] == 1
    )
    chosen = random.Random(0).sample(files, 15)
    for file in chosen[:5]:
        os.utime(file)
    for number, file in enumerate(chosen[5:10]):
        file.rename(folder / "brain" / f"moved_{number}.jpg")
    for file in chosen[10:]:
        file.unlink()
    for number in range(5):
        (folder / "car_side" / f"new_{number}.jpg").write_bytes(
            files[number].read_bytes() + bytes([number])
        )
    report = lookalike_json("index", folder, "-c", collection)
    expected = {
        "added": 5,
        "updated": 5,
        "unchanged": 3064,
        "moved": 5,
        "removed": 5,
        "failed": 0,
        "images": 3079,
    }
    assert {name: report[name] for name in expected} == expected


def test_the_vectors_reproduce_the_reference_scores(caltech):
    ids, matrix = caltech.vectors("efficientnet-lite0")
    labels = np.array(caltech.take(ids, ["label"])["label"].to_pylist())
    matrix = matrix.astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-3)
    squares = (matrix**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * matrix @ matrix.T
    np.fill_diagonal(distances, np.inf)
    relevant = (
        labels[np.argsort(distances, axis=1, kind="stable")[:, :-1]] == labels[:, None]
    )
    precision = relevant.cumsum(axis=1) / np.arange(1, relevant.shape[1] + 1)
    average = (precision * relevant).sum(axis=1) / relevant.sum(axis=1)
    by_class = [average[labels == label].mean() for label in np.unique(labels)]
    found = [average.mean(), np.mean(by_class), *precision[:, [0, 4, 9]].mean(axis=0)]
    np.testing.assert_allclose(
        found, [0.8674, 0.8592, 0.9029, 0.9311, 0.9285], atol=0.005
    )


def test_a_photograph_finds_its_class(caltech, photographs):
    query = photographs / "grand_piano" / "image_0010.jpg"
    answer = lookalike_json("search", query, "-c", caltech.path, "--exclude-self")
    labels = [match["label"] for match in answer["matches"]]
    assert labels.count("grand_piano") >= 8


KILLED = """
import sys, lookalike
from lookalike.indexing.run import IndexSettings
lookalike.index(sys.argv[1], sys.argv[2], settings=IndexSettings(commit_rows=32))
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_run_loses_and_duplicates_nothing(photographs, tmp_path, seed):
    folder = photographs / "Leopards"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "c")]
    )
    try:
        process.wait(timeout=random.Random(seed).uniform(0.4, 3.0))
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    report = lookalike_json("index", folder, "-c", tmp_path / "c")
    assert report["images"] == report["added"] + report["unchanged"] == 200
    answer = lookalike_json(
        "search", folder / "image_0001.jpg", "-c", tmp_path / "c", "-k", 500
    )
    uris = [match["uri"] for match in answer["matches"]]
    assert sorted(uris) == sorted(str(file) for file in folder.iterdir())


def run(*command, **options):
    return subprocess.run(
        [*map(str, command)], check=True, capture_output=True, text=True, **options
    )


def test_an_installed_wheel_indexes_and_searches(sample, tmp_path):
    root = Path(__file__).parents[2]
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, root)
    (wheel,) = tmp_path.glob("lookalike-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "alone")
    python = next((tmp_path / "alone").glob("[bS]*/python*"))
    run(python, *pip, "install", wheel)
    alone = [python, "-I", "-m", "lookalike"]
    run(*alone, "index", sample, "-c", tmp_path / "c")
    query = sample / "guitar" / "guitar_0001.jpg"
    done = run(*alone, "search", query, "-c", tmp_path / "c", "-k", 3)
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["guitar"] * 3
