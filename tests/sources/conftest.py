"""An empty folder to search for images, and a hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub_repository import hub_with_repository
from lookalike.sources import hub


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    return root


@pytest.fixture
def hub_repository(monkeypatch):
    """A hub with an empty repository, which the environment names."""
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "LOOKALIKE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub, "RETRY_PAUSES_S", (0.0, 0.0))
    with hub_with_repository() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server
        hub._client().close()
        hub._client.cache_clear()
