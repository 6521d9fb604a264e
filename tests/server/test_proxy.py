"""Behind a proxy that puts the server under a path: everything works there, and no address leads outside of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from live import serving

PREFIX = "/my/pictures"


class _Proxy(BaseHTTPRequestHandler):
    """Takes the prefix off, keeps the Host header, and passes all else on, as the documented nginx does."""

    target: httpx.URL

    def _pass_on(self) -> None:
        if not self.path.startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.target.join(self.path.removeprefix(PREFIX))
        answer = httpx.request(self.command, target, content=body, headers=dict(self.headers))
        self.send_response(answer.status_code)
        for name, value in answer.headers.multi_items():
            if name not in {"content-length", "transfer-encoding", "connection", "date"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815  # the names in the standard library

    def log_message(self, *_) -> None:
        """Say nothing."""


@contextmanager
def proxy(target: httpx.URL) -> Iterator[str]:
    """Run a proxy before a server, and give the address under which it puts it."""
    handler = type("Handler", (_Proxy,), {"target": target})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}/"
        server.shutdown()
        thread.join()


def test_under_a_prefix(collection, query):
    with (
        serving("-c", collection, "--root-path", "my/pictures/", "--token", "secret") as live,
        proxy(live.url.copy_with(query=None)) as address,
        httpx.Client(base_url=address, timeout=60) as browser,
    ):
        assert browser.get("api/v1/collections").status_code == 401
        opened = browser.get("", params={"token": "secret"}, follow_redirects=True)
        assert (opened.status_code, str(opened.url)) == (200, address)
        assert f"path={PREFIX}/" in opened.history[0].headers["set-cookie"].lower()
        assert browser.get("api/v1/collections").json()["collections"][0]["images"] == 45
        found = browser.post(
            "api/v1/search",
            files={"image": query.read_bytes()},
            headers={"Origin": address[: -len(PREFIX) - 1]},
        )
        assert found.json()["matches"][0]["uri"] == str(query)
        assert browser.get("static/index.html").status_code == 200
        job = browser.post("api/v1/jobs", json={"kind": "map", "method": "pca"})
        assert job.headers["location"] == f"{PREFIX}/api/v1/jobs/{job.json()['id']}"
        assert browser.get(httpx.URL(address).join(job.headers["location"])).json()["kind"] == "map"
        assert browser.get("api/v1/openapi.json").json()["servers"] == [{"url": PREFIX}]
