"""Words as vectors of a network with a classifier: its last layer has a direction for each class.

A network that was trained to tell 1,000 kinds of objects apart has a row of weights for each kind,
in the space of its features. A word is the mean of the rows of the kinds that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

import numpy as np
import numpy.typing as npt

from lookalike import vectors
from lookalike.errors import InputError
from lookalike.models import tensors, weights
from lookalike.models.text.reader import ReadText
from lookalike.models.text.table import Found, WordTable
from lookalike.types import Model, VectorsF32

__all__ = [
    "ClassifierReader",
    "has_classifier",
    "read_directions",
    "split_by_direction",
]

_CLASS_COUNT = 1000
# docs/words.md has the measurements.
_LEAST_LENGTH = 0.4
_MAX_ROUNDS = 10

# The weights of the classifier in the weights file of an architecture, and the block before it.
_LAYERS: Mapping[str, tuple[str, str]] = {
    "efficientnet-lite": ("_fc.weight", "head"),
    "inception-v3": ("fc.weight", "mixed_7c"),
    "mobilenet-v3": ("classifier.3.weight", "hidden"),
    "resnet": ("fc.weight", "layer4"),
}


def has_classifier(model: Model) -> bool:
    """Return whether a Model's weights file has a classifier of the features of its Space."""
    layer = _LAYERS.get(model.architecture)
    if layer is None:
        return False
    _, last_block = layer
    # Each of these blocks is also what an architecture gives where no output is named.
    is_last = model.output in {"", last_block}
    # The classes are computed from the plain mean of the cells.
    power = model.options.get("power", 1)
    is_pooled = model.pooling == "mean" and power == 1
    # The file of Keras ends before the classifier.
    naming = model.options.get("naming")
    has_layer = naming != "keras"
    return is_last and is_pooled and model.unit_length and has_layer


class ClassifierReader:
    """Reads the words of a `WordTable` in the Space of a network with a classifier.

    Parameters
    ----------
    table
        The words and their classes.
    rows
        float32 ``[1000, dim]``, the direction of each class, of unit length.
    """

    def __init__(self, table: WordTable, rows: VectorsF32) -> None:
        self._table = table
        self._rows = rows

    @classmethod
    def load(cls, model: Model) -> Self:
        """Read the table, and the classifier from the Model's weights file.

        Raises
        ------
        InputError
            If the file has no classifier of 1,000 classes.
        WeightsError
            If the file is missing or refused.
        """
        table = WordTable.load()
        rows = read_directions(model)
        return cls(table, rows)

    def read(self, text: str) -> ReadText:
        """Return the mean direction of the classes that a text stands for.

        Raises
        ------
        UnknownWordsError
            If no word of the text is known.
        """
        found = self._table.find(text)
        rows_of_words = []
        for numbers in found.words.values():
            places = list(numbers)
            rows = self._rows[places]
            rows_of_words.append(rows)
        # Each word counts alike, however many classes it has.
        vector = _mean_of_directions(rows_of_words)

        kinds: VectorsF32 | None = None
        # Of several words all are meant: "a dog on a sofa".
        if len(rows_of_words) == 1:
            kinds = _kinds_of(rows_of_words[0])
        names = self._names(found)
        unknown = tuple(found.unknown)
        return ReadText(vector, names, unknown, kinds)

    def _names(self, found: Found) -> tuple[str, ...]:
        """Return the names of the classes that some words stand for, each once."""
        names: dict[str, None] = {}
        for numbers in found.words.values():
            for number in numbers:
                name = self._table.names[number]
                names[name] = None
        return tuple(names)


def _mean_of_directions(groups: Iterable[VectorsF32]) -> VectorsF32:
    directions = [_direction(group) for group in groups]
    stacked = np.stack(directions)
    return _direction(stacked)


def _kinds_of(rows: VectorsF32) -> VectorsF32 | None:
    """Return the direction of each kind among some classes; None if all are of one kind."""
    groups = split_by_direction(rows)
    if len(groups) == 1:
        return None
    directions = [_direction(group) for group in groups]
    return np.stack(directions)


def split_by_direction(rows: VectorsF32) -> list[VectorsF32]:
    """Split unit-length rows into groups, each with a mean of at least the length 0.4.

    The mean of rows in many directions is short, and stands for none of them. Each group is split
    in two by the direction in which its rows differ most.
    """
    waiting = [rows]
    groups = []
    while waiting:
        group = waiting.pop()
        mean = group.mean(axis=0)
        length = np.linalg.norm(mean)
        halves = []
        if length < _LEAST_LENGTH:
            halves = _halve(group, mean)
        if len(halves) == 2:
            waiting += halves
        else:
            groups.append(group)
    return groups


def _halve(group: VectorsF32, mean: VectorsF32) -> list[VectorsF32]:
    """Return a group in two parts, or in one where its rows are all alike."""
    # Begin with the sides of the direction in which the rows differ most.
    centered = group - mean
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    axis = axes[0]
    along = centered @ axis
    parts = _parts(group, along > 0)
    for _ in range(_MAX_ROUNDS):
        if len(parts) < 2:
            break
        # Each row joins the part whose mean it is nearer to.
        first, second = map(_direction, parts)
        to_first = group @ first
        to_second = group @ second
        parts = _parts(group, to_first > to_second)
    return parts


def _parts(group: VectorsF32, is_first: npt.NDArray[np.bool_]) -> list[VectorsF32]:
    """Return the rows on each side, without an empty side."""
    parts = []
    for side in (is_first, ~is_first):
        part = group[side]
        if len(part):
            parts.append(part)
    return parts


def _direction(rows: VectorsF32) -> VectorsF32:
    """Return the mean of some rows, scaled to unit length."""
    mean = rows.mean(axis=0)
    row = mean[np.newaxis]
    scaled = vectors.unit_length(row)
    direction: VectorsF32 = scaled[0]
    return direction


def read_directions(model: Model) -> VectorsF32:
    """Return the direction of each class: its weights, without what all classes share."""
    name, _ = _LAYERS[model.architecture]
    path = weights.find(model)
    numbers = tensors.read_tensors(path)
    stored = numbers.get(name)
    expected = (_CLASS_COUNT, model.dim)
    if stored is None or stored.shape != expected:
        raise InputError(
            f"The weights {path} have no tensor {name} of {_CLASS_COUNT:,} x {model.dim} numbers, "
            f"so the model {model.name!r} knows no words. Give weights with their classifier, or "
            "search by an image."
        )
    rows = stored.astype(np.float32)
    shared = rows.mean(axis=0)
    centered = rows - shared
    is_finite = np.isfinite(centered)
    if not is_finite.all():
        raise InputError(
            f"The tensor {name} of {path} has numbers that are not finite. Replace the file."
        )
    return vectors.unit_length(centered)
