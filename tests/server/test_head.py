"""HEAD has the status and the headers of GET, and no body."""

from __future__ import annotations

import httpx
import pytest

from live import raw, serving


@pytest.mark.parametrize(
    "path",
    [
        "",
        "static/main.js",
        "static/none.js",
        "api/v1/health",
        "api/v1/openapi.json",
        "api/v1/collections",
        "api/v1/rows?limit=3",
        "api/v1/rows/3",
        "api/v1/rows/3/thumbnail",
        "api/v1/rows/3/thumbnail?size=512",
        "api/v1/rows/3/original",
        "api/v1/rows/999/original",
        "api/v1/map",
        "api/v1/jobs",
        "api/v1/nothing",
    ],
)
def test_head_has_the_headers_of_get_and_no_body(server, path):
    url = server.url.join(path)
    got = httpx.get(url)
    head = httpx.head(url)
    assert head.status_code == got.status_code
    expected = dict(got.headers)
    expected.pop("date", None)
    answered = dict(head.headers)
    answered.pop("date", None)
    assert answered == expected
    assert int(answered["content-length"]) == len(got.content)

    request = f"HEAD /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    _, _, body = raw(server, request.encode()).partition(b"\r\n\r\n")
    assert body == b""


def test_head_of_a_range_and_of_a_known_thumbnail(server):
    original = "rows/3/original"
    part = server.api.head(original, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.headers["content-length"]) == (206, "10")
    etag = server.api.head("rows/3/thumbnail").headers["etag"]
    known = server.api.head("rows/3/thumbnail", headers={"If-None-Match": etag})
    assert known.status_code == 304


def test_head_of_an_endless_response_ends(server):
    """The events of a job last as long as the job."""
    job = server.api.post("jobs", json={"kind": "map", "rebuild": True}).json()
    response = server.api.head(f"jobs/{job['id']}/events", timeout=60)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")


def test_head_needs_the_token_and_is_no_way_around_a_method(collection):
    with serving("-c", collection, "--token", "secret") as live:
        assert live.api.head("collections").status_code == 401
        with_token = {"Authorization": "Bearer secret"}
        assert live.api.head("collections", headers=with_token).status_code == 200
        search = live.api.head("search", headers=with_token)
        assert (search.status_code, search.headers["allow"]) == (405, "POST")
        metrics = httpx.get(live.url.join("metrics"), headers=with_token).text
        assert 'method="HEAD",route="/collections",status="200"' in metrics
