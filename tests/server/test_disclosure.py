"""What a live server gives away: rows of its table, and nothing else."""

from __future__ import annotations

import io
import json
import os

import pytest
from PIL import Image

import lookalike
from live import problem, raw, serving
from lookalike.store.table import Table

JSON = {"content-type": "application/json"}
WILD_IDS = (
    "99999",
    str(2**63 - 1),
    str(2**63),
    "9" * 400,
    "-1",
    "1.5",
    "abc",
    "..%2f..%2fetc%2fpasswd",
    "0%00",
    "%27",
)
CLAUSES = (
    "1 = 1",
    "_rowid = 1",
    "sha256 is not null",
    "label = 'cat'; drop table",
    "uri in (select 1)",
    "label = 'x' or _rowid > 0",
)


@pytest.mark.parametrize(
    "row",
    [
        "99999",
        str(2**63 - 1),
        str(2**63),
        "9" * 400,
        "-1",
        "1.5",
        "abc",
        "..%2f..%2fetc%2fpasswd",
        "0%00",
        "%27",
    ],
)
def test_forged_ids_lead_nowhere(server, row):
    for path in ("", "/thumbnail", "/original"):
        assert server.api.get(f"rows/{row}{path}").status_code in {404, 422}
    answer = server.api.post(
        "search",
        content=f'{{"plus": [{{"id": {json.dumps(row)}}}]}}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 422


def test_nothing_that_a_client_names_is_opened(server, query):
    """Neither a path, nor an address, nor a clause of the store's language."""
    for example in (
        {"uri": str(query)},
        {"path": str(query)},
        {"url": "http://localhost/"},
        {"id": 1, "path": "x"},
        str(query),
    ):
        assert server.search(plus=[example]).status_code == 422
    assert server.search(plus=[{"upload": str(query)}]).status_code == 422
    for where in (
        "1 = 1",
        "_rowid = 1",
        "sha256 is not null",
        "label = 'cat'; drop table",
        "uri in (select 1)",
        "label = 'x' or _rowid > 0",
    ):
        problem(server.search(plus=[{"id": 3}], where=where), 422)
        problem(server.api.get("rows", params={"where": where}), 422)
    for name in ("../drawn", "/etc", "drawn/", "drawn\0"):
        assert server.api.get("rows", params={"collection": name}).status_code == 404
    for path in (
        "static/../app.py",
        "static/%2e%2e/app.py",
        "static//etc/passwd",
        "static/..%2fapp.py",
    ):
        answer = raw(
            server, f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.startswith(b"HTTP/1.1 404"), path


@pytest.fixture
def row_of_a_file(tmp_path):
    """A collection of one picture, its file and its row's id."""
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "picture.jpg"
    Image.effect_noise((400, 300), 60).convert("RGB").save(file)
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    return (
        tmp_path / "c",
        file,
        int(Table.open(tmp_path / "c").vectors("pixels")[0][0]),
    )


def test_only_what_was_indexed_is_ever_sent(row_of_a_file, tmp_path):
    """The file is exchanged for a secret, a link to one, a pipe, a folder, what begins like a picture: 404 each."""
    collection, file, row = row_of_a_file
    good = file.read_bytes()
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"s" * len(good))
    other = tmp_path / "other.jpg"
    other.write_bytes(b"\xff\xd8\xff" + b"<script>alert(1)</script>".ljust(len(good) - 3))
    exchanges = {
        "a secret": lambda: file.write_bytes(secret.read_bytes()),
        "a link to a secret": lambda: file.symlink_to(secret),
        "a link to another picture": lambda: file.symlink_to(other),
        "a link to nothing": lambda: file.symlink_to(tmp_path / "none"),
        "a pipe": lambda: os.mkfifo(file),
        "a folder": file.mkdir,
        "nothing": lambda: None,
    }
    with serving("-c", collection) as live:
        whole = live.api.get(f"rows/{row}/original")
        assert (whole.status_code, whole.headers["content-type"], whole.content) == (
            200,
            "image/jpeg",
            good,
        )
        assert whole.headers["content-disposition"] == "inline; filename*=UTF-8''picture.jpg"
        file.unlink()
        for name, exchange in exchanges.items():
            exchange()
            answer = live.api.get(f"rows/{row}/original")
            assert "not what was indexed" in problem(answer, 404), name
            small = live.api.get(f"rows/{row}/thumbnail", params={"size": 512})
            assert Image.open(io.BytesIO(small.content)).size == (160, 120), name
            if file.is_dir():
                file.rmdir()
            elif os.path.lexists(file):
                file.unlink()
        file.symlink_to(tmp_path / "moved.jpg")
        (tmp_path / "moved.jpg").write_bytes(good)
        assert live.api.get(f"rows/{row}/original").content == good, (
            "the same picture behind a link is what was indexed"
        )


def test_a_picture_in_a_text_is_not_sent(tmp_path):
    """A file that a decoder takes for a picture is sent only under a picture's type."""
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "in" / "page.html.bmp")
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    row = int(Table.open(tmp_path / "c").vectors("pixels")[0][0])
    with serving("-c", tmp_path / "c") as live:
        answer = live.api.get(f"rows/{row}/original")
        assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == (
            "image/bmp",
            "nosniff",
        )
