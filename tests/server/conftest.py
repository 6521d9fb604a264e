"""A collection of the drawn sample, and a server of it for every test that only asks."""

from __future__ import annotations

import pytest

import lookalike
from live import serving


@pytest.fixture(scope="session")
def collection(sample, tmp_path_factory):
    """The drawn sample in feature space and in pixel space, 45 pictures of nine labels. For reading only."""
    path = tmp_path_factory.mktemp("served") / "drawn"
    facts = path.parent / "facts.csv"
    facts.write_text(f"uri,rating\n{sample / 'cat' / 'cat_0001.jpg'},4.5\n")
    lookalike.index(sample, path, models=["efficientnet-lite0-int8", "pixels"], metadata=facts)
    return path


@pytest.fixture(scope="session")
def server(collection, sample):
    """A server of that collection; a folder of it may be indexed. For reading only."""
    with serving("-c", collection, "--root", sample / "cat") as live:
        yield live


@pytest.fixture(scope="session")
def query(sample):
    return sample / "butterfly" / "butterfly_0002.jpg"
