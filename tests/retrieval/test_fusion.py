"""Answers from several Spaces as one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import lookalike
import made
from command import lookalike as command
from lookalike.errors import InputError
from lookalike.retrieval.fusion import fuse_orders

SPACES = ["efficientnet-lite0-int8", "pixels"]


@pytest.fixture(scope="module")
def path(sample_in_int8):
    return sample_in_int8


def reference(collection, query, k):
    """Sum 1 / (60 + rank) over the Spaces in plain Python."""
    scores = {}
    for space in SPACES:
        for match in collection.search(query, k=len(collection), space=space):
            scores[match.uri] = scores.get(match.uri, 0) + 1 / (60 + match.rank)
    ids = {match.uri: match.id for match in collection.search(query, k=1000)}
    return sorted(scores, key=lambda uri: (-scores[uri], ids[uri]))[:k]


def test_the_answer_equals_the_published_formula(path, sample):
    collection = lookalike.Collection.open(path)
    for label in ("car", "cat", "teapot"):
        query = sample / label / f"{label}_0002.jpg"
        matches = collection.search(query, k=12, space=SPACES)
        assert matches.uris == reference(collection, query, 12)
        assert matches.distances[0] == 0
        assert (np.diff(matches.distances) >= 0).all()
    assert (matches.space, matches.metric) == (" + ".join(SPACES), "rank fusion")


def test_filters_and_options_hold_in_each_space(path, sample):
    collection = lookalike.Collection.open(path)
    query = sample / "car" / "car_0001.jpg"
    matches = collection.search(
        query, k=4, space=SPACES, where="label = 'cat'", unique=True, exclude_self=True
    )
    assert matches.labels == ["cat"] * 4
    assert matches.copies == [1] * 4


def test_a_copy_that_one_space_lacks_is_not_a_second_match(sample, tmp_path):
    path = tmp_path / "c"
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(sample / "car", first)
    shutil.copytree(sample / "car", second)
    lookalike.index(first, path, models=SPACES[:1])
    lookalike.index(second, path, models=SPACES)
    collection = lookalike.Collection.open(path)
    count = len(list(first.iterdir()))
    query = first / "car_0001.jpg"
    matches = collection.search(query, k=100, space=SPACES, unique=True)
    names = [Path(uri).name for uri in matches.uris]
    assert len(names) == len(set(names)) == count
    assert matches.copies == [2] * count
    assert matches.distances[0] == 0


def test_an_evaluation_measures_the_order_of_searches(path, sample):
    collection = lookalike.Collection.open(path)
    *alone, fused = collection.evaluate(fused=True).spaces
    assert fused.title == " + ".join(SPACES)
    firsts = []
    for image in sorted(sample.rglob("*.jpg")):
        matches = collection.search(image, k=1, space=SPACES, exclude_self=True)
        firsts.append(matches.labels[0] == image.parent.name)
    assert fused.metrics["precision_at_1"].value == pytest.approx(np.mean(firsts))
    best = max(scores.metrics["map"].value for scores in alone)
    assert fused.metrics["map"].value < best, "pixels say little about drawings"


def test_the_commands(path, sample):
    words = ["-c", path, "--space", SPACES[0], "--space", SPACES[1]]
    image = sample / "cat" / "cat_0001.jpg"
    found = json.loads(command("search", image, "-k", 3, "--json", *words).stdout)
    assert found["metric"] == "rank fusion"
    assert found["matches"][0]["uri"] == str(image)
    printed = command("evaluate", "--fused", *words).stdout
    assert " + ".join(SPACES) in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": [SPACES[0]] * 2}, "several different ones"),
        ({"space": []}, "Name one"),
        ({"space": SPACES, "max_distance": 1.0}, "different units"),
        ({"space": SPACES, "min_confidence": 0.1}, "different units"),
    ],
)
def test_bad_input(path, sample, options, message):
    collection = lookalike.Collection.open(path)
    with pytest.raises(InputError, match=message):
        collection.search(sample / "cat" / "cat_0001.jpg", **options)


def test_one_space_cannot_be_fused(tmp_path):
    table = made.make_collection(tmp_path / "c", made.drawn(4, dim=8))
    with pytest.raises(InputError, match="cannot be fused"):
        lookalike.Collection(table).evaluate(fused=True)


def test_equal_scores_keep_their_order():
    orders = [np.array([0, 1, 2]), np.array([1, 0, 2])]
    assert fuse_orders(orders).tolist() == [0, 1, 2]
