"""Tags: the words that a network with a classifier has for an image, from its vector alone.

The score of a class is the dot product of a vector with the direction of the class. How large the
scores are differs from image to image, so each is compared with those of all other classes: it is
standardized, and a softmax turns the scores of an image into shares. A kind, such as a dog, has the
shares of its classes together. A tag is a class or a kind with a share of at least 0.3;
docs/decisions/0045-tags.md has the measurements.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lookalike.models.text.classifier import has_classifier, read_directions
from lookalike.models.text.shares import class_shares
from lookalike.models.text.table import WordTable
from lookalike.types import Model, VectorsF32

__all__ = ["LEAST_SHARE", "MAX_TAGS", "Tagger", "has_tags"]

LEAST_SHARE = 0.3
MAX_TAGS = 3
_KINDS = Path(__file__).with_name("kinds.toml")
_ROWS_OF_BLOCK = 1 << 12


class _Candidate(NamedTuple):
    """A word that may be a tag, and the numbers of its classes.

    A word is broad if another one stands for some of its classes: an insect may be a butterfly.
    """

    word: str
    classes: frozenset[int]
    is_broad: bool


def has_tags(model: Model) -> bool:
    """Return whether the vectors of a Model can be tagged."""
    if model.learned is not None:
        # The rows of the classifier lie in the Space of the network, not in that of a learned map.
        return False
    return has_classifier(model)


class Tagger:
    """Finds the tags of vectors.

    Parameters
    ----------
    names
        The name of each class.
    kinds
        The numbers of the classes of each kind.
    directions
        float32 ``[classes, dim]``, the direction of each class, of unit length.
    least_share
        The smallest share of a tag.
    """

    def __init__(
        self,
        names: Sequence[str],
        kinds: Mapping[str, frozenset[int]],
        directions: VectorsF32,
        least_share: float = LEAST_SHARE,
    ) -> None:
        self._directions = directions
        self._least_share = least_share
        candidates = _list_candidates(names, kinds)
        self._candidates = candidates

    @classmethod
    def load(cls, model: Model) -> Tagger:
        """Read the words, and the classifier from the Model's weights file.

        Raises
        ------
        InputError
            If the file has no classifier of 1,000 classes.
        WeightsError
            If the file is missing or refused.
        """
        table = WordTable.load()
        names = table.names
        kinds = read_kinds(table)
        directions = read_directions(model)
        return cls(names, kinds, directions)

    def tag(self, vectors: VectorsF32) -> list[list[str]]:
        """Return the tags of each vector, three at most.

        The order is that of the shares, but a broad word comes after the others.

        Parameters
        ----------
        vectors
            float32 ``[n, dim]``, of unit length.
        """
        count = len(vectors)
        tags = []
        starts = range(0, count, _ROWS_OF_BLOCK)
        for start in starts:
            end = start + _ROWS_OF_BLOCK
            block = vectors[start:end]
            tags_of_block = self._tag_block(block)
            tags += tags_of_block
        return tags

    def _tag_block(self, vectors: VectorsF32) -> list[list[str]]:
        directions = self._directions.T
        scores = vectors @ directions
        shares = class_shares(scores)
        candidates = self._candidates
        tags: list[list[str]] = [[] for _ in vectors]
        for row, place in self._choose(shares):
            words = tags[row]
            if len(words) == MAX_TAGS:
                continue
            candidate = candidates[place]
            words.append(candidate.word)
        return tags

    def _choose(self, shares: VectorsF32) -> Iterator[tuple[int, int]]:
        """Yield each row and the place of a candidate that is a tag, in the order of the tags."""
        candidates = self._candidates
        shares_of_words = _add_up(shares, candidates)
        is_tag = shares_of_words >= self._least_share
        rows, places = np.nonzero(is_tag)
        tag_shares = shares_of_words[is_tag]
        broad = [candidate.is_broad for candidate in candidates]
        is_broad = np.array(broad)
        # Kinds are listed before classes: of equal shares, that of the kind is named first.
        keys = (places, -tag_shares, is_broad[places], rows)
        order = np.lexsort(keys)
        sorted_rows = rows[order]
        sorted_places = places[order]
        yield from zip(sorted_rows.tolist(), sorted_places.tolist(), strict=True)


def _add_up(shares: VectorsF32, candidates: Sequence[_Candidate]) -> VectorsF32:
    """Return the share of each candidate, from those of its classes."""
    columns = []
    for candidate in candidates:
        classes = list(candidate.classes)
        parts = shares[:, classes]
        column = parts.sum(axis=1)
        columns.append(column)
    return np.stack(columns, axis=1)


def read_kinds(table: WordTable) -> dict[str, frozenset[int]]:
    """Return the numbers of the classes of each kind."""
    text = _KINDS.read_text()
    listed = tomllib.loads(text)
    classes_of = table.words
    kinds = {}
    for kind, words in listed.items():
        classes: set[int] = set()
        for word in words:
            numbers = classes_of[word]
            classes.update(numbers)
        frozen_classes = frozenset(classes)
        kinds[kind] = frozen_classes
    return kinds


def _list_candidates(
    names: Sequence[str], kinds: Mapping[str, frozenset[int]]
) -> list[_Candidate]:
    """Return the kinds, then the classes."""
    candidates = []
    for kind, classes in kinds.items():
        is_broad = _contains_another(classes, kinds)
        candidate = _Candidate(kind, classes, is_broad)
        candidates.append(candidate)
    for number, name in enumerate(names):
        candidate = _Candidate(name, frozenset([number]), is_broad=False)
        candidates.append(candidate)
    return candidates


def _contains_another(
    classes: frozenset[int], kinds: Mapping[str, frozenset[int]]
) -> bool:
    """Return whether another kind has some of the classes of a kind, and no others."""
    all_classes = kinds.values()
    return any(others < classes for others in all_classes)
