"""A local server, and the file that a test downloads from it."""

from __future__ import annotations

import pytest

from local_server import local_server


@pytest.fixture
def server():
    with local_server() as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "file.bin"
