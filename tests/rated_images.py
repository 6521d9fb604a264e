"""A collection of rated images, and functions that read its metadata, vectors and trash."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lookalike.store.table import Table


def make_image(path, seed):
    """Write a small image with a content of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(noise).resize((24, 18)).save(path)
    return path


def counts(report):
    names = ("added", "updated", "unchanged", "moved", "restored", "removed", "images")
    return {name: report.to_dict()[name] for name in names if report.to_dict()[name]}


def withheld(report):
    return [
        (kept.folder, str(kept.reason), kept.missing, kept.images)
        for kept in report.withheld
    ]


def ratings(path):
    """Return {uri: rating} of the images of a collection."""
    table = Table.open(path)
    ids = table.select("uri is not null")
    rows = table.take(ids, ["uri", "rating"])
    return dict(zip(rows["uri"].to_pylist(), rows["rating"].to_pylist(), strict=True))


def vectors(path):
    """Return {uri: pixel vector} of the images of a collection."""
    table = Table.open(path)
    ids, matrix = table.vectors("pixels")
    uris = table.take(ids, ["uri"])["uri"].to_pylist()
    return {uri: vector.tolist() for uri, vector in zip(uris, matrix, strict=True)}


def trashed(path):
    """Return {uri: reason} of the rows in the trash."""
    rows = Table.open(path).trash.rows()
    return dict(zip(rows["uri"].to_pylist(), rows["reason"].to_pylist(), strict=True))
