"""The interface's description, and that a server asked at random by it gives no answer that it does not declare."""

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
    return {
        f"{method.upper()} {path}": operation
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_is_described(description):
    for name, operation in operations(description).items():
        assert operation["description"], name
        statuses = operation["responses"]
        assert {"401", "421", "500", "503"} <= set(statuses), name
        for status, response in statuses.items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], name
        if name.startswith(("POST", "DELETE")):
            assert "403" in statuses, name
        if name.startswith("POST"):
            assert {"400", "408", "413", "415", "422"} <= set(statuses), name
            assert operation["requestBody"]["content"], name
        for parameter in operation.get("parameters", []):
            assert "description" in parameter or parameter["in"] == "path", name


def test_every_reference_leads_somewhere(description):
    wanted = set(re.findall(r"#/components/schemas/(\w+)", str(description)))
    assert wanted <= set(description["components"]["schemas"])
    assert {"SearchBody", "SearchResponse", "ProblemBody", "JobRequest", "MapQueryBody"} <= wanted


def test_the_examples_are_answered(server, description):
    schemas = description["components"]["schemas"]
    assert server.search(**schemas["SearchBody"]["examples"][0]).status_code == 200


@pytest.mark.timeout(400)
def test_asked_at_random_it_answers_as_it_declares(collection, tmp_path):
    """Valid and invalid requests alike: no 5xx, no status, type or body that the description does not have."""
    with serving("-c", collection) as live:
        command = [
            *(
                sys.executable,
                "-m",
                "schemathesis.cli",
                "run",
                str(live.api.base_url.join("openapi.json")),
            ),
            *(
                "--url",
                str(live.url),
                "--phases",
                "examples,coverage,fuzzing",
                "--max-examples",
                "8",
                "--seed",
                "1",
            ),
            *(
                "--checks",
                "all",
                "--exclude-checks",
                "unsupported_method,positive_data_acceptance,ignored_auth",
            ),
            *("--no-color", "--request-timeout", "30", "--max-failures", "5"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert httpx.get(live.api.base_url.join("health")).status_code == 200
