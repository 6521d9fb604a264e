"""PDQ hashes equal those of Facebook's own code, compiled."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from lookalike.duplicates.pdq import hash_image, nearest_hashes, pdq_distances


def waves(height, width):
    y, x = np.mgrid[:height, :width]
    red = 127 + 80 * np.sin(x / 11 + y / 23) + 40 * np.cos(y / 7)
    green = 255 * ((x // 17 + y // 13) % 3) / 2
    blue = 255 * np.hypot(x - width / 3, y - height / 2) / np.hypot(width, height)
    channels = np.stack([red, green, blue], axis=2)
    return Image.fromarray(channels.clip(0, 255).astype(np.uint8))


# By pdqhash 0.2.8, in its order: the bit of the highest frequency first.
PUBLISHED = {
    (107, 160): "0e3ff0c00f3ff0c00f3f5a95f1c01a97a56a1abfa56af540f285f540728d754a",
    (160, 93): "92d2c7b892d26f2d9ad26d2dbad77d2dc79882d0c79883d0cf9882d1451393d6",
    (300, 413): "ffff80224011022a517d82aa527d82aa5279a6ab52fb87ff0d7db82a0ff1b8aa",
    (40, 52): "965869e74516ba69451cbae3965879e74596961c451cb8e3924979e76596c71c",
    (64, 64): "98b934b44b4f36a4b4b4b8b976e4c95b6746c95b98b934b4474636a4b8b836a5",
}


@pytest.mark.parametrize("size", list(PUBLISHED))
def test_hashes_equal_the_published_code(size):
    found = hash_image(waves(*size))
    assert found.hashes[0].tobytes().hex() == PUBLISHED[size]
    assert found.quality == 100


def test_turned_and_mirrored_images_have_one_of_the_orientations():
    image = waves(160, 93)
    hashes = hash_image(image).hashes
    edits = [
        image.rotate(90, expand=True),
        ImageOps.mirror(image),
        ImageOps.flip(image),
    ]
    for edited in edits:
        other = hash_image(edited).hashes
        assert pdq_distances(hashes[np.newaxis], other[np.newaxis])[0] <= 40


def test_flat_and_tiny_images_have_no_quality():
    assert hash_image(Image.new("RGB", (80, 60), "red")).quality == 0
    assert hash_image(Image.new("RGB", (4, 60), "red")).quality == 0


def test_neighbors_equal_a_comparison_of_all(monkeypatch):
    monkeypatch.setattr("lookalike.duplicates.pdq._QUERY_ROWS", 7)
    monkeypatch.setattr("lookalike.duplicates.pdq._GALLERY_ROWS", 5)
    drawn = np.random.default_rng(0).integers(0, 256, (23, 8, 32), dtype=np.uint8)
    bits = np.unpackbits(drawn, axis=2).astype(int)
    distances = np.abs(bits[:, :1, np.newaxis] - bits[np.newaxis]).sum(axis=-1)
    nearest = distances.min(axis=2)[:, 0] if distances.ndim == 4 else distances.min(-1)
    np.fill_diagonal(nearest, 999)
    found = nearest_hashes(drawn[:, 0], drawn, 2, own=np.arange(23))
    assert np.array_equal(found.distances, np.sort(nearest, axis=1)[:, :2])
    assert nearest_hashes(drawn[:1, 0], drawn[:1], 2, own=np.arange(1)).places.size == 0
