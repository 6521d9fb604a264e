"""The Map view: made by a button, zoomed, pointed at, selected from, and colored by distance."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from browsing import HeldRequests, tiles, until

SETTLED = "mapView.canvas.isSettled"
OVERVIEW = "mapView.canvas.camera.jump(mapView.canvas.camera.overview())"


def show_overview(page) -> None:
    """Wait for the map, name it `mapView` in the page, and show all of it."""
    page.locator("#map-canvas").wait_for()
    page.evaluate("window.mapView = document.querySelector('#map-view').mapView")
    page.evaluate(OVERVIEW)
    until(page, SETTLED)


@pytest.fixture
def map_page(open_page, studied):
    def open_it(hash_="#map", **settings):
        page = open_page(hash_, live=studied, alone=False, **settings)
        show_overview(page)
        return page

    return open_it


def where(page, row: int) -> tuple[float, float]:
    """Return where on the screen a row lies."""
    return tuple(
        page.evaluate(
            """(row) => {
              const { canvas } = mapView;
              const box = canvas.canvas.getBoundingClientRect();
              const [x, y] = canvas.screenPosition(row);
              return [x + box.x, y + box.y];
            }""",
            row,
        )
    )


def empty_place(page) -> tuple[float, float]:
    """Return a place on the screen, within the map, that is far from every row."""
    return tuple(
        page.evaluate(
            """() => {
              const { canvas } = mapView;
              const box = canvas.canvas.getBoundingClientRect();
              for (let y = 20; y < box.height; y += 20) {
                for (let x = 20; x < box.width; x += 20) {
                  const place = [x + box.x, y + box.y];
                  const isOnTop = document.elementFromPoint(...place) === canvas.canvas;
                  if (isOnTop && canvas.rowAt(x, y, 30) < 0) return place;
                }
              }
              throw new Error("rows lie everywhere");
            }"""
        )
    )


def test_a_button_makes_the_map(open_page, own):
    assert own.api.get("map", params={"space": "pixels"}).status_code == 404
    page = open_page("#map?space=pixels", live=own)
    page.get_by_role("button", name="Make the map").click()
    expect(page.locator(".running")).to_be_visible()
    page.locator("#map-canvas").wait_for()
    assert own.api.get("map", params={"space": "pixels"}).status_code == 200
    expect(page.locator(".map-panel")).to_contain_text("45 images · t-SNE")


def test_pointing_shows_a_card_and_a_click_searches(map_page, studied):
    page = map_page()
    row = page.evaluate(
        "mapView.canvas.drawn.length ? mapView.canvas.drawn.at(-1).row : 0"
    )
    place = where(page, row)
    identity = page.evaluate(f"mapView.data.ids[{row}]")
    known = studied.api.get(f"rows/{identity}").json()
    page.mouse.move(*place)
    card = page.locator(".map-card")
    expect(card).to_contain_text(known["name"])
    expect(card).to_contain_text(known["label"])
    page.mouse.click(*place)
    until(page, f"location.hash === '#search?positive={identity}'")
    assert len(tiles(page)) > 10
    page.go_back()
    until(page, "document.body.dataset.view === 'map'")


def test_zooming_in_adds_images_and_removes_none(map_page):
    page = map_page()
    shown = []
    for zoom in (1, 2, 4, 16, 64, 199):
        page.evaluate(
            "mapView.canvas.camera.jump("
            f"{{ x: 0.5, y: 0.5, scale: mapView.canvas.camera.overviewScale * {zoom} }})"
        )
        until(page, SETTLED)
        shown.append(set(page.evaluate("mapView.canvas.imageRows().rows")))
    assert all(fewer <= more for fewer, more in itertools.pairwise(shown))
    assert len(shown[-1]) == 45
    page.evaluate(OVERVIEW)
    until(page, SETTLED)
    assert page.evaluate("mapView.canvas.drawn.length") > 0
    boxes = page.evaluate(
        "mapView.canvas.drawn.map(({ left, top, width, height }) => [left, top, width, height])"
    )
    for index, (left, top, width, height) in enumerate(boxes):
        for other_left, other_top, other_width, other_height in boxes[:index]:
            apart = left >= other_left + other_width or other_left >= left + width
            assert apart or top >= other_top + other_height or other_top >= top + height


def test_the_wheel_zooms_about_the_pointer_and_a_drag_moves(map_page):
    page = map_page()
    x, y = where(page, 7)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    until(page, "mapView.canvas.camera.zoom > 1.8")
    until(page, SETTLED)
    assert where(page, 7) == (pytest.approx(x, abs=2), pytest.approx(y, abs=2))
    page.mouse.down()
    page.mouse.move(x + 50, y - 30, steps=4)
    page.mouse.up()
    until(page, SETTLED)
    assert where(page, 7) == (
        pytest.approx(x + 50, abs=2),
        pytest.approx(y - 30, abs=2),
    )
    assert "#map" in page.url
    page.get_by_role("button", name="Show all of the map").click()
    until(page, "Math.abs(mapView.canvas.camera.zoom - 1) < 1e-6")


def test_a_lasso_selects_images_to_search_by(map_page):
    page = map_page()
    page.keyboard.press("l")
    box = page.locator("#map-canvas").bounding_box()
    left, top, right, bottom = (
        box["x"] + 330,
        box["y"] + 2,
        box["x"] + box["width"] - 90,
        box["y"] + box["height"] - 2,
    )
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    until(page, "mapView.canvas.highlighted")
    selected = page.evaluate(
        "[...mapView.canvas.highlighted].map((row) => mapView.data.ids[row])"
    )
    assert len(selected) > 30
    expect(page.locator(".selection")).to_contain_text(f"{len(selected)} images")
    expect(page.locator(".selection li")).to_have_count(len(selected))
    page.keyboard.press("Escape")
    expect(page.locator(".selection")).to_be_hidden()
    until(page, SETTLED)
    x, y = where(page, 3)
    page.keyboard.down("Shift")
    page.mouse.move(x - 12, y - 12)
    page.mouse.down()
    for across, down in ((12, -12), (12, 12), (-12, 12)):
        page.mouse.move(x + across, y + down, steps=2)
    page.mouse.up()
    page.keyboard.up("Shift")
    until(page, "mapView.canvas.highlighted")
    few = page.evaluate(
        "[...mapView.canvas.highlighted].map((row) => mapView.data.ids[row])"
    )
    assert 1 <= len(few) < len(selected)
    page.get_by_role("button", name="Search with them together").click()
    until(page, f"location.hash === '#search?positive={','.join(map(str, few))}'")


def test_labels_can_be_hidden_and_shown(map_page):
    page = map_page()
    cat = page.locator(".labels .toggle", has_text="cat").first
    cat.click()
    expect(cat).to_have_attribute("aria-pressed", "false")
    until(page, "mapView.canvas.levels.candidates.length === 40")
    page.get_by_role("button", name="Show car only").focus()
    page.keyboard.press("Enter")
    until(page, "mapView.canvas.levels.candidates.length === 5")
    labels = page.evaluate(
        "mapView.canvas.levels.candidates.map((row) => mapView.data.labelName(row))"
    )
    assert labels == ["car"] * 5
    page.keyboard.press("Enter")
    until(page, "mapView.canvas.levels.candidates.length === 45")


def test_a_row_is_marked_at_its_own_place_without_the_server(map_page):
    page = map_page()
    page.route("**/map/place", lambda route: route.abort())
    page.evaluate("location.hash = '#map?positive=3'")
    until(page, "mapView.canvas.query")
    row = page.evaluate("mapView.data.rowOf.get(3)")
    place = page.evaluate(
        f"[...mapView.data.positions.slice({2 * row}, {2 * row + 2})]"
    )
    assert page.evaluate("[mapView.canvas.query.x, mapView.canvas.query.y]") == place


def test_a_hint_is_shown_while_an_upload_is_placed(map_page, studied, query):
    page = map_page()
    sent = studied.api.post("uploads", files={"image": query.read_bytes()}).json()[
        "upload"
    ]
    requests = HeldRequests(page, "**/map/place", "POST")
    page.evaluate(f"location.hash = '#map?positive={sent}'")
    expect(page.locator(".map-panel .hint")).to_have_text(
        "Finding the place of the query…"
    )
    (request,) = requests.first(1)
    request.continue_()
    until(page, "mapView.canvas.query")
    expect(page.locator(".map-panel .hint")).to_be_hidden()
    place = studied.api.post("map/place", json={"positive": [{"upload": sent}]}).json()
    assert page.evaluate("[mapView.canvas.query.x, mapView.canvas.query.y]") == [
        place["x"],
        place["y"],
    ]


def test_the_zoom_ends_where_all_images_are_apart(map_page):
    page = map_page()
    for _ in range(40):
        page.evaluate("mapView.canvas.camera.jump(mapView.canvas.camera.zoomedBy(2))")
    zoom, bound = page.evaluate(
        "[mapView.canvas.camera.zoom, mapView.canvas.camera.maxZoom]"
    )
    assert zoom == pytest.approx(bound)
    # The two nearest images are two images apart, not further.
    gap = page.evaluate("mapView.canvas.leastDistance * mapView.canvas.camera.scale")
    assert 4 <= bound <= 200
    assert gap <= 2 * 159 + 1 or bound == 4


def test_from_an_empty_place_a_button_leads_back(map_page):
    page = map_page()
    expect(page.locator(".map-empty")).to_be_hidden()
    page.evaluate("mapView.canvas.camera.jump({ x: 1, y: 0, scale: 1e9 })")
    hint = page.locator(".map-empty")
    expect(hint).to_contain_text("No images here")
    hint.get_by_role("button", name="Show all of them").click()
    until(page, "mapView.canvas.camera.isOverview")
    expect(hint).to_be_hidden()


def test_distances_have_colors(map_page, studied):
    page = map_page("#map?positive=3")
    until(page, "mapView.canvas.query")
    page.get_by_role("button", name="Distance to the query").click()
    until(page, "mapView.canvas.distances")
    distances = studied.api.post("distances", json={"positive": [{"id": 3}]}).json()
    near = distances["ids"][int(np.argmin(distances["distances"]))]
    assert page.evaluate("mapView.data.ids[mapView.canvas.distances.sorted[0]]") == near
    least = f"{min(distances['distances']):.2f}"
    expect(page.locator(".ramp span").first).to_have_text(least)
    page.get_by_role("button", name="Label", exact=True).click()
    until(page, "!mapView.canvas.distances")


@pytest.mark.parametrize("webgl", [True, False])
def test_dots_have_the_colors_of_their_labels(map_page, webgl):
    script = "const get = HTMLCanvasElement.prototype.getContext;"
    script += "HTMLCanvasElement.prototype.getContext = function (kind, ...more) {"
    script += (
        " return kind.startsWith('webgl') ? null : get.call(this, kind, ...more); };"
    )
    page = map_page(script="" if webgl else script)
    if not webgl:
        assert page.evaluate("mapView.canvas.dots.kind") == "pixels"
    elif page.evaluate("mapView.canvas.dots.kind") != "webgl":
        pytest.skip("this browser has no WebGL")
    page.route("**/thumbnail?*", lambda route: route.abort())
    row = page.evaluate(
        "mapView.data.labelIndex.findIndex((index) => mapView.data.labels[index].name === 'car')"
    )
    page.evaluate(
        """(row) => {
          mapView.data.thumbnails.get = () => null;
          const [x, y] = mapView.data.positions.slice(2 * row, 2 * row + 2);
          mapView.canvas.camera.jump({ x, y, scale: 40 * mapView.canvas.camera.overviewScale });
        }""",
        row,
    )
    until(page, SETTLED)
    x, y = where(page, row)
    image = Image.open(
        io.BytesIO(
            page.screenshot(clip={"x": x - 2, "y": y - 2, "width": 4, "height": 4})
        )
    )
    expected = page.evaluate(
        "import(new URL('collections.js', document.scripts[1].src)).then((m) => m.colorOf('car'))"
    )
    shown = np.asarray(image.convert("RGB"))[1, 1].astype(int)
    assert (
        np.abs(shown - [int(expected[at : at + 2], 16) for at in (1, 3, 5)]).max() < 32
    )


def test_keys_move_the_map_and_enter_searches_by_the_middle(map_page):
    page = map_page()
    page.locator("#map-canvas").focus()
    before = page.evaluate(
        "({ x: mapView.canvas.camera.x, scale: mapView.canvas.camera.scale })"
    )
    page.keyboard.press("ArrowRight")
    until(page, f"mapView.canvas.camera.x > {before['x']}")
    page.keyboard.press("+")
    until(page, f"mapView.canvas.camera.scale > 1.5 * {before['scale']}")
    x, y = page.evaluate("[...mapView.data.positions.slice(0, 2)]")
    page.evaluate(
        "mapView.canvas.camera.jump("
        f"{{ x: {x}, y: {y}, scale: mapView.canvas.camera.overviewScale * 30 }})"
    )
    page.keyboard.press("-")
    until(page, "mapView.canvas.hovered === 0")
    page.keyboard.press("Enter")
    until(page, "location.hash.startsWith('#search?positive=')")


def test_a_tap_shows_a_card_and_two_fingers_pinch(map_page):
    page = map_page(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page.touchscreen.tap(*where(page, 11))
    card = page.locator(".map-card")
    expect(card).to_be_visible()
    box = card.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.touchscreen.tap(*empty_place(page))
    expect(card).to_be_hidden()
    before = page.evaluate("mapView.canvas.camera.scale")
    touch = page.context.new_cdp_session(page)
    for kind, spread in (
        ("touchStart", 40),
        ("touchMove", 60),
        ("touchMove", 80),
        ("touchEnd", 0),
    ):
        points = (
            [
                {"x": 190 - spread, "y": 300, "id": 0},
                {"x": 190 + spread, "y": 300, "id": 1},
            ]
            if spread
            else []
        )
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    until(page, f"mapView.canvas.camera.scale > 1.5 * {before}")
    page.evaluate(OVERVIEW)
    until(page, SETTLED)
    page.touchscreen.tap(*where(page, 11))
    card.get_by_text("Search with this image").tap()
    until(page, "location.hash.startsWith('#search?positive=')")
