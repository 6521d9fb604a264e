"""The browser that tests run, and actions in a page."""

from __future__ import annotations

import time

from painting import BROWSER

__all__ = ["BROWSER", "OPTIONS", "drop", "tiles", "until"]

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]


def until(page, truth, what=None):
    """Wait until an expression is true in the page, whose policy forbids Playwright's own wait."""
    end = time.monotonic() + 15
    while not page.evaluate(truth):
        assert time.monotonic() < end, f"timed out: {what or truth}"
        page.wait_for_timeout(25)


def tiles(page, scope="#answers"):
    """Return the ids of the images in the grid, once there are any."""
    page.locator(f"{scope} .tile").first.wait_for()
    until(page, "!document.querySelector('#answers.waiting')")
    return page.locator(f"{scope} .tile").evaluate_all(
        "tiles => tiles.map((tile) => Number(tile.dataset.id))"
    )


def drop(page, files, selector="body"):
    """Drop files, given as (name, media type, bytes), on an element."""
    given = [(name, kind, list(data)) for name, kind, data in files]
    page.evaluate(
        """([given, selector]) => {
          const transfer = new DataTransfer();
          for (const [name, type, data] of given) {
            transfer.items.add(new File([new Uint8Array(data)], name, { type }));
          }
          const target = document.querySelector(selector);
          for (const kind of ["dragenter", "dragover", "drop"]) {
            const settings = { dataTransfer: transfer, bubbles: true, cancelable: true };
            target.dispatchEvent(new DragEvent(kind, settings));
          }
        }""",
        [given, selector],
    )
