"""Search by words: what texts are refused, and how a text joins images and rows."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

import lookalike
from command import lookalike as run
from command import lookalike_json
from lookalike import Collection
from lookalike.errors import InputError
from lookalike.models.text import phrases
from lookalike.retrieval.query import RowQuery, TextQuery, WeightedQuery


@pytest.fixture(scope="module")
def collection(sample, build_once):
    """The drawn sample in the default Space and in pixel space."""
    models = ["efficientnet-lite0-int8", "pixels"]
    path = build_once(
        "words", lambda folder: lookalike.index(sample, folder, models=models)
    )
    return Collection.open(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \t\n ", "is empty"),
        ("piano " * 10_000, "60,000 characters; expected at most 1,000"),
        ("a\0b", r"control character U\+0000"),
        ("\ud83d", r"invalid character U\+D83D"),
        ("\u200b\u202e", "is empty"),
        (b"piano", "type bytes"),
    ],
)
def test_texts_that_no_reader_gets(text, message):
    with pytest.raises(InputError, match=message):
        TextQuery(text)


def test_a_text_is_one_line():
    assert TextQuery("  grand \n piano ").text == "grand piano"
    # Of a copied text, what nobody sees is left out.
    assert TextQuery("\ufeff\u202egrand pi\u00adano\u200b").text == "grand piano"


def test_a_space_without_words_names_those_with(collection):
    with pytest.raises(
        InputError, match=r"'pixels' knows no words.* in: efficientnet-lite0-int8"
    ):
        collection.search(TextQuery("piano"), space="pixels")


@pytest.mark.parametrize(
    ("text", "label"),
    [("airplanes", "airplane"), ("a butterfly", "butterfly"), ("car", "car")],
)
def test_words_find_their_images(collection, text, label):
    matches = collection.search(TextQuery(text), k=3)
    assert matches.labels == [label] * 3
    (understood,) = matches.understood
    assert understood.text == text
    assert understood.words


@pytest.mark.skipif(
    not phrases.are_available(), reason="the extra words is not installed"
)
def test_a_phrase_finds_its_images_and_says_what_was_understood(collection):
    shown = run("search", "--text", "Boeing 747", "-c", collection.path, "-k", "2")
    assert shown.stdout.startswith("Searching for: airliner, ")
    assert shown.stdout.count("/airplane/") == 2
    (understood,) = collection.search(text="Boeing 747", k=1).understood
    assert understood.text == "Boeing 747"
    assert understood.words[0] == "airliner"
    assert understood.unknown == ()


def test_words_for_many_kinds_find_each(collection):
    searcher = collection.searcher()
    matches = collection.search(TextQuery("vehicle"), k=10)
    kinds = searcher.read_text("vehicle").kinds
    assert kinds is not None
    ids, stored = collection.table.vectors("efficientnet-lite0-int8")
    differences = stored[:, np.newaxis] - kinds.astype(np.float16).astype(np.float32)
    nearest = np.linalg.norm(differences, axis=2).min(axis=1)
    order = np.lexsort((ids, nearest))[:10]
    assert matches.ids.tolist() == ids[order].tolist()
    np.testing.assert_allclose(matches.distances, nearest[order], atol=1e-3)


def test_a_text_mixes_with_rows_and_negatives(collection):
    butterfly = collection.search(TextQuery("butterfly"), k=1)
    row = RowQuery(int(butterfly.ids[0]))
    mixed = collection.search([row, WeightedQuery(TextQuery("car"), 20)], k=3)
    assert mixed.labels == ["car"] * 3
    assert [one.text for one in mixed.understood] == ["car"]

    without = collection.search(
        [row, TextQuery("car")], negative=TextQuery("car"), gamma=1, k=3
    )
    assert without.labels == ["butterfly"] * 3


def test_negatives_of_no_strength_change_no_answer(collection):
    alone = collection.search(text="vehicle", k=10)
    negative = TextQuery("butterfly")
    matches = collection.search(text="vehicle", negative=negative, gamma=0, k=10)
    assert matches.ids.tolist() == alone.ids.tolist()
    np.testing.assert_array_equal(matches.distances, alone.distances)


def test_many_texts_at_once_answer_as_one_by_one(collection):
    texts = [TextQuery("car"), TextQuery("vehicle")]
    together = collection.search_many(texts, k=5)
    for query, matches in zip(texts, together, strict=True):
        alone = collection.search(query, k=5, exact=True)
        assert matches.ids.tolist() == alone.ids.tolist()
        assert matches.understood == alone.understood


def test_a_calibration_for_images_is_not_used_for_words(sample, tmp_path):
    collection = Collection.create(tmp_path / "c", ["efficientnet-lite0-int8"])
    collection.index(sample)
    collection.calibrate()
    ids, _ = collection.table.vectors(collection.spaces[0])
    row = RowQuery(int(ids[0]))
    assert collection.search(row).confidences is not None
    assert collection.search(TextQuery("car")).confidences is None
    cut = collection.search(TextQuery("guitar"), k=100, min_confidence=0.5)
    assert set(cut.labels) == {"guitar"}


def test_a_smallest_confidence_keeps_the_matches_that_the_network_is_sure_of(
    collection,
):
    every = collection.search(text="guitar", k=100, min_confidence=0)
    sure = every.confidences >= 0.5
    assert 0 < sure.sum() < len(every)
    cut = collection.search(text="guitar", k=100, min_confidence=0.5)
    assert cut.ids.tolist() == every.ids[sure].tolist()
    assert cut.confidences.tolist() == every.confidences[sure].tolist()
    assert cut.distances.tolist() == every.distances[sure].tolist()
    assert cut.labels.count("guitar") == len(cut)
    # The limit of likeness is one for images.
    assert cut.answer is None
    assert cut.alike is None
    unique = collection.search(text="guitar", k=3, unique=True, min_confidence=0.5)
    assert len(unique.copies) == len(unique.confidences) == len(unique)


def test_texts_of_several_words_have_no_matches_of_a_confidence(collection):
    assert len(collection.search(text="car and butterfly", min_confidence=0)) == 10
    with pytest.raises(InputError, match=r"one known word.*Search by one word"):
        collection.search(text="car and butterfly", min_confidence=0.5)
    with pytest.raises(InputError, match="search by 2 examples"):
        collection.search(text=["car", "butterfly"], min_confidence=0.5)


def test_the_command_leaves_out_matches_that_the_network_is_not_sure_of(collection):
    asked = ("search", "-c", collection.path, "--text", "guitar", "--min-confidence")
    data = lookalike_json(*asked, "0.5", "-k", "100")
    assert all(match["confidence"] >= 0.5 for match in data["matches"])
    assert 0 < len(data["matches"]) < 100
    assert "Less alike" not in run(*asked, "0").stdout
    nothing = run(*asked, "1").stdout
    assert "No match has that confidence. The best of the first ten has 0." in nothing


def test_the_command_says_what_it_searched_for(collection):
    done = run("search", "--text", "two cars", "-c", collection.path, "-k", "3")
    assert done.stdout.startswith("Searching for: ")
    assert "Not understood: two." in done.stdout
    data = lookalike_json("search", "--text", "airliner", "-c", collection.path)
    (understood,) = data["understood"]
    assert 0 < understood.pop("confidence") < 1
    assert understood == {"text": "airliner", "words": ["airliner"], "unknown": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Steinway", "No word of 'Steinway' is known. The nearest known words are: "),
        ("", "The text of the query is empty."),
        ("\N{GUITAR}", "The known words are 3,217 English nouns"),
        ("\u05db\u05dc\u05d1", "The known words are 3,217 English nouns"),
        ("z" * 999, f"No word of '{'z' * 40}…' is known."),
        ("piano " * 10_000, "expected at most 1,000. Search by a few words."),
        ("a\x1b[31m", r"The text 'a\x1b[31m' has the control character U+001B."),
    ],
)
def test_the_command_says_why_a_text_is_refused(collection, text, message):
    failed = run("search", f"--text={text}", "-c", collection.path, status=2)
    assert message in " ".join(failed.stderr.split())


def test_a_search_by_an_image_loads_no_words(collection, sample):
    script = """
import sys
from lookalike import Collection
Collection.open(sys.argv[1]).search(sys.argv[2], k=1)
print(*sys.modules)
"""
    image = str(min(sample.rglob("*.jpg")))
    done = subprocess.run(
        [sys.executable, "-c", script, str(collection.path), image],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "lookalike.retrieval.texts" in loaded
    text = "lookalike.models.text"
    assert not loaded & {f"{text}.table", f"{text}.classifier", f"{text}.phrases"}


def test_python_takes_texts_beside_images(collection):
    matches = collection.search(text=["car", "butterfly"], k=3)
    assert [one.text for one in matches.understood] == ["car", "butterfly"]
    assert lookalike.search(collection, text="car", k=1).labels == ["car"]


def test_labels_as_words_are_measured(collection):
    data = lookalike_json("evaluate", "--text", "labels", "-c", collection.path)
    (space,) = data["spaces"]
    assert space["images"] == len(collection)
    texts = {score["text"]: score for score in space["texts"]}
    assert {*texts, *space["not_understood"]} == set(collection_labels(collection))
    airplane = texts["airplane"]
    matches = collection.search(text="airplane", k=10)
    found = sum(label == "airplane" for label in matches.labels)
    assert airplane["precision"] == found / 10
    assert airplane["chance"] == pytest.approx(airplane["images"] / len(collection))
    mean = space["average_precision"]
    low, high = mean["interval"]
    assert low <= mean["value"] <= high
    assert mean["value"] > 2 * space["chance"]

    refused = run("evaluate", "--text", "names", "-c", collection.path, status=2)
    assert "expected labels" in refused.stderr
    for others in [("--absent", "1"), ("--fused",), ("--rank", "plain")]:
        refused = run("evaluate", "--text", "labels", *others, status=2)
        assert "leave the others out" in refused.stderr


def test_labels_are_measured_in_each_space_that_knows_words(sample, tmp_path):
    path = tmp_path / "c"
    knowing = ["efficientnet-lite0-int8", "efficientnet-lite0"]
    lookalike.index(sample / "car", path, models=["pixels", *knowing])
    data = lookalike_json("evaluate", "--text", "labels", "-c", path)
    assert [space["space"] for space in data["spaces"]] == knowing

    refused = run(
        "evaluate", "--text", "labels", "--space", "pixels", "-c", path, status=2
    )
    assert "'pixels' knows no words" in refused.stderr


def test_labels_that_are_not_words_do_not_end_the_measurement(sample, tmp_path):
    images = tmp_path / "images"
    for number, label in enumerate(["car", "_", "!!", "\N{GUITAR}"], 1):
        folder = images / label
        folder.mkdir(parents=True)
        shutil.copy(sample / "car" / f"car_{number:04}.jpg", folder)
    lookalike.index(images, tmp_path / "c")
    evaluation = Collection.open(tmp_path / "c").evaluate_texts()
    assert [score.text for score in evaluation.texts] == ["car"]
    assert set(evaluation.not_understood) == {"_", "!!", "\N{GUITAR}"}


def collection_labels(collection):
    for batch in collection.table.scan(["label"], None):
        yield from batch["label"].to_pylist()
