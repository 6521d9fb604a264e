"""Every error is a problem document that names the fields of the request."""

from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack

import httpx
import pytest

from live import problem, raw, serving

MINE = "https://mine.example"


@pytest.mark.parametrize(
    ("body", "where", "reason"),
    [
        ({"positive": [{"row": 0}]}, "positive[0]", "expected one of id, upload, image"),
        ({"positive": [{}]}, "positive[0]", "expected one of id, upload, image"),
        ({"positive": [{"id": 0}, {"id": -1}]}, "positive[1].id", "greater than or equal"),
        ({"positive": [{"id": 0, "uri": "x"}]}, "positive[0].uri", "no such field"),
        ({"negative": ["x"]}, "negative[0]", "expected an object"),
        ({"positive": [{"upload": "x"}]}, "positive[0].upload", "should match"),
        ({"positive": {"id": 0}}, "positive", "expected an array"),
        ({"k": "ten"}, "k", "expected an integer"),
        ({"not_self": True}, "not_self", "no such field"),
        ([], "", "expected an object"),
    ],
    ids=str,
)  # fmt: skip
def test_errors_of_a_query_name_its_fields(server, body, where, reason):
    response = server.api.post("search", json=body)
    detail = problem(response, 422)
    (error,) = response.json()["errors"]
    assert error["where"] == where
    assert reason in error["reason"]
    assert detail.startswith(where)
    assert not re.search(r"Example|Body|dictionary|instance", json.dumps(error))


@pytest.mark.parametrize(
    ("body", "where", "reason"),
    [
        ({"kind": "index"}, "root", "a value is required"),
        ({"kind": "index", "root": "x"}, "root", "expected an integer"),
        ({"kind": "map", "root": 0}, "root", "no such field"),
        ({"kind": "dance"}, "kind", "expected one of "),
        ({}, "kind", "a value is required"),
    ],
    ids=str,
)
def test_errors_of_a_job_name_its_fields(server, body, where, reason):
    response = server.api.post("jobs", json=body)
    problem(response, 422)
    (error,) = response.json()["errors"]
    assert error["where"] == where
    assert reason in error["reason"]


def test_errors_of_parameters_name_them(server):
    response = server.api.get("rows", params={"limit": "many", "after": -1})
    problem(response, 422)
    assert response.json()["errors"] == [
        {"where": "after", "reason": "input should be greater than or equal to 0"},
        {"where": "limit", "reason": "expected an integer"},
    ]


@pytest.mark.parametrize(
    "path", ["nothing", "static", "static/none.js", "api/v1/nothing", "api/v2/search"]
)
def test_an_unknown_path_is_named(server, path):
    detail = problem(httpx.get(server.url.join(path)), 404)
    assert f"nothing at '/{path}'" in detail
    assert " /api/v1/openapi.json lists" in detail


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "api/v1/jobs", "GET, HEAD, POST"),
        ("PATCH", "api/v1/jobs/3", "DELETE, GET, HEAD"),
        ("GET", "api/v1/search", "POST"),
        ("POST", "static/main.js", "GET, HEAD"),
        ("POST", "", "GET, HEAD"),
        ("DELETE", "metrics", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(
    server, method, path, allowed
):
    response = httpx.request(method, server.url.join(path))
    detail = problem(response, 405)
    assert response.headers["allow"] == allowed
    assert f"Use one of: {allowed}" in detail


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
    ],
    ids=["no HTTP", "large headers"],
)
def test_malformed_http_is_answered_with_a_problem(server, request_):
    response = raw(server, request_)
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["title"] == "Bad request"


def test_a_refused_preflight_request_is_answered_with_a_problem(collection):
    preflight = {
        "Origin": "https://other.example",
        "Access-Control-Request-Method": "POST",
    }
    with serving("-c", collection, "--allow-origin", MINE) as live:
        detail = problem(live.api.options("search", headers=preflight), 400)
    assert "--allow-origin" in detail


def test_a_request_beyond_the_limit_of_connections_is_answered_with_a_problem(
    collection,
):
    with serving("-c", collection) as live, ExitStack() as connections:
        for _ in range(512):
            connection = socket.create_connection(live.socket_address, 20)
            connections.enter_context(connection)
        response = live.api.get("health")
        assert "too many connections" in problem(response, 503)
        assert response.headers["retry-after"] == "1"
        assert response.headers["connection"] == "close"
