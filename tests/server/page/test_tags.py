"""Tags as chips, where a collection has no labels."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browsing import tiles
from classes import class_collection
from live import serving
from lookalike.indexing.tags import tag_images

CLASSES = {
    "/in/a.jpg": "airliner",
    "/in/b.jpg": "grand piano",
    "/in/c.jpg": "airliner",
    "/in/d.jpg": "accordion",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagged") / "c"
    table = class_collection(folder, CLASSES)
    tag_images(table, column="seen in it")
    with serving("-c", folder) as live:
        yield live


def test_tags_are_chips_with_counts_that_filter(open_page, server):
    page = open_page("#search?positive=0")
    chips = page.locator("#chips")
    airplane = chips.get_by_role("button", name="airplane")
    expect(airplane).to_contain_text("1 of 2")
    airplane.click()
    expect(airplane).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".tile")).to_have_count(1)
    # A second chip adds images.
    chips.get_by_role("button", name="accordion").click()
    expect(page.locator(".tile")).to_have_count(2)
    expected = server.search(
        positive=[{"id": 0}],
        k=200,
        exclude_self=True,
        where="`seen in it` contains 'airplane' or `seen in it` contains 'accordion'",
    ).json()
    assert tiles(page) == [match["id"] for match in expected["matches"]]
    chips.get_by_role("button", name="All tags").click()
    expect(page.locator(".tile")).to_have_count(3)


def test_the_filter_box_completes_tags(open_page):
    page = open_page("#search?positive=0")
    tiles(page)
    completed = page.evaluate(
        """async () => {
          const where = await import(new URL("where.js", document.scripts[1].src));
          const collections = await import(new URL("collections.js", document.scripts[1].src));
          const names = (text) =>
            where.completionsOf(text, collections.collection()).map(({ text }) => text);
          return [names("seen"), names("`seen in it` contains 'air"),
            where.isExpression("not `seen in it` contains 'x'")];
        }"""
    )
    assert completed == [["`seen in it` contains "], ["'airliner'", "'airplane'"], True]
