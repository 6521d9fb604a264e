"""When something is missing, and on whatever screen: the page helps."""

from __future__ import annotations

import hashlib
import io
import shutil

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from browsing import tiles, until
from live import bounded, serving


def test_the_page_waits_for_a_server_that_is_gone_and_goes_on(open_page, collection):
    with serving("-c", collection) as live:
        page = open_page("#search?plus=3", live=live)
        tiles(page)
        port = live.url.port
    page.locator(".tile .open").nth(1).click()
    expect(page.locator("#gone")).to_contain_text("The server does not answer.")
    with serving("-c", collection, "--port", port):
        expect(page.locator("#gone")).to_be_hidden(timeout=10_000)
        until(page, "document.querySelectorAll('#answers .tile').length > 10")
        page.context.close()


def test_a_picture_that_the_server_forgot_is_sent_again_if_it_is_still_here(
    open_page, collection, sample
):
    pictures = sorted((sample / "cat").iterdir())[:3]
    memory = max(file.stat().st_size for file in pictures) + 5000
    with bounded(collection, upload_cache_bytes=memory) as live:
        page = open_page(live=live)
        for file in pictures:
            page.set_input_files("#file", file)
            until(page, f"document.querySelector('#query-name').textContent === '{file.name}'")
            tiles(page)
        first = hashlib.sha256(pictures[0].read_bytes()).hexdigest()
        assert live.search(positive=[{"upload": first}]).status_code == 404
        page.evaluate(f"location.hash = '#search?space=pixels&plus={first}'")
        until(
            page,
            "document.querySelector('[aria-pressed=true]').textContent.startsWith('The pixels')",
        )
        assert len(tiles(page)) > 10
        page.context.close()


def test_a_picture_that_is_nowhere_any_more_is_asked_for(open_page, query):
    page = open_page(f"#search?plus={'0' * 64}")
    expect(page.locator("#notice")).to_contain_text("Give it again to search by it.")
    with page.expect_file_chooser() as chooser:
        page.locator("#notice").get_by_role("button", name="Choose a picture").click()
    chooser.value.set_files(query)
    assert len(tiles(page)) > 10


def test_a_row_that_is_not_there_is_said_to_be_so(open_page):
    page = open_page("#search?plus=9999")
    expect(page.locator("#notice")).to_contain_text("has no row 9999")
    assert page.locator("#notice").get_by_role("button").all_inner_texts() == ["Choose a picture"]


def test_several_collections_are_chosen_among(open_page, collection, tmp_path):
    shutil.copytree(collection, tmp_path / "second")
    with serving("-c", collection, "-c", tmp_path / "second") as live:
        page = open_page(live=live)
        tiles(page, "#begin")
        page.get_by_label("Collection").select_option("second")
        until(page, "location.hash.includes('collection=second')")
        assert page.inner_text("#start-about").startswith("45 pictures in second")
        page.context.close()


def test_the_page_works_under_a_proxys_path(open_page, server):
    """Every address in it is relative: it never asks for what lies outside the path that it was opened under."""
    asked = []

    def proxy(route):
        asked.append(route.request.url)
        route.fulfill(
            response=route.fetch(url=route.request.url.replace("/shop/pictures/", "/", 1))
        )

    page = open_page()
    page.context.route("**/shop/pictures/**", proxy)
    page.on("request", lambda request: request.url.startswith("blob:") or asked.append(request.url))
    tiles(page, "#begin")
    page.goto("about:blank")
    asked.clear()
    page.goto(f"{server.address}shop/pictures/#search?plus=3")
    tiles(page)
    page.context.unroute_all(behavior="ignoreErrors")
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith(f"{server.address}shop/pictures/")] == []


@pytest.mark.parametrize("width", [390, 2560])
def test_the_page_fits_the_screen(open_page, width):
    page = open_page(
        "#search?plus=3", viewport={"width": width, "height": 844}, is_mobile=width < 500
    )
    tiles(page)
    for view in ("search", "map", "health"):
        page.evaluate(f"document.querySelector('#to-{view}').click()")
        until(page, f"document.body.dataset.view === '{view}'")
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def ground(page) -> float:
    image = Image.open(
        io.BytesIO(page.screenshot(clip={"x": 300, "y": 2, "width": 4, "height": 4}))
    )
    return float(np.asarray(image.convert("L")).mean())


def test_the_theme_is_the_systems_until_one_chooses(open_page):
    page = open_page(color_scheme="dark")
    tiles(page, "#begin")
    assert ground(page) < 40
    page.get_by_role("button", name="Light theme").click()
    assert ground(page) > 230
    page.reload()
    tiles(page, "#begin")
    assert ground(page) > 230
    page.get_by_role("button", name="Dark theme").click()
    assert ground(page) < 40


def test_nothing_of_a_hostile_name_is_read_as_markup(open_page, sample, tmp_path):
    import lookalike

    folder = tmp_path / "<img src=x onerror=document.title=1>"
    folder.mkdir()
    for file in sorted((sample / "cat").iterdir())[:3]:
        shutil.copy(file, folder / f"<b>{file.name}")
    lookalike.index(tmp_path, tmp_path / "kept", models=["pixels"])
    with serving("-c", tmp_path / "kept") as live:
        first = live.api.get("rows").json()["rows"][0]["id"]
        page = open_page(f"#search?plus={first}", live=live)
        tiles(page)
        until(page, "document.querySelector('#query-name').textContent.startsWith('<b>cat')")
        assert page.locator("#query-label").inner_text() == folder.name
        assert page.locator("img[src='x']").count() == 0
        page.context.close()
