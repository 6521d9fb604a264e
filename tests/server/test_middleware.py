"""Who may ask: each attack on a live server is refused as it should be."""

from __future__ import annotations

import httpx
import pytest

from live import get, problem, raw, serving


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
def test_a_name_that_was_rebound_to_this_machine_is_refused(server, host, known):
    for path in ("", "api/v1/collections", "api/v1/health", "metrics"):
        answer = get(server, path, host=host)
        assert (answer.status_code == 200) == known
        if not known:
            assert "does not accept the host name" in problem(answer, 421)


def test_two_host_headers_are_refused(server):
    hosts = b"Host: localhost\r\nHost: evil.example\r\n"
    answer = raw(server, b"GET /api/v1/health HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 421")


def test_a_name_may_be_allowed(collection):
    with serving("-c", collection, "--allow-host", "pictures.example") as live:
        assert get(live, "api/v1/health", host="pictures.example").status_code == 200
        assert get(live, "api/v1/health", host="other.example").status_code == 421


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://localhost:1"}, False),
    ],
)
def test_pages_of_other_sites_may_change_nothing(server, headers, allowed):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"plus": [{"id": 3}]}
    for method, path, body in (
        ("POST", "search", sent),
        ("POST", "jobs", {"kind": "nothing"}),
        ("DELETE", "jobs/none", None),
    ):
        answer = server.api.request(method, path, json=body, headers=named)
        assert (answer.status_code == 403) != allowed
        if not allowed:
            assert "another site" in problem(answer, 403)


def test_its_own_page_may(server):
    own = f"http://127.0.0.1:{server.url.port}"
    answer = server.api.post("search", json={"plus": [{"id": 3}]}, headers={"Origin": own})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_origin_may_be_allowed_and_no_other(collection):
    with serving("-c", collection, "--allow-origin", "https://mine.example") as live:
        mine, other = ({"Origin": f"https://{name}.example"} for name in ("mine", "other"))
        asked = {
            **mine,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        before = live.api.options("search", headers=asked)
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == "https://mine.example"
        answer = live.api.post(
            "search", json={"plus": [{"id": 3}]}, headers={**mine, "Sec-Fetch-Site": "cross-site"}
        )
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (
            200,
            "https://mine.example",
        )
        assert live.api.post("search", json={"plus": [{"id": 3}]}, headers=other).status_code == 403
        assert "access-control-allow-origin" not in live.api.get("health", headers=other).headers


def test_every_answer_forbids_what_browsers_might_do_with_it(server):
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


def test_a_server_for_others_wants_a_token(collection):
    with serving("-c", collection, "--host", "0.0.0.0") as live:
        token = live.url.params["token"]
        assert len(token) >= 32
        for path in (
            "api/v1/collections",
            "api/v1/rows/0/thumbnail",
            "api/v1/openapi.json",
            "metrics",
        ):
            assert "token" in problem(get(live, path), 401)
            assert get(live, path, authorization="Bearer wrong").status_code == 401
            assert get(live, path, cookie="lookalike=wrong").status_code == 401
            assert get(live, path, authorization=f"Bearer {token}").status_code == 200
        assert get(live, "api/v1/health").status_code == 200
        assert httpx.get(live.url.copy_set_param("token", "wrong")).status_code == 401
        with httpx.Client() as browser:
            opened = browser.get(live.address, follow_redirects=True)
            assert (opened.status_code, opened.url.query) == (200, b"")
            cookie = opened.history[0].headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert browser.get(live.url.join("api/v1/collections")).status_code == 200


def test_a_token_of_ones_own(collection):
    with serving("-c", collection, "--token", "my own & secret") as live:
        assert get(live, "api/v1/collections").status_code == 401
        assert (
            get(live, "api/v1/collections", authorization="Bearer my own & secret").status_code
            == 200
        )
        with httpx.Client(follow_redirects=True) as browser:
            browser.get(live.url.join("/").copy_set_param("token", "my own & secret"))
            assert browser.get(live.url.join("api/v1/collections")).status_code == 200
