"""A collection of the drawn sample, and a server of it for the tests that change nothing."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

import lookalike
from live import serving


@pytest.fixture(scope="session")
def collection(sample, build_once):
    """The drawn sample in two Spaces: 45 images of nine labels. Read-only."""

    def build(folder):
        folder.mkdir()
        metadata = folder / "metadata.csv"
        cat = sample / "cat" / "cat_0001.jpg"
        metadata.write_text(f"uri,rating,shot by\n{cat},4.5,Ann\n")
        models = ["efficientnet-lite0-int8", "pixels"]
        lookalike.index(sample, folder / "drawn", models=models, metadata=metadata)

    return build_once("served", build) / "drawn"


@pytest.fixture(scope="session")
def copied(sample, build_once):
    """A collection of three images, a copy of one, and a smaller version of another. Read-only."""

    def build(folder):
        images = folder / "images"
        for name in ("cat", "car", "teapot"):
            (images / name).mkdir(parents=True)
            shutil.copy2(sample / name / f"{name}_0001.jpg", images / name)
        shutil.copy2(images / "cat" / "cat_0001.jpg", images / "cat copy.jpg")
        with Image.open(images / "car" / "car_0001.jpg") as image:
            image.reduce(2).save(images / "car small.jpg")
        lookalike.index(images, folder / "c", models=["pixels"])

    return build_once("copied", build) / "c"


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
