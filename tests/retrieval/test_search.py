"""A search returns the nearest rows by Euclidean distance, for any form of the query."""

from __future__ import annotations

import gc
import io
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike import Collection
from lookalike.errors import (
    CollectionError,
    FormatError,
    ImageError,
    InputError,
    SourceError,
    SpaceError,
)
from lookalike.indexing.run import IndexSettings
from lookalike.models.registry import resolve


@pytest.fixture(scope="module")
def collection(sample_in_float):
    return Collection.open(sample_in_float)


@pytest.fixture(scope="module")
def query(sample):
    return sample / "butterfly" / "butterfly_0002.jpg"


def test_an_image_matches_itself_and_then_its_class(collection, query):
    matches = lookalike.search(collection, query, k=4)
    assert matches.uris[0] == str(query)
    assert matches.distances[0] == pytest.approx(0, abs=2e-3)
    assert matches.labels == ["butterfly"] * 4
    assert (np.diff(matches.distances) >= 0).all()


@pytest.mark.parametrize("space", ["efficientnet-lite0", "pixels"])
def test_distances_and_order_equal_a_plain_computation(collection, query, space):
    from lookalike import imaging
    from lookalike.models import embedder

    model = resolve(space)
    vector = embedder.load(model).embed(
        imaging.prepare(imaging.decode(query.read_bytes()), model)[None]
    )[0]
    ids, matrix = collection.table.vectors(space)
    distances = np.linalg.norm(
        matrix.astype(np.float64) - vector.astype(np.float16).astype(np.float64), axis=1
    )
    order = np.lexsort((ids, distances))
    matches = lookalike.search(collection, query, k=45, space=space)
    assert matches.ids.tolist() == ids[order].tolist()
    np.testing.assert_allclose(
        matches.distances, distances[order], rtol=1e-6, atol=1e-6
    )


def test_every_form_of_the_query_gives_the_same_answer(collection, query):
    expected = lookalike.search(collection, str(query), k=5)
    image = Image.open(query)
    for form in (Path(query), query.read_bytes(), image, np.asarray(image)):
        found = lookalike.search(collection, form, k=5)
        assert found.ids.tolist() == expected.ids.tolist()
        np.testing.assert_array_equal(found.distances, expected.distances)


def test_a_path_works_in_place_of_a_collection(collection, query):
    expected = lookalike.search(collection, query, k=3)
    assert (
        lookalike.search(collection.path, query, k=3).ids.tolist()
        == expected.ids.tolist()
    )


def test_exclude_self_omits_the_query_and_returns_k(collection, query):
    whole = lookalike.search(collection, query, k=5)
    for form in (query, query.read_bytes()):
        rest = lookalike.search(collection, form, k=4, exclude_self=True)
        assert rest.ids.tolist() == whole.ids[1:].tolist()


def test_exclude_self_keeps_copies_of_an_indexed_query(query, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(query, tmp_path / "in" / name)
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    assert lookalike.search(
        tmp_path / "c", tmp_path / "in" / "a.jpg", exclude_self=True
    ).uris == [str(tmp_path / "in" / "b.jpg")]
    assert len(lookalike.search(tmp_path / "c", query, exclude_self=True)) == 0


def test_ties_are_ordered_by_id(query, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(12):
        shutil.copy(query, tmp_path / "in" / f"{number:02}.jpg")
    lookalike.index(tmp_path / "in", tmp_path / "c", models=["pixels"])
    matches = lookalike.search(tmp_path / "c", query, k=5)
    assert matches.ids.tolist() == sorted(matches.ids.tolist())
    assert [Path(uri).name for uri in matches.uris] == [
        f"{number:02}.jpg" for number in range(5)
    ]


def test_k_above_the_collection_size_returns_all(collection, query):
    assert len(lookalike.search(collection, query, k=1000)) == 45


def test_the_next_search_sees_a_changed_collection(query, tmp_path, sample):
    lookalike.index(sample / "cat", tmp_path / "c", models=["pixels"])
    table = Collection.open(tmp_path / "c")
    assert len(lookalike.search(table, query, k=100)) == 5
    lookalike.index(sample / "car", table)
    assert len(lookalike.search(table, query, k=100)) == 10


def test_a_deleted_collection_frees_its_memory(query, tmp_path, sample):
    lookalike.index(sample / "cat", tmp_path / "c", models=["pixels"])
    table = Collection.open(tmp_path / "c")
    lookalike.search(table, query)
    gone = weakref.ref(table)
    del table
    gc.collect()
    assert gone() is None


def test_a_filter_applies_before_the_nearest_are_chosen(collection, query):
    everything = lookalike.search(collection, query, k=45)
    where = "label in ('car', 'cat') and not uri like '%0001%'"
    fitting = [
        match.id
        for match in everything
        if match.label in {"car", "cat"} and "0001" not in match.uri
    ]
    matches = lookalike.search(collection, query, k=5, where=where)
    assert matches.ids.tolist() == fitting[:5]
    assert (
        matches.distances.tolist()
        == [match.distance for match in everything if match.id in fitting][:5]
    )
    assert len(fitting) == 8
    assert (
        lookalike.search(collection, query, k=45, where=where).ids.tolist() == fitting
    )
    assert (
        lookalike.search(
            collection.path, query, k=45, where=where, space="pixels"
        ).labels
        != everything.labels
    )


def test_a_filter_and_exclude_self_go_together(collection, query):
    where = "label = 'butterfly'"
    assert len(lookalike.search(collection, query, where=where)) == 5
    rest = lookalike.search(collection, query, where=where, exclude_self=True)
    assert len(rest) == 4
    assert str(query) not in rest.uris
    assert (
        len(
            lookalike.search(
                collection, query, k=3, where="label = 'cat'", exclude_self=True
            )
        )
        == 3
    )


def test_a_filter_without_rows_returns_no_matches(collection, query):
    matches = lookalike.search(collection, query, where="label = 'unicorn'")
    assert (
        len(matches),
        matches.to_dict()["matches"],
        matches.to_arrow().num_rows,
    ) == (0, [], 0)


def test_invalid_arguments_are_refused(collection, query, tmp_path):
    for k in (0, -1, 2.5, 3.0, "3", None):
        with pytest.raises(InputError, match=f"k = {k!r} is invalid; expected a whole"):
            lookalike.search(collection, query, k=k)
        with pytest.raises(InputError, match=f"k = {k!r} is invalid; expected a whole"):
            lookalike.search_many(collection, [query], k=k)
    assert len(lookalike.search(collection, query, k=np.int64(3))) == 3
    with pytest.raises(InputError, match="where has the type int; expected a filter"):
        lookalike.search(collection, query, where=5)
    with pytest.raises(InputError, match=r"no column 'labl'\. Did you mean label\?"):
        lookalike.search(collection, query, where="labl = 'cat'")
    with pytest.raises(SpaceError, match="'nope'; it has efficientnet-lite0, pixels"):
        lookalike.search(collection, query, space="nope")
    with pytest.raises(ImageError, match=r"nope\.jpg cannot be read: No such file"):
        lookalike.search(collection, tmp_path / "nope.jpg")
    with pytest.raises(
        FormatError, match="cannot be decoded as an image: not an image"
    ):
        lookalike.search(collection, b"text")
    with pytest.raises(ImageError, match="cannot be decoded as an image: dam") as error:
        lookalike.search(collection, b"GIF89a and no more")
    assert not isinstance(error.value, FormatError)
    with pytest.raises(ImageError, match=r"float64 \[2, 2\]"):
        lookalike.search(collection, np.zeros((2, 2)))
    with pytest.raises(InputError, match="type int"):
        lookalike.search(collection, 5)
    with pytest.raises(CollectionError, match="does not exist"):
        lookalike.search(tmp_path / "none", query)


def test_a_pillow_image_that_cannot_be_loaded_is_refused(collection, query):
    """Pillow reads the file of an opened image when its pixels are needed."""
    whole = query.read_bytes()
    truncated = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    closed = Image.open(query)
    closed.close()
    for image in (truncated, closed):
        with pytest.raises(ImageError, match=r"cannot be loaded: .* the path or the"):
            lookalike.search(collection, image)
    with pytest.raises(ImageError, match="0 x 5 pixels; expected at least one"):
        lookalike.search(collection, Image.new("RGB", (0, 5)))
    with pytest.raises(ImageError, match="cannot be loaded"):
        lookalike.search_many(collection, [truncated])


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.org/cat.jpg",
        "FTP://example.org/cat.jpg",
        "data:image/png;base64,iVBORw0KGgo=",
    ],
)
def test_an_address_of_another_kind_is_refused_as_a_query_and_as_a_source(
    collection, address
):
    with pytest.raises(ImageError, match=r"not fetched\. Download the image, and"):
        lookalike.search(collection, address)
    with pytest.raises(SourceError, match=r"not fetched\. Download the images, and"):
        lookalike.index([address], collection)


def test_an_empty_space_says_how_to_fill_it(query, tmp_path):
    Collection.create(tmp_path / "c", [resolve("pixels")])
    with pytest.raises(SpaceError, match=r"is empty\. Fill it with: lookalike index"):
        lookalike.search(tmp_path / "c", query)


def test_matches_convert_to_pandas_and_arrow(collection, query):
    matches = lookalike.search(collection, query, k=3)
    frame = matches.to_pandas()
    assert frame.columns.tolist() == ["rank", "id", "uri", "label", "distance"]
    assert (
        frame["uri"].tolist() == matches.uris == matches.to_arrow()["uri"].to_pylist()
    )
    assert [match.rank for match in matches] == [1, 2, 3]
    assert matches.to_dict()["matches"][1] == dict(
        zip(frame.columns, frame.iloc[1], strict=True)
    )
    assert (matches.space, matches.metric, matches.exact) == (
        "efficientnet-lite0",
        "euclidean",
        True,
    )


def test_search_many_equals_single_searches(collection, sample, query):
    queries = [query, *sorted(sample.glob("cat/*.jpg"))[:2], query.read_bytes()]
    many = lookalike.search_many(collection, queries, k=7)
    for matches, one in zip(many, queries, strict=True):
        alone = lookalike.search(collection, one, k=7, exact=True)
        assert (matches.ids.tolist(), matches.uris, matches.labels) == (
            alone.ids.tolist(),
            alone.uris,
            alone.labels,
        )
        np.testing.assert_array_equal(matches.distances, alone.distances)
        assert matches.exact
    pixels = lookalike.search_many(collection, queries[:1], space="pixels")
    assert (pixels[0].space, len(pixels[0])) == ("pixels", 10)
    assert lookalike.search_many(collection, []) == []
    with pytest.raises(InputError, match="k = 0"):
        lookalike.search_many(collection, queries, k=0)


@pytest.mark.slow
def test_a_narrow_filter_is_exact_until_the_collection_changes(sample, tmp_path, query):
    lookalike.index(sample, tmp_path / "c", settings=IndexSettings(min_rows=10))
    table = lookalike.Collection.open(tmp_path / "c")
    assert lookalike.search(table, query).recall is not None
    where = "label = 'teapot'"
    found = lookalike.search(table, query, where=where)
    assert (found.exact, found.recall, set(found.labels), len(found)) == (
        True,
        None,
        {"teapot"},
        5,
    )
    assert (
        lookalike.search(table, query, where=where).ids.tolist() == found.ids.tolist()
    )
    assert lookalike.search(table, query, where="label = 'none'").uris == []
    assert set(lookalike.search(table, query, where="label = 'car'").labels) == {"car"}
    table.remove([found.uris[1]])
    table.refresh()
    assert lookalike.search(table, query, where=where).uris == [
        found.uris[0],
        *found.uris[2:],
    ]


@pytest.mark.slow
def test_a_wide_filter_uses_the_index(sample, tmp_path, query, monkeypatch):
    monkeypatch.setattr("lookalike.retrieval.loaded.SUBSET_ROWS", 3)
    lookalike.index(sample, tmp_path / "c", settings=IndexSettings(min_rows=10))
    where = "label in ('teapot', 'car')"
    found = lookalike.search(tmp_path / "c", query, where=where)
    assert found.recall is not None
    whole = lookalike.search(tmp_path / "c", query, where=where, exact=True)
    assert (whole.exact, set(whole.labels), len(whole)) == (True, {"teapot", "car"}, 10)
    assert found.ids[0] == whole.ids[0]
