"""Host names, origins and tokens: a live server refuses each attack."""

from __future__ import annotations

import httpx
import pytest

from live import get, problem, raw, serving

MINE = {"Origin": "https://mine.example"}
OTHER = {"Origin": "https://other.example"}
SEARCH = {"positive": [{"id": 3}]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:8765", True),
        ("[::1]:80", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8765", False),
        ("evil.example@localhost:x", False),
        ("", False),
    ],
)
def test_a_host_name_rebound_to_this_machine_is_refused(server, host, known):
    for path in ("", "api/v1/collections", "api/v1/health", "metrics"):
        response = get(server, path, host=host)
        assert (response.status_code == 200) == known
        if not known:
            assert "does not accept the host name" in problem(response, 421)


def test_two_host_headers_are_refused(server):
    hosts = b"Host: localhost\r\nHost: evil.example\r\n"
    request = b"GET /api/v1/health HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n"
    assert raw(server, request).startswith(b"HTTP/1.1 421")


@pytest.mark.slow
def test_a_host_name_can_be_allowed(collection):
    with serving("-c", collection, "--allow-host", "pictures.example") as live:
        assert get(live, "api/v1/health", host="pictures.example").status_code == 200
        assert get(live, "api/v1/health", host="other.example").status_code == 421


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost:1"}, False),
    ],
)
def test_pages_of_other_sites_cannot_post_or_delete(server, headers, allowed):
    requests = [
        ("POST", "search", SEARCH),
        ("POST", "jobs", {"kind": "nothing"}),
        ("DELETE", "jobs/none", None),
    ]
    for method, path, body in requests:
        response = server.api.request(method, path, json=body, headers=headers)
        assert (response.status_code == 403) != allowed
        if not allowed:
            assert "another site" in problem(response, 403)


def test_the_servers_own_page_can_search(server):
    own = {"Origin": f"http://127.0.0.1:{server.url.port}"}
    response = server.api.post("search", json=SEARCH, headers=own)
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.slow
def test_an_origin_can_be_allowed_and_no_other(collection):
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    with serving("-c", collection, "--allow-origin", "https://mine.example") as live:
        answer = live.api.options("search", headers={**MINE, **preflight})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://mine.example"
        refused = live.api.options("search", headers={**OTHER, **preflight})
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers

        cross_site = {**MINE, "Sec-Fetch-Site": "cross-site"}
        found = live.api.post("search", json=SEARCH, headers=cross_site)
        assert found.status_code == 200
        assert found.headers["access-control-allow-origin"] == "https://mine.example"
        assert found.headers["cross-origin-resource-policy"] == "cross-origin"

        assert live.api.post("search", json=SEARCH, headers=OTHER).status_code == 403
        health = live.api.get("health", headers=OTHER)
        assert "access-control-allow-origin" not in health.headers
        assert health.headers["cross-origin-resource-policy"] == "same-origin"


def test_every_response_has_security_headers(server):
    for path, policy in (
        ("", "script-src 'self'"),
        ("static/none.js", "frame-ancestors 'none'"),
        ("api/v1/collections", "sandbox"),
        ("api/v1/rows/0/original", "sandbox"),
        ("api/v1/nothing", "default-src 'none'"),
    ):
        headers = get(server, path).headers
        assert policy in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


@pytest.mark.slow
def test_a_server_for_other_machines_requires_a_token(collection):
    protected = (
        "api/v1/collections",
        "api/v1/rows/0/thumbnail",
        "api/v1/openapi.json",
        "metrics",
    )
    with serving("-c", collection, "--host", "0.0.0.0") as live:
        token = live.url.params["token"]
        assert len(token) >= 32
        for path in protected:
            assert "token" in problem(get(live, path), 401)
            assert get(live, path, authorization="Bearer wrong").status_code == 401
            assert get(live, path, cookie="lookalike=wrong").status_code == 401
            assert get(live, path, authorization=f"Bearer {token}").status_code == 200
        assert get(live, "api/v1/health").status_code == 200
        assert httpx.get(live.url.copy_set_param("token", "wrong")).status_code == 401

        # Opening the printed address stores the token in a cookie.
        with httpx.Client() as browser:
            page = browser.get(live.address, follow_redirects=True)
            assert (page.status_code, page.url.query) == (200, b"")
            cookie = page.history[0].headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert browser.get(live.url.join("api/v1/collections")).status_code == 200


@pytest.mark.slow
def test_a_token_can_be_chosen(collection):
    with serving("-c", collection, "--token", "my own & secret") as live:
        path = "api/v1/collections"
        assert get(live, path).status_code == 401
        assert (
            get(live, path, authorization="Bearer my own & secret").status_code == 200
        )
        with httpx.Client(follow_redirects=True) as browser:
            browser.get(live.url.join("/").copy_set_param("token", "my own & secret"))
            assert browser.get(live.url.join(path)).status_code == 200


@pytest.mark.slow
def test_a_token_is_sent_once_and_stored_in_a_cookie(collection):
    with (
        serving("-c", collection, "--token", "secret") as live,
        httpx.Client() as browser,
    ):
        session = live.url.join("api/v1/session")
        wrong = browser.post(session, json={"token": "wrong"})
        assert problem(wrong, 401).startswith("The token is wrong.")
        assert "set-cookie" not in wrong.headers
        assert browser.get(live.url.join("api/v1/collections")).status_code == 401

        right = browser.post(session, json={"token": "secret"})
        assert right.status_code == 204
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get(live.url.join("api/v1/collections")).status_code == 200

        # A page of another site can neither sign in nor guess.
        other = browser.post(
            session,
            json={"token": "secret"},
            headers={"Origin": "https://evil.example"},
        )
        assert other.status_code == 403


def test_a_server_without_a_token_sets_no_cookie(server):
    response = server.api.post("session", json={"token": "anything"})
    assert response.status_code == 204
    assert "set-cookie" not in response.headers
