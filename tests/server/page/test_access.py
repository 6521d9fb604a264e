"""Nobody is shut out: no serious finding of axe in any view, in either theme; and colours agree with the pictures'."""

from __future__ import annotations

import json

import pytest

from browsing import tiles, until
from lookalike.drawing import palette
from lookalike.server.routes.page import PAGE

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="needs axe: pip install axe-playwright-python"
)

VIEWS = [
    "begin",
    "results",
    "compare",
    "tray",
    "detail",
    "crop",
    "keys",
    "where",
    "map",
    "health",
    "phone",
]


@pytest.fixture(scope="module")
def studied(own):
    for job in ({"kind": "map"}, {"kind": "evaluate"}):
        own.api.get(f"jobs/{own.api.post('jobs', json=job).json()['id']}/events")
    return own


def show(page, view: str) -> None:
    """Come to a view with a person's means."""
    if view == "begin":
        tiles(page, "#begin")
        return
    if view in {"map", "health"}:
        page.evaluate(f"location.hash = '#{view}?plus=3'")
        page.locator({"map": "#plane", "health": ".charts"}[view]).wait_for()
        return
    page.evaluate("location.hash = '#search?plus=3'")
    tiles(page)
    keys = {
        "compare": ["v"],
        "detail": ["ArrowDown", "i"],
        "tray": ["ArrowDown", "+", "ArrowRight", "-"],
        "crop": ["c"],
    }
    keys |= {"keys": ["?"], "where": ["/", "x", "Enter"]}
    for key in keys.get(view, []):
        page.keyboard.press(key)
    shown = {
        "compare": ".beside",
        "detail": "#detail[open] dd",
        "tray": "#tray.open",
        "crop": ".rectangle:not([hidden])",
    }
    shown |= {"keys": "#keys[open]", "where": "#where-error:not([hidden])"}
    until(page, f"document.querySelector('{shown.get(view, '.tile')}')")


def serious(page, scheme: str) -> list[tuple[str, str]]:
    """Return what axe finds; in the dark theme, which differs in its colours, of the contrasts only."""
    page.wait_for_timeout(50)
    options = {
        "resultTypes": ["violations"],
        **({"runOnly": ["color-contrast"]} if scheme == "dark" else {}),
    }
    found = axe.Axe().run(page, options=options).response["violations"]
    return [
        (one["id"], one["nodes"][0]["html"][:200])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page, studied, server, scheme):
    found = {}
    page = open_page(live=studied, color_scheme=scheme)
    for view in VIEWS:
        if view == "phone":
            page.set_viewport_size({"width": 390, "height": 844})
        page.evaluate("for (const one of document.querySelectorAll('dialog[open]')) one.close()")
        page.evaluate("location.hash = '#search'")
        until(
            page,
            "document.body.dataset.view === 'search' && !document.querySelector('#start[hidden]')",
        )
        show(page, view)
        found[view] = serious(page, scheme)
    mapless = open_page("#map", live=server, color_scheme=scheme)
    mapless.get_by_role("button", name="Make the map").wait_for()
    found["no map"] = serious(mapless, scheme)
    assert not any(found.values()), json.dumps(found, indent=1)


def test_results_are_announced(open_page):
    page = open_page("#search?plus=3")
    tiles(page)
    announcer = page.locator("#announcer")
    assert announcer.get_attribute("aria-live") == "polite"
    assert announcer.inner_text() == "44 pictures, nearest first, in EfficientNet-Lite0 in 8 bits"


def test_focus_is_seen(open_page):
    page = open_page("#search?plus=3")
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


def test_the_labels_colours_are_those_of_the_other_pictures():
    text = (PAGE / "palette.js").read_text(encoding="utf-8")
    labels = [f"label {number:02}" for number in range(25)]
    legend = palette.legend([*labels, *labels[:20], None])
    assert all(f'"{colour}"' in text for colour in legend.colors)
    listed = [f'"{colour}"' for colour in legend.colors[:20]]
    assert sorted(listed, key=text.index) == listed
