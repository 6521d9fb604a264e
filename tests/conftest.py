"""What many tests need: folders of their own, the photographs, and a collection of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import lookalike
from browsing import BROWSER, OPTIONS
from lookalike.store.table import Table


@pytest.fixture(autouse=True, scope="session")
def _own_folders(tmp_path_factory):
    """Keep every test, and every process it starts, away from the user's own cache, data and settings."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        patch.setenv("HF_HOME", str(home / "huggingface"))
        patch.delenv("LOOKALIKE_COLLECTION", raising=False)
        patch.delenv("LOOKALIKE_WEIGHTS", raising=False)
        patch.delenv("LOOKALIKE_TRACE", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _interrupts_arrive():
    """Let Ctrl-C be tested where the suite itself was started in the background, which makes a shell ignore it."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real photographs and weights; tests that need it skip where it is not."""
    default = Path(__file__).parents[2] / "shared"
    root = Path(os.environ.get("LOOKALIKE_TEST_DATA", default))
    if not root.is_dir():
        pytest.skip(
            f"needs the photographs and weights: {root} is not there; name it in LOOKALIKE_TEST_DATA"
        )
    return root


@pytest.fixture(scope="session")
def photographs(data_root) -> Path:
    """The 3,079 photographs of nine classes of Caltech 101."""
    return data_root / "caltech101" / "101_ObjectCategories"


@pytest.fixture(scope="session")
def caltech(photographs, tmp_path_factory) -> Table:
    """The photographs indexed in feature space, in floats and in 8 bits, and in pixel space. For reading only."""
    path = tmp_path_factory.mktemp("caltech") / "collection"
    lookalike.index(
        photographs, path, models=["efficientnet-lite0", "efficientnet-lite0-int8", "pixels"]
    )
    return Table.open(path)


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    """The drawn sample, five pictures a class."""
    from lookalike.datasets.sample import write_sample

    return write_sample(tmp_path_factory.mktemp("drawn") / "sample", per_class=5)


@pytest.fixture(scope="module")
def browser():
    """Chromium, until the module's tests are done: as long as it runs, no other can be driven from this thread."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: pip install playwright"
    )
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=OPTIONS)
        yield running
        running.close()
