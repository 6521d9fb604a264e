"""A cluster that is not there, and a machine without Ray."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from command import lookalike
from lookalike.cluster import RayEngine, RayExecutor
from lookalike.errors import ClusterError

_LOCAL_RUN = """
import sys
import lookalike
lookalike.index(sys.argv[1], sys.argv[2], models=["pixels"])
lookalike.Collection.open(sys.argv[2]).search([sys.argv[1] + "/group0/00.png"])
assert not {"ray", "lance_ray"} & set(sys.modules), "loaded"
"""


@pytest.mark.slow
def test_a_local_run_loads_no_ray(images, tmp_path):
    words = [sys.executable, "-c", _LOCAL_RUN, str(images), str(tmp_path / "c")]
    subprocess.run(words, check=True)


def test_without_ray_the_extra_is_named(images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = lookalike("index", images, "-c", tmp_path / "c", "--on", "ray", status=2)
    assert "pip install 'lookalike[cluster]'" in done.stderr
    assert not (tmp_path / "c").exists()


def test_without_lance_ray_the_extra_is_named_before_the_run(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setitem(sys.modules, "lance_ray", None)
    with pytest.raises(ClusterError, match=r"lance-ray \(not installed\).*\[cluster\]"):
        RayEngine()


def test_options_of_a_cluster_need_one(images, tmp_path):
    done = lookalike("index", images, "-c", tmp_path / "c", "--workers", 2, status=2)
    assert "Add --on ray" in done.stderr


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_without_a_cluster_is_an_error_at_once(scheme):
    pytest.importorskip("ray")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        executor = RayExecutor(f"{scheme}127.0.0.1:{port}")
        results = executor.run(lambda tasks, is_stopped: [], [])
        with pytest.raises(
            ClusterError, match=r"No Ray cluster answers at.*ray start --head"
        ):
            next(results)
    assert executor.stop() == []
    assert executor.report() is None
