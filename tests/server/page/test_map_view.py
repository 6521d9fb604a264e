"""The map in the page: made by a button, zoomed, pointed at, taken from with a lasso, and coloured by distance."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from browsing import tiles, until

# The page keeps its parts to itself; what the tests must know of the map they ask a module of the page for.
REACH = """async () => {
  const { Plane } = await import(new URL("static/map/canvas.js", document.baseURI));
  const draw = Plane.prototype.draw;
  Plane.prototype.draw = function () { window.plane = this; return draw.call(this); };
  dispatchEvent(new Event("resize"));
}"""


@pytest.fixture
def mapped(own):
    """A server with a map."""
    if own.api.get("map").status_code == 404:
        job = own.api.post("jobs", json={"kind": "map"}).json()["id"]
        own.api.get(f"jobs/{job}/events")
    return own


@pytest.fixture
def map_page(open_page, mapped):
    def open_it(hash_="#map", **settings):
        page = open_page(hash_, live=mapped, **settings)
        page.locator("#plane").wait_for()
        page.evaluate(REACH)
        page.keyboard.press("0")
        until(page, "window.plane?.settled")
        return page

    return open_it


def where(page, row: int) -> tuple[float, float]:
    """Return where on the screen a row lies."""
    return tuple(
        page.evaluate(
            """(row) => {
              const { camera, points, canvas } = plane, box = canvas.getBoundingClientRect();
              const [x, y] = points.places.slice(2 * row, 2 * row + 2);
              return [camera.screenX(x) + box.x, camera.screenY(y) + box.y];
            }""",
            row,
        )
    )


def test_a_button_makes_the_map(open_page, own):
    assert own.api.get("map", params={"space": "pixels"}).status_code == 404
    page = open_page("#map?space=pixels", live=own)
    page.get_by_role("button", name="Make the map").click()
    expect(page.locator(".running")).to_be_visible()
    page.locator("#plane").wait_for(timeout=60_000)
    assert own.api.get("map", params={"space": "pixels"}).status_code == 200
    expect(page.locator("#map-panel")).to_contain_text("45 pictures · t-SNE")


def test_pointing_shows_a_card_and_a_click_searches(map_page, mapped):
    page = map_page()
    row = page.evaluate("plane.drawn.length ? plane.drawn.at(-1)[0] : 0")
    place = where(page, row)
    identity = page.evaluate(f"plane.points.ids[{row}]")
    known = mapped.api.get(f"rows/{identity}").json()
    page.mouse.move(*place)
    card = page.locator("#card")
    expect(card).to_contain_text(known["name"])
    assert known["label"] in card.inner_text()
    page.mouse.click(*place)
    until(page, f"location.hash === '#search?plus={identity}'")
    assert len(tiles(page)) > 10
    page.go_back()
    until(page, "document.body.dataset.view === 'map'")


def test_pictures_come_as_one_comes_nearer_and_none_goes(map_page):
    page = map_page()
    shown = []
    for zoom in (1, 2, 4, 16, 64, 199):
        page.evaluate(f"plane.camera.go({{ x: 0.5, y: 0.5, scale: plane.camera.whole * {zoom} }})")
        until(page, "plane.settled && !plane.points.unfinished")
        shown.append(set(page.evaluate("plane.pictures().rows")))
    assert all(fewer <= more for fewer, more in itertools.pairwise(shown))
    assert len(shown[-1]) == 45
    page.keyboard.press("0")
    until(page, "plane.settled && plane.drawn.length > 0")
    boxes = page.evaluate("plane.drawn.map(([, ...box]) => box)")
    for index, (left, top, width, height) in enumerate(boxes):
        for other_left, other_top, other_width, other_height in boxes[:index]:
            apart = left >= other_left + other_width or other_left >= left + width
            assert apart or top >= other_top + other_height or other_top >= top + height


def test_the_wheel_zooms_about_the_pointer_and_dragging_moves(map_page):
    page = map_page()
    x, y = where(page, 7)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    until(page, "plane.camera.zoom > 1.8")
    assert where(page, 7) == (pytest.approx(x, abs=2), pytest.approx(y, abs=2))
    page.mouse.down()
    page.mouse.move(x + 50, y - 30, steps=4)
    page.mouse.up()
    assert where(page, 7) == (pytest.approx(x + 50, abs=2), pytest.approx(y - 30, abs=2))
    assert "#map" in page.url
    page.get_by_role("button", name="Show all of the map").click()
    until(page, "Math.abs(plane.camera.zoom - 1) < 1e-6")


def test_a_lasso_takes_pictures_to_list_and_to_search_by(map_page):
    page = map_page()
    page.keyboard.press("l")
    box = page.locator("#plane").bounding_box()
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
    taken = page.evaluate("[...plane.selected].map((row) => plane.points.ids[row])")
    assert len(taken) > 30
    expect(page.locator(".taken")).to_contain_text(f"{len(taken)} pictures")
    assert page.locator(".taken li").count() == len(taken)
    page.keyboard.press("Escape")
    assert page.locator(".taken").is_hidden()
    x, y = where(page, 3)
    page.keyboard.down("Shift")
    page.mouse.move(x - 12, y - 12)
    page.mouse.down()
    for across, down in ((12, -12), (12, 12), (-12, 12)):
        page.mouse.move(x + across, y + down, steps=2)
    page.mouse.up()
    page.keyboard.up("Shift")
    few = page.evaluate("[...plane.selected].map((row) => plane.points.ids[row])")
    assert 1 <= len(few) < len(taken)
    page.get_by_role("button", name="Search by them together").click()
    until(page, f"location.hash === '#search?plus={','.join(map(str, few))}'")


def test_labels_are_hidden_and_shown(map_page):
    page = map_page()
    cat = page.locator(".labels .toggle", has_text="cat").first
    cat.click()
    assert cat.get_attribute("aria-pressed") == "false"
    assert page.evaluate("plane.points.candidates.length") == 40
    page.get_by_role("button", name="Show car only").focus()
    page.keyboard.press("Enter")
    assert (
        page.evaluate("plane.points.candidates.map((row) => plane.points.labelOf(row))")
        == ["car"] * 5
    )
    page.keyboard.press("Enter")
    assert page.evaluate("plane.points.candidates.length") == 45


def test_the_query_has_its_place_and_its_distances_their_colours(map_page, mapped):
    page = map_page("#map?plus=3")
    until(page, "plane.query")
    place = mapped.api.post("map/place", json={"positive": [{"id": 3}]}).json()
    assert page.evaluate("[plane.query.x, plane.query.y]") == [place["x"], place["y"]]
    page.get_by_role("button", name="Distance to the query").click()
    until(page, "plane.far")
    told = mapped.api.post("distances", json={"positive": [{"id": 3}]}).json()
    near = told["ids"][int(np.argmin(told["distances"]))]
    assert page.evaluate("plane.points.ids[plane.far.near[0]]") == near
    assert page.locator(".ramp").inner_text().split()[0] == f"{min(told['distances']):.2f}"
    page.get_by_role("button", name="Label", exact=True).click()
    until(page, "!plane.far")


@pytest.mark.parametrize("webgl", [True, False])
def test_dots_are_drawn_in_their_labels_colours(map_page, webgl):
    script = "const get = HTMLCanvasElement.prototype.getContext;"
    script += "HTMLCanvasElement.prototype.getContext = function (kind, ...more) {"
    script += " return kind.startsWith('webgl') ? null : get.call(this, kind, ...more); };"
    page = map_page()
    if not webgl:
        page.add_init_script(script)
        page.reload()
        page.locator("#plane").wait_for()
        page.evaluate(REACH)
        page.keyboard.press("0")
        until(page, "window.plane?.settled")
        assert page.evaluate("plane.dots.kind") == "pixels"
    elif page.evaluate("plane.dots.kind") != "webgl":
        pytest.skip("this browser has no WebGL")
    page.route("**/thumbnail?*", lambda route: route.abort())
    row = page.evaluate(
        "plane.points.label.findIndex((label) => plane.points.labels[label] === 'car')"
    )
    page.evaluate(
        """(row) => {
          plane.thumbnails.images.clear();
          plane.thumbnails.get = () => null;
          const [x, y] = plane.points.places.slice(2 * row, 2 * row + 2);
          plane.camera.go({ x, y, scale: 40 * plane.camera.whole });
        }""",
        row,
    )
    until(page, "plane.settled")
    x, y = where(page, row)
    image = Image.open(
        io.BytesIO(page.screenshot(clip={"x": x - 2, "y": y - 2, "width": 4, "height": 4}))
    )
    expected = page.evaluate(
        "import(new URL('static/collections.js', document.baseURI)).then((m) => m.colourOf('car'))"
    )
    shown = np.asarray(image.convert("RGB"))[1, 1].astype(int)
    assert np.abs(shown - [int(expected[at : at + 2], 16) for at in (1, 3, 5)]).max() < 32


def test_keys_move_the_map_and_enter_searches_by_what_is_in_the_middle(map_page):
    page = map_page()
    page.locator("#plane").focus()
    before = page.evaluate("({ x: plane.camera.x, scale: plane.camera.scale })")
    page.keyboard.press("ArrowRight")
    until(page, f"plane.camera.x > {before['x']}")
    page.keyboard.press("+")
    until(page, f"plane.camera.scale > 1.5 * {before['scale']}")
    x, y = page.evaluate("[...plane.points.places.slice(0, 2)]")
    page.evaluate(f"plane.camera.go({{ x: {x}, y: {y}, scale: plane.camera.whole * 30 }})")
    page.keyboard.press("-")
    until(page, "plane.hovered === 0")
    page.keyboard.press("Enter")
    until(page, "location.hash.startsWith('#search?plus=')")


def test_a_finger_taps_and_two_pinch(map_page):
    page = map_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.touchscreen.tap(*where(page, 11))
    card = page.locator("#card")
    expect(card).to_be_visible()
    box = card.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.keyboard.press("0")
    expect(card).to_be_hidden()
    before = page.evaluate("plane.camera.scale")
    touch = page.context.new_cdp_session(page)
    for kind, spread in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", 0)):
        points = (
            [{"x": 190 - spread, "y": 300, "id": 0}, {"x": 190 + spread, "y": 300, "id": 1}]
            if spread
            else []
        )
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    until(page, f"plane.camera.scale > 1.5 * {before}")
    page.keyboard.press("0")
    until(page, "plane.settled")
    page.touchscreen.tap(*where(page, 11))
    card.get_by_text("Search by it").tap()
    until(page, "location.hash.startsWith('#search?plus=')")
