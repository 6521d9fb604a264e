"""The Duplicates view finds groups, filters them, and takes verdicts."""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import expect

from browsing import until
from live import serving
from server.page.test_accessibility import serious


@pytest.fixture(scope="module")
def copies(copied, tmp_path_factory):
    """A server of a collection with copies, which gets verdicts."""
    folder = tmp_path_factory.mktemp("copies") / "c"
    shutil.copytree(copied, folder)
    with serving("-c", folder) as live:
        yield live


def test_groups_are_found_filtered_and_judged(open_page, copies):
    page = open_page("#start", live=copies)
    page.keyboard.press("4")
    page.get_by_role("button", name="Find duplicates").click()
    groups = page.locator(".groups > li")
    expect(groups).to_have_count(2)
    expect(page.locator("#jobs")).to_contain_text("2 copies in 2 groups")
    # The image to keep comes first, and the same content has no verdict.
    cat = groups.filter(has_text="cat copy.jpg")
    expect(cat.locator("li").first).to_contain_text("Keep")
    expect(cat).to_contain_text("the same file, byte for byte")
    expect(cat.get_by_role("button", name="Not a duplicate")).to_have_count(0)

    page.get_by_role("button", name="Edited copies 1").click()
    expect(groups).to_have_count(1)
    assert "tier=copy" in page.evaluate("location.hash")
    expect(page.get_by_label("Command")).to_contain_text("--tier copy")
    until(
        page,
        "[...document.querySelectorAll('.groups img')].every((i) => i.naturalWidth)",
    )

    button = groups.get_by_role("button", name="Not a duplicate")
    button.focus()
    page.keyboard.press("Enter")
    undo = groups.get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    page.reload()
    expect(page.get_by_text("There are none.")).to_be_visible()
    expect(page.get_by_role("button", name="Edited copies 0")).to_be_visible()


def test_the_view_fits_a_phone_and_is_accessible(open_page, copies):
    copies.api.post("jobs", json={"kind": "duplicates"})
    page = open_page("#duplicates", live=copies)
    page.locator(".groups > li").first.wait_for()
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        box = page.get_by_role("link", name="Duplicates").bounding_box()
        assert box["x"] + box["width"] <= width
    assert serious(page) == []
