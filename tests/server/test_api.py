"""The REST API gives the same answers as the library."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil

import httpx
import numpy as np
import pytest
from PIL import Image

import lookalike
from live import serving
from lookalike.models import registry
from lookalike.retrieval.query import RowQuery, WeightedQuery
from lookalike.server import row_cache
from lookalike.server.routes.page import PAGE, digest_of_page
from lookalike.server.row_cache import RowCache
from lookalike.store.table import Table


def send(live, *files, **question):
    """Search by files, with an optional query that refers to them."""
    parts = [("image", (path.name, path.read_bytes())) for path in files]
    data = {"query": json.dumps(question)} if question else {}
    return live.api.post("search", files=parts, data=data)


def same(answer: httpx.Response, matches: lookalike.Matches) -> bool:
    """Return whether an answer has the ids of the library's matches; check the distances."""
    assert answer.status_code == 200, answer.text
    answered = answer.json()["matches"]
    distances = [match["distance"] for match in answered]
    np.testing.assert_allclose(distances, matches.distances, atol=1e-6)
    return [match["id"] for match in answered] == matches.ids.tolist()


def test_health_and_models(server):
    assert server.api.get("health").json() == {
        "status": "ok",
        "version": lookalike.__version__,
    }
    models = server.api.get("models").json()
    assert models["default"] == registry.DEFAULT
    assert {"name": "pixels", "size": [32, 32]}.items() <= next(
        m for m in models["models"] if m["name"] == "pixels"
    ).items()


def test_collections_are_described(server):
    (described,) = server.api.get("collections").json()["collections"]
    assert (
        described["name"],
        described["images"],
        described["failures"],
        described["originals"],
    ) == ("drawn", 45, 0, True)
    assert [
        (space["name"], space["dim"], space["vectors"]) for space in described["spaces"]
    ] == [("efficientnet-lite0-int8", 1280, 45), ("pixels", 3072, 45)]
    columns = {column["name"]: column for column in described["columns"]}
    assert columns["rating"] == {"name": "rating", "type": "float64", "values": []}
    assert columns["width"] == {"name": "width", "type": "int64", "values": []}
    assert columns["shot by"] == {
        "name": "shot by",
        "type": "string",
        "values": ["Ann"],
    }
    assert columns["uri"]["values"] == []
    assert len(described["labels"]) == 9
    assert {"label": "butterfly", "count": 5} in described["labels"]


def test_a_search_by_rows_equals_the_librarys(server, collection):
    answer = server.search(positive=[{"id": 3}], k=7)
    assert same(answer, lookalike.search(collection, RowQuery(3), k=7))
    results = answer.json()
    assert (results["collection"], results["space"], results["exact"], results["recall"]) == (
        "drawn", "efficientnet-lite0-int8", True, None,
    )  # fmt: skip
    assert [match["rank"] for match in results["matches"]] == [1, 2, 3, 4, 5, 6, 7]
    positive, negative = (
        [{"id": 3, "weight": 2}, {"id": 17}],
        [{"id": 30, "weight": 0.5}, {"id": 31}],
    )
    answer = server.search(
        positive=positive,
        negative=negative,
        space="pixels",
        where="label != 'cat'",
        exclude_self=True,
        k=9,
    )
    expected = lookalike.search(
        collection,
        [WeightedQuery(RowQuery(3), 2), RowQuery(17)],
        negative=[WeightedQuery(RowQuery(30), 0.5), RowQuery(31)],
        space="pixels",
        where="label != 'cat'",
        exclude_self=True,
        k=9,
    )
    assert same(answer, expected)


def test_a_search_by_images_equals_the_librarys(server, collection, query, sample):
    assert same(send(server, query), lookalike.search(collection, query))
    others = [query, sample / "cat" / "cat_0001.jpg", sample / "car" / "car_0001.jpg"]
    assert same(send(server, *others), lookalike.search(collection, others))
    question = {
        "positive": [{"image": 2, "weight": 3}, {"id": 5}],
        "negative": [{"image": 1}],
        "exclude_self": True,
        "k": 45,
    }
    expected = lookalike.search(
        collection,
        [WeightedQuery(others[2], 3), RowQuery(5)],
        negative=others[1],
        exclude_self=True,
        k=45,
    )
    assert same(send(server, *others, **question), expected)
    assert same(
        send(server, query, positive=[{"image": 0}], space="pixels"),
        lookalike.search(collection, query, space="pixels"),
    )


def test_an_upload_can_be_searched_by_later(server, collection, query):
    created = server.api.post("uploads", files={"image": query.read_bytes()})
    assert created.status_code == 201
    sha256 = hashlib.sha256(query.read_bytes()).hexdigest()
    with Image.open(query) as image:
        assert created.json() == {
            "upload": sha256,
            "width": image.width,
            "height": image.height,
        }
    for space in ("efficientnet-lite0-int8", "pixels"):
        answer = server.search(positive=[{"upload": sha256}], space=space)
        assert same(answer, lookalike.search(collection, query, space=space))
    preview = server.api.get(f"uploads/{sha256}/image", params={"size": 128})
    assert preview.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(preview.content)).size) <= 128
    assert server.api.get(f"uploads/{'0' * 64}/image").status_code == 404
    assert server.search(positive=[{"upload": "0" * 64}]).status_code == 404


def test_distances_to_all_rows(server, collection):
    results = server.api.post("distances", json={"positive": [{"id": 3}]}).json()
    matches = lookalike.search(collection, RowQuery(3), k=45)
    distances = dict(zip(results["ids"], results["distances"], strict=True))
    assert list(distances) == sorted(distances)
    np.testing.assert_allclose(
        [distances[row] for row in matches.ids.tolist()], matches.distances, atol=1e-3
    )


def test_rows_page_by_page(server, collection):
    whole = server.api.get("rows", params={"limit": 1000}).json()
    assert (len(whole["rows"]), whole["next"], whole["total"]) == (45, None, 45)
    pages, after = [], None
    while True:
        page = server.api.get(
            "rows", params={"limit": 20, **({} if after is None else {"after": after})}
        ).json()
        pages += page["rows"]
        after = page["next"]
        if after is None:
            break
    assert pages == whole["rows"]
    cats = server.api.get(
        "rows", params={"where": "label = 'cat' and rating > 4"}
    ).json()
    assert cats["total"] == 1
    (cat,) = cats["rows"]
    assert (cat["name"], cat["label"], cat["metadata"]) == (
        "cat_0001.jpg",
        "cat",
        {"rating": 4.5, "shot by": "Ann"},
    )
    assert server.api.get(f"rows/{cat['id']}").json() == cat


def test_a_row_reads_the_same_before_and_after_other_requests(server):
    """Answers share the columns of a row in memory, and none adds its own fields to them."""
    first = server.api.get("rows", params={"limit": 1}).json()["rows"][0]
    row = first["id"]
    for _ in range(2):
        assert server.api.get(f"rows/{row}").json() == first
        searched = server.api.post("search", json={"positive": [{"id": row}], "k": 2})
        for match in searched.json()["matches"]:
            assert "metadata" not in match


def test_more_rows_than_stay_in_memory_are_read_alike(collection, monkeypatch):
    table = Table.open(collection)
    ids = RowCache(table).ids
    expected = RowCache(table).rows(ids)
    monkeypatch.setattr(row_cache, "_MAX_READY_ROWS", 4)
    rows = RowCache(table)
    # Parts of three overlap; every second one finds the memory full.
    for first in range(len(ids) - 2):
        assert rows.rows(ids[first : first + 3]) == expected[first : first + 3]
    unknown = np.array([ids[-1] + 1, ids[0]], np.int64)
    assert rows.rows(unknown) == expected[:1]


def test_a_thumbnail_is_cached_forever_under_its_content(server):
    row = server.api.get("rows", params={"limit": 1}).json()["rows"][0]
    address = f"rows/{row['id']}/thumbnail"
    small = server.api.get(address)
    assert small.headers["cache-control"] == "private, no-cache"
    named = server.api.get(address, params={"content": row["content"][:16]})
    assert named.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert (
        "immutable"
        not in server.api.get(address, params={"content": "0" * 16}).headers[
            "cache-control"
        ]
    )
    again = server.api.get(address, headers={"If-None-Match": small.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (
        server.api.get(address, headers={"If-None-Match": '"other"'}).content
        == small.content
    )
    assert server.api.get(address, params={"size": 100}).status_code == 422


@pytest.mark.slow
def test_a_large_thumbnail_is_made_from_the_file(tmp_path):
    (tmp_path / "in").mkdir()
    Image.effect_noise((900, 600), 50).convert("RGB").save(
        tmp_path / "in" / "noise.png"
    )
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    (row,) = Table.open(tmp_path / "c").vectors("pixels")[0].tolist()
    sizes = {}
    for option in ("--originals", "--no-originals"):
        with serving("-c", tmp_path / "c", option) as live:
            for size in (128, 512):
                answer = live.api.get(f"rows/{row}/thumbnail", params={"size": size})
                sizes[option, size] = Image.open(io.BytesIO(answer.content)).size
            status = live.api.get(f"rows/{row}/original").status_code
            assert status == (200 if option == "--originals" else 403)
    assert sizes["--originals", 512] == (512, 341)
    assert {
        sizes["--originals", 128],
        sizes["--no-originals", 128],
        sizes["--no-originals", 512],
    } == {(160, 107)}


def test_an_original_is_served_whole_or_as_a_byte_range(server):
    row = server.api.get("rows", params={"limit": 1}).json()["rows"][0]
    address = f"rows/{row['id']}/original"
    whole = server.api.get(address)
    data = whole.content
    assert (hashlib.sha256(data).hexdigest(), whole.headers["content-type"]) == (
        row["content"],
        "image/jpeg",
    )
    for header, expected in (
        ("bytes=5-9", data[5:10]),
        ("bytes=100-", data[100:]),
        ("bytes=-7", data[-7:]),
    ):
        part = server.api.get(address, headers={"Range": header})
        assert (part.status_code, part.content) == (206, expected)
    assert (
        server.api.get(address, headers={"Range": f"bytes={len(data)}-"}).status_code
        == 416
    )
    assert server.api.get(address, headers={"Range": "lines=1-2"}).content == data


@pytest.mark.parametrize(
    ("question", "status", "detail"),
    [
        ({"positive": [{"id": 3}], "space": "nope"}, 404,
         "has no Space 'nope'; it has efficientnet-lite0-int8, pixels"),
        ({"positive": [{"id": 3}], "collection": "nope"}, 404,
         "no collection 'nope'; it has drawn"),
        ({"positive": [{"id": 3}], "where": "labl = 'cat'"}, 422, "Did you mean label?"),
        ({"positive": [{"id": 999}]}, 404, "has no row 999"),
        ({"positive": []}, 422, "positive is empty"),
        ({"positive": [{"image": 0}]}, 422, "refers to image 0, but the form has 0"),
        ({"positive": [{"id": 3}], "negative": [{"id": 3}], "gamma": 1}, 422,
         "cancel each other"),
        ({"positive": [{"id": 3}], "gamma": -1}, 422, "gamma"),
        ({"positive": [{"id": 3}], "max_distance": -1}, 422, "max_distance"),
        ({"positive": [{"id": 3}], "k": 0}, 422, "k"),
        ({"positive": [{"id": 3}], "kk": 1}, 422, "kk"),
    ],
)  # fmt: skip
def test_a_bad_search_is_answered_with_a_problem(server, question, status, detail):
    answer = server.search(**question)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["instance"]) == (
        status,
        status,
        "/api/v1/search",
    )
    assert detail in problem["detail"]


def test_an_invalid_filter_is_named_as_the_cause(server):
    for answer in (
        server.search(positive=[{"id": 3}], where="labl = 'cat'"),
        server.api.get("rows", params={"where": "labl = 'cat'"}),
    ):
        problem = answer.json()
        assert (answer.status_code, problem["title"]) == (422, "Invalid filter")
        assert problem["errors"] == [{"where": "where", "reason": problem["detail"]}]


def test_failures_are_listed(tmp_path, sample):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.jpg").write_bytes(b"not an image")
    (tmp_path / "in" / "good.jpg").write_bytes(
        (sample / "cat" / "cat_0001.jpg").read_bytes()
    )
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    with serving("-c", tmp_path / "c") as live:
        (failure,) = live.api.get("failures").json()["failures"]
    assert failure["uri"] == str(tmp_path / "in" / "bad.jpg")
    assert failure["error"].startswith("not an image of a known format")


@pytest.mark.slow
def test_several_collections_get_unique_names(tmp_path, sample):
    places = [tmp_path / "a" / "same", tmp_path / "b" / "same", tmp_path / "other"]
    for place, label in zip(places, ("cat", "car", "butterfly"), strict=True):
        lookalike.index(sample / label, place, models=["pixels"])
    with serving(*(word for place in places for word in ("-c", place))) as live:
        collections = live.api.get("collections").json()["collections"]
        assert [collection["name"] for collection in collections] == [
            "same",
            "same-2",
            "other",
        ]
        assert live.api.get("rows").json()["rows"][0]["label"] == "cat"
        assert (
            live.api.get("rows", params={"collection": "same-2"}).json()["rows"][0][
                "label"
            ]
            == "car"
        )
        assert (
            live.search(positive=[{"id": 0}], collection="other").json()["matches"][0][
                "label"
            ]
            == "butterfly"
        )


def test_the_page_and_its_files(server):
    page = httpx.get(server.url)
    assert page.headers["content-type"].startswith("text/html")
    assert "Lookalike" in page.text
    assert httpx.get(server.url.join("static/none.js")).status_code == 404


def test_a_browser_keeps_the_files_of_the_page_until_one_changes(server, tmp_path):
    page = httpx.get(server.url).text
    named = re.search(r'src="(static/(\w+)/main.js)"', page)
    addresses = re.findall(r'(?:src|href)="(static/[^"]+)"', page)
    assert len(addresses) > 9
    for address in addresses:
        kept = httpx.get(server.url.join(address))
        assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"

    # Without its digest, or with that of another version, a file is sent and not kept.
    for address in ("static/main.js", f"static/{'0' * 16}/main.js"):
        found = httpx.get(server.url.join(address))
        assert found.content == httpx.get(server.url.join(named[1])).content
        assert found.headers["cache-control"] == "no-store"

    changed = shutil.copytree(PAGE, tmp_path / "page")
    assert digest_of_page(changed) == named[2]
    with (changed / "map" / "canvas.js").open("a") as file:
        file.write("//")
    assert digest_of_page(changed) != named[2]


def test_requests_and_images_are_counted(server):
    before = httpx.get(server.url.join("metrics")).text
    server.search(positive=[{"id": 3}])
    server.search(positive=[{"id": 999}])
    after = httpx.get(server.url.join("metrics")).text

    def count(text, status):
        line = f'lookalike_requests_total{{method="POST",route="/search",status="{status}"}} '
        return next(
            (
                float(row.removeprefix(line))
                for row in text.splitlines()
                if row.startswith(line)
            ),
            0.0,
        )

    for status in (200, 404):
        assert count(after, status) == count(before, status) + 1
    assert 'lookalike_collection_images{collection="drawn"} 45.0' in after
    assert 'lookalike_request_seconds_bucket{le="0.01",route="/search"}' in after
    assert "lookalike_image_requests_in_progress 0.0" in after
