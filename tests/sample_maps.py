"""Maps and their collections, made without images or models."""

from __future__ import annotations

import numpy as np

from lookalike.projection.map import Map
from made import SPACE, add_rows, make_collection, picture

FIDELITY = {
    "k": 10,
    "trustworthiness": 0.9,
    "preservation": 0.5,
    "queries": 2,
    "rows": 2,
}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "$x^2$ & <b>",
    "日本語 ラベル",
    "\u202ereversed\u2028",
    "a" * 300,
]


def map_of(ids, xy) -> Map:
    """Return a t-SNE map with these positions."""
    ids = np.asarray(ids, np.int64)
    fitted = np.ones(len(ids), np.bool_)
    return Map(ids, np.asarray(xy, np.float32), fitted, SPACE, "tsne", 0, {}, FIDELITY)


def collection_of(path, count, *, labels=None, uris=None, thumbnails=None):
    """Make a collection of `count` random rows with thumbnails of one color each."""
    collection = make_collection(path, np.eye(4, dtype=np.float32)[:1])
    collection.delete(collection.vectors(SPACE)[0])
    colors = [
        tuple(int(part) for part in row)
        for row in np.random.default_rng(0).integers(0, 256, (count, 3))
    ]
    add_rows(
        collection,
        np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32),
        labels=labels,
        uris=uris,
        thumbnails=thumbnails or [picture(color) for color in colors],
    )
    return collection
