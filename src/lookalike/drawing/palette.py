"""Colours for labels, the same in every picture of a collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["OTHER", "UNLABELLED", "Legend", "legend"]

# The first six are those of Okabe and Ito (2008), the next four were sought to stay apart from them and from one
# another under protanopia, deuteranopia and tritanopia (Machado et al. 2009), on white and on near-black.
_TOLD_APART = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#80386f", "#b5c995", "#2f5c01",
               "#956274")  # fmt: skip
# For more labels than anyone tells apart by colour alone.
_MORE = (
    "#7743c1",
    "#ff7dce",
    "#49c383",
    "#c58e59",
    "#4e69db",
    "#21958c",
    "#a19dfa",
    "#ed5a84",
    "#8a7a00",
    "#b3402a",
)
_OTHER, _UNLABELLED = "#6f7a84", "#a9b2ba"

OTHER, UNLABELLED = "other labels", "no label"


class Legend(NamedTuple):
    """Which colour stands for which label.

    Attributes
    ----------
    names
        The labels by the alphabet, then `OTHER` and `UNLABELLED` where they are needed.
    colours
        ``#rrggbb`` for each.
    counts
        How many rows each has.
    of
        ``[n]``, for each row its place in `names`.
    """

    names: list[str]
    colours: list[str]
    counts: list[int]
    of: npt.NDArray[np.intp]


def legend(labels: Sequence[str | None]) -> Legend:
    """Give labels their colours: the 20 most frequent one each, all others one, and grey where there is none."""
    counts = Counter(label for label in labels if label is not None)
    palette = (*_TOLD_APART, *_MORE)
    frequent = sorted(counts, key=lambda label: (-counts[label], label))[: len(palette)]
    names = sorted(frequent, key=lambda label: (label.casefold(), label))
    colours = list(palette[: len(names)])
    place = {label: index for index, label in enumerate(names)}
    of = np.array([-1 if label is None else place.get(label, -2) for label in labels], np.intp)
    for missing, name, colour in ((-2, OTHER, _OTHER), (-1, UNLABELLED, _UNLABELLED)):
        rows = of == missing
        if rows.any():
            of[rows] = len(names)
            names.append(name)
            colours.append(colour)
    return Legend(names, colours, np.bincount(of, minlength=len(names)).tolist(), of)
