"""A live server gives away the rows of its collection and nothing else."""

from __future__ import annotations

import io
import json
import os

import pytest
from PIL import Image

import lookalike
from live import problem, raw, serving

FORGED_IDS = [
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
]
SQL_FILTERS = [
    "1 = 1",
    "_rowid = 1",
    "sha256 is not null",
    "label = 'cat'; drop table",
    "uri in (select 1)",
    "label = 'x' or _rowid > 0",
]
TRAVERSALS = [
    "static/../app.py",
    "static/%2e%2e/app.py",
    "static//etc/passwd",
    "static/..%2fapp.py",
]


@pytest.mark.parametrize("row", FORGED_IDS)
def test_a_forged_row_id_is_refused(server, row):
    for path in ("", "/thumbnail", "/original"):
        assert server.api.get(f"rows/{row}{path}").status_code in {404, 422}
    response = server.api.post(
        "search",
        content=f'{{"positive": [{{"id": {json.dumps(row)}}}]}}',
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 422


def test_paths_addresses_and_sql_from_a_client_are_refused(server, query):
    for example in (
        {"uri": str(query)},
        {"path": str(query)},
        {"url": "http://localhost/"},
        {"id": 1, "path": "x"},
        str(query),
    ):
        assert server.search(positive=[example]).status_code == 422
    assert server.search(positive=[{"upload": str(query)}]).status_code == 422
    for where in SQL_FILTERS:
        problem(server.search(positive=[{"id": 3}], where=where), 422)
        problem(server.api.get("rows", params={"where": where}), 422)
    for name in ("../drawn", "/etc", "drawn/", "drawn\0"):
        assert server.api.get("rows", params={"collection": name}).status_code == 404
    for path in TRAVERSALS:
        request = (
            f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        assert raw(server, request.encode()).startswith(b"HTTP/1.1 404"), path


def row_id(collection) -> int:
    """Return the id of the only row of a collection."""
    ids, _ = lookalike.Collection.open(collection).table.vectors("pixels")
    return int(ids[0])


@pytest.fixture
def row_of_a_file(tmp_path):
    """A collection of one image, its file and its row id."""
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "picture.jpg"
    Image.effect_noise((400, 300), 60).convert("RGB").save(file)
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    return tmp_path / "c", file, row_id(tmp_path / "c")


@pytest.mark.slow
def test_only_the_indexed_content_is_sent(row_of_a_file, tmp_path):
    """Replacing the file by anything else gives a 404."""
    collection, file, row = row_of_a_file
    good = file.read_bytes()
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"s" * len(good))
    other = tmp_path / "other.jpg"
    other.write_bytes(
        b"\xff\xd8\xff" + b"<script>alert(1)</script>".ljust(len(good) - 3)
    )
    replacements = {
        "a secret": lambda: file.write_bytes(secret.read_bytes()),
        "a link to a secret": lambda: file.symlink_to(secret),
        "a link to another image": lambda: file.symlink_to(other),
        "a broken link": lambda: file.symlink_to(tmp_path / "none"),
        "a pipe": lambda: os.mkfifo(file),
        "a folder": file.mkdir,
        "nothing": lambda: None,
    }
    with serving("-c", collection) as live:
        whole = live.api.get(f"rows/{row}/original")
        assert (whole.status_code, whole.headers["content-type"]) == (200, "image/jpeg")
        assert whole.content == good
        assert (
            whole.headers["content-disposition"]
            == "inline; filename*=UTF-8''picture.jpg"
        )

        file.unlink()
        for name, replace in replacements.items():
            replace()
            detail = problem(live.api.get(f"rows/{row}/original"), 404)
            assert "has changed since it was indexed" in detail, name
            # The large thumbnail falls back to the stored one.
            thumbnail = live.api.get(f"rows/{row}/thumbnail", params={"size": 512})
            assert Image.open(io.BytesIO(thumbnail.content)).size == (160, 120), name
            if file.is_dir():
                file.rmdir()
            elif os.path.lexists(file):
                file.unlink()

        # A link to the same content is fine.
        file.symlink_to(tmp_path / "moved.jpg")
        (tmp_path / "moved.jpg").write_bytes(good)
        assert live.api.get(f"rows/{row}/original").content == good


def test_an_original_has_an_image_type_whatever_its_name(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "in" / "page.html.bmp")
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    with serving("-c", tmp_path / "c") as live:
        headers = live.api.get(f"rows/{row_id(tmp_path / 'c')}/original").headers
        assert headers["content-type"] == "image/bmp"
        assert headers["x-content-type-options"] == "nosniff"
