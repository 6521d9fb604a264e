"""The detail of a match shows why it matches, by mouse and by keyboard, at every width."""

from __future__ import annotations

import pytest

from browsing import tiles


def test_a_match_is_explained_beside_the_query(open_page):
    page = open_page("#search?positive=3")
    tiles(page)
    page.locator(".tile .open").first.focus()
    page.keyboard.press("i")
    detail = page.locator("#detail")
    why = detail.get_by_role("button", name="Why this match?")
    why.click()
    figures = detail.locator("figure")
    figures.nth(1).wait_for()
    assert why.get_attribute("aria-pressed") == "true"
    assert "counts most" in figures.nth(0).inner_text()
    assert "adds most to the likeness" in detail.locator(".legend").inner_text()
    # The colors lie exactly on the image, and are brightest where they should be.
    page.wait_for_function(
        "[...document.querySelectorAll('.heat img')].every((one) => one.naturalWidth > 0)"
    )
    for number in (0, 1):
        image = figures.nth(number).locator("img").bounding_box()
        canvas = figures.nth(number).locator("canvas").bounding_box()
        assert canvas == pytest.approx(image, abs=1)
    # Nothing is wider than the smallest phone.
    page.set_viewport_size({"width": 320, "height": 640})
    assert detail.evaluate("(one) => one.scrollWidth") <= 320

    # The next match is explained too; the key and the button lead back to the image.
    page.keyboard.press("ArrowRight")
    figures.nth(1).wait_for()
    page.keyboard.press("w")
    assert figures.count() == 0
    assert why.get_attribute("aria-pressed") == "false"
    page.keyboard.press("Escape")
