"""A server with a token: the page asks for it, in every view."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browsing import tiles, until
from live import serving


@pytest.fixture(scope="module")
def locked(collection):
    """A server that requires the token ``my secret``; its address lacks the token."""
    with serving("-c", collection, "--token", "my secret") as live:
        live.address = str(live.url.copy_with(query=None))
        yield live


@pytest.mark.parametrize("view", ["", "#search?positive=3", "#map", "#health"])
def test_every_view_asks_for_the_token(open_page, locked, view):
    page = open_page(view, live=locked)
    expect(
        page.get_by_role("heading", name="This server asks for a token")
    ).to_be_visible()
    field = page.get_by_label("Token", exact=True)
    expect(field).to_be_focused()
    expect(page.locator("main > section:visible")).to_have_count(1)
    expect(page.get_by_role("navigation")).to_have_count(0)


def test_a_wrong_token_is_reported_and_the_right_one_opens_the_view(open_page, locked):
    page = open_page("#search?positive=3", live=locked)
    field = page.get_by_label("Token", exact=True)
    field.fill("my guess")
    field.press("Enter")
    expect(
        page.get_by_role("alert").filter(has_text="This token is wrong.")
    ).to_be_visible()
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("my secret")
    page.get_by_role("button", name="Open").click()
    assert len(tiles(page)) > 10
    assert page.url.endswith("#search?positive=3")
    # The cookie serves from now on.
    page.reload()
    assert len(tiles(page)) > 10


def test_the_whole_address_can_be_pasted(open_page, locked):
    page = open_page(live=locked)
    field = page.get_by_label("Token", exact=True)
    field.fill(f"{locked.address}?token=my%20secret")
    field.press("Enter")
    tiles(page, "#begin")


def test_an_address_with_a_wrong_token_opens_the_form(open_page, locked):
    page = open_page("?token=old#map", live=locked)
    expect(page.locator("#token-problem")).to_have_text(
        "The token in the address is wrong."
    )
    assert page.url.endswith("/#map")


def test_a_token_that_changes_during_a_visit_is_asked_for(open_page, collection):
    with serving("-c", collection, "--token", "first") as live:
        live.address = str(live.url.copy_with(query=None))
        # The redirect to the page without the token keeps the rest of the address.
        page = open_page("?token=first#search?positive=3", live=live)
        tiles(page)
        port = live.url.port
    with serving("-c", collection, "--port", port, "--token", "second"):
        page.evaluate("location.hash = '#search?positive=4'")
        page.get_by_label("Token", exact=True).fill("second")
        page.keyboard.press("Enter")
        until(page, "!document.querySelector('#sign-in:not([hidden])')")
        assert len(tiles(page)) > 10
        page.context.close()
