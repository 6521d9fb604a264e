"""A reader that leaves a pipe early ends no command with an error."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import lookalike
from command import COMMAND, ENVIRONMENT

# Each test runs whole commands; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def collection(sample, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pipes") / "c"
    lookalike.index(sample, path, models=["pixels"])
    return path


def exit_status_without_reader(words: list[str], *, unbuffered: bool) -> int:
    """Run a command whose standard output and error nobody reads."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONUNBUFFERED": "1" * unbuffered}
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            [*COMMAND, *words], stdout=pipe, stderr=pipe, env=environment, check=False
        )
    return done.returncode


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["search", "IMAGE", "-k", "45"], 0),
        (["search", "IMAGE", "-k", "45", "--json"], 0),
        (["info"], 0),
        (["models"], 0),
        (["--help"], 0),
        (["search", "--help"], 0),
        (["--version"], 0),
        # An error keeps its own status.
        (["search", "missing.jpg"], 2),
    ],
)
def test_a_command_ends_with_its_own_status(
    collection, sample, words, status, unbuffered
):
    image = sample / "cat" / "cat_0001.jpg"
    words = [str(image) if word == "IMAGE" else word for word in words]
    if words[0] in {"search", "info"} and "--help" not in words:
        words += ["-c", str(collection)]
    assert exit_status_without_reader(words, unbuffered=unbuffered) == status
