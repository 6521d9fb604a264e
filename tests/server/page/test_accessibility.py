"""Every view is accessible in both themes, and labels have the colors of the figures."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from playwright.sync_api import expect

from browsing import tiles, until
from live import serving
from lookalike.drawing.palette import legend

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright",
    reason="needs axe: pip install axe-playwright-python",
)

VIEWS = [
    "start",
    "results",
    "words",
    "compare",
    "examples",
    "detail",
    "explanation",
    "crop",
    "keys",
    "where",
    "completion",
    "map",
    "health",
    "duplicates",
    "review",
    "phone",
]


def show(page, view: str) -> None:
    """Open a view with keys and links."""
    if view == "start":
        tiles(page, "#begin")
        return
    parts = {"map": "#map-canvas", "health": ".charts"}
    parts |= {
        "duplicates": "#duplicates-view .find button",
        "review": "#review-view .find button",
    }
    if view in parts:
        page.evaluate(f"location.hash = '#{view}?positive=3'")
        page.locator(parts[view]).wait_for()
        return
    query = "text:teapot,3" if view == "words" else "3"
    page.evaluate(f"location.hash = '#search?positive={query}'")
    tiles(page)
    keys = {
        "compare": ["v"],
        "detail": ["ArrowDown", "i"],
        "explanation": ["ArrowDown", "i", "w"],
        "examples": ["ArrowDown", "+", "ArrowRight", "-"],
        "crop": ["c"],
    }
    keys |= {"keys": ["?"], "where": ["/", "x", ">", "1", "Enter"]}
    keys |= {"completion": ["/", "c", "ArrowDown"]}
    for key in keys.get(view, []):
        page.keyboard.press(key)
    shown = {
        "compare": ".beside",
        "detail": "#detail[open] dd",
        "explanation": "#detail .legend",
        "examples": "#examples-bar.open",
        "crop": ".rectangle:not([hidden])",
    }
    shown |= {"keys": "#keys[open]", "where": "#where-error:not([hidden])"}
    shown |= {"completion": "#where-list [aria-selected=true]"}
    until(page, f"document.querySelector('{shown.get(view, '.tile')}')")


_SERIOUS = """async (options) => {
  const { violations } = await axe.run(options);
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => [id, nodes[0].html.slice(0, 200)]);
}"""


def serious(page) -> list[tuple[str, str]]:
    """Return the serious findings of axe; in the dark theme, those about contrast only."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe.Axe().axe_script)
    page.wait_for_timeout(50)
    options = {"resultTypes": ["violations"]}
    found = page.evaluate(_SERIOUS, options)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(50)
    found += page.evaluate(_SERIOUS, {**options, "runOnly": ["color-contrast"]})
    page.emulate_media(color_scheme="light")
    return found


def test_axe_finds_nothing_serious(open_page, studied, server):
    found = {}
    page = open_page(live=studied)
    for view in VIEWS:
        if view == "phone":
            page.set_viewport_size({"width": 390, "height": 844})
        page.evaluate(
            "for (const one of document.querySelectorAll('dialog[open]')) one.close()"
        )
        # A field keeps the focus, and with it the keys, until a frame without it is drawn.
        page.evaluate("document.activeElement.blur()")
        page.evaluate("location.hash = '#search'")
        until(
            page,
            "document.body.dataset.view === 'search' && !document.querySelector('#start[hidden]')",
        )
        show(page, view)
        found[view] = serious(page)
    mapless = open_page("#map", live=server)
    mapless.get_by_role("button", name="Make the map").wait_for()
    found["no map"] = serious(mapless)
    assert not any(found.values()), json.dumps(found, indent=1)


def test_axe_finds_nothing_serious_before_the_first_search(
    open_page, sample, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    options = ("--root", sample / "cat", "--root", sample / "car", "--token", "secret")
    with serving(*options) as live:
        live.address = str(live.url.copy_with(query=None))
        page = open_page(live=live)
        field = page.get_by_label("Token", exact=True)
        field.fill("guess")
        field.press("Enter")
        expect(page.locator("#token-problem")).to_have_text("This token is wrong.")
        found = {"sign in": serious(page)}
        field.fill("secret")
        field.press("Enter")
        make = page.get_by_role("button", name="Make the collection")
        make.wait_for()
        found["begin"] = serious(page)
        make.click()
        expect(page.locator("#jobs")).to_contain_text("added")
        found["jobs"] = serious(page)
        page.evaluate("location.hash = '#health'")
        page.get_by_role("button", name="Add this folder to").click()
        page.get_by_role("dialog").wait_for()
        found["question"] = serious(page)
        page.context.close()
    assert not any(found.values()), json.dumps(found, indent=1)


def test_axe_notices_weak_contrast_in_either_theme(page):
    tiles(page, "#begin")
    page.evaluate(
        "document.querySelector('#to-map').style.color = 'light-dark(#bbb, #444)'"
    )
    assert [rule for rule, _ in serious(page)] == ["color-contrast"] * 2


def test_results_are_announced(open_page):
    page = open_page("#search?positive=3")
    tiles(page)
    announcer = page.locator("#announcer")
    expect(announcer).to_have_attribute("aria-live", "polite")
    expect(announcer).to_have_text("44 images, nearest first · What is in it")


def test_focus_is_visible(open_page):
    page = open_page("#search?positive=3")
    tiles(page)
    for _ in range(12):
        page.keyboard.press("Tab")
        ring = page.evaluate(
            """(() => {
              const focus = document.activeElement, style = getComputedStyle(focus);
              const after = getComputedStyle(focus.closest(".tile") ?? focus, "::after");
              return style.outlineStyle !== "none" || after.boxShadow !== "none";
            })()"""
        )
        assert ring, page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


def test_labels_have_the_colors_of_the_figures(page):
    # The page shows its tiles after the palette has been loaded.
    tiles(page, "#begin")
    names = [f"label {number:02}" for number in range(25)]
    rows = [*names, *names[:20], None]
    labels = [{"label": name, "count": count} for name, count in Counter(rows).items()]
    colors = page.evaluate(
        """async (labels) => {
          const palette = await import(new URL("palette.js", document.scripts[1].src));
          const colorOf = palette.colorsOfLabels(labels);
          return labels.map(({ label }) => colorOf(label));
        }""",
        labels,
    )
    key = legend(rows)
    in_figures = dict(
        zip(rows, (key.colors[index] for index in key.indices), strict=True)
    )
    assert colors == [in_figures[label["label"]] for label in labels]
