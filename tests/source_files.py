"""Files for the tests of image sources, which are named like images and not decoded."""

from __future__ import annotations

from pathlib import Path


def make_files(root: Path, *files: str) -> None:
    """Make files below a root, each with its own path as its content."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode(errors="surrogateescape"))
