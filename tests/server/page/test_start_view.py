"""Images come in by file, drop, paste and camera, and show at once."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import expect

from browsing import HeldRequests, drop, tiles, until
from lookalike.server.routes.page import PAGE


def uploads(page) -> list[str]:
    return parse_qs(urlsplit(page.url).fragment.partition("?")[2])["positive"][0].split(
        ","
    )


def test_the_start_shows_images_of_the_collection(page):
    expect(page.locator("#start-about")).to_have_text("45 images in drawn")
    first = tiles(page, "#begin")
    page.get_by_role("button", name="Show others").click()
    tile = "document.querySelector('#begin .tile')?.dataset.id"
    until(page, f"![undefined, '{first[0]}'].includes({tile})")
    page.locator("#begin .tile .open").first.click()
    assert len(tiles(page)) > 10
    expect(page.locator("#start")).to_be_hidden()


def test_a_chosen_file_is_shown_and_searched(page, query, server):
    with page.expect_request("**/api/v1/search") as asked:
        page.set_input_files("#file", query)
    assert "multipart/form-data" in asked.value.headers["content-type"]
    found = tiles(page)
    sha = uploads(page)[0]
    answer = server.search(positive=[{"upload": sha}], k=200).json()
    assert found == [match["id"] for match in answer["matches"]][: len(found)]
    expect(page.locator("#query-name")).to_have_text(query.name)
    assert page.locator("#examples img").get_attribute("src").startswith("blob:")
    until(page, "document.querySelector('#examples img').naturalWidth > 0")


def test_the_image_shows_before_the_server_answers(page, query):
    searches = HeldRequests(page, "**/api/v1/search", "POST")
    page.set_input_files("#file", query)
    expect(page.locator("#examples img")).to_be_visible()
    expect(page.locator("#count")).to_have_text("Searching…")
    (search,) = searches.first(1)
    search.continue_()
    tiles(page)


def test_the_grid_does_not_wait_for_thumbnails(open_page, query):
    page = open_page()
    page.route("**/thumbnail?*", lambda route: None)
    page.set_input_files("#file", query)
    assert len(tiles(page)) > 10
    expect(page.locator("#answers img.ready")).to_have_count(0)


def test_an_image_can_be_dropped_anywhere(page, query):
    drop(page, [("mine.jpg", "image/jpeg", query.read_bytes())])
    assert len(tiles(page)) > 10
    expect(page.locator("#query-name")).to_have_text("mine.jpg")
    expect(page.locator("#veil")).to_be_hidden()


def test_several_files_are_searched_together(page, sample, server):
    files = [sample / "cat" / "cat_0001.jpg", sample / "car" / "car_0001.jpg"]
    page.set_input_files("#file", files)
    found = tiles(page)
    answer = server.search(
        positive=[{"upload": sha} for sha in uploads(page)], k=200
    ).json()
    assert found == [match["id"] for match in answer["matches"]][: len(found)]
    expect(page.locator("#query-name")).to_have_text("2 images together")


def test_an_image_can_be_pasted(page, query):
    page.evaluate(
        """(data) => {
          const clipboardData = new DataTransfer();
          const file = new File([new Uint8Array(data)], "image.png", { type: "image/png" });
          clipboardData.items.add(file);
          const settings = { clipboardData, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new ClipboardEvent("paste", settings));
        }""",
        list(query.read_bytes()),
    )
    assert len(tiles(page)) > 10


def test_a_phone_can_take_a_photo(open_page):
    page = open_page(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take a photo").click()
    assert chooser.value.element.get_attribute("capture") == "environment"


@pytest.mark.parametrize(
    ("name", "kind", "data", "sentence"),
    [
        (
            "broken.jpg",
            "image/jpeg",
            b"\xff\xd8\xff\xe0 cut short",
            "broken.jpg: This file is damaged.",
        ),
        ("empty.jpg", "image/jpeg", b"", "empty.jpg: This file is empty."),
        ("notes.txt", "text/plain", b"words", "notes.txt is not an image."),
    ],
)
def test_other_files_are_refused_with_the_reason(
    page, query, name, kind, data, sentence
):
    drop(page, [(name, kind, data)])
    expect(page.locator("#message")).to_contain_text(sentence)
    # The start is as before.
    assert len(tiles(page, "#begin")) > 10
    page.set_input_files("#file", query)
    assert len(tiles(page)) > 10
    expect(page.locator("#message")).to_be_hidden()

    # So are results.
    found = tiles(page)
    address = page.url
    drop(page, [(name, kind, data)])
    expect(page.locator("#message")).to_contain_text(sentence)
    assert tiles(page) == found
    expect(page.locator("#query-name")).to_have_text(query.name)
    assert page.url == address
    page.get_by_role("button", name="Close the message").click()
    expect(page.locator("#message")).to_be_hidden()
    assert tiles(page) == found


def test_a_damaged_example_leaves_the_results(results):
    found = tiles(results)
    results.locator(".tile .open").first.focus()
    results.keyboard.press("+")
    drop(
        results,
        [("torn.jpg", "image/jpeg", b"\xff\xd8\xff\xe0 cut short")],
        "#examples-bar .negative",
    )
    expect(results.locator("#message")).to_contain_text(
        "torn.jpg: This file is damaged."
    )
    assert tiles(results) == found


def test_an_upload_that_the_browser_cannot_show_has_a_thumbnail(page, query, tmp_path):
    file = tmp_path / "picture.tiff"
    with Image.open(query) as picture:
        picture.save(file)
    page.set_input_files("#file", file)
    tiles(page)
    until(
        page, "document.querySelector('#examples img').src.includes('/api/v1/uploads/')"
    )
    until(page, "document.querySelector('#examples img').naturalWidth > 0")


def test_the_page_is_small():
    files = [file for file in PAGE.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 360_000
    assert (
        max(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= 600
    )
