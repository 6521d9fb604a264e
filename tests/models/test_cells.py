"""A network without its pooling gives the features of each cell, at any input size."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.errors import ModelError
from lookalike.models import cells, embedder
from lookalike.models.cells import CellNetworks, load_cells
from lookalike.models.registry import resolve
from lookalike.vectors import unit_length
from references import inception_at_mixed_7a


def noise(model, count: int = 2) -> np.ndarray:
    shape = (count, *model.size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_the_mean_of_the_cells_is_the_vector():
    model = resolve("efficientnet-lite0")
    images = noise(model)
    features = load_cells(model, size=model.size).feature_map(images)
    assert features.shape == (2, 7, 7, 1280)
    vectors = unit_length(features.mean(axis=(1, 2)))
    np.testing.assert_allclose(vectors, embedder.load(model).embed(images), atol=1e-6)


def test_eight_bit_networks_give_the_cells_of_their_float_network():
    model = resolve("efficientnet-lite0")
    network = load_cells(resolve("efficientnet-lite0-int8"))
    assert network.model.size == (448, 448)
    images = noise(network.model, 1)
    features = network.feature_map(images)
    assert features.shape == (1, 14, 14, 1280)
    np.testing.assert_array_equal(features, load_cells(model).feature_map(images))


@pytest.mark.slow
def test_inception_gives_the_cells_of_the_block_that_its_weights_reach(
    data_root, tmp_path
):
    file = data_root / "weights" / "inception_v3_to_mixed_7a.safetensors"
    network = load_cells(inception_at_mixed_7a(file, tmp_path))
    features = network.feature_map(noise(network.model, 1))
    assert features.shape == (1, 12, 12, 1280)


def test_pixels_have_no_cells():
    with pytest.raises(ModelError, match="has no network with cells"):
        load_cells(resolve("pixels"))


def test_few_networks_are_kept(monkeypatch):
    loaded = []

    def load(model, *, threads):
        loaded.append(model.name)
        return object()

    monkeypatch.setattr(cells, "load_cells", load)
    first, second, third = map(
        resolve, ("efficientnet-lite0", "efficientnet-lite2", "efficientnet-lite2-int8")
    )
    networks = CellNetworks(2)
    kept = networks.get(first)
    networks.get(second)
    assert networks.get(first) is kept
    networks.get(third)  # in the place of the second, which is unused for longest
    assert networks.get(first) is kept
    networks.get(second)
    assert loaded == [first.name, second.name, third.name, second.name]
