"""A Ray cluster of three nodes on this machine, and a folder of images to index on it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COUNT = 24


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator:
    """Three raylets with a core each; this process is connected to them."""
    ray = pytest.importorskip(
        "ray", reason="needs ray: pip install 'lookalike[cluster]'"
    )
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        token = tmp_path_factory.mktemp("ray") / "token"
        token.write_text("0123456789abcdef" * 4)
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Actors import the modules of the tests.
        folder = Path(__file__).parents[1]
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *_python_path()]))
        options = {"num_cpus": 1, "object_store_memory": 80_000_000}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = Cluster()
            without = {"include_dashboard": False, "include_log_monitor": False}
            nodes.add_node(**without, no_monitor=True, **options)
            for _ in range(2):
                nodes.add_node(wait=False, **options)
            nodes.wait_for_nodes()
            ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
        yield nodes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.shutdown()
            nodes.shutdown()


def _python_path() -> list[str]:
    named = os.environ.get("PYTHONPATH")
    return [named] if named else []


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Three folders of eight images; one is a copy of another, and one is broken."""
    root = tmp_path_factory.mktemp("images")
    for number in range(COUNT):
        folder = root / f"group{number % 3}"
        folder.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        image = Image.fromarray(noise).resize((48, 36))
        image.save(folder / f"{number:02}.png")
    copied = (root / "group0" / "00.png").read_bytes()
    (root / "group1" / "01.png").write_bytes(copied)
    (root / "group2" / "02.png").write_bytes(b"no image")
    return root
