"""Images in repositories of a hub are found by its lists of files, and read by its addresses."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

import lookalike
from lookalike.errors import SourceError
from lookalike.sources import hub, open_source, open_uri, read_uri, uri_exists
from made import picture

REPOSITORY = "/datasets/ann/pets"
ROOT = "hf://datasets/ann/pets"
PAGE = 2


class Hub(ThreadingHTTPServer):
    """A hub with one repository, which sends lists of files in pages of two."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.token = None
        self.requests = []
        self.faults = []  # statuses sent in place of the next answers
        self.elsewhere = "localhost"  # the host that sends content


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
            self._send(200, server.files[path.removeprefix("/content/")])
        elif server.token and authorization != f"Bearer {server.token}":
            self._send(401, headers={"X-Error-Code": "RepoNotFound"})
        elif path.startswith(f"/api{REPOSITORY}/tree/main"):
            folder = path.removeprefix(f"/api{REPOSITORY}/tree/main").strip("/")
            self._list(folder, parse_qs(parts.query))
        elif path == f"/api{REPOSITORY}/paths-info/main":
            names = [name for name in form["paths"] if name in server.files]
            self._send_json([self._entry(name) for name in names])
        elif path.startswith(f"{REPOSITORY}/resolve/main/"):
            name = path.removeprefix(f"{REPOSITORY}/resolve/main/")
            if name not in server.files:
                self._send(404, headers={"X-Error-Code": "EntryNotFound"})
                return
            # Content lies on another host, as that of large files does.
            target = f"http://{server.elsewhere}:{server.server_port}/content/{name}"
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
        entries = [self._entry(name) for name in names[start : start + PAGE]]
        folders = [{"type": "directory", "path": f"{prefix}sub", "oid": "0", "size": 0}]
        self._send_json(entries + folders, headers)

    def _entry(self, name):
        content = self.server.files[name]
        oid = hashlib.sha1(content).hexdigest()
        entry = {"type": "file", "path": name, "oid": oid, "size": len(content)}
        if name.endswith(".png"):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest()}
        return entry

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


@pytest.fixture
def server(monkeypatch):
    server = Hub()
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "LOOKALIKE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(hub, "RETRY_PAUSES_S", (0.0, 0.0))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    hub._client().close()
    hub._client.cache_clear()


@pytest.fixture
def pets(server):
    """A repository of five images."""
    for number, name in enumerate(
        ["cat/1.jpg", "cat/2 é.jpg", "cat/3.png", "dog/1.jpg", "top.jpg"]
    ):
        server.files[name] = picture((30 * number, 0, 99))
    server.files["README.md"] = b"pets"
    return server


def index(path, *sources):
    return lookalike.index(sources, path, models=["pixels"])


def test_a_repository_is_indexed(pets, tmp_path):
    report = index(tmp_path / "c", ROOT)
    assert (report.added, report.failed, report.incomplete) == (5, 0, [])
    assert report.skipped.other_kinds == {"md": 1}
    source = open_source([f"{ROOT}/"])
    assert [(item.uri, item.label) for item in source] == [
        (f"{ROOT}/cat/1.jpg", "cat"),
        (f"{ROOT}/cat/2 é.jpg", "cat"),
        (f"{ROOT}/cat/3.png", "cat"),
        (f"{ROOT}/dog/1.jpg", "dog"),
        (f"{ROOT}/top.jpg", None),
    ]

    # Unchanged files are not read, and a changed one is, whether it is large or not.
    pets.requests.clear()
    assert index(tmp_path / "c", ROOT).unchanged == 5
    assert not any("/resolve/" in path for _, path in pets.requests)
    for name in ("cat/1.jpg", "cat/3.png"):
        changed = bytearray(pets.files[name])
        changed[-3] ^= 1
        pets.files[name] = bytes(changed)
    del pets.files["dog/1.jpg"]
    report = index(tmp_path / "c", ROOT)
    assert (report.updated, report.removed, report.unchanged) == (2, 1, 2)


def test_single_files_and_folders(pets):
    uri = f"{ROOT}@main/cat/2 é.jpg"
    (item,) = open_source([uri])
    assert (item.uri, item.label) == (uri, "cat")
    assert item.read() == read_uri(uri) == pets.files["cat/2 é.jpg"]
    with open_uri(uri) as file:
        assert file.read() == pets.files["cat/2 é.jpg"]
    assert uri_exists(uri)
    assert uri_exists(f"{ROOT}/cat")
    assert not uri_exists(f"{ROOT}/ca")
    assert open_source([f"{ROOT}/cat"]).count() == 3
    with pytest.raises(FileNotFoundError, match="EntryNotFound"):
        read_uri(f"{ROOT}/missing.jpg")


def test_faults_are_retried_and_lost_pages_remove_nothing(pets, tmp_path):
    pets.faults += [503, 429]
    assert index(tmp_path / "c", ROOT).added == 5
    del pets.files["cat/1.jpg"]
    source = open_source([ROOT])
    items = iter(source)
    next(items)
    pets.faults += [503] * 3
    *_, last = items
    assert last.uri == f"{ROOT}/"
    with pytest.raises(Exception, match="broke off after image 1: the hub answers 503"):
        last.read()
    assert source.completed() == {}


def test_a_private_repository_needs_a_token(pets, monkeypatch, tmp_path):
    pets.token = "secret"
    with pytest.raises(SourceError, match="HF_TOKEN"):
        open_source([ROOT])
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    assert open_source([ROOT]).count() == 5
    monkeypatch.setenv("HF_TOKEN", "other")
    with pytest.raises(SourceError, match="401"):
        open_source([ROOT])
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert read_uri(f"{ROOT}/cat/3.png") == pets.files["cat/3.png"]


@pytest.mark.parametrize("name", ["LOOKALIKE_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(pets, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(SourceError, match="forbids the network"):
        open_source([ROOT])
    assert pets.requests == []


def test_errors(pets, monkeypatch, tmp_path):
    with pytest.raises(SourceError, match="names no repository"):
        open_source(["hf://pets"])
    with pytest.raises(SourceError, match=r"404.*RepoNotFound"):
        open_source(["hf://datasets/ann/no-such-pets"])
    with pytest.raises(SourceError, match="no images under"):
        index(tmp_path / "c", f"{ROOT}/nothing")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="the hub cannot be reached"):
        open_source([ROOT])
