"""Collections whose vectors are the directions of classes, so that each image has a known tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from lookalike.models import registry
from lookalike.models.text.classifier import read_directions
from lookalike.models.text.table import WordTable
from lookalike.store.table import Table
from made import picture

SPACE = "efficientnet-lite0-int8"


@cache
def directions() -> Mapping[str, np.ndarray]:
    """Return the direction of each class of the network, by name."""
    table = WordTable.load()
    rows = read_directions(registry.resolve(SPACE))
    return dict(zip(table.names, rows, strict=True))


def class_collection(path: Path, classes: Mapping[str, str]) -> Table:
    """Make a collection of uris, each with the vector of a class and without a label."""
    table = Table.create(path, [registry.resolve(SPACE)])
    vectors = [directions()[name] for name in classes.values()]
    write_rows(table, list(classes), vectors)
    return table


def write_rows(
    table: Table, uris: Sequence[str], vectors: Sequence[np.ndarray]
) -> None:
    count = len(uris)
    columns = {
        "uri": uris,
        "sha256": [uri.encode().ljust(32) for uri in uris],
        "size": [1] * count,
        "width": [40] * count,
        "height": [30] * count,
        "thumbnail": [picture((90, 120, 150))] * count,
        "spaces": [[SPACE]] * count,
        SPACE: np.stack(vectors),
    }
    table.upsert(columns, replace=True)
