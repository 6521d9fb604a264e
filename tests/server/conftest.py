"""A collection of the drawn sample, and a server of it for the tests that change nothing."""

from __future__ import annotations

import shutil

import pytest

import lookalike
from live import serving


@pytest.fixture(scope="session")
def collection(sample, tmp_path_factory):
    """The drawn sample in two Spaces: 45 images of nine labels. Read-only."""
    path = tmp_path_factory.mktemp("served") / "drawn"
    metadata = path.parent / "metadata.csv"
    cat = sample / "cat" / "cat_0001.jpg"
    metadata.write_text(f"uri,rating,shot by\n{cat},4.5,Ann\n")
    models = ["efficientnet-lite0-int8", "pixels"]
    lookalike.index(sample, path, models=models, metadata=metadata)
    return path


@pytest.fixture(scope="session")
def server(collection, sample):
    """A server of that collection, with one root. Read-only."""
    with serving("-c", collection, "--root", sample / "cat") as live:
        yield live


@pytest.fixture(scope="session")
def query(sample):
    return sample / "butterfly" / "butterfly_0002.jpg"


@pytest.fixture(scope="session")
def calibrated(collection, tmp_path_factory):
    """A server whose collection is calibrated by a job."""
    folder = tmp_path_factory.mktemp("calibrated") / "drawn"
    shutil.copytree(collection, folder)
    with serving("-c", folder) as live:
        body = {"kind": "calibrate", "spaces": ["pixels"]}
        job = live.api.post("jobs", json=body).json()["id"]
        live.api.get(f"jobs/{job}/events")
        live.calibration = live.api.get(f"jobs/{job}").json()["result"]
        yield live
