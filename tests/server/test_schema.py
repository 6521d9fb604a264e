"""The OpenAPI description is complete, and the server answers random requests as it describes."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys

import httpx
import pytest

import lookalike
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


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_random_requests_are_answered_as_described(sample, tmp_path):
    """Valid and invalid requests: no 5xx, and only the described statuses, types and bodies."""
    # Few images, because some requests start jobs for all of them.
    folders = [sample / "cat", sample / "car"]
    lookalike.index(folders, tmp_path / "small", models=["pixels"])
    with serving("-c", tmp_path / "small") as live:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            str(live.api.base_url.join("openapi.json")),
            *("--url", str(live.url)),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", "4", "--seed", "1", "--checks", "all"),
            "--exclude-checks",
            "unsupported_method,positive_data_acceptance,ignored_auth",
            *("--no-color", "--request-timeout", "30", "--max-failures", "5"),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert httpx.get(live.api.base_url.join("health")).status_code == 200


def test_operations_have_the_names_that_a_person_would_give(description):
    names = [operation["operationId"] for operation in operations(description).values()]
    assert len(set(names)) == len(names)
    assert {"search", "getRow", "listRows", "listJobs", "startJob", "signIn"} <= {
        *names
    }
    for name in names:
        assert re.fullmatch(r"[a-z]+([A-Z][a-z0-9]*)*", name), name


@pytest.mark.slow
def test_the_ways_to_send_a_token_are_described(collection, description):
    bearer, cookie = ({"bearer": []}, {"cookie": []})
    assert description["security"] == [{}, bearer, cookie]
    assert description["servers"] == [{"url": "/"}]
    with serving("-c", collection, "--token", "secret", "--root-path", "x/y") as live:
        headers = {"Authorization": "Bearer secret"}
        protected = live.api.get("openapi.json", headers=headers).json()
        port = live.url.port
    assert protected["security"] == [bearer, cookie]
    assert protected["servers"] == [{"url": "/x/y"}]
    schemes = protected["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert schemes["cookie"]["name"] == f"lookalike-{port}"
    described = operations(protected)
    for path in ("GET /api/v1/health", "GET /api/v1/ready", "POST /api/v1/session"):
        assert described[path]["security"] == []
    assert "security" not in described["POST /api/v1/search"]


def test_the_documentation_page_lists_everything_and_requests_nothing(
    server, description
):
    response = server.api.get("docs")
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = response.text
    for name, operation in operations(description).items():
        method, path = name.split()
        assert f'<section id="{operation["operationId"]}">' in page
        assert f"<strong>{method}</strong> <code>{path}</code>" in page
    for name in description["components"]["schemas"]:
        assert f'<section id="{name}">' in page
    anchors = set(re.findall(r'href="#(\w+)"', page))
    assert anchors <= set(re.findall(r'id="(\w+)"', page))
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', page)) == {"openapi.json"}
    # The policy allows exactly the style of the page.
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
