"""Indexing and searching real photographs with real weights."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from command import lookalike_json


@pytest.fixture(scope="module")
def copied(eighth, tmp_path_factory):
    """A copy of the photographs that tests may change, indexed once without a network."""
    place = tmp_path_factory.mktemp("copied")
    folder = shutil.copytree(eighth, place / "photographs")
    collection = place / "c"
    report = lookalike_json("index", folder, "-c", collection, "--model", "pixels")
    return folder, collection, report


def test_a_second_run_leaves_every_image_unchanged(copied):
    folder, collection, first = copied
    assert (first["added"], first["failed"], first["images"]) == (389, 0, 389)
    again = lookalike_json("index", folder, "-c", collection)
    assert (again["unchanged"], again["images"]) == (389, 389)
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
        "unchanged": 374,
        "moved": 5,
        "removed": 5,
        "failed": 0,
        "images": 389,
    }
    assert {name: report[name] for name in expected} == expected


def test_the_vectors_of_photographs_have_unit_length(caltech):
    _, matrix = caltech.vectors("efficientnet-lite0")
    lengths = np.linalg.norm(matrix.astype(np.float32), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-3)


def test_a_photograph_finds_its_class(caltech, eighth):
    query = eighth / "grand_piano" / "image_0009.jpg"
    answer = lookalike_json("search", query, "-c", caltech.path, "--exclude-self")
    labels = [match["label"] for match in answer["matches"]]
    assert labels.count("grand_piano") >= 8


KILLED = """
import sys, lookalike
from lookalike.indexing.run import IndexSettings
lookalike.index(sys.argv[1], sys.argv[2], settings=IndexSettings(commit_rows=32))
"""


@pytest.mark.parametrize("seed", [0, 3])
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


@pytest.mark.slow
def test_an_installed_wheel_indexes_and_searches(sample, tmp_path):
    """In an environment that has the requirements of the wheel and nothing else."""
    root = Path(__file__).parents[2]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, root)
    (wheel,) = tmp_path.glob("lookalike-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "alone")
    python = next((tmp_path / "alone").glob("[bS]*/python*"))
    run(*pip, "--python", python, "install", "--no-deps", "--no-compile", wheel)
    packages = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
    )
    link_requirements(Path(packages.stdout.strip()))
    alone = [python, "-I", "-m", "lookalike"]
    run(*alone, "index", sample, "-c", tmp_path / "c")
    query = sample / "guitar" / "guitar_0001.jpg"
    done = run(*alone, "search", query, "-c", tmp_path / "c", "-k", 3)
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["guitar"] * 3


def link_requirements(packages: Path) -> None:
    """Link what the wheel in a folder of packages requires, from the packages of this Python."""
    (wheel,) = metadata.distributions(name="lookalike", path=[str(packages)])
    to_follow = [(wheel, "")]
    followed = set()
    while to_follow:
        distribution, extra = to_follow.pop()
        for line in distribution.requires or []:
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            for needed in ("", *requirement.extras):
                if (requirement.name, needed) in followed:
                    continue
                followed.add((requirement.name, needed))
                required = metadata.distribution(requirement.name)
                link_files(required, packages)
                to_follow.append((required, needed))


def link_files(distribution: metadata.Distribution, packages: Path) -> None:
    """Link the folders and files of a distribution into a folder of packages."""
    for name in {file.parts[0] for file in distribution.files or []}:
        source = Path(distribution.locate_file(name))
        link = packages / name
        if name not in ("..", "__pycache__") and source.exists() and not link.exists():
            link.symlink_to(source, target_is_directory=source.is_dir())
