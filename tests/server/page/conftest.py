"""The page in a browser, on a server of the drawn sample."""

from __future__ import annotations

import shutil

import pytest

from browsing import BROWSER, Pages, tiles
from live import serving

pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install playwright"
)


def pytest_collection_modifyitems(items):
    for item in items:
        if BROWSER is None and "server/page" in item.path.as_posix():
            item.add_marker(
                pytest.mark.skip(
                    reason="needs Chromium on the PATH: apt-get install chromium-headless-shell"
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


@pytest.fixture(scope="module")
def pages(browser):
    return Pages(
        browser,
        {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"},
    )


@pytest.fixture
def open_page(pages, server):
    """Open the page; afterwards check that it logged no errors and requested nothing outside.

    A page on `server` is that of the test before, opened again, unless it has settings.
    """

    def open_it(hash_="", *, live=server, alone=None, **settings):
        return pages.open(
            f"{live.address}{hash_}",
            live.address,
            blank=f"{live.address}static/palette.json",
            alone=live is not server if alone is None else alone,
            **settings,
        )

    yield open_it
    complaints, outside = pages.finish()
    assert complaints == []
    assert outside == []


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def results(open_page):
    """The page with the results of row 3."""
    page = open_page("#search?positive=3")
    tiles(page)
    return page
