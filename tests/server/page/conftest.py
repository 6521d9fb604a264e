"""The page in a browser, on a server of the drawn sample."""

from __future__ import annotations

import re
import shutil

import pytest

from browsing import BROWSER, tiles
from live import serving

pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install playwright"
)

# The browser logs every response that is not a success; drivers log how fast they read pixels.
BROWSER_LOG = re.compile(r"Failed to load resource|GPU stall due to ReadPixels")


def pytest_collection_modifyitems(items):
    for item in items:
        if BROWSER is None and "server/page" in item.path.as_posix():
            item.add_marker(
                pytest.mark.skip(
                    reason="needs Chromium on the PATH: apt-get install chromium"
                )
            )


@pytest.fixture(scope="module")
def own(collection, tmp_path_factory):
    """A server whose collection a module's tests may map and evaluate."""
    folder = tmp_path_factory.mktemp("own") / "drawn"
    shutil.copytree(collection, folder)
    with serving("-c", folder) as live:
        yield live


@pytest.fixture(scope="session")
def studied(collection, tmp_path_factory):
    """A server whose collection has a map of the first space and an evaluation."""
    folder = tmp_path_factory.mktemp("studied") / "drawn"
    shutil.copytree(collection, folder)
    with serving("-c", folder) as live:
        for kind in ("map", "evaluate"):
            job = live.api.post("jobs", json={"kind": kind}).json()["id"]
            live.api.get(f"jobs/{job}/events")
        yield live


@pytest.fixture
def open_page(browser, server):
    """Open the page; afterwards check that it logged no errors and requested nothing outside."""
    opened, complaints, requests = [], [], []

    def open_it(hash_="", *, live=server, **settings):
        context = browser.new_context(
            **{
                "viewport": {"width": 1280, "height": 800},
                "reduced_motion": "reduce",
                **settings,
            }
        )
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on(
            "console",
            lambda message: (
                BROWSER_LOG.search(message.text) or complaints.append(message.text)
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append((live.address, request.url)))
        page.goto(f"{live.address}{hash_}")
        opened.append(context)
        return page

    yield open_it
    for context in opened:
        context.close()
    assert complaints == []
    assert [
        url
        for address, url in requests
        if not url.startswith((address, "blob:", "data:"))
    ] == []


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def results(open_page):
    """The page with the results of row 3."""
    page = open_page("#search?positive=3")
    tiles(page)
    return page
