"""The page in a real browser, on a server of the drawn sample, watched for complaints and for outside requests."""

from __future__ import annotations

import re
import shutil

import pytest

from browsing import BROWSER, tiles
from live import serving

pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")

# The browser itself notes every answer that is not a success; drivers note how fast they read pixels back.
NOTES = re.compile(r"Failed to load resource|GPU stall due to ReadPixels")


def pytest_collection_modifyitems(items):
    for item in items:
        if BROWSER is None and "server/page" in item.path.as_posix():
            item.add_marker(
                pytest.mark.skip(reason="needs Chromium on the PATH: apt-get install chromium")
            )


@pytest.fixture(scope="module")
def own(collection, tmp_path_factory):
    """A server whose collection may be mapped and evaluated."""
    folder = tmp_path_factory.mktemp("own") / "drawn"
    shutil.copytree(collection, folder)
    with serving("-c", folder) as live:
        yield live


@pytest.fixture
def open_page(browser, server):
    """Open the page, and check in the end that it asked nobody else for anything and complained of nothing."""
    opened, complaints, requests = [], [], []

    def open_it(hash_="", *, live=server, **settings):
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **settings}
        )
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on(
            "console", lambda message: NOTES.search(message.text) or complaints.append(message.text)
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
        url for address, url in requests if not url.startswith((address, "blob:", "data:"))
    ] == []


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def results(open_page):
    """The page with the results of row 3."""
    page = open_page("#search?plus=3")
    tiles(page)
    return page
