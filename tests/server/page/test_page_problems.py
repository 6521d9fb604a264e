"""The page helps when something is missing, and fits every screen."""

from __future__ import annotations

import hashlib
import io
import itertools
import shutil

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from browsing import tiles, until
from live import bounded, serving


def test_the_page_waits_for_a_stopped_server_and_continues(open_page, collection):
    with serving("-c", collection) as live:
        page = open_page("#search?positive=3", live=live)
        tiles(page)
        port = live.url.port
    page.locator(".tile .open").nth(1).click()
    expect(page.locator("#offline")).to_contain_text("The server does not answer.")
    with serving("-c", collection, "--port", port):
        expect(page.locator("#offline")).to_be_hidden(timeout=10_000)
        until(page, "document.querySelectorAll('#answers .tile').length > 10")
        page.context.close()


def test_an_expired_upload_is_sent_again(open_page, collection, sample):
    pictures = sorted((sample / "cat").iterdir())[:3]
    memory = max(file.stat().st_size for file in pictures) + 5000
    with bounded(collection, upload_cache_bytes=memory) as live:
        page = open_page(live=live)
        for file in pictures:
            page.set_input_files("#file", file)
            until(
                page,
                f"document.querySelector('#query-name').textContent === '{file.name}'",
            )
            tiles(page)
        first = hashlib.sha256(pictures[0].read_bytes()).hexdigest()
        assert live.search(positive=[{"upload": first}]).status_code == 404
        page.evaluate(f"location.hash = '#search?space=pixels&positive={first}'")
        until(
            page,
            "document.querySelector('[aria-pressed=true]').textContent.startsWith('How it looks')",
        )
        assert len(tiles(page)) > 10
        page.context.close()


def test_an_upload_without_its_file_is_asked_for(open_page, query):
    page = open_page(f"#search?positive={'0' * 64}")
    expect(page.locator("#notice")).to_contain_text("Please upload it again.")
    with page.expect_file_chooser() as chooser:
        page.locator("#notice").get_by_role("button", name="Choose an image").click()
    chooser.value.set_files(query)
    assert len(tiles(page)) > 10


def test_a_missing_row_is_reported(open_page):
    page = open_page("#search?positive=9999")
    expect(page.locator("#notice")).to_contain_text("has no row 9999")
    assert page.locator("#notice").get_by_role("button").all_inner_texts() == [
        "Choose an image"
    ]


def test_a_collection_can_be_chosen(open_page, collection, tmp_path):
    shutil.copytree(collection, tmp_path / "second")
    with serving("-c", collection, "-c", tmp_path / "second") as live:
        page = open_page(live=live)
        tiles(page, "#begin")
        page.get_by_label("Collection").select_option("second")
        until(page, "location.hash.includes('collection=second')")
        assert page.inner_text("#start-about").startswith("45 images in second")
        page.context.close()


def test_the_page_works_behind_a_proxy_prefix(open_page, server):
    """Every address is relative, so nothing outside the prefix is requested."""
    asked = []

    def proxy(route):
        asked.append(route.request.url)
        route.fulfill(
            response=route.fetch(
                url=route.request.url.replace("/shop/pictures/", "/", 1)
            )
        )

    page = open_page()
    page.context.route("**/shop/pictures/**", proxy)
    page.on(
        "request",
        lambda request: request.url.startswith("blob:") or asked.append(request.url),
    )
    tiles(page, "#begin")
    page.goto("about:blank")
    asked.clear()
    page.goto(f"{server.address}shop/pictures/#search?positive=3")
    tiles(page)
    page.context.unroute_all(behavior="ignoreErrors")
    assert len(asked) > 20
    assert [
        url for url in asked if not url.startswith(f"{server.address}shop/pictures/")
    ] == []


@pytest.fixture(scope="module")
def two(collection, tmp_path_factory):
    """A server of two collections, the first with a long name."""
    folder = tmp_path_factory.mktemp("two") / "a collection with quite a long name"
    shutil.copytree(collection, folder)
    with serving("-c", folder, "-c", collection) as live:
        yield live


@pytest.mark.parametrize(
    ("is_mobile", "widths"), [(True, [320, 390]), (False, [701, 901, 1280, 2560])]
)
def test_the_page_and_its_header_fit_the_screen(open_page, two, is_mobile, widths):
    """With several collections and a history, in every view."""
    page = open_page(
        "#search?positive=3",
        live=two,
        viewport={"width": widths[0], "height": 640},
        is_mobile=is_mobile,
    )
    tiles(page)
    page.locator("#answers .tile .open").nth(1).click()
    until(page, "!document.querySelector('#back').disabled")
    for width in widths:
        page.set_viewport_size({"width": width, "height": 640})
        for view in ("search", "map", "health"):
            page.evaluate(f"document.querySelector('#to-{view}').click()")
            until(page, f"document.body.dataset.view === '{view}'")
            page.wait_for_timeout(100)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert_header_fits(page, width)
    page.context.close()


def assert_header_fits(page, width: int) -> None:
    """Check that the header's parts are within the screen, and none covers another."""
    boxes = page.locator(
        "#top :is(a, select, button):visible:not(#history *)"
    ).evaluate_all("all => all.map((one) => one.getBoundingClientRect().toJSON())")
    assert len(boxes) >= 8
    assert all(0 <= box["left"] < box["right"] <= width for box in boxes)
    for first, second in itertools.combinations(boxes, 2):
        is_beside = (
            first["right"] <= second["left"] + 1 or second["right"] <= first["left"] + 1
        )
        is_above = (
            first["bottom"] <= second["top"] + 1 or second["bottom"] <= first["top"] + 1
        )
        assert is_beside or is_above


def ground(page) -> float:
    image = Image.open(
        io.BytesIO(page.screenshot(clip={"x": 300, "y": 2, "width": 4, "height": 4}))
    )
    return float(np.asarray(image.convert("L")).mean())


def test_the_theme_follows_the_system_until_chosen(open_page):
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


def test_names_of_either_direction_keep_to_themselves(open_page, sample, tmp_path):
    """Wherever a name is shown, its direction of writing does not affect the text around it."""
    import lookalike

    word = "\u05e9\u05dc\u05d5\u05dd"
    folder = tmp_path / f"{word} (1)"
    folder.mkdir()
    for file in sorted((sample / "cat").iterdir())[:4]:
        shutil.copy(file, folder / f"{word} {file.name}")
    (folder / f"{word}.jpg").write_text("not an image")
    collection = tmp_path / f"{word} 2"
    lookalike.index(tmp_path, collection, models=["pixels"])
    script = """word => [...document.body.querySelectorAll("*")].filter((element) => {
        const texts = [...element.childNodes].filter((node) => node.nodeType === 3);
        if (!texts.some((node) => node.data.includes(word))) return false;
        if (element.closest("script, .unseen, [hidden]")) return false;
        const { unicodeBidi } = getComputedStyle(element);
        return !["isolate", "plaintext", "isolate-override"].includes(unicodeBidi);
      }).map((element) => element.outerHTML.slice(0, 160))"""
    with serving("-c", collection, "--root", folder) as live:
        job = live.api.post("jobs", json={"kind": "map", "method": "tsne"}).json()["id"]
        live.api.get(f"jobs/{job}/events")
        row = live.api.get("rows").json()["rows"][0]["id"]
        page = open_page(live=live)
        tiles(page, "#begin")
        mixed = {"start": page.evaluate(script, word)}
        page.evaluate(f"location.hash = '#search?positive={row}'")
        tiles(page)
        until(
            page,
            f"document.querySelector('#query-name').textContent.includes('{word}')",
        )
        mixed["results"] = page.evaluate(script, word)
        page.locator("#answers .tile .open").first.focus()
        page.keyboard.press("i")
        until(
            page,
            f"document.querySelector('#detail .path')?.textContent.includes('{word}')",
        )
        mixed["detail"] = page.evaluate(script, word)
        page.keyboard.press("Escape")
        page.evaluate("location.hash = '#map'")
        page.locator("#map-canvas").wait_for()
        mixed["map"] = page.evaluate(script, word)
        page.evaluate("location.hash = '#health'")
        page.get_by_role("button", name="Bring up to date").click()
        expect(page.locator("#jobs")).to_contain_text("has 4 images")
        mixed["health"] = page.evaluate(script, word)
        page.context.close()
    assert not any(mixed.values()), mixed


def test_hostile_names_are_not_parsed_as_markup(open_page, sample, tmp_path):
    import lookalike

    folder = tmp_path / "<img src=x onerror=document.title=1>"
    folder.mkdir()
    for file in sorted((sample / "cat").iterdir())[:3]:
        shutil.copy(file, folder / f"<b>{file.name}")
    lookalike.index(tmp_path, tmp_path / "kept", models=["pixels"])
    with serving("-c", tmp_path / "kept") as live:
        first = live.api.get("rows").json()["rows"][0]["id"]
        page = open_page(f"#search?positive={first}", live=live)
        tiles(page)
        until(
            page,
            "document.querySelector('#query-name').textContent.startsWith('<b>cat')",
        )
        expect(page.locator("#query-label")).to_have_text(folder.name)
        expect(page.locator("img[src='x']")).to_have_count(0)
        page.context.close()
