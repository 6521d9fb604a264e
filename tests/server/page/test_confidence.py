"""The page shows where likeness ends, and says when nothing is like the query."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from browsing import drop, tiles, until


def noise():
    pixels = np.random.default_rng(0).integers(0, 2, (32, 32)) * 255
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_divider_and_headline(open_page, calibrated):
    page = open_page("#search?positive=0&space=pixels", live=calibrated)
    tiles(page)
    until(page, "document.querySelectorAll('.grid .divider').length === 1")
    assert page.locator(".grid .divider").inner_text() == "Less alike from here on"
    described = page.locator(".tile .open").evaluate_all(
        "buttons => buttons.map((button) => button.getAttribute('aria-label'))"
    )
    is_less = ["less alike" in text for text in described]
    assert is_less == sorted(is_less)
    assert True in is_less

    drop(page, [("noise.png", "image/png", noise())])
    until(page, "document.querySelector('#count').textContent.includes('Nothing here')")
    assert page.locator(".grid .divider").count() == 0
