"""The token: never printed, kept in a cookie of one server, and sent over TLS only where TLS is."""

from __future__ import annotations

from http.cookies import SimpleCookie

import httpx
import pytest

from command import lookalike as run
from live import bounded, get, serving

COLLECTIONS = "api/v1/collections"
HTTPS = {"X-Forwarded-Proto": "https"}


def sign_in(live, token: str, **headers: str) -> httpx.Response:
    response = httpx.post(
        live.url.join("api/v1/session"), json={"token": token}, headers=headers
    )
    assert response.status_code == 204
    return response


def test_a_users_own_token_is_never_printed(collection):
    with serving("-c", collection, "--token", "my-secret", "--access-log") as live:
        assert live.address == f"http://127.0.0.1:{live.url.port}/"
        entered = httpx.get(live.url.copy_set_param("token", "my-secret"))
        assert entered.status_code == 303
        status, errors = live.stop()
        assert status == 0
        assert "secret" not in live.output + errors
        assert "GET /" in errors


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("pässword", "letters, digits and punctuation of ASCII"),
        ("line\nbreak", "letters, digits and punctuation of ASCII"),
        (" spaced ", "without spaces at either end"),
        ("x" * 1001, "has 1001 characters; expected 1 to 1000"),
    ],
    ids=["not ASCII", "a line break", "spaces", "too long"],
)
def test_a_token_that_cannot_be_sent_is_refused_at_the_start(
    collection, token, message
):
    done = run("serve", "-c", collection, "--port", 0, "--token", token, status=2)
    error = " ".join(done.stderr.split())
    assert message in error
    assert token not in done.stderr


@pytest.mark.slow
def test_two_servers_of_one_machine_keep_their_own_cookies(collection):
    with (
        serving("-c", collection, "--token", "first") as one,
        serving("-c", collection, "--token", "second") as other,
        httpx.Client(follow_redirects=True) as browser,
    ):
        # Browsers share cookies between the ports of a host, as this client does.
        browser.get(one.url.copy_set_param("token", "first"))
        browser.get(other.url.copy_set_param("token", "second"))
        for live in (one, other):
            assert browser.get(live.url.join(COLLECTIONS)).status_code == 200


@pytest.mark.slow
def test_the_cookie_is_sent_over_tls_only_if_the_browser_uses_tls(collection):
    with bounded(collection, token="own") as live:
        plain = sign_in(live, "own").headers["set-cookie"]
        secure = sign_in(live, "own", **HTTPS).headers["set-cookie"]
        assert "secure" not in plain.lower()
        assert "secure" in secure.lower()
        (cookie,) = SimpleCookie(secure).values()
        assert cookie.key == f"lookalike-{live.url.port}"
        sent = f"{cookie.key}={cookie.value}"
        assert get(live, COLLECTIONS, cookie=sent).status_code == 200


def test_an_invalid_proxy_is_refused_at_the_start(collection):
    arguments = ("serve", "-c", collection, "--port", 0, "--trusted-proxy", "my.host")
    error = " ".join(run(*arguments, status=2).stderr.split())
    assert "The proxy 'my.host' is not an IP address" in error
