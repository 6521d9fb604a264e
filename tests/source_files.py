"""Files, failures and rights for the tests of image sources."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lookalike.errors import ImageError


def make_files(root: Path, *files: str) -> None:
    """Make files below a root, each with its own path as its content. They are not decoded."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode(errors="surrogateescape"))


def failures_of(source) -> dict[str, str]:
    """Return why Items cannot be read, by the name of the member; empty for the container."""
    reasons = {}
    for item in source:
        try:
            item.read()
        except (OSError, ImageError) as error:
            reasons[item.uri.partition("!/")[2]] = str(error)
    return reasons


def as_ordinary_user(command: list[str]) -> list[str]:
    """Return a command that has no right to read all folders, as root has."""
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        pytest.skip("root reads every folder, and setpriv is missing")
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *command]
