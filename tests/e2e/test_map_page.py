"""An exported map in a browser, opened from a file."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from browsing import BROWSER, Pages, until
from lookalike.export.map_page import write_map_page
from lookalike.projection.map import Map
from made import SPACE, add_rows, make_collection, picture

expect = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install playwright"
).expect

HOSTILE = '</script><img src=x onerror="document.title=1">'
COUNT = 60
COLORS = [(214, 60, 50), (40, 120, 220), (60, 170, 80)]

pytestmark = pytest.mark.skipif(
    BROWSER is None,
    reason="needs Chromium on the PATH: apt-get install chromium-headless-shell",
)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page of sixty images in three rows of twenty, with hostile names."""
    folder = tmp_path_factory.mktemp("map page")
    uris, labels, thumbnails = [], [], []
    for index in range(COUNT):
        file = folder / f"picture #{index:02} <b>.jpg"
        thumbnails.append(picture(COLORS[index // 20], (160, 120)))
        Image.new("RGB", (640, 480), COLORS[index // 20]).save(file)
        uris.append(str(file))
        labels.append(["sky", HOSTILE, None][index // 20])
    collection = make_collection(folder / "collection", np.eye(4, dtype=np.float32)[:1])
    collection.delete(collection.vectors(SPACE)[0])
    rows = np.random.default_rng(0).normal(size=(COUNT, 4)).astype(np.float32)
    add_rows(collection, rows, uris=uris, labels=labels, thumbnails=thumbnails)
    xy = np.array(
        [[index % 20, -8 * (index // 20)] for index in range(COUNT)], np.float32
    )
    measured = {
        "k": 10,
        "trustworthiness": 0.987,
        "preservation": 0.5,
        "queries": COUNT,
        "rows": COUNT,
    }
    ids = collection.vectors(SPACE)[0]
    map_ = Map(ids, xy, np.ones(COUNT, np.bool_), SPACE, "tsne", 0, {}, measured)
    return write_map_page(map_, collection, folder / "map.html")


@pytest.fixture(scope="module")
def pages(browser):
    return Pages(browser, {"viewport": {"width": 1280, "height": 800}})


@pytest.fixture
def open_page(pages, page_file):
    """Open the page; afterwards check that it logged no errors and requested only its own files."""

    def open_it(**settings):
        page = pages.open(page_file.as_uri(), page_file.parent.as_uri(), **settings)
        page.evaluate("window.mapView = document.querySelector('#map-view').mapView")
        settle(page)
        return page

    yield open_it
    complaints, outside = pages.finish()
    assert complaints == []
    assert outside == []


@pytest.fixture
def page(open_page):
    return open_page()


def position(page, row: int) -> tuple[float, float]:
    return tuple(page.evaluate(f"mapView.canvas.screenPosition({row})"))


def settle(page) -> None:
    """Wait until nothing moves and all images are drawn."""
    until(page, "mapView.canvas.isSettled")


def pixel(page, x: float, y: float) -> np.ndarray:
    image = page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))[0, 0].astype(int)


def test_the_heading_describes_the_map(page):
    assert page.title() == f"t-SNE map of {SPACE}"
    assert page.inner_text("h1") == f"t-SNE map of {SPACE}"
    assert (
        "60 images · trustworthiness 0.987 · 50 % of the 10 nearest neighbors preserved"
        in page.inner_text(".map-panel header p")
    )


def test_hostile_names_and_labels_are_text(page):
    names = page.locator(".labels .toggle span").all_inner_texts()
    assert names == [HOSTILE, "sky", "no label"]
    assert page.locator("body img[src=x]").count() == 0


def test_pointing_shows_the_image_its_name_and_label(page):
    page.mouse.move(*position(page, 3))
    card = page.locator(".map-card")
    expect(card).to_be_visible()
    expect(card.locator("b")).to_have_text("picture #03 <b>.jpg")
    expect(card.locator(".label")).to_have_text("sky")
    box = card.locator("canvas").bounding_box()
    assert (box["width"], box["height"]) == (200, 160)
    settle(page)
    shown = pixel(page, box["x"] + 100, box["y"] + 80)
    assert np.abs(shown - COLORS[0]).max() < 25
    page.mouse.move(1270, 10)
    expect(card).to_be_hidden()


def test_a_click_opens_the_image_and_escape_closes_it(page, page_file):
    page.mouse.click(*position(page, 25))
    viewer = page.locator("#viewer")
    expect(viewer).to_be_visible()
    expect(viewer.locator("h2")).to_have_text("picture #25 <b>.jpg")
    assert viewer.locator(".label").inner_text() == HOSTILE
    original = page_file.parent / "picture #25 <b>.jpg"
    assert viewer.locator(".path").inner_text() == str(original)
    assert viewer.locator("a").get_attribute("href") == original.as_uri()
    viewer.locator("img").wait_for(state="visible")
    until(page, "document.querySelector('#viewer img').naturalWidth === 640")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()


def test_the_wheel_zooms_about_the_pointer(page):
    x, y = position(page, 30)
    before = page.evaluate("mapView.canvas.camera.scale")
    page.mouse.move(x, y)
    page.mouse.wheel(0, -500)
    until(page, f"mapView.canvas.camera.scale > 1.9 * {before}")
    settle(page)
    # A wheel event has whole pixels, and its error grows with the zoom.
    assert position(page, 30) == (pytest.approx(x, abs=2), pytest.approx(y, abs=2))
    page.mouse.wheel(0, 500)
    until(page, f"Math.abs(mapView.canvas.camera.scale / {before} - 1) < 0.01")


def test_a_drag_moves_the_map_and_opens_nothing(page):
    x, y = position(page, 30)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y - 40, steps=4)
    page.mouse.up()
    settle(page)
    assert position(page, 30) == (
        pytest.approx(x + 60, abs=1),
        pytest.approx(y - 40, abs=1),
    )
    assert not page.locator("#viewer").is_visible()


def test_zooming_in_adds_images_and_removes_none(page):
    def as_images(zoom):
        scale = f"mapView.canvas.camera.overviewScale * {zoom}"
        page.evaluate(
            f"mapView.canvas.camera.jump({{ x: 0.5, y: 0.5, scale: {scale} }})"
        )
        settle(page)
        return set(page.evaluate("mapView.canvas.imageRows().rows"))

    shown = [as_images(zoom) for zoom in (1, 2, 4, 8, 16)]
    assert all(fewer <= more for fewer, more in itertools.pairwise(shown))
    assert 0 < len(shown[0]) < len(shown[-1]) == COUNT
    as_images(1)
    boxes = page.evaluate(
        "mapView.canvas.drawn.map(({ left, top, width, height }) => [left, top, width, height])"
    )
    for index, (left, top, width, height) in enumerate(boxes):
        for other_left, other_top, other_width, other_height in boxes[:index]:
            apart = left >= other_left + other_width or other_left >= left + width
            assert apart or top >= other_top + other_height or other_top >= top + height


@pytest.mark.parametrize(
    ("key", "scale", "x", "y"),
    [
        ("+", 1.6, 0, 0),
        ("-", 1 / 1.6, 0, 0),
        ("ArrowRight", 1, 1, 0),
        ("ArrowUp", 1, 0, -1),
        ("0", 1, 0, 0),
    ],
)
def test_keys_move_and_zoom(page, key, scale, x, y):
    before = page.evaluate("mapView.canvas.camera.view")
    page.keyboard.press(key)
    settle(page)
    after = page.evaluate("mapView.canvas.camera.view")
    assert after["scale"] == pytest.approx(scale * before["scale"])
    assert (
        np.sign(round(after["x"] - before["x"], 6)),
        np.sign(round(after["y"] - before["y"], 6)),
    ) == (x, y)


def test_the_buttons_zoom_and_show_all_again(page):
    before = page.evaluate("mapView.canvas.camera.scale")
    page.get_by_role("button", name="Zoom in").click()
    settle(page)
    assert page.evaluate("mapView.canvas.camera.scale") == pytest.approx(1.8 * before)
    page.get_by_role("button", name="Zoom out").click()
    page.get_by_role("button", name="Zoom out").click()
    settle(page)
    assert page.evaluate("mapView.canvas.camera.scale") < before
    page.get_by_role("button", name="Show all of the map").click()
    until(
        page,
        """(() => {
          const { x, y, scale, overviewScale } = mapView.canvas.camera;
          return scale === overviewScale && x === 0.5 && y === 0.5;
        })()""",
    )


def test_search_lists_and_highlights_by_name_and_label(page):
    page.keyboard.press("/")
    page.keyboard.type("PICTURE #1")
    expect(page.locator(".found p")).to_have_text("10 found")
    assert page.locator(".found b").all_inner_texts() == [
        f"picture #{index} <b>.jpg" for index in range(10, 20)
    ]
    assert sorted(page.evaluate("[...mapView.canvas.highlighted]")) == list(
        range(10, 20)
    )
    page.locator(".found button").nth(4).click()
    expect(page.locator("#viewer h2")).to_have_text("picture #14 <b>.jpg")
    page.keyboard.press("Escape")
    page.fill(".map-panel input", "onerror")
    expect(page.locator(".found p")).to_have_text("20 found")
    page.fill(".map-panel input", "nothing like it")
    expect(page.locator(".found p")).to_have_text("0 found")
    page.locator(".map-panel input").press("Escape")
    until(page, "mapView.canvas.highlighted === null")
    expect(page.locator(".found")).to_be_hidden()


def test_enter_moves_to_the_found_images(page):
    page.fill(".map-panel input", "picture #05")
    page.locator(".map-panel input").press("Enter")
    settle(page)
    assert page.evaluate("mapView.canvas.camera.scale") > 5 * page.evaluate(
        "mapView.canvas.camera.overviewScale"
    )
    x, y = position(page, 5)
    assert 300 < x < 1280
    assert 0 < y < 800


def test_the_legend_hides_and_shows_labels(page):
    sky = page.locator(".labels .toggle").nth(1)
    assert "sky" in sky.inner_text()
    at = position(page, 3)
    sky.click()
    expect(sky).to_have_attribute("aria-pressed", "false")
    settle(page)
    page.mouse.move(*at)
    expect(page.locator(".map-card")).to_be_hidden()
    page.get_by_role("button", name="Show all", exact=True).click()
    expect(sky).to_have_attribute("aria-pressed", "true")
    settle(page)
    page.mouse.move(at[0] + 1, at[1])
    expect(page.locator(".map-card")).to_be_visible()


def test_one_label_can_be_shown_alone(page):
    page.get_by_role("button", name="Show sky only").focus()
    page.keyboard.press("Enter")
    toggles = page.locator(".labels .toggle")
    for number, pressed in enumerate(["false", "true", "false"]):
        expect(toggles.nth(number)).to_have_attribute("aria-pressed", pressed)
    assert page.evaluate("mapView.canvas.levels.candidates.every((row) => row < 20)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(open_page, scheme):
    """At least 4.5 to 1, the level AA of the Web Content Accessibility Guidelines."""
    page = open_page(color_scheme=scheme)
    page.fill(".map-panel input", "picture")
    for selector in (
        "h1",
        ".map-panel header p",
        ".map-panel input",
        ".found p",
        ".found b",
        ".found span",
        "summary",
        "small",
        ".only",
    ):
        text, ground = page.evaluate(
            """(selector) => {
              let element = document.querySelector(selector);
              const text = getComputedStyle(element).color;
              const clear = "rgba(0, 0, 0, 0)";
              const ground = () => getComputedStyle(element).backgroundColor;
              while (ground() === clear) element = element.parentElement;
              const colors = [text, ground()];
              return colors.map((color) => color.match(/\\d+/g).map(Number));
            }""",
            selector,
        )
        lighter, darker = sorted((luminance(text), luminance(ground)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, selector
    corner = pixel(page, 1270, 10)
    assert (corner.mean() > 200) == (scheme == "light")


def luminance(rgb) -> float:
    parts = np.array(rgb) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_a_phone_shows_the_map_and_opens_images(open_page):
    page = open_page(
        viewport={"width": 400, "height": 800},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    panel = page.locator(".map-panel").bounding_box()
    assert panel["height"] < 300
    places = [position(page, row) for row in range(COUNT)]
    assert all(0 < x < 400 and 0 < y < panel["y"] for x, y in places)
    page.touchscreen.tap(*places[50])
    expect(page.locator("#viewer h2")).to_contain_text("picture #")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#viewer")).to_be_hidden()


def test_two_fingers_pinch(open_page):
    page = open_page(has_touch=True)
    before = page.evaluate("mapView.canvas.camera.scale")
    touch = page.context.new_cdp_session(page)
    for kind, spread in (
        ("touchStart", 50),
        ("touchMove", 75),
        ("touchMove", 100),
        ("touchEnd", 0),
    ):
        points = (
            [
                {"x": 800 - spread, "y": 400, "id": 0},
                {"x": 800 + spread, "y": 400, "id": 1},
            ]
            if spread
            else []
        )
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    until(page, f"mapView.canvas.camera.scale > 1.5 * {before}")
    settle(page)
    assert page.evaluate("mapView.canvas.camera.scale") < 2.5 * before
    expect(page.locator("#viewer")).to_be_hidden()
