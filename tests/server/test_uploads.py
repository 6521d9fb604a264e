"""Images and thumbnails of several requests at once.

Each request gets its own results, and a failure affects only the request that caused it.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import lookalike
from lookalike import imaging
from lookalike.errors import CollectionError, FormatError, ImageError, ModelError
from lookalike.models.cache import EmbedderCache
from lookalike.retrieval.query import ImageQuery
from lookalike.server import thumbnails
from lookalike.server.app import make_app
from lookalike.server.problems import Problem
from lookalike.server.registry import CollectionView
from lookalike.server.uploads import EmbedRequest, Uploads
from lookalike.store.table import Table

# Only nearly black images get numbers small enough for a collection.
DARK = (
    'architecture = "pixels"\nsize = [4, 4]\ndim = 48\nunit_length = false\n'
    "std = [0.001, 0.001, 0.001]\n"
)


@pytest.fixture
def view(collection):
    return CollectionView("drawn", Table.open(collection), EmbedderCache())


@pytest.fixture
def searchers(view):
    return {name: view.searcher(name) for name in view.models}


def vectors(uploads, searcher):
    """Return a function that embeds images as a search does."""
    return lambda stored: [uploads.vector(upload, searcher) for upload in stored]


def test_each_request_gets_the_vectors_of_its_own_images_and_space(
    searchers, sample, monkeypatch
):
    files = [path.read_bytes() for path in sorted(sample.rglob("*.jpg"))[:6]]
    pixels, network = searchers["pixels"], searchers["efficientnet-lite0-int8"]
    batch = [
        (network, files[:1]),
        (pixels, files[1:2]),
        (network, files[2:5]),
        (pixels, files[:1]),
        (network, files[:1]),
    ]
    uploads = Uploads(1 << 30, 10**8)
    before = uploads.run([EmbedRequest(files[5:], pixels, list)])[0]
    embed_requests = [
        EmbedRequest(images, searcher, vectors(uploads, searcher))
        for searcher, images in batch
    ]
    for answer, (searcher, images) in zip(
        uploads.run(embed_requests), batch, strict=True
    ):
        expected = [ImageQuery(image).encode(searcher) for image in images]
        np.testing.assert_array_equal(answer, expected)
    # A stored upload is embedded once per Space, and never twice in one Space.
    assert uploads.run([EmbedRequest(files[5:], network, list)])[0] == before
    assert [
        len(uploads.find(hashlib.sha256(data).hexdigest()).vectors) for data in files
    ] == [2, 1, 1, 1, 1, 2]
    monkeypatch.setattr(
        type(network), "embed_prepared", lambda *_: pytest.fail("embedded again")
    )
    monkeypatch.setattr(uploads, "_decode", lambda *_: pytest.fail("decoded again"))
    assert uploads.run(
        [EmbedRequest(files[5:], network, list), EmbedRequest(files[:1], pixels, len)]
    ) == [before, 1]


def test_an_image_sent_several_times_is_decoded_once(searchers, query, monkeypatch):
    uploads, searcher, decoded = Uploads(1 << 30, 10**8), searchers["pixels"], []
    decode = uploads._decode
    monkeypatch.setattr(
        uploads,
        "_decode",
        lambda *arguments: decoded.append(arguments) or decode(*arguments),
    )
    sent = query.read_bytes()
    answers = uploads.run(
        [EmbedRequest([sent] * 3, searcher, list), EmbedRequest([sent], searcher, list)]
    )
    assert len(decoded) == 1
    assert answers == [
        [uploads.find(hashlib.sha256(sent).hexdigest())] * count for count in (3, 1)
    ]


def test_a_bad_image_or_a_late_failure_fails_only_its_own_request(searchers, query):
    uploads, searcher = Uploads(1 << 30, 10**8), searchers["pixels"]
    sent, use = query.read_bytes(), vectors(uploads, searcher)
    embed_requests = [
        EmbedRequest([sent, b"GIF89a and no more"], searcher, use),
        EmbedRequest([sent], searcher, use),
    ]
    embed_requests.append(EmbedRequest([sent], searcher, lambda _: 1 // 0))
    bad, good, failed = uploads.run(embed_requests)
    assert isinstance(bad, ImageError)
    assert len(good) == 1
    assert isinstance(failed, ZeroDivisionError)
    assert uploads.run_one(embed_requests[1])[0].tolist() == good[0].tolist()
    with pytest.raises(ImageError, match="cannot be decoded as an image: damaged"):
        uploads.run_one(embed_requests[0])


def test_a_query_is_refused_with_the_decoders_class_and_reason(searchers, query):
    sent, searcher = query.read_bytes(), searchers["pixels"]
    uploads = Uploads(1 << 30, 100)
    with pytest.raises(FormatError, match="as an image: not an image of a known"):
        uploads.run_one(EmbedRequest([b"text"], searcher, list))
    with pytest.raises(ImageError) as raised:
        uploads.run_one(EmbedRequest([sent], searcher, list))
    assert not isinstance(raised.value, FormatError)
    # The options of `lookalike index` are no advice for a query.
    assert str(raised.value).endswith("more than the limit of 0.0001.")


def test_a_query_too_large_for_memory_gets_no_advice_on_indexing(
    searchers, query, monkeypatch
):
    def without_memory(*_):
        raise MemoryError

    monkeypatch.setattr("lookalike.imaging.decoder._read", without_memory)
    without_advice = r"image: too little memory to decode it\.$"
    with pytest.raises(ImageError, match=without_advice):
        ImageQuery(query).encode(searchers["pixels"])
    with pytest.raises(ImageError, match=without_advice):
        Uploads(1 << 30, 10**8).add(query.read_bytes())


def test_an_image_that_cannot_be_embedded_blocks_no_other(tmp_path):
    (tmp_path / "dark.toml").write_text(DARK)
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    lookalike.index(tmp_path, tmp_path / "c", models=[str(tmp_path / "dark.toml")])
    searcher = CollectionView(
        "dark", Table.open(tmp_path / "c"), EmbedderCache()
    ).searcher(None)
    uploads = Uploads(1 << 30, 10**8)

    def gray_image(gray):
        Image.new("RGB", (8, 8), (gray, gray, gray)).save(file := io.BytesIO(), "PNG")
        return file.getvalue()

    answers = uploads.run(
        [EmbedRequest([gray_image(gray)], searcher, list) for gray in (0, 255, 30)]
    )
    failures = [isinstance(answer, ModelError) for answer in answers]
    assert failures == [False, True, False]
    stored = uploads.find(hashlib.sha256(gray_image(30)).hexdigest())
    assert answers[2] == [stored]
    assert stored.vectors[searcher.filled_by].tolist() == [30_000.0] * 48
    with pytest.raises(Problem, match="upload it again"):
        uploads.find(hashlib.sha256(gray_image(255)).hexdigest())


def test_an_image_that_exhausts_memory_blocks_no_other(searchers, query, monkeypatch):
    def prepare_or_fail(image, model):
        if image.width == 8:
            raise MemoryError
        return prepare(image, model)

    prepare = imaging.prepare
    monkeypatch.setattr(imaging, "prepare", prepare_or_fail)
    Image.new("RGB", (8, 8)).save(file := io.BytesIO(), "PNG")
    uploads, sent = Uploads(1 << 30, 10**8), [file.getvalue(), query.read_bytes()]
    failed, answer = uploads.run(
        [EmbedRequest([data], searchers["pixels"], list) for data in sent]
    )
    assert isinstance(failed, MemoryError)
    assert answer == [uploads.find(hashlib.sha256(sent[1]).hexdigest())]


LARGE = """
import io, resource, sys
from PIL import Image
from lookalike.models.cache import EmbedderCache
from lookalike.server.registry import CollectionView
from lookalike.server.uploads import EmbedRequest, Uploads
from lookalike.store.table import Table

def red_image(shade):
    Image.new("RGB", (3000, 3000), (shade, 0, 0)).save(file := io.BytesIO(), "PNG")
    return file.getvalue()

searcher = CollectionView("drawn", Table.open(sys.argv[1]), EmbedderCache()).searcher("pixels")
uploads, images = Uploads(1 << 30, 10**8), [red_image(shade) for shade in range(17)]
uploads.run([EmbedRequest(images[:1], searcher, list)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
requests = [EmbedRequest([data], searcher, list) for data in images[1:5]]
requests.append(EmbedRequest(images[5:], searcher, list))
uploads.run(requests)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux", reason="counts memory as Linux does, in KiB"
)
def test_at_most_one_image_is_held_at_full_size(collection):
    done = subprocess.run(
        [sys.executable, "-c", LARGE, collection],
        capture_output=True,
        text=True,
        check=True,
    )
    # One image takes 36 MB.
    assert int(done.stdout) < 2 * 36_000


@pytest.mark.parametrize(
    ("path", "question", "files", "together"),
    [
        ("search", None, 1, True),
        (
            "search",
            {"positive": [{"image": 0}], "negative": [{"id": 3}], "k": 3},
            1,
            True,
        ),
        ("search", {"positive": [{"image": 0}], "where": "width > 10"}, 1, False),
        ("search", None, 2, False),
        ("distances", None, 1, False),
    ],
)
def test_only_quick_requests_share_the_turn_of_a_thread(
    collection, query, path, question, files, together, monkeypatch
):
    app = make_app([str(collection)])
    state, shared = app.state.lookalike, []
    run = state.embed_batcher.run
    monkeypatch.setattr(
        state.embed_batcher,
        "run",
        lambda embed_request: shared.append(embed_request) or run(embed_request),
    )
    data = {} if question is None else {"query": json.dumps(question)}
    sent = [
        ("image", ("image.jpg", query.read_bytes() + bytes(number)))
        for number in range(files)
    ]
    with TestClient(app, base_url="http://localhost") as client:
        assert client.post(f"/api/v1/{path}", files=sent, data=data).status_code == 200
        large = [("image", ("large.jpg", query.read_bytes() + bytes(1 << 20)))]
        assert client.post(f"/api/v1/{path}", files=large, data=data).status_code == 200
    assert len(shared) == together


def test_thumbnails_of_many_rows_are_read_at_once(view, monkeypatch):
    ids, reads, take = view.row_cache.ids[:20].tolist(), [], view.table.take
    stored = [bytes(data) for data in take(ids, ["thumbnail"])["thumbnail"].to_pylist()]
    monkeypatch.setattr(
        view.table, "take", lambda rows, names: reads.append(rows) or take(rows, names)
    )
    order = [*range(19, 0, -1), 1, 2, 0]
    assert thumbnails.read_thumbnails([(view, ids[at]) for at in order]) == [
        stored[at] for at in order
    ]
    assert len(set(stored)) == 20
    assert reads == [ids]


def test_an_unreadable_collection_blocks_no_thumbnails_of_others(
    view, collection, tmp_path
):
    shutil.copytree(collection, tmp_path / "deleted")
    table = Table.open(tmp_path / "deleted")
    deleted = CollectionView("deleted", table, EmbedderCache())
    shutil.rmtree(tmp_path / "deleted")
    row = int(view.row_cache.ids[0])
    failed, thumbnail = thumbnails.read_thumbnails([(deleted, row), (view, row)])
    assert isinstance(failed, CollectionError)
    assert thumbnail.startswith(b"\xff\xd8")


def test_a_row_without_a_thumbnail_blocks_no_other(view, tmp_path, query):
    lookalike.index(query, tmp_path / "c", models=["pixels"])
    table = Table.open(tmp_path / "c")
    table.update({"uri": [str(query)], "thumbnail": [b""]})
    bare = CollectionView("bare", Table.open(tmp_path / "c"), EmbedderCache())
    problem, thumbnail = thumbnails.read_thumbnails(
        [(bare, int(bare.row_cache.ids[0])), (view, int(view.row_cache.ids[0]))]
    )
    assert isinstance(problem, Problem)
    assert (problem.status, thumbnail[:2]) == (404, b"\xff\xd8")
