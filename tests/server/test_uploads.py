"""Pictures and thumbnails of several requests at once: each gets its own, and what fails is one's alone."""

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
from lookalike.errors import CollectionError, ImageError, ModelError
from lookalike.models.cache import EmbedderCache
from lookalike.retrieval.query import ImageQuery
from lookalike.server import thumbnails
from lookalike.server.app import make_app
from lookalike.server.problems import Problem
from lookalike.server.registry import CollectionView
from lookalike.server.uploads import EmbedRequest, Uploads
from lookalike.store.table import Table

# What is not nearly black comes to numbers that no collection can keep.
DARK = 'architecture = "pixels"\nsize = [4, 4]\ndim = 48\nunit_length = false\nstd = [0.001, 0.001, 0.001]\n'


@pytest.fixture
def view(collection):
    return CollectionView("drawn", Table.open(collection), EmbedderCache())


@pytest.fixture
def searchers(view):
    return {name: view.searcher(name) for name in view.models}


def vectors(uploads, searcher):
    """Return what a search does first with pictures."""
    return lambda taken: [uploads.vector(upload, searcher) for upload in taken]


def test_each_gets_its_own_pictures_in_its_own_space_as_if_it_were_alone(
    searchers, sample, monkeypatch
):
    files = [path.read_bytes() for path in sorted(sample.rglob("*.jpg"))[:6]]
    pixels, network = searchers["pixels"], searchers["efficientnet-lite0-int8"]
    asked = [
        (network, files[:1]),
        (pixels, files[1:2]),
        (network, files[2:5]),
        (pixels, files[:1]),
        (network, files[:1]),
    ]
    uploads = Uploads(1 << 30, 10**8)
    before = uploads.run([EmbedRequest(files[5:], pixels, list)])[0]
    embed_requests = [
        EmbedRequest(pictures, searcher, vectors(uploads, searcher))
        for searcher, pictures in asked
    ]
    for found, (searcher, pictures) in zip(
        uploads.run(embed_requests), asked, strict=True
    ):
        np.testing.assert_array_equal(
            found, [ImageQuery(picture).encode(searcher) for picture in pictures]
        )
    # What was kept is embedded once more in another Space, and in none again.
    assert uploads.run([EmbedRequest(files[5:], network, list)])[0] == before
    assert [
        len(uploads.find(hashlib.sha256(data).hexdigest()).vectors) for data in files
    ] == [
        2,
        1,
        1,
        1,
        1,
        2,
    ]
    monkeypatch.setattr(
        type(network), "embed_prepared", lambda *_: pytest.fail("embedded again")
    )
    monkeypatch.setattr(uploads, "_decode", lambda *_: pytest.fail("decoded again"))
    assert uploads.run(
        [EmbedRequest(files[5:], network, list), EmbedRequest(files[:1], pixels, len)]
    ) == [
        before,
        1,
    ]


def test_a_picture_that_comes_several_times_is_decoded_once(
    searchers, query, monkeypatch
):
    uploads, searcher, decoded = Uploads(1 << 30, 10**8), searchers["pixels"], []
    decode = uploads._decode
    monkeypatch.setattr(
        uploads, "_decode", lambda *given: decoded.append(given) or decode(*given)
    )
    sent = query.read_bytes()
    found = uploads.run(
        [EmbedRequest([sent] * 3, searcher, list), EmbedRequest([sent], searcher, list)]
    )
    assert len(decoded) == 1
    assert found == [
        [uploads.find(hashlib.sha256(sent).hexdigest())] * count for count in (3, 1)
    ]


def test_what_is_no_picture_or_fails_in_the_end_is_told_to_who_sent_it(
    searchers, query
):
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


def test_a_picture_that_cannot_be_embedded_keeps_no_other_back(tmp_path):
    (tmp_path / "dark.toml").write_text(DARK)
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    lookalike.index(tmp_path, tmp_path / "c", models=[str(tmp_path / "dark.toml")])
    searcher = CollectionView(
        "dark", Table.open(tmp_path / "c"), EmbedderCache()
    ).searcher(None)
    uploads = Uploads(1 << 30, 10**8)

    def picture(grey):
        Image.new("RGB", (8, 8), (grey, grey, grey)).save(file := io.BytesIO(), "PNG")
        return file.getvalue()

    found = uploads.run(
        [EmbedRequest([picture(grey)], searcher, list) for grey in (0, 255, 30)]
    )
    assert [isinstance(one, ModelError) for one in found] == [False, True, False]
    kept = uploads.find(hashlib.sha256(picture(30)).hexdigest())
    assert found[2] == [kept]
    assert kept.vectors[searcher.filled_by].tolist() == [30_000.0] * 48
    with pytest.raises(Problem, match="upload it again"):
        uploads.find(hashlib.sha256(picture(255)).hexdigest())


def test_one_that_takes_too_much_memory_keeps_no_other_back(
    searchers, query, monkeypatch
):
    def prepared(picture, model):
        if picture.width == 8:
            raise MemoryError
        return prepare(picture, model)

    prepare = imaging.prepare
    monkeypatch.setattr(imaging, "prepare", prepared)
    Image.new("RGB", (8, 8)).save(file := io.BytesIO(), "PNG")
    uploads, sent = Uploads(1 << 30, 10**8), [file.getvalue(), query.read_bytes()]
    failed, found = uploads.run(
        [EmbedRequest([data], searchers["pixels"], list) for data in sent]
    )
    assert isinstance(failed, MemoryError)
    assert found == [uploads.find(hashlib.sha256(sent[1]).hexdigest())]


LARGE = """
import io, resource, sys
from PIL import Image
from lookalike.models.cache import EmbedderCache
from lookalike.server.registry import CollectionView
from lookalike.server.uploads import EmbedRequest, Uploads
from lookalike.store.table import Table

def picture(shade):
    Image.new("RGB", (3000, 3000), (shade, 0, 0)).save(file := io.BytesIO(), "PNG")
    return file.getvalue()

searcher = CollectionView("drawn", Table.open(sys.argv[1]), EmbedderCache()).searcher("pixels")
uploads, pictures = Uploads(1 << 30, 10**8), [picture(shade) for shade in range(17)]
uploads.run([EmbedRequest(pictures[:1], searcher, list)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
uploads.run([EmbedRequest([data], searcher, list) for data in pictures[1:5]] + [EmbedRequest(pictures[5:], searcher, list)])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="counts memory as Linux does, in KiB"
)
def test_no_more_than_one_picture_is_held_at_its_full_size(collection):
    done = subprocess.run(
        [sys.executable, "-c", LARGE, collection],
        capture_output=True,
        text=True,
        check=True,
    )
    # One takes 36 MB.
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
def test_only_what_is_quick_shares_a_threads_turn(
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
        ("image", ("picture.jpg", query.read_bytes() + bytes(number)))
        for number in range(files)
    ]
    with TestClient(app, base_url="http://localhost") as client:
        assert client.post(f"/api/v1/{path}", files=sent, data=data).status_code == 200
        large = [("image", ("large.jpg", query.read_bytes() + bytes(1 << 20)))]
        assert client.post(f"/api/v1/{path}", files=large, data=data).status_code == 200
    assert len(shared) == together


def test_thumbnails_of_many_rows_are_one_read_and_each_gets_its_own(view, monkeypatch):
    ids, reads, take = view.row_cache.ids[:20].tolist(), [], view.table.take
    kept = [bytes(data) for data in take(ids, ["thumbnail"])["thumbnail"].to_pylist()]
    monkeypatch.setattr(
        view.table, "take", lambda rows, names: reads.append(rows) or take(rows, names)
    )
    order = [*range(19, 0, -1), 1, 2, 0]
    assert thumbnails.read_thumbnails([(view, ids[at]) for at in order]) == [
        kept[at] for at in order
    ]
    assert len(set(kept)) == 20
    assert reads == [ids]


def test_a_collection_that_cannot_be_read_keeps_no_others_thumbnails_back(
    view, collection, tmp_path
):
    shutil.copytree(collection, tmp_path / "gone")
    gone = CollectionView("gone", Table.open(tmp_path / "gone"), EmbedderCache())
    shutil.rmtree(tmp_path / "gone")
    row = int(view.row_cache.ids[0])
    lost, one = thumbnails.read_thumbnails([(gone, row), (view, row)])
    assert isinstance(lost, CollectionError)
    assert one.startswith(b"\xff\xd8")


def test_a_row_without_a_thumbnail_keeps_no_other_back(view, tmp_path, query):
    lookalike.index(query, tmp_path / "c", models=["pixels"])
    table = Table.open(tmp_path / "c")
    table.update({"uri": [str(query)], "thumbnail": [b""]})
    bare = CollectionView("bare", Table.open(tmp_path / "c"), EmbedderCache())
    none, one = thumbnails.read_thumbnails(
        [(bare, int(bare.row_cache.ids[0])), (view, int(view.row_cache.ids[0]))]
    )
    assert isinstance(none, Problem)
    assert (none.status, one[:2]) == (404, b"\xff\xd8")
