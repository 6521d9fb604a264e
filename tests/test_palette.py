"""Labels keep distinct colors, for every color vision and in every order of rows."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.drawing.palette import OTHER, UNLABELED, legend


def test_each_label_has_its_own_color():
    key = legend(["b", "A", "b", "c"])
    assert (key.names, key.counts, key.indices.tolist()) == (
        ["A", "b", "c"],
        [1, 2, 1],
        [1, 0, 1, 2],
    )
    assert len(set(key.colors)) == 3


def test_row_order_does_not_change_colors():
    forth, back = legend(["x", "y", "z"]), legend(["z", "y", "x"])
    assert dict(zip(forth.names, forth.colors, strict=True)) == dict(
        zip(back.names, back.colors, strict=True)
    )


def test_missing_labels_come_last_in_gray():
    key = legend([None, "a", None])
    assert (key.names, key.counts, key.indices.tolist()) == (
        ["a", UNLABELED],
        [1, 2],
        [1, 0, 1],
    )
    assert legend([None]).names == [UNLABELED]


def test_only_the_twenty_most_frequent_labels_have_their_own_color():
    labels = [f"{index:02}" for index in range(30) for _ in range(30 - index)] + [None]
    key = legend(labels)
    assert key.names == [*(f"{index:02}" for index in range(20)), OTHER, UNLABELED]
    assert key.counts[20:] == [sum(range(1, 11)), 1]
    assert len(set(key.colors)) == 22
    assert sum(key.counts) == len(labels)


# Machado, Oliveira, Fernandes: A physiologically-based model for simulation of color vision
# deficiency, 2009.
COLOR_VISION = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


def oklab(linear: np.ndarray) -> np.ndarray:
    """Return colors in a space where equal steps look equal (Ottosson, 2020)."""
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
             [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    axes = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.808675766]]  # fmt: skip
    return np.cbrt(linear @ np.transpose(cones)) @ np.transpose(axes)


@pytest.mark.parametrize("vision", COLOR_VISION)
def test_ten_labels_are_distinct_for_every_color_vision(vision):
    colors = legend([str(index) for index in range(10)]).colors
    shown = (
        np.array(
            [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in colors]
        )
        / 255
    )
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    seen = oklab(np.clip(linear @ np.transpose(COLOR_VISION[vision]), 0, 1))
    apart = np.linalg.norm(seen[:, np.newaxis] - seen, axis=2) + np.eye(10)
    assert apart.min() > 0.06  # three times the just noticeable difference
