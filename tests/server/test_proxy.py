"""Behind a proxy with a path prefix, everything works and no address leaves the prefix."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from live import serving

PREFIX = "/my/pictures"
NOT_FORWARDED = {"content-length", "transfer-encoding", "connection", "date"}


class _Proxy(BaseHTTPRequestHandler):
    """Removes the prefix and keeps the Host header, as the nginx of docs/serving.md does."""

    target: httpx.URL

    def _forward(self) -> None:
        if not self.path.startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.target.join(self.path.removeprefix(PREFIX))
        response = httpx.request(
            self.command, target, content=body, headers=dict(self.headers)
        )
        self.send_response(response.status_code)
        for name, value in response.headers.multi_items():
            if name not in NOT_FORWARDED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.content)))
        self.end_headers()
        self.wfile.write(response.content)

    do_GET = do_POST = do_DELETE = _forward  # noqa: N815  # the names in the standard library

    def log_message(self, *_) -> None:
        """Print nothing."""


@contextmanager
def proxy(target: httpx.URL) -> Iterator[str]:
    """Run a proxy in front of a server, and return the address with the prefix."""
    handler = type("Handler", (_Proxy,), {"target": target})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}/"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_page_api_and_redirects_work_under_a_prefix(collection, query):
    with (
        serving(
            "-c", collection, "--root-path", "my/pictures/", "--token", "secret"
        ) as live,
        proxy(live.url.copy_with(query=None)) as address,
        httpx.Client(base_url=address, timeout=60) as browser,
    ):
        assert browser.get("api/v1/collections").status_code == 401

        # The token's address redirects to the page, within the prefix.
        page = browser.get("", params={"token": "secret"}, follow_redirects=True)
        assert (page.status_code, str(page.url)) == (200, address)
        assert f"path={PREFIX}/" in page.history[0].headers["set-cookie"].lower()
        assert (
            browser.get("api/v1/collections").json()["collections"][0]["images"] == 45
        )
        assert browser.get("static/index.html").status_code == 200

        # The page's own origin may search.
        files = {"image": query.read_bytes()}
        origin = {"Origin": address[: -len(PREFIX) - 1]}
        found = browser.post("api/v1/search", files=files, headers=origin)
        assert found.json()["matches"][0]["uri"] == str(query)

        # Locations and the description include the prefix.
        job = browser.post("api/v1/jobs", json={"kind": "map", "method": "pca"})
        location = job.headers["location"]
        assert location == f"{PREFIX}/api/v1/jobs/{job.json()['id']}"
        assert browser.get(httpx.URL(address).join(location)).json()["kind"] == "map"
        assert browser.get("api/v1/openapi.json").json()["servers"] == [{"url": PREFIX}]
