"""Words in the Space of a network with a classifier: what is understood, and where it points."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from lookalike.errors import InputError, UnknownWordsError
from lookalike.models import registry
from lookalike.models.text.classifier import ClassifierReader, split_by_direction
from lookalike.models.text.reader import load_reader, reads_text
from lookalike.models.text.table import PATH, WordTable
from lookalike.types import Weights
from torch_files import of_array, zipped


@pytest.fixture(scope="module")
def reader():
    return load_reader(registry.resolve("efficientnet-lite0-int8"))


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("grand piano", ["grand piano"]),
        ("Grand-Pianos", ["grand piano"]),
        ("a photo of a grand piano", ["grand piano"]),
        ("pianos", ["grand piano", "upright piano"]),
        ("mice", ["computer mouse"]),
        ("jack-o'-lantern", ["jack-o'-lantern"]),
        ("crane", ["crane (wading bird)", "crane (lifting device)"]),
        ("a leopard on a sofa", ["leopard", "studio couch"]),
    ],
)
def test_words_and_their_forms(reader, text, understood):
    read = reader.read(text)
    assert list(read.understood) == understood
    assert read.unknown == ()
    assert np.linalg.norm(read.vector) == pytest.approx(1, abs=1e-5)


def test_words_that_are_not_understood_are_named(reader):
    assert reader.read("two red leopards").unknown == ("two", "red")


@pytest.mark.parametrize("text", ["asdfgh", "Steinway", "portrait"])
def test_an_unknown_word_is_refused_with_the_nearest_known(reader, text):
    with pytest.raises(UnknownWordsError, match="nearest known words are") as caught:
        reader.read(text)
    known = WordTable.load().words
    assert len(caught.value.suggestions) == 3
    assert all(word in known for word in caught.value.suggestions)


@pytest.mark.parametrize(
    "text", ["собака", "犬", "כלב", "🎹", "the", "person", "z" * 999]
)
def test_texts_without_a_known_word_are_refused(reader, text):
    with pytest.raises(UnknownWordsError, match="No word of"):
        reader.read(text)


def test_a_broad_word_has_a_vector_for_each_kind(reader):
    kinds = reader.read("animal").kinds
    assert 10 < len(kinds) < 50
    np.testing.assert_allclose(np.linalg.norm(kinds, axis=1), 1, atol=1e-5)
    assert reader.read("leopard").kinds is None
    assert reader.read("animal on a sofa").kinds is None


def test_rows_in_opposite_directions_are_split():
    first, second = np.eye(2, 8, dtype=np.float32)
    rows = np.stack([first, -first, first, second, -first])
    sizes = sorted(len(group) for group in split_by_direction(rows))
    assert sum(sizes) == 5
    assert len(sizes) == 2
    same = np.zeros((3, 8), np.float32)
    assert len(split_by_direction(same)) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet-lite0", True),
        ("efficientnet-lite2-int8", True),
        ("inception-v3", True),
        ("inception-v3-torchvision", True),
        ("inception-v3-keras", False),
        ("resnet50", True),
        ("mobilenet-v3-large", True),
        ("sscd", False),
        ("pixels", False),
    ],
)
def test_models_with_a_classifier_read_text(name, expected):
    assert reads_text(registry.resolve(name)) is expected


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("inception-v3", "fc.weight"),
        ("inception-v3-torchvision", "fc.weight"),
        ("resnet50", "fc.weight"),
        ("mobilenet-v3-large", "classifier.3.weight"),
    ],
)
def test_rows_are_read_from_the_published_layout(name, tensor, tmp_path):
    """timm publishes .safetensors; torchvision a .pth, in Inception-v3 with a second classifier."""
    model = registry.resolve(name)
    generator = np.random.default_rng(0)
    rows = generator.normal(1, 1, (1000, model.dim)).astype(np.float16)
    tensors = {tensor: rows, "AuxLogits.fc.weight": rows[:, :768].copy()}
    if name == "inception-v3":
        path = tmp_path / "model.safetensors"
        save_file(tensors, path)
    else:
        path = tmp_path / "model.pth"
        state = {key: of_array(key, array) for key, array in tensors.items()}
        path.write_bytes(zipped(state, tensors))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    made = replace(model, weights=Weights(str(path), sha256=sha256))

    read = load_reader(made).read("grand piano")
    number = WordTable.load().names.index("grand piano")
    exact = rows.astype(np.float64)
    direction = exact[number] - exact.mean(axis=0)
    expected = direction / np.linalg.norm(direction)
    np.testing.assert_allclose(read.vector, expected, atol=1e-5)


def test_words_belong_to_the_plain_mean_of_the_last_block():
    model = registry.resolve("resnet50")
    assert reads_text(replace(model, output=""))
    assert not reads_text(replace(model, output="layer3", dim=1024))
    assert not reads_text(replace(model, options={"power": 3}))


def test_weights_without_a_classifier_say_so(data_root, tmp_path):
    weights = data_root / "weights" / "inception_v3_to_mixed_7a.safetensors"
    description = tmp_path / "part.toml"
    description.write_text(f'base = "inception-v3"\n[weights]\nfile = "{weights}"\n')
    with pytest.raises(InputError, match=r"no tensor fc\.weight of 1,000 x 2048"):
        ClassifierReader.load(registry.resolve(description))


def test_the_table_is_small_and_complete():
    assert PATH.stat().st_size < 40_000
    table = json.loads(gzip.decompress(PATH.read_bytes()))
    assert len(table["names"]) == len(set(table["names"])) == 1000
    numbers = {number for classes in table["words"].values() for number in classes}
    assert numbers == set(range(1000))
    notice = PATH.with_name("MINILM-NOTICE").read_text()
    assert "Apache License, Version 2.0" in notice
    license_text = PATH.with_name("WORDNET-LICENSE").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in license_text
