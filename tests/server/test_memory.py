"""The memory of a server after large uploads."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from live import Live, serving_process

MEGABYTE = 1 << 20
# In MB. One decoded image takes 60, so twelve that are not given back take 720.
MOST_GROWTH = 200


def resident_megabytes(live: Live) -> float:
    pages = int(Path(f"/proc/{live.process.pid}/statm").read_text().split()[1])
    return pages * 4096 / MEGABYTE


def photograph(kind: str, **settings: int) -> bytes:
    """Return an image of 20 megapixels."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (365, 548, 3), np.uint8)
    image = Image.fromarray(coarse).resize((5480, 3650), Image.Resampling.BILINEAR)
    file = BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_after_large_uploads_is_near_that_before(collection):
    jpeg = photograph("JPEG", quality=85)
    # An upload other than a baseline JPEG cannot be decoded at a fraction of its size.
    png = photograph("PNG", compress_level=1)
    with serving_process("-c", collection, "--max-upload", 100) as live:
        assert live.search(positive=[{"id": 0}]).status_code == 200
        before = resident_megabytes(live)

        def send(number: int) -> int:
            data = png if number % 3 == 0 else jpeg
            # Trailing zeros make each upload unique.
            files = {"image": data + bytes(number)}
            return live.api.post("search", files=files, timeout=300).status_code

        with ThreadPoolExecutor(2) as threads:
            assert set(threads.map(send, range(12))) == {200}

        end = time.monotonic() + 120
        growth = resident_megabytes(live) - before
        while growth > MOST_GROWTH and time.monotonic() < end:
            time.sleep(0.5)
            growth = resident_megabytes(live) - before
        assert growth < MOST_GROWTH
