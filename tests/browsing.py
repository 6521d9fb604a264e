"""The browser that tests run, and actions in a page."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

from painting import BROWSER

__all__ = [
    "BROWSER",
    "OPTIONS",
    "PATIENCE_S",
    "HeldRequests",
    "Pages",
    "drop",
    "tiles",
    "until",
]

# Far above what any wait takes, so that a loaded machine fails no test.
PATIENCE_S = 120

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    # Fewer processes, that is less work to pass between them.
    "--in-process-gpu",
    "--disable-extensions",
    "--disable-features=site-per-process,Translate,OptimizationHints,MediaRouter",
    "--renderer-process-limit=1",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]

# The browser logs every response that is not a success; drivers log how fast they read pixels.
_BROWSER_LOG = re.compile(r"Failed to load resource|GPU stall due to ReadPixels")


@dataclass
class Pages:
    """Pages that tests open, and what these log and request.

    A new context costs more than the load of a page. The tests of a module have one in common;
    only those with settings of their own, and those that open a second page, get another.

    Attributes
    ----------
    browser
        Playwright's browser.
    usual
        The settings of the common context.
    complaints
        What the pages of this test logged as errors or warnings.
    requests
        The addresses that each page of this test may request, and the one that it did request.
    """

    browser: Any
    usual: dict[str, object]
    complaints: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    _common: Any = None
    _in_use: list[Any] = field(default_factory=list)
    _listeners: list[tuple[Any, str, Any]] = field(default_factory=list)

    def open(self, address, allowed, *, blank=None, alone=False, script="", **settings):
        """Open an address in a page whose requests have the prefix `allowed`.

        With `alone`, settings of a context or a script that runs first, the page is in a context
        of its own. `blank` is a small address on the same site, if the page stores anything.
        """
        is_own = alone or bool(settings) or bool(script) or self._common in self._in_use
        page = self._new(settings) if is_own else self._reset(blank)
        self._in_use.append(page)
        if script:
            page.add_init_script(script)
        self._listen(page, allowed)
        page.goto(address)
        return page

    def finish(self):
        """Close the pages of a test; return what they logged, and what they requested outside."""
        for page, event, listener in self._listeners:
            page.remove_listener(event, listener)
        for page in self._in_use:
            if page is self._common and not page.is_closed():
                page.unroute_all(behavior="ignoreErrors")
            else:
                page.context.close()
        outside = [
            url for allowed, url in self.requests if not _is_within(url, allowed)
        ]
        complaints = list(self.complaints)
        for list_ in (self._listeners, self._in_use, self.complaints, self.requests):
            list_.clear()
        return complaints, outside

    def _new(self, settings):
        context = self.browser.new_context(**{**self.usual, **settings})
        context.set_default_timeout(1000 * PATIENCE_S)
        return context.new_page()

    def _reset(self, blank):
        """Return the common page, without anything that an earlier test left there."""
        if self._common is None or self._common.is_closed():
            self._common = self._new({})
        elif blank is not None:
            # The page before ends here, and its requests with it.
            self._common.goto(blank)
            self._common.evaluate("localStorage.clear(); sessionStorage.clear()")
            self._common.context.clear_cookies()
            self._common.mouse.move(0, 0)
        return self._common

    def _listen(self, page, allowed):
        def log(message):
            if not _BROWSER_LOG.search(message.text):
                self.complaints.append(message.text)

        self._on(page, "console", log)
        self._on(page, "pageerror", lambda error: self.complaints.append(str(error)))
        self._on(
            page,
            "request",
            lambda request: self.requests.append((allowed, request.url)),
        )

    def _on(self, page, event, listener):
        page.on(event, listener)
        self._listeners.append((page, event, listener))


class HeldRequests:
    """Requests of a page that are answered only when a test says so."""

    def __init__(self, page, pattern, method="GET") -> None:
        self._page = page
        self._method = method
        self._routes = []
        page.route(pattern, self._hold)

    def _hold(self, route) -> None:
        if route.request.method == self._method:
            self._routes.append(route)
        else:
            route.fallback()

    def first(self, count: int) -> list:
        """Return the first requests, once there are as many."""
        end = time.monotonic() + PATIENCE_S
        while len(self._routes) < count:
            assert time.monotonic() < end, "the page did not send the request"
            self._page.wait_for_timeout(25)
        return self._routes[:count]


def _is_within(url, allowed):
    return url.startswith((allowed, "blob:", "data:"))


def until(page, truth, what=None):
    """Wait until an expression is true in the page, whose policy forbids Playwright's own wait."""
    script = f"""async () => {{
      const end = performance.now() + 1000;
      while (!({truth})) {{
        if (performance.now() > end) return false;
        await new Promise((done) => setTimeout(done, 10));
      }}
      return true;
    }}"""
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(script):
        assert time.monotonic() < end, f"timed out: {what or truth}"


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
