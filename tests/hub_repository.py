"""A local Hugging Face hub with one repository of files, and its commits."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from running_server import running

REPOSITORY = "/datasets/ann/pets"
ROOT = "hf://datasets/ann/pets"
PAGE = 2


class Hub(ThreadingHTTPServer):
    """A hub with one repository, which sends lists of files in pages of two.

    ``main`` has `files` as they are; a commit keeps those that it had when its name was asked for.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.commits = {}
        self.token = None
        self.requests = []
        self.faults = []  # statuses sent in place of the next answers
        self.elsewhere = "localhost"  # the host that sends content

    def commit(self):
        """Return the name of a commit with the present files."""
        digest = hashlib.sha1()
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + content)
        name = digest.hexdigest()
        self.commits[name] = dict(self.files)
        return name

    def files_of(self, revision):
        return self.files if revision == "main" else self.commits.get(revision, {})


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def _answer(self):
        server = self.server
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        server.requests.append((self.command, path))
        length = int(self.headers.get("Content-Length") or 0)
        form = parse_qs(self.rfile.read(length).decode())
        authorization = self.headers.get("Authorization")
        if server.faults:
            self._send(server.faults.pop(0))
        elif path.startswith("/content/"):
            assert authorization is None, "the token left the hub"
            revision, _, name = path.removeprefix("/content/").partition("/")
            self._send_content(server.files_of(revision)[name])
        elif server.token and authorization != f"Bearer {server.token}":
            self._send(401, headers={"X-Error-Code": "RepoNotFound"})
        elif path.startswith(f"/api{REPOSITORY}/tree/main"):
            folder = path.removeprefix(f"/api{REPOSITORY}/tree/main").strip("/")
            self._list(folder, parse_qs(parts.query))
        elif path == f"/api{REPOSITORY}/revision/main":
            self._send_json({"sha": server.commit()})
        elif path.startswith(f"/api{REPOSITORY}/paths-info/"):
            files = server.files_of(path.rpartition("/")[2])
            names = [name for name in form["paths"] if name in files]
            self._send_json([self._entry(name, files) for name in names])
        elif path.startswith(f"{REPOSITORY}/resolve/"):
            place = path.removeprefix(f"{REPOSITORY}/resolve/")
            revision, _, name = place.partition("/")
            if name not in server.files_of(revision):
                self._send(404, headers={"X-Error-Code": "EntryNotFound"})
                return
            # Content lies on another host, as that of large files does.
            target = f"http://{server.elsewhere}:{server.server_port}/content/{place}"
            self._send(302, headers={"Location": target.replace(" ", "%20")})
        else:
            self._send(404, headers={"X-Error-Code": "RepoNotFound"})

    do_GET = do_POST = _answer  # noqa: N815

    def _list(self, folder, query):
        prefix = f"{folder}/" if folder else ""
        names = sorted(name for name in self.server.files if name.startswith(prefix))
        if not names:
            self._send(404, headers={"X-Error-Code": "EntryNotFound"})
            return
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + PAGE < len(names):
            path = self.path.partition("?")[0]
            link = f"{path}?recursive=true&cursor={start + PAGE}"
            headers["Link"] = f'<{link}>; rel="next"'
        files = self.server.files
        entries = [self._entry(name, files) for name in names[start : start + PAGE]]
        folders = [{"type": "directory", "path": f"{prefix}sub", "oid": "0", "size": 0}]
        self._send_json(entries + folders, headers)

    def _entry(self, name, files):
        content = files[name]
        oid = hashlib.sha1(content).hexdigest()
        entry = {"type": "file", "path": name, "oid": oid, "size": len(content)}
        if name.endswith(".png"):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest()}
        return entry

    def _send_content(self, content):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None:
            self._send(200, content)
            return
        first, last = map(int, asked.groups())
        self._send(206, content[first : last + 1])

    def _send_json(self, value, headers=None):
        self._send(200, json.dumps(value).encode(), headers)

    def _send(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):  # noqa: A002  # the name in the standard library
        """Print nothing."""


@contextmanager
def hub_with_repository() -> Iterator[Hub]:
    """Run the hub."""
    server = Hub()
    with running(server):
        yield server
