"""A search may return each content once and count its copies, and may end at a distance."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import lookalike
from command import lookalike as run
from command import lookalike_json
from lookalike import Collection
from lookalike.indexing.run import IndexSettings
from lookalike.retrieval.query import RowQuery

COPIES = 12


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory) -> Path:
    """The sample, with copies of one cat, of one car, and of the query."""
    folder = tmp_path_factory.mktemp("copies") / "in"
    shutil.copytree(sample, folder)
    for number in range(COPIES):
        shutil.copy(sample / "cat" / "cat_0001.jpg", folder / f"cat_{number:02}.jpg")
    shutil.copy(sample / "car" / "car_0003.jpg", folder / "teapot" / "misplaced.jpg")
    shutil.copy(sample / "cat" / "cat_0002.jpg", folder / "same as the query.jpg")
    return folder


@pytest.fixture(scope="module", params=["exact", "approximate"])
def collection(folder, tmp_path_factory, request) -> Collection:
    path = tmp_path_factory.mktemp(request.param) / "c"
    least = 10 if request.param == "approximate" else 10_000
    lookalike.index(folder, path, settings=IndexSettings(min_rows=least))
    opened = Collection.open(path)
    found = opened.search(RowQuery(0))
    assert found.exact == (request.param == "exact")
    return opened


@pytest.fixture
def query(folder) -> Path:
    return folder / "cat" / "cat_0002.jpg"


def content_of(uri: str) -> bytes:
    return Path(uri).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3, 7, 45, 1000])
def test_each_content_is_returned_once(collection, folder, query, k):
    everything = collection.search(query, k=1000, exact=True)
    counts = Counter(map(content_of, everything.uris))
    distances = {}
    for match in everything:
        distances.setdefault(content_of(match.uri), match.distance)

    found = collection.search(query, k=k, unique=True)
    contents = [content_of(uri) for uri in found.uris]
    assert contents == list(distances)[:k]
    assert found.copies == [counts[content] for content in contents]
    assert found.distances.tolist() == list(distances.values())[:k]
    assert len(counts) == 45


def test_without_unique_copies_take_the_places(collection, folder):
    """What the test above would not show if each content had one file."""
    cat = folder / "cat" / "cat_0001.jpg"
    plain = collection.search(cat, k=10)
    assert len(set(map(content_of, plain.uris))) == 1
    assert plain.copies is None
    unique = collection.search(cat, k=10, unique=True)
    assert len(set(map(content_of, unique.uris))) == 10
    assert unique.copies[0] == COPIES + 1


def test_copies_are_counted_among_the_rows_that_are_searched(collection, folder, query):
    where = "label = 'cat'"
    by_uri = dict(
        zip(
            (found := collection.search(query, k=99, unique=True, where=where)).uris,
            found.copies,
            strict=True,
        )
    )
    assert set(by_uri.values()) == {1}
    assert len(by_uri) == 5

    # The query's own row is left out, its copy is not.
    rest = collection.search(query, k=1, unique=True, exclude_self=True)
    assert rest.uris == [str(folder / "same as the query.jpg")]
    assert rest.copies == [1]
    assert collection.search(query, k=1, unique=True).copies == [2]


def test_matches_end_at_the_largest_distance(collection, query):
    everything = collection.search(query, k=1000, exact=True)
    distances = everything.distances
    for limit in (0.0, float(distances[20]), float(distances[20]) + 1e-9, 0.7, 99.0):
        expected = int((distances <= limit).sum())
        found = collection.search(query, k=1000, max_distance=limit, exact=True)
        assert found.ids.tolist() == everything.ids[:expected].tolist()
        few = collection.search(query, k=5, max_distance=limit)
        assert few.ids.tolist() == everything.ids[: min(5, expected)].tolist()
        unique = collection.search(query, k=1000, max_distance=limit, unique=True)
        assert len(unique) == len(set(map(content_of, found.uris)))
    assert 0 < int((distances <= 0.7).sum()) < len(distances)
    assert len(collection.search(query, max_distance=0)) == 2


def test_the_command_counts_copies_and_ends_at_a_distance(collection, folder, query):
    words = ["search", query, "-c", collection.path]
    answer = lookalike_json(*words, "--unique", "-k", 4)
    expected = collection.search(query, k=4, unique=True)
    assert answer == expected.to_dict()
    assert [match["copies"] for match in answer["matches"]] == expected.copies
    assert "copies" not in lookalike_json(*words)["matches"][0]

    cat = folder / "cat" / "cat_0001.jpg"
    table = run("search", cat, "-c", collection.path, "--unique", "-k", 2).stdout
    assert f"x{COPIES + 1}" in table.splitlines()[0]
    assert f"x{COPIES + 1}" not in run("search", cat, "-c", collection.path).stdout

    limit = float(expected.distances[2])
    near = lookalike_json(*words, "--max-distance", limit, "--unique")
    assert len(near["matches"]) == 3
    nothing = run(*words, "--max-distance", 0.001, "--where", "label = 'car'")
    assert nothing.stdout == "No image is within the distance 0.001.\n"
    for wrong in ("-1", "nan", "far"):
        done = run(*words, "--max-distance", wrong, status=2)
        assert "distance" in done.stderr


def test_copies_are_a_column_of_the_tables(collection, query):
    matches = collection.search(query, k=3, unique=True)
    frame = matches.to_pandas()
    names = ["rank", "id", "uri", "label", "distance", "copies"]
    assert frame.columns.tolist() == names
    assert frame["copies"].tolist() == matches.copies
    assert matches.to_arrow().column_names == names
    assert [match.copies for match in matches] == matches.copies


def test_many_copies_need_more_than_one_round(tmp_path, sample):
    """Ten different contents behind 200 copies of the nearest."""
    folder = tmp_path / "in"
    shutil.copytree(sample / "car", folder / "car")
    shutil.copytree(sample / "teapot", folder / "teapot")
    for number in range(200):
        shutil.copy(sample / "cat" / "cat_0001.jpg", folder / f"{number:03}.jpg")
    lookalike.index(folder, tmp_path / "c", models=["pixels"])
    found = lookalike.search(tmp_path / "c", folder / "000.jpg", k=11, unique=True)
    assert found.copies == [200, *[1] * 10]
    assert np.all(np.diff(found.distances) >= 0)
