"""The OpenAPI description is complete, and the server answers random requests as it describes."""

from __future__ import annotations

import re
import subprocess
import sys

import httpx
import pytest

from live import serving


@pytest.fixture(scope="module")
def description(server):
    return server.api.get("openapi.json").json()


def operations(description):
    named = {}
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            named[f"{method.upper()} {path}"] = operation
    return named


def test_every_operation_is_described(description):
    for name, operation in operations(description).items():
        assert operation["description"], name
        statuses = set(operation["responses"])
        assert {"401", "421", "500", "503"} <= statuses, name
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], name
        if name.startswith(("POST", "DELETE")):
            assert "403" in statuses, name
        if name.startswith("POST"):
            assert {"400", "408", "413", "415", "422"} <= statuses, name
            assert operation["requestBody"]["content"], name
        for parameter in operation.get("parameters", []):
            assert "description" in parameter or parameter["in"] == "path", name


def test_every_reference_has_a_schema(description):
    referenced = set(re.findall(r"#/components/schemas/(\w+)", str(description)))
    assert referenced <= set(description["components"]["schemas"])
    expected = {
        "SearchBody",
        "SearchResponse",
        "ProblemBody",
        "JobRequest",
        "MapQueryBody",
        "QueryForm",
        "EvaluateBody",
    }
    assert expected <= referenced


def test_the_example_of_a_search_is_answered(server, description):
    (example,) = description["components"]["schemas"]["SearchBody"]["examples"]
    assert server.search(**example).status_code == 200


@pytest.mark.timeout(400)
def test_random_requests_are_answered_as_described(collection, tmp_path):
    """Valid and invalid requests: no 5xx, and only the described statuses, types and bodies."""
    with serving("-c", collection) as live:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            str(live.api.base_url.join("openapi.json")),
            *("--url", str(live.url)),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", "8", "--seed", "1", "--checks", "all"),
            "--exclude-checks",
            "unsupported_method,positive_data_acceptance,ignored_auth",
            *("--no-color", "--request-timeout", "30", "--max-failures", "5"),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert httpx.get(live.api.base_url.join("health")).status_code == 200
