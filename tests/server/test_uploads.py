"""Pictures and thumbnails of several requests at once: each gets its own, and what fails is one's alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike.errors import ImageError, ModelError
from lookalike.models.networks import Networks
from lookalike.server import thumbnails
from lookalike.server.holding import Snapshot
from lookalike.server.problems import Problem
from lookalike.server.uploads import Errand, Uploads
from lookalike.store.collection import Collection

# What is not nearly black comes to numbers that no collection can keep.
DARK = 'architecture = "pixels"\nsize = [4, 4]\ndim = 48\nunit_length = false\nstd = [0.001, 0.001, 0.001]\n'


@pytest.fixture
def snapshot(collection):
    return Snapshot("drawn", Collection.open(collection), Networks())


@pytest.fixture
def searchers(snapshot):
    return {name: snapshot.searcher(name) for name in snapshot.models}


def vectors(uploads, searcher):
    """Return what a search does first with pictures."""
    return lambda taken: [uploads.vector(upload, searcher) for upload in taken]


def test_each_gets_its_own_pictures_in_its_own_space_as_if_it_were_alone(searchers, sample, monkeypatch):
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
    before = uploads.run([Errand(files[5:], pixels, list)])[0]
    errands = [Errand(pictures, searcher, vectors(uploads, searcher)) for searcher, pictures in asked]
    for found, (searcher, pictures) in zip(uploads.run(errands), asked, strict=True):
        np.testing.assert_array_equal(found, [searcher.embed(picture) for picture in pictures])
    # What was kept is not embedded again in the same Space, and is in another.
    assert uploads.run([Errand(files[5:], network, list)])[0] == before
    assert len(before[0].vectors) == 2
    monkeypatch.setattr(type(network), "embed_many", lambda *_: pytest.fail("embedded again"))
    assert uploads.run([Errand(files[5:], network, list), Errand(files[:1], pixels, len)]) == [before, 1]


def test_what_is_no_picture_or_fails_in_the_end_is_told_to_who_sent_it(searchers, query):
    uploads, searcher = Uploads(1 << 30, 10**8), searchers["pixels"]
    sent, use = query.read_bytes(), vectors(uploads, searcher)
    errands = [Errand([sent, b"GIF89a and no more"], searcher, use), Errand([sent], searcher, use)]
    errands.append(Errand([sent], searcher, lambda _: 1 // 0))
    bad, good, failed = uploads.run(errands)
    assert isinstance(bad, ImageError)
    assert len(good) == 1
    assert isinstance(failed, ZeroDivisionError)
    assert uploads.one(errands[1])[0].tolist() == good[0].tolist()
    with pytest.raises(ImageError, match="cannot be searched by: damaged"):
        uploads.one(errands[0])


def test_a_picture_that_cannot_be_embedded_keeps_no_other_back(tmp_path):
    (tmp_path / "dark.toml").write_text(DARK)
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    lookalike.index(tmp_path, tmp_path / "c", models=[str(tmp_path / "dark.toml")])
    searcher = Snapshot("dark", Collection.open(tmp_path / "c"), Networks()).searcher(None)
    uploads = Uploads(1 << 30, 10**8)

    def picture(grey):
        Image.new("RGB", (8, 8), (grey, grey, grey)).save(file := io.BytesIO(), "PNG")
        return file.getvalue()

    found = uploads.run([Errand([picture(grey)], searcher, vectors(uploads, searcher)) for grey in (0, 255, 30)])
    assert [isinstance(one, ModelError) for one in found] == [False, True, False]
    assert found[2][0].tolist() == [30_000.0] * 48
    assert uploads.run([Errand([picture(30)], searcher, vectors(uploads, searcher))])[0][0].tolist() == [30_000.0] * 48


def test_thumbnails_of_many_rows_are_one_read_and_each_gets_its_own(snapshot, monkeypatch):
    ids, reads, take = snapshot.facts.ids[:20].tolist(), [], snapshot.collection.take
    kept = [bytes(data) for data in take(ids, ["thumbnail"])["thumbnail"].to_pylist()]
    monkeypatch.setattr(snapshot.collection, "take", lambda rows, names: reads.append(rows) or take(rows, names))
    order = [*range(19, 0, -1), 1, 2, 0]
    assert thumbnails.read([(snapshot, ids[at]) for at in order]) == [kept[at] for at in order]
    assert len(set(kept)) == 20
    assert reads == [ids]


def test_a_row_without_a_thumbnail_keeps_no_other_back(snapshot, tmp_path, query):
    lookalike.index(query, tmp_path / "c", models=["pixels"])
    table = Collection.open(tmp_path / "c")
    table.update({"uri": [str(query)], "thumbnail": [b""]})
    bare = Snapshot("bare", Collection.open(tmp_path / "c"), Networks())
    none, one = thumbnails.read([(bare, int(bare.facts.ids[0])), (snapshot, int(snapshot.facts.ids[0]))])
    assert isinstance(none, Problem)
    assert (none.status, one[:2]) == (404, b"\xff\xd8")
