from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import CollectionError
from lookalike.store import maps

FACTS = {
    "asked": {"seed": 0, "perplexity": "auto"},
    "parameters": {"name": "žluťoučký"},
    "fidelity": {"k": None},
}


@pytest.fixture
def stored_map():
    ids = np.array([3, 5, 2**62], np.int64)
    xy = np.array([[0, 1], [-2.5, 3], [1e-9, 1e9]], np.float32)
    return maps.StoredMap(
        ids,
        xy,
        np.array([True, False, True]),
        np.array([0, 1, 2**64 - 1], np.uint64),
        FACTS,
    )


def test_a_map_is_read_back_unchanged(stored_map, tmp_path):
    maps.write(str(tmp_path), "numbers", "tsne", stored_map)
    back = maps.read(str(tmp_path), "numbers", "tsne")
    for field in ("ids", "xy", "fitted", "digests"):
        np.testing.assert_array_equal(getattr(back, field), getattr(stored_map, field))
        assert getattr(back, field).dtype == getattr(stored_map, field).dtype
    assert back.facts == FACTS


def test_a_new_collection_has_no_map(tmp_path):
    assert maps.read(str(tmp_path), "numbers", "tsne") is None


def test_each_space_and_method_has_its_own_map(stored_map, tmp_path):
    maps.write(str(tmp_path), "numbers", "tsne", stored_map)
    assert maps.read(str(tmp_path), "numbers", "pca") is None
    assert maps.read(str(tmp_path), "pixels", "tsne") is None


@pytest.mark.parametrize("space", ["a/b", "..", "con:1", "ünïcode", "%2F"])
def test_the_name_of_a_space_cannot_leave_the_folder(stored_map, tmp_path, space):
    maps.write(str(tmp_path), space, "tsne", stored_map)
    assert Path(maps.map_path(str(tmp_path), space, "tsne")).parent == tmp_path / "maps"
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]
    assert maps.read(str(tmp_path), space, "tsne").facts == FACTS


def test_stored_maps_are_listed_by_space_and_method(stored_map, tmp_path):
    assert maps.list_maps(str(tmp_path)) == []
    for space, method in (("numbers", "tsne"), ("a-b/c", "tsne"), ("a-b/c", "pca")):
        maps.write(str(tmp_path), space, method, stored_map)
    assert maps.list_maps(str(tmp_path)) == [
        ("a-b/c", "pca"),
        ("a-b/c", "tsne"),
        ("numbers", "tsne"),
    ]


def test_a_new_map_replaces_the_previous_one(stored_map, tmp_path):
    for commit in (1, 2, 3):
        fewer = dataclasses.replace(
            stored_map,
            **{
                name: getattr(stored_map, name)[:commit]
                for name in ("ids", "xy", "fitted")
            },
        )
        fewer = dataclasses.replace(
            fewer, digests=stored_map.digests[:commit], facts={"commit": commit}
        )
        maps.write(str(tmp_path), "numbers", "tsne", fewer)
        assert [path.name for path in (tmp_path / "maps").iterdir()] == [
            "numbers-tsne.arrow"
        ]
        back = maps.read(str(tmp_path), "numbers", "tsne")
        assert (len(back.ids), back.facts) == (commit, {"commit": commit})


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_damaged_map_is_named_with_a_remedy(stored_map, tmp_path, share):
    maps.write(str(tmp_path), "numbers", "tsne", stored_map)
    file = Path(maps.map_path(str(tmp_path), "numbers", "tsne"))
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(
        CollectionError,
        match=r"numbers-tsne\.arrow could not be read: .*Delete the file",
    ):
        maps.read(str(tmp_path), "numbers", "tsne")


def test_a_folder_in_the_place_of_a_map_is_named(tmp_path):
    Path(maps.map_path(str(tmp_path), "numbers", "tsne")).mkdir(parents=True)
    with pytest.raises(CollectionError, match="could not be read"):
        maps.read(str(tmp_path), "numbers", "tsne")


def test_a_file_in_the_way_is_named(stored_map, tmp_path):
    (tmp_path / "maps").write_text("in the way")
    with pytest.raises(CollectionError, match="could not be written"):
        maps.write(str(tmp_path), "numbers", "tsne", stored_map)


def test_a_missing_collection_is_named_and_not_created_again(stored_map, tmp_path):
    gone = str(tmp_path / "gone")
    with pytest.raises(CollectionError) as raised:
        maps.write(gone, "numbers", "tsne", stored_map)
    assert str(raised.value).startswith(
        f"The collection {gone} could not be written: its folder no longer exists."
    )
    assert list(tmp_path.iterdir()) == []
