"""Optimized collections are measured on few rows."""

from __future__ import annotations

import pytest

from lookalike.store import tuning


@pytest.fixture(autouse=True, scope="module")
def _few_sample_rows():
    """Measure the recall on few rows: most of the time of these tests is that measurement."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "SAMPLE_ROWS", 16)
        yield
