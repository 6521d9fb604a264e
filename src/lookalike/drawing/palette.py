"""Colors of labels, the same in every figure, page and report of a collection."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

__all__ = ["OTHER", "UNLABELED", "Legend", "Palette", "legend", "palette"]

# The page reads the same file.
_FILE = Path(__file__).parents[1] / "page" / "palette.json"

OTHER, UNLABELED = "other labels", "no label"


class Palette(TypedDict):
    """The contents of ``palette.json``; every color is ``#rrggbb``.

    Attributes
    ----------
    distinct
        Ten colors that readers with any color vision distinguish.
    more
        Ten more, for collections with more labels.
    other, unlabeled
        The colors of all less frequent labels, and of images without a label.
    distance
        Colors from the nearest to the furthest, for ``light`` and ``dark`` grounds.
    """

    distinct: list[str]
    more: list[str]
    other: str
    unlabeled: str
    distance: dict[str, list[str]]


class Legend(NamedTuple):
    """The color of each label.

    Attributes
    ----------
    names
        The labels in alphabetical order, then `OTHER` and `UNLABELED` where they occur.
    colors
        ``#rrggbb`` of each name.
    counts
        The number of rows of each name.
    indices
        ``[n]``, the index in `names` of each row.
    """

    names: list[str]
    colors: list[str]
    counts: list[int]
    indices: npt.NDArray[np.intp]


@cache
def palette() -> Palette:
    """Return the one palette that figures and pages share."""
    text = _FILE.read_bytes()
    contents: Palette = json.loads(text)
    return contents


def legend(labels: Sequence[str | None]) -> Legend:
    """Assign colors to labels.

    The 20 most frequent labels get a color each, all others share one, and rows without a label
    are gray. The result depends on the labels' counts alone, not on the order of the rows.

    Parameters
    ----------
    labels
        The label of each row, or None.
    """
    shared = palette()
    available = shared["distinct"] + shared["more"]
    labeled = [label for label in labels if label is not None]
    counts = Counter(labeled)

    # The most frequent labels have a color each.
    by_frequency = sorted(counts, key=lambda label: (-counts[label], label))
    frequent = by_frequency[: len(available)]
    names = sorted(frequent, key=lambda label: (label.casefold(), label))
    colors = available[: len(names)]

    # The index of each row's label, or a marker for an entry that rows share.
    index_of = {name: index for index, name in enumerate(names)}
    unlabeled, other = -1, -2
    indices = np.full(len(labels), unlabeled, np.intp)
    for row, label in enumerate(labels):
        if label is not None:
            indices[row] = index_of.get(label, other)

    # The shared entries come last, where they occur.
    shared_entries = (
        (other, OTHER, shared["other"]),
        (unlabeled, UNLABELED, shared["unlabeled"]),
    )
    for marker, name, color in shared_entries:
        rows = indices == marker
        if rows.any():
            indices[rows] = len(names)
            names.append(name)
            colors.append(color)
    row_counts = np.bincount(indices, minlength=len(names))
    return Legend(names, colors, row_counts.tolist(), indices)
