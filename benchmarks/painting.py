"""Time from a dropped photograph to its results on the screen, in a browser."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterable

__all__ = ["BROWSER", "painted"]

# The headless shell is the same browser without the windows that nobody sees.
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, _BROWSERS)), None)
# An image is painted in the frame after the one in which it is complete.
_DROP = """async (data) => {
  const carried = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  carried.items.add(new File([bytes], "photograph.jpg", { type: "image/jpeg" }));
  const visible = () => [...document.querySelectorAll("#answers:not(.waiting) .tile img")]
    .filter((image) => image.getBoundingClientRect().top < innerHeight);
  const isLoaded = ({ complete, naturalWidth }) => complete && naturalWidth;
  const frame = () => new Promise(requestAnimationFrame);
  const began = performance.now();
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const settings = { dataTransfer: carried, bubbles: true, cancelable: true };
    document.body.dispatchEvent(new DragEvent(kind, settings));
  }
  const painted = async (isEnough) => {
    while (!isEnough(visible())) {
      if (performance.now() - began > 30000) throw new Error("no results in 30 seconds");
      await frame();
    }
    await frame();
    return performance.now() - began;
  };
  const first = await painted((images) => images.some(isLoaded));
  const all = await painted((images) => images.every(isLoaded));
  return [first, all];
}"""


def painted(address: str, photographs: Iterable[bytes]) -> list[tuple[float, float]]:
    """Drop each photograph on a newly opened page; return the times until results are painted.

    Each pair holds the milliseconds until the first image is painted, and until all images that
    are visible without scrolling are.

    Raises
    ------
    RuntimeError
        If Playwright or the browser is missing.
    """
    needs = (
        "This needs Playwright and Chromium: "
        "pip install playwright, apt-get install chromium-headless-shell."
    )
    if BROWSER is None:
        raise RuntimeError(needs)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise RuntimeError(needs) from error
    took = []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]
        )
        page = running.new_page(viewport={"width": 1280, "height": 800})
        for photograph in photographs:
            page.goto("about:blank")
            page.goto(address)
            page.locator("#begin-grid .tile").first.wait_for()
            page.wait_for_load_state("networkidle")
            first, all_ = page.evaluate(_DROP, base64.b64encode(photograph).decode())
            took.append((first, all_))
        running.close()
    return took
