"""An empty folder to search for images."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    return root
