"""AVIF files whose main brand is that of the container shared with HEIC."""

from __future__ import annotations

import io

from PIL import Image

from lookalike import imaging


def test_an_avif_with_the_shared_brand_is_decoded():
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(file, "AVIF")
    data = file.getvalue()
    assert imaging.decode(data[:8] + b"mif1" + data[12:]).size == (64, 48)
