"""The local cache of vectors: fewer reads of an object store, and never another table's vectors."""

from __future__ import annotations

import numpy as np
import pytest

import made
from lookalike.store import ann, tuning, vector_cache
from lookalike.store.table import Table

VECTORS = made.drawn(40, dim=16)
SETTING = ann.Setting(k=5, probes=100, candidates=20, recall=1.0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lookalike" / "vectors"


@pytest.fixture
def place(object_store) -> str:
    return object_store.uri("pets")


def vectors(path) -> np.ndarray:
    _, matrix = Table.open(path).vectors(made.SPACE)
    return np.array(matrix)


def data_reads(proxy) -> int:
    return sum("/data/" in request.path for request in proxy.reads)


def test_another_process_reads_the_vectors_from_this_computer(place, faulty_store):
    made.make_collection(place, VECTORS)
    first = vectors(place)
    before = data_reads(faulty_store)
    second = vectors(place)
    assert data_reads(faulty_store) == before
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, VECTORS.astype(np.float16))


@pytest.mark.slow
def test_a_new_version_and_a_new_table_have_their_own_vectors(place):
    table = made.make_collection(place, VECTORS)
    assert len(vectors(place)) == 40
    made.add_rows(table, made.drawn(2, dim=16, seed=1))
    assert len(vectors(place)) == 42
    # Another table at the same address, with the same number of its version.
    for file in list(table.location.files()):
        table.location.remove(file.name)
    other = made.drawn(40, dim=16, seed=2)
    remade = made.make_collection(place, other)
    made.add_rows(remade, made.drawn(2, dim=16, seed=3))
    assert remade.version == table.version
    np.testing.assert_array_equal(vectors(place)[:40], other.astype(np.float16))


def test_a_search_by_the_index_needs_no_request(place, faulty_store):
    table = made.make_collection(place, VECTORS)
    tuning.build_index(table, made.SPACE)
    query = VECTORS[7].astype(np.float16)
    expected = ann.search(table, made.SPACE, query, 5, SETTING)

    table.prepare_cache(made.SPACE)
    before = len(faulty_store.requests)
    found = ann.search(table, made.SPACE, query, 5, SETTING)
    assert len(faulty_store.requests) == before
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_a_damaged_file_is_read_again_from_the_store(place, cache):
    made.make_collection(place, VECTORS)
    expected = vectors(place)
    (file,) = cache.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:1000])
    np.testing.assert_array_equal(vectors(place), expected)
    assert file.stat().st_size > 1000


def test_the_files_that_were_used_longest_ago_are_removed(cache, monkeypatch):
    ids = np.arange(40)
    matrix = VECTORS.astype(np.float16)
    keys = [
        vector_cache.VectorCacheKey("s3://bucket/pets", version, "tag", made.SPACE)
        for version in range(4)
    ]
    vector_cache.keep(keys[0], ids, matrix)
    size = keys[0].file.stat().st_size
    monkeypatch.setattr(vector_cache, "MOST_BYTES", 3 * size)
    for key in keys[1:3]:
        vector_cache.keep(key, ids, matrix)
    assert vector_cache.look_up(keys[0]) is not None  # used last
    vector_cache.keep(keys[3], ids, matrix)
    kept = [vector_cache.look_up(key) is not None for key in keys]
    assert kept == [True, False, True, True]
    # What is larger than the bound is not kept.
    monkeypatch.setattr(vector_cache, "MOST_BYTES", 100)
    another = vector_cache.VectorCacheKey("s3://bucket/other", 1, "tag", made.SPACE)
    vector_cache.keep(another, ids, matrix)
    assert vector_cache.look_up(another) is None


def test_a_folder_that_cannot_be_written_is_no_error(place, cache):
    made.make_collection(place, VECTORS)
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"a file in the place of the folder")
    assert len(vectors(place)) == 40


def test_a_collection_in_a_folder_has_no_cache(tmp_path, cache):
    made.make_collection(tmp_path / "c", VECTORS)
    assert len(vectors(tmp_path / "c")) == 40
    assert not cache.exists()
