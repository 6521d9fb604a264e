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

from live import Live, serving

MEGABYTE = 1 << 20


def resident_megabytes(live: Live) -> float:
    pages = int(Path(f"/proc/{live.process.pid}/statm").read_text().split()[1])
    return pages * 4096 / MEGABYTE


def photograph(seed: int) -> bytes:
    """Return a JPEG of 20 megapixels and about 4 MB."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (365, 548, 3), np.uint8)
    image = Image.fromarray(coarse).resize((5480, 3650), Image.Resampling.BILINEAR)
    file = BytesIO()
    # An upload that is no baseline JPEG cannot be decoded at a fraction of its size.
    kind = "PNG" if seed % 3 == 0 else "JPEG"
    image.save(file, kind, quality=85, compress_level=1)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_after_thirty_large_uploads_is_near_that_before(collection):
    with serving("-c", collection, "--max-upload", 100) as live:
        assert live.search(positive=[{"id": 0}]).status_code == 200
        before = resident_megabytes(live)

        def send(seed: int) -> int:
            files = {"image": photograph(seed)}
            return live.api.post("search", files=files, timeout=300).status_code

        with ThreadPoolExecutor(2) as threads:
            assert set(threads.map(send, range(30))) == {200}

        end = time.monotonic() + 30
        growth = resident_megabytes(live) - before
        while growth > 150 and time.monotonic() < end:
            time.sleep(0.5)
            growth = resident_megabytes(live) - before
        assert growth < 150
