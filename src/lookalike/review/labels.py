"""Doubtful labels: images whose vectors fit another label better.

Two predictions that leave the image out are averaged: the labels of its nearest images, and a
ridge regression on the principal components. Each gives every label a value from 0 to 1. The score
of an image is the largest value of another label minus that of its own.

References
----------
Wilson: Asymptotic properties of nearest neighbor rules using edited data, 1972 (labels that the
nearest neighbors reject).
Allen: The relationship between variable selection and data augmentation and a method for
prediction, 1974 (the leave-one-out residuals of ridge regression).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lookalike.review.results import DoubtfulLabel, DoubtfulLabels
from lookalike.review.rows import MIN_COMPARED_ROWS, NO_LABEL, LabelCodes, ReviewedRows
from lookalike.types import Places, VectorsF32
from lookalike.vectors.neighbors import NeighborGraph

__all__ = ["VOTERS", "find_doubtful_labels"]

# The most nearest images that vote.
VOTERS = 20
# An image of a rare label has fewer voters, or its own label could never win. At least as many
# have to agree on another label.
_LEAST_VOTERS = 3
# A label is doubtful above this score.
_LEAST_SCORE = 0.4
# The penalty of the ridge regression. Components of unit vectors need little.
_PENALTY = 1.0
# Rows whose values are computed at a time, and the most values: each array of them takes 32 MB.
_CHECKED_AT_A_TIME = 1 << 12
_VALUES_AT_A_TIME = 1 << 22

_LabelValues = npt.NDArray[np.float64]


def find_doubtful_labels(
    rows: ReviewedRows, graph: NeighborGraph, components: VectorsF32
) -> DoubtfulLabels:
    """Return the rows whose label fits worse than another one.

    Parameters
    ----------
    rows
        The rows. Those without a label neither vote nor are checked.
    graph
        The nearest rows of each row.
    components
        float32 ``[n, c]``, their principal components.
    """
    labels = rows.label_codes
    has_label = labels.codes != NO_LABEL
    labeled = np.flatnonzero(has_label)
    checked = 0
    images: list[DoubtfulLabel] = []
    if len(labels.names) > 1 and len(rows) >= MIN_COMPARED_ROWS:
        checked = len(labeled)
        step = _rows_at_a_time(labels)
        neighbors = _Voters(labels, graph)
        labeled_codes = labels.codes[labeled]
        ridge = _Ridge(components[labeled], labeled_codes)
        for first in range(0, checked, step):
            last = first + step
            part = slice(first, last)
            block = _Block(
                labeled[part],
                labeled_codes[part],
                votes=neighbors.count(labeled[part]),
                fits=ridge.predict(part),
            )
            doubtful = block.doubtful(rows)
            images.extend(doubtful)
    images.sort(key=_most_doubtful_first)
    return DoubtfulLabels(images=tuple(images), threshold=_LEAST_SCORE, checked=checked)


def _rows_at_a_time(labels: LabelCodes) -> int:
    """Return the number of rows whose values, one for each label, fit into memory."""
    label_count = len(labels.names)
    affordable = _VALUES_AT_A_TIME // label_count
    at_least_one = max(1, affordable)
    return min(_CHECKED_AT_A_TIME, at_least_one)


def _most_doubtful_first(image: DoubtfulLabel) -> tuple[float, int]:
    return -image.score, image.id


class _Block:
    """Some labeled rows.

    Parameters
    ----------
    places, codes
        intp ``[b]`` each, the rows and their labels.
    votes
        float64 ``[b, labels]``, the votes of the nearest rows for each label.
    fits
        float64 ``[b, labels]``, the value of each label by the regression.
    """

    def __init__(
        self, places: Places, codes: Places, *, votes: _LabelValues, fits: _LabelValues
    ) -> None:
        self._places = places
        self._totals = votes.sum(axis=1, keepdims=True)
        # Where nobody votes, all shares are 0.
        divisors = np.maximum(self._totals, 1)
        values = votes / divisors
        values += fits
        values /= 2

        # The best other label, and how much better than the own one it is.
        count = len(places)
        every = np.arange(count)
        own = values[every, codes]
        values[every, codes] = -np.inf
        best = values.argmax(axis=1)
        self._best = best
        self._agreeing = votes[every, best]
        self._scores = values[every, best] - own

    def doubtful(self, rows: ReviewedRows) -> list[DoubtfulLabel]:
        """Return the rows whose label is doubtful."""
        names = rows.label_codes.names
        is_doubtful = self._scores > _LEAST_SCORE
        is_doubtful &= self._agreeing >= _LEAST_VOTERS
        found = []
        for number in np.flatnonzero(is_doubtful):
            place = self._places[number]
            best = self._best[number]
            score = self._scores[number]
            agreeing = self._agreeing[number]
            neighbors = self._totals[number, 0]
            image = rows.image(place)
            label = DoubtfulLabel(
                id=image.id,
                uri=image.uri,
                label=image.label,
                suggested=names[best],
                score=float(score),
                agreeing=int(agreeing),
                neighbors=int(neighbors),
            )
            found.append(label)
        return found


class _Voters:
    """The nearest labeled rows of each row."""

    def __init__(self, labels: LabelCodes, graph: NeighborGraph) -> None:
        codes = labels.codes
        self._codes = codes
        self._neighbors = graph.places
        has_label = codes != NO_LABEL
        label_count = len(labels.names)
        self._sizes = np.bincount(codes[has_label], minlength=label_count)

    def count(self, places: Places) -> _LabelValues:
        """Return the votes for each label, float64 ``[b, labels]``."""
        neighbors = self._neighbors[places]
        codes = self._codes[neighbors]
        can_vote = codes != NO_LABEL

        # As many voters as there are other images of the row's own label.
        own_codes = self._codes[places]
        other_images = self._sizes[own_codes] - 1
        most = np.clip(other_images, _LEAST_VOTERS, VOTERS)
        rank = np.cumsum(can_vote, axis=1)
        can_vote &= rank <= most[:, np.newaxis]

        # One cell for each row and label.
        count = len(places)
        label_count = len(self._sizes)
        numbers, columns = np.nonzero(can_vote)
        cells = numbers * label_count
        cells += codes[numbers, columns]
        votes = np.bincount(cells, minlength=count * label_count)
        as_floats = votes.astype(np.float64)
        return as_floats.reshape(count, label_count)


class _Ridge:
    """A ridge regression of the labels that leaves the row it predicts out.

    With X the components and a column of ones, Y the labels as columns of 0 and 1, and H the matrix
    that maps Y to the fitted values, the value without the row itself is
    ``(fitted - h y) / (1 - h)``, h its element on the diagonal of H.

    Parameters
    ----------
    components
        float32 ``[m, c]``, of the labeled rows.
    codes
        intp ``[m]``, their labels.
    """

    def __init__(self, components: VectorsF32, codes: Places) -> None:
        count, width = components.shape
        ones = np.ones((count, 1))
        self._codes = codes
        self._x = np.hstack([components, ones])
        x = self._x
        products = x.T @ x
        penalty = _PENALTY * np.eye(width + 1)
        self._inverse = np.linalg.inv(products + penalty)

        # X'Y is the sum of the rows of each label.
        label_count = codes.max() + 1
        shape = label_count, width + 1
        sums = np.zeros(shape)
        np.add.at(sums, codes, x)
        self._weights = self._inverse @ sums.T

    def predict(self, part: slice) -> _LabelValues:
        """Return the value of each label, 0 to 1, of some labeled rows, ``[b, labels]``."""
        x = self._x[part]
        codes = self._codes[part]
        values: _LabelValues = x @ self._weights
        leverage_rows = x @ self._inverse
        leverage_rows *= x
        diagonal = leverage_rows.sum(axis=1)
        count = len(x)
        every = np.arange(count)
        values[every, codes] -= diagonal
        column = diagonal[:, np.newaxis]
        values /= 1 - column
        np.clip(values, 0, 1, out=values)
        return values
