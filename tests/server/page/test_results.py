"""Results: clicking through them, filters, comparing spaces, examples, and details."""

from __future__ import annotations

import io
import shutil

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

import lookalike
from browsing import drop, tiles, until
from live import serving
from lookalike.types import DEFAULT_GAMMA
from made import add_rows, make_collection, picture


def ids(answer: httpx.Response) -> list[int]:
    return [match["id"] for match in answer.json()["matches"]]


def test_a_click_searches_by_the_image_and_back_returns(results, server):
    first = tiles(results)
    assert (
        first
        == ids(server.search(positive=[{"id": 3}], k=200, exclude_self=True))[
            : len(first)
        ]
    )
    results.locator(f".tile[data-id='{first[2]}'] .open").click()
    until(results, f"location.hash.includes('positive={first[2]}')")
    second = tiles(results)
    assert (
        second
        == ids(server.search(positive=[{"id": first[2]}], k=200, exclude_self=True))[
            : len(second)
        ]
    )
    expect(results.locator("#history li")).to_have_count(2)
    results.get_by_role("button", name="Back", exact=True).click()
    until(results, "location.hash.includes('positive=3')")
    assert tiles(results) == first
    results.get_by_role("button", name="Query 2 of 2").click()
    until(results, f"location.hash.includes('positive={first[2]}')")
    assert tiles(results) == second


def test_the_address_alone_says_what_is_shown(results, open_page):
    results.get_by_role("button", name="Side by side").click()
    results.locator(".chip", has_text="cat").first.click()
    until(
        results,
        "document.querySelectorAll('.answer').length === 2 && location.hash.includes('label=cat')",
    )
    found = tiles(results)
    other = open_page(results.url.partition("/")[2].partition("/")[2].partition("/")[2])
    assert tiles(other) == found
    expect(other.locator(".answer")).to_have_count(2)


def test_pointing_shows_label_distance_and_size(results, server):
    nearest = server.search(positive=[{"id": 3}], k=1, exclude_self=True).json()[
        "matches"
    ][0]
    tile = results.locator(".tile").first
    tile.hover()
    distance = f"{nearest['distance']:.3f}"
    size = f"{nearest['width']} \u00d7 {nearest['height']}"
    until(
        results,
        "getComputedStyle(document.querySelector('.tile .meta')).opacity === '1'",
    )
    assert tile.locator(".meta").inner_text().split("\n") == [
        nearest["label"],
        distance,
        size,
    ]
    name = f"Search with {nearest['name']}, {nearest['label']}, distance {distance}, {size}"
    assert tile.locator(".open").get_attribute("aria-label") == name


def test_grid_lines_have_one_height_and_fill_the_width(results):
    boxes = results.locator(".tile").evaluate_all(
        """tiles => tiles.map((tile) => {
          const { top, left, right, height } = tile.getBoundingClientRect();
          return [top, left, right, height];
        })"""
    )
    lines = {}
    for top, *box in boxes:
        lines.setdefault(round(top), []).append(box)
    edge = results.evaluate(
        "document.querySelector('.grid').getBoundingClientRect().right"
    )
    for line in list(lines.values())[:-1]:
        assert max(right for _, right, _ in line) == pytest.approx(edge, abs=1)
        assert len({round(height, 2) for *_, height in line}) == 1


def test_labels_filter_the_results(results, server):
    results.locator(".chip", has_text="car").first.click()
    until(results, "location.hash.includes('label=car')")
    until(results, "document.querySelectorAll('#answers .tile').length === 5")
    assert set(tiles(results)) == set(
        ids(
            server.search(
                positive=[{"id": 3}], k=200, where="label = 'car'", exclude_self=True
            )
        )
    )
    results.locator(".chip", has_text="cat").first.click()
    until(results, "document.querySelectorAll('#answers .tile').length >= 9")
    results.get_by_role("button", name="All labels").click()
    until(results, "!location.hash.includes('label')")
    until(results, "document.querySelectorAll('#answers .tile').length > 10")


def test_labels_are_counted_in_the_answer(open_page):
    page = open_page("#search?positive=3&where=width > 200")
    tiles(page)
    total = page.locator("#chips small").evaluate_all(
        "all => all.map((one) => one.textContent.split(' of ').map(Number))"
    )
    found = page.locator("#answers .tile").first.get_attribute("aria-setsize")
    assert sum(count for count, _ in total) == int(found)
    assert {of for _, of in total} == {5}
    # All of a label's images are found where there is room for them.
    page.evaluate("location.hash = '#search?positive=3'")
    until(page, "document.querySelector('#chips').textContent.includes('5 of 5')")


def test_spaces_have_plain_names_and_their_model_as_a_hint(results):
    buttons = results.locator("#spaces button")
    expect(buttons).to_have_text(
        ["What is in it", "How it looks", "Side by side", "Together"]
    )
    expect(buttons.nth(0)).to_have_attribute("title", "EfficientNet-Lite0 in 8 bits")
    assert buttons.nth(1).get_attribute("title").startswith("The pixels themselves")
    results.keyboard.press("v")
    expect(results.locator(".answer h2")).to_have_text(
        ["What is in it", "How it looks"]
    )


def test_an_expression_filters_and_shows_its_mistakes(results):
    results.keyboard.press("/")
    results.keyboard.type("rating > 4")
    results.keyboard.press("Enter")
    until(results, "document.querySelectorAll('#answers .tile').length <= 1")
    results.fill("#where", "widht > 4")
    results.keyboard.press("Enter")
    expect(results.locator("#where-error")).to_contain_text("Did you mean width?")
    expect(results.locator("#where")).to_have_attribute("aria-invalid", "true")
    results.fill("#where", "width < 1")
    results.keyboard.press("Enter")
    expect(results.locator("#none")).to_contain_text("No matches")
    expect(results.locator("#where-error")).to_be_hidden()
    results.get_by_role("button", name="Search without the filter").click()
    until(results, "document.querySelectorAll('#answers .tile').length > 10")


def test_plain_words_filter_by_name_folder_and_label(open_page):
    page = open_page("#search?positive=3")
    tiles(page)
    for text, count in (("CAT", 5), ("cat_0001", 1), ("Car 0002", 1), ("cat zebra", 0)):
        page.fill("#where", text)
        page.keyboard.press("Enter")
        until(
            page,
            f"document.querySelectorAll('#answers .tile').length === {count}",
            text,
        )
        expect(page.locator("#where-error")).to_be_hidden()
    expect(page.locator("#none")).to_contain_text("No matches")
    # The address keeps what was typed, and the labels narrow it further.
    assert "where=cat+zebra" in page.url
    page.fill("#where", "000")
    page.keyboard.press("Enter")
    page.locator(".chip", has_text="car").first.click()
    until(page, "document.querySelectorAll('#answers .tile').length === 5")


def test_words_differ_from_expressions_and_are_taken_literally(page):
    texts = {
        "width > 3": True,
        "not (label = 'cat')": True,
        "widht>3": True,
        "`shot by` like '%x'": True,
        "rating is null": True,
        "label in ('a')": True,
        "cat and dog": False,
        "this is fine": False,
        "like new": False,
        "100%": False,
        "it's": False,
        "(1)": False,
    }
    script = """async (texts) => {
      const where = await import(new URL("where.js", document.scripts[1].src));
      return texts.map((text) => [where.isExpression(text), where.expressionOf(text)]);
    }"""
    answers = page.evaluate(script, list(texts))
    assert [is_expression for is_expression, _ in answers] == list(texts.values())
    expressions = dict(
        zip(texts, (expression for _, expression in answers), strict=True)
    )
    assert expressions["width > 3"] == "width > 3"
    assert r"uri like '%100\%%'" in expressions["100%"]
    assert "label like '%it''s%'" in expressions["it's"]


def test_any_plain_words_make_a_valid_filter(page, server):
    script = """async (text) => {
      const where = await import(new URL("where.js", document.scripts[1].src));
      return where.expressionOf(text);
    }"""
    for text in ("100%", "it's", "a_b", "\\", "(1)", "'", "cat and dog", "%"):
        where = page.evaluate(script, text)
        answer = server.search(positive=[{"id": 3}], where=where)
        assert answer.status_code == 200, answer.text


def test_columns_and_values_are_completed_by_keys_and_pointer(results):
    field = results.locator("#where")
    options = results.locator("#where-list").get_by_role("option")
    results.keyboard.press("/")
    results.keyboard.type("wid")
    expect(options).to_have_text(["widthnumber"])
    expect(field).to_have_attribute("aria-expanded", "true")
    results.keyboard.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == options.first.get_attribute(
        "id"
    )
    results.keyboard.press("Enter")
    expect(field).to_have_value("width > ")
    results.keyboard.type("1 and lab")
    options.filter(has_text="label").first.click()
    expect(field).to_have_value("width > 1 and label = ")
    expect(field).to_be_focused()
    results.keyboard.type("ca")
    expect(options).to_have_text(["car5", "cat5"])
    results.keyboard.press("ArrowUp")
    results.keyboard.press("Enter")
    expect(field).to_have_value("width > 1 and label = 'cat'")
    expect(options).to_have_count(0)
    results.keyboard.press("Enter")
    until(results, "document.querySelectorAll('#answers .tile').length === 5")
    # So are the few values of other texts.
    field.fill("sho")
    options.first.click()
    expect(field).to_have_value("`shot by` = ")
    expect(options).to_have_text(["Ann"])
    options.first.click()
    results.keyboard.press("Enter")
    until(results, "document.querySelectorAll('#answers .tile').length === 1")
    # The caret may move before a completion is chosen.
    field.fill("width > 1 and lab")
    results.keyboard.press("Home")
    options.filter(has_text="label").first.click()
    expect(field).to_have_value("width > 1 and label = ")
    # Among plain words, labels are completed too; Escape closes the list and nothing else.
    field.fill("butt")
    expect(options).to_have_text(["butterfly5"])
    results.keyboard.press("Escape")
    expect(options).to_have_count(0)
    expect(field).to_have_value("butt")


def test_two_spaces_side_by_side_mark_shared_images(results, server):
    results.keyboard.press("v")
    until(results, "document.querySelectorAll('.answer .tile').length > 20")
    pixels = ids(
        server.search(positive=[{"id": 3}], space="pixels", k=200, exclude_self=True)
    )
    feature = ids(server.search(positive=[{"id": 3}], k=200, exclude_self=True))
    left, right = (tiles(results, f".answer:nth-child({side})") for side in (1, 2))
    assert (left, right) == (feature[: len(left)], pixels[: len(right)])
    first = results.locator(".answer:nth-child(1) .tile").first
    expect(first.locator(".mark")).to_have_text(f"⇄ {pixels.index(feature[0]) + 1}")
    twin = results.locator(f".answer:nth-child(2) .tile[data-id='{left[0]}']")
    if twin.count():
        first.hover()
        assert "twin" in twin.get_attribute("class")
    assert "44 of 44 in both" in results.locator(".facts").first.inner_text()
    boxes = [results.locator(".answer").nth(side).bounding_box() for side in (0, 1)]
    assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]


def test_two_spaces_together_give_one_answer(results, server):
    results.get_by_role("button", name="Together").click()
    until(results, "location.hash.includes('fused=yes')")
    spaces = ["efficientnet-lite0-int8", "pixels"]
    fused = server.search(positive=[{"id": 3}], spaces=spaces, k=200, exclude_self=True)
    expected = fused.json()["matches"]
    first = expected[0]["id"]
    until(results, f"document.querySelector('.tile').dataset.id === '{first}'")
    found = tiles(results)
    assert found == ids(fused)[: len(found)]
    expect(results.locator(".answer")).to_have_count(1)
    chosen = results.locator("#spaces [aria-pressed=true]")
    expect(chosen).to_have_text(["Together"])
    results.keyboard.press("v")
    expect(results.locator(".answer")).to_have_count(2)
    expect(chosen).to_have_text(["Side by side"])


def test_positive_and_negative_examples_are_searched_together(results, server):
    first = tiles(results)
    results.locator(".tile").nth(1).hover()
    results.locator(".tile .more").nth(1).click()
    results.locator(".tile").nth(5).hover()
    results.locator(".tile .less").nth(5).click()
    expect(results.locator("#examples-bar .positive img")).to_have_count(2)
    results.get_by_role("button", name="Search together").click()
    until(results, f"location.hash.includes('negative={first[5]}')")
    positive, negative = [{"id": 3}, {"id": first[1]}], [{"id": first[5]}]
    found = tiles(results)
    assert (
        found
        == ids(
            server.search(
                positive=positive, negative=negative, k=200, exclude_self=True
            )
        )[: len(found)]
    )
    expect(results.locator("#query-name")).to_have_text("Like 2, unlike 1")
    results.locator(".example.negative").hover()
    results.locator(
        ".example.negative button[aria-label='Search without this image']"
    ).click()
    until(results, "!location.hash.includes('negative')")
    expect(results.locator("#examples-bar.open")).to_have_count(0)


def test_the_strength_of_negative_examples_is_a_slider(results, server):
    """It is in the tray before the search, and beside the results after it."""
    first = tiles(results)
    results.locator(".tile").nth(5).hover()
    tray = results.locator("#examples-bar .strength")
    expect(tray).to_be_hidden()
    results.locator(".tile .less").nth(5).click()
    assert float(tray.locator("input").input_value()) == DEFAULT_GAMMA
    tray.locator("input").fill("0.7")
    results.get_by_role("button", name="Search together").click()
    until(results, "location.hash.includes('gamma=0.7')")
    query = {"positive": [{"id": 3}], "negative": [{"id": first[5]}]}

    def expected(gamma):
        return ids(server.search(**query, k=200, exclude_self=True, gamma=gamma))

    strong = tiles(results)
    assert strong == expected(0.7)[: len(strong)]
    beside = results.locator("#strength input")
    expect(beside).to_have_value("0.7")
    beside.fill("0.1")
    until(results, "!location.hash.includes('gamma')")
    weak = expected(DEFAULT_GAMMA)
    assert weak != expected(0.7)
    until(results, f"document.querySelector('.tile').dataset.id === '{weak[0]}'")
    found = tiles(results)
    assert found == weak[: len(found)]


def test_copies_can_be_hidden(open_page, sample, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(sample / "cat", folder / "cat")
    shutil.copytree(sample / "car", folder / "car")
    for number in range(4):
        shutil.copy(sample / "cat" / "cat_0002.jpg", folder / f"copy_{number}.jpg")
    lookalike.index(folder, tmp_path / "c", models=["pixels"])
    with serving("-c", tmp_path / "c") as live:
        rows = live.api.get("rows", params={"where": "label = 'car'"}).json()["rows"]
        query = rows[0]["id"]
        page = open_page(f"#search?positive={query}", live=live)
        everything = tiles(page)
        assert len(everything) == 13
        page.get_by_role("checkbox", name="Hide copies").check()
        until(page, "location.hash.includes('unique=yes')")
        until(page, "document.querySelectorAll('.tile').length < 13")
        answer = live.search(
            positive=[{"id": query}], k=200, unique=True, exclude_self=True
        )
        assert tiles(page) == ids(answer)
        (copied,) = [m["id"] for m in answer.json()["matches"] if m["copies"] == 5]
        tile = page.locator(f".tile[data-id='{copied}']")
        expect(tile.locator(".mark")).to_have_text("\u00d7 5")
        name = tile.locator(".open").get_attribute("aria-label")
        assert "5 copies" in name


def test_the_order_can_be_chosen(results, server):
    plain = tiles(results)
    results.get_by_label("Order").select_option("By neighborhood")
    until(results, "location.hash.includes('ranking=context')")
    answer = server.search(
        positive=[{"id": 3}], k=200, exclude_self=True, ranking="context"
    )
    expected = ids(answer)
    assert expected[:10] != plain[:10]
    until(
        results, f"document.querySelectorAll('.tile')[9].dataset.id === '{expected[9]}'"
    )
    found = tiles(results)
    assert found == expected[: len(found)]
    results.reload()
    assert tiles(results)[:10] == expected[:10]
    expect(results.get_by_label("Order")).to_have_value("context")


def test_examples_can_be_removed(results):
    results.locator(".tile .open").first.focus()
    results.keyboard.press("-")
    results.locator("#examples-bar .negative .round").focus()
    results.keyboard.press("Enter")
    expect(results.locator("#examples-bar .negative img")).to_have_count(0)
    results.get_by_role("button", name="Clear", exact=True).click()
    expect(results.locator("#examples-bar.open")).to_have_count(0)


def test_images_and_files_are_dropped_as_examples(results, query):
    tiles(results)
    results.locator(".tile").nth(2).hover()
    results.mouse.down()
    results.mouse.move(500, 500, steps=3)
    until(results, "document.querySelector('#examples-bar.wanted')")
    box = results.locator("#examples-bar .negative").bounding_box()
    results.mouse.move(box["x"] + 40, box["y"] + 40, steps=3)
    results.mouse.up()
    until(
        results, "document.querySelectorAll('#examples-bar .negative img').length === 1"
    )
    drop(
        results,
        [("mine.jpg", "image/jpeg", query.read_bytes())],
        "#examples-bar .positive",
    )
    until(
        results, "document.querySelectorAll('#examples-bar .positive img').length === 2"
    )
    assert "positive=3" in results.url


def test_a_part_of_the_query_is_searched_by(results, server):
    results.keyboard.press("c")
    rectangle = results.locator(".rectangle")
    rectangle.wait_for()
    box = results.locator(".frame img").bounding_box()
    results.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.1 * box["height"])
    results.mouse.down()
    results.mouse.move(
        box["x"] + 0.75 * box["width"], box["y"] + 0.6 * box["height"], steps=5
    )
    results.mouse.up()
    results.get_by_role("button", name="Search with this crop").click()
    name = server.api.get("rows/3").json()["name"]
    until(
        results,
        f"document.querySelector('#query-name').textContent === 'Crop of {name}'",
    )
    tiles(results)
    sha = results.url.partition("positive=")[2][:64]
    row = server.api.get("rows/3").json()
    sent = Image.open(
        io.BytesIO(server.api.get(f"uploads/{sha}/image?size=512").content)
    )
    assert sent.size == (
        pytest.approx(row["width"] / 2, abs=2),
        pytest.approx(row["height"] / 2, abs=2),
    )
    original = Image.open(
        io.BytesIO(server.api.get("rows/3/original").content)
    ).convert("RGB")
    left, top = round(0.25 * row["width"]), round(0.1 * row["height"])
    cut = original.crop((left, top, left + sent.width, top + sent.height))
    assert (
        np.abs(np.asarray(sent.convert("RGB"), int) - np.asarray(cut, int)).mean() < 8
    )


def test_details_show_the_original_its_facts_and_its_neighbors(results, server):
    found = tiles(results)
    results.locator(".tile .open").first.focus()
    results.keyboard.press("i")
    detail = results.locator("#detail")
    row = server.api.get(f"rows/{found[0]}").json()
    expect(detail.locator("dl")).to_contain_text(row["uri"])
    expect(detail.locator("h2")).to_have_text(row["name"])
    until(
        results,
        f"document.querySelector('#detail img').src.includes('rows/{found[0]}/original')",
    )
    results.keyboard.press("ArrowRight")
    expect(detail.locator("header")).to_contain_text("2 of 44")
    results.get_by_role("button", name="Previous").click()
    results.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    assert results.evaluate(
        "document.activeElement.closest('.tile').dataset.id"
    ) == str(found[0])
    results.keyboard.press("i")
    results.get_by_role("button", name="Search with this image").click()
    until(results, f"location.hash.includes('positive={found[0]}')")


def test_a_long_press_opens_the_details(open_page):
    page = open_page(
        "#search?positive=3",
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
    )
    tiles(page)
    box = page.locator("#answers .tile").first.bounding_box()
    touch = page.context.new_cdp_session(page)
    point = {"x": box["x"] + 20, "y": box["y"] + 20, "id": 0}
    touch.send(
        "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]}
    )
    page.locator("#detail").wait_for()
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert "positive=3" in page.url
    page.get_by_role("button", name="Close").tap()
    page.locator("#answers .tile .open").nth(1).tap()
    until(page, "!location.hash.includes('positive=3')")


def test_keys_move_search_and_switch_views(results):
    found = tiles(results)
    for key in ("ArrowDown", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft"):
        results.keyboard.press(key)
    assert results.evaluate(
        "document.activeElement.closest('.tile').dataset.id"
    ) == str(found[0])
    results.keyboard.press("End")
    last = results.evaluate("document.activeElement.closest('.tile').dataset.index")
    assert last == "43"
    box = results.locator(".tile", has=results.locator(":focus")).bounding_box()
    assert 0 < box["y"] < 800 - box["height"]
    results.keyboard.press("Home")
    results.keyboard.press("Enter")
    until(results, f"location.hash.includes('positive={found[0]}')")
    results.keyboard.press("?")
    expect(results.locator("#keys")).to_contain_text("Side by side")
    results.keyboard.press("Escape")
    results.keyboard.press("3")
    until(results, "location.hash.startsWith('#health')")
    results.keyboard.press("1")
    until(results, "location.hash.startsWith('#search')")


def test_a_thousand_results_stay_quick(open_page, tmp_path):
    """Only images near the screen are in the document, and all can be reached."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1200, 3)).astype(np.float32)
    collection = make_collection(tmp_path / "many", vectors[:1])
    add_rows(
        collection,
        vectors[1:],
        thumbnails=[picture((n % 255, 90, 120)) for n in range(1199)],
    )
    with serving("-c", tmp_path / "many") as live:
        page = open_page("#search?positive=1&k=1000", live=live)
        tiles(page)
        assert (
            page.inner_text("#announcer") == "The 1,000 nearest of 1,200 · How it looks"
        )
        expect(page.locator(".tile").first).to_have_attribute("aria-setsize", "1000")
        assert page.locator(".tile").count() < 120
        page.locator(".tile .open").first.focus()
        page.keyboard.press("End")
        until(page, "document.querySelector('.tile[data-index=\"999\"]')")
        assert page.locator(".tile").count() < 120
        page.context.close()


def test_a_button_shows_more_results(open_page, server):
    page = open_page("#search?positive=3&k=4")
    assert len(tiles(page)) == 4
    page.get_by_role("button", name="Show the 20 nearest").click()
    until(page, "document.querySelectorAll('#answers .tile').length === 20")
