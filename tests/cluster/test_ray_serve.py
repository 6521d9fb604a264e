"""The example of a Ray Serve application, on a real Ray."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import lookalike
from lookalike.retrieval.query import RowQuery

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"

# In a process of its own, which ends everything that it started.
RUN = """
import json, sys
import httpx
import ray
from ray import serve

collection, port = sys.argv[1:]
ray.init(
    num_cpus=2,
    include_dashboard=False,
    object_store_memory=80_000_000,
    log_to_driver=False,
    logging_level="ERROR",
)
serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
from ray_serve import search

serve.run(search({"collection": collection}), route_prefix="/")
(deployment,) = serve.status().applications["default"].deployments.values()

api = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1/", timeout=60)
ready = api.get("ready").status_code
without_token = api.post("search", json={"positive": [{"id": 0}]}).status_code
api.headers["Authorization"] = "Bearer token of the test"
searches = [
    api.post("search", json={"positive": [{"id": 0}], "k": 3}).json()["matches"]
    for _ in range(8)
]
refused = api.post("jobs", json={"kind": "map"}).status_code
found = {
    "replicas": {str(state): count for state, count in deployment.replica_states.items()},
    "ready": ready,
    "without token": without_token,
    "searches": searches,
    "refused": refused,
}
serve.shutdown()
ray.shutdown()
print(json.dumps(found))
"""


def test_two_replicas_answer_by_http(sample, tmp_path):
    pytest.importorskip(
        "ray.serve",
        reason="needs Ray Serve: pip install 'ray[serve]'",
        exc_type=ImportError,
    )
    collection = tmp_path / "served"
    lookalike.index(sample / "cat", collection, models=["pixels"])
    expected = lookalike.Collection.open(collection).search(RowQuery(0), k=3)
    environment = {
        **os.environ,
        "LOOKALIKE_TOKEN": "token of the test",
        "PYTHONPATH": os.pathsep.join(
            [str(EXAMPLES), os.environ.get("PYTHONPATH", "")]
        ),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(collection), str(_free_port())],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["replicas"] == {"RUNNING": 2}
    assert (found["ready"], found["without token"], found["refused"]) == (200, 401, 403)
    assert len(found["searches"]) == 8
    for matches in found["searches"]:
        assert [match["id"] for match in matches] == [match.id for match in expected]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
