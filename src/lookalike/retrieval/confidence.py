"""How sure an answer is: the conformal p-value of the distance of a match.

A calibration holds, for a sample of the rows of a Space, the distance of each to its nearest other
row. The confidence of a match is the share of these distances that are at least as large as its
own: ``p = (1 + number of distances >= d) / (n + 1)``. If the query is drawn as the rows were, its
nearest row has a confidence below P in at most a share P of all cases, whatever the distances look
like.

References
----------
Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005, chapter 2.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lookalike.errors import InputError
from lookalike.retrieval.query import WeightedQuery
from lookalike.store import calibrations
from lookalike.store.schema import vector_clause
from lookalike.store.view import View
from lookalike.types import (
    MIN_CONFIDENCE,
    AnswerConfidence,
    Distances,
    Neighbors,
    Places,
)

__all__ = [
    "IMAGE",
    "LEAST_DISTANCES",
    "CalibrationState",
    "LabelRate",
    "Rate",
    "SpaceCalibration",
    "StoredCalibrations",
    "calibration_state",
    "conformal",
    "count_changes",
    "cut",
    "keep_places",
    "parse_calibration",
    "read_calibration",
]

# The kind of query that a calibration is for. A query by words lies at other distances.
IMAGE = "image"
# With fewer, no confidence can be below the threshold: 1 / (33 + 1) < 0.03.
LEAST_DISTANCES = 33
# A calibration is used until this share of its rows was added or removed.
_USABLE_CHANGE = 0.5
# A collection that answers more of the images of absent kinds cannot tell them from its own.
_MAX_ABSENT = 0.5


class Rate(NamedTuple):
    """A share of queries, and its bootstrap 95 % interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Return the share and its interval as plain data."""
        interval = [self.low, self.high]
        return {"value": self.value, "interval": interval}


class LabelRate(NamedTuple):
    """How often the images of a label are answered while its rows are held out.

    Attributes
    ----------
    label
        The label.
    images
        The number of queries.
    answered
        The share of them with a match of at least the default confidence: false answers.
    match
        The label of most of these matches; None without an answer, or if it is not known.
    """

    label: str
    images: int
    answered: float
    match: str | None


@dataclass(frozen=True, slots=True, eq=False)
class SpaceCalibration:
    """The distances of rows of a Space to their nearest other row, and what they can tell.

    Attributes
    ----------
    kind
        The kind of query that it is for, ``image``.
    space
        The name of the Space.
    version, rows, last_id
        The version of the table that was measured, its number of rows with a vector, and the
        largest of their ids.
    distances
        float32 ``[n]``, ascending: of all rows, or of a sample.
    kept
        The share of held-out images of the collection that are answered at the default confidence.
    absent
        The same for images of a label whose rows are held out, as the mean over labels. None
        without two labels.
    labels
        These rates by label, the highest first; of many labels, a sample.
    seconds
        The time that the measurement took.
    """

    kind: str
    space: str
    version: int
    rows: int
    last_id: int
    distances: Distances
    kept: Rate
    absent: Rate | None
    labels: tuple[LabelRate, ...]
    seconds: float

    @property
    def is_valid(self) -> bool:
        """Whether its distances are such as a measurement has."""
        values = self.distances
        if len(values) < LEAST_DISTANCES:
            return False
        steps = np.diff(values)
        is_ascending = np.all(steps >= 0)
        is_finite = np.isfinite(values)
        smallest = values[0]
        return bool(is_ascending and is_finite.all() and smallest >= 0)

    @property
    def can_tell(self) -> bool | None:
        """Whether images of other kinds are mostly left unanswered; None if that is unknown."""
        if self.absent is None:
            return None
        return self.absent.value <= _MAX_ABSENT

    @property
    def limit(self) -> float:
        """The largest distance of a match of at least the default confidence."""
        values = self.distances
        confidences = self.confidences(values)
        is_alike = confidences >= MIN_CONFIDENCE
        alike = values[is_alike]
        largest = alike.max(initial=0.0)
        return float(largest)

    def confidences(self, distances: Distances) -> Distances:
        """Return the confidence of each distance of a match, float64 ``[k]`` in (0, 1]."""
        calibrated = self.distances
        return conformal(calibrated, distances)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the distances as plain data."""
        fields = asdict(replace(self, distances=np.empty(0)))
        fields["distances"] = len(self.distances)
        fields["limit"] = self.limit
        fields["can_tell"] = self.can_tell
        fields["kept"] = self.kept.to_dict()
        if self.absent is not None:
            fields["absent"] = self.absent.to_dict()
        fields["labels"] = [rate._asdict() for rate in self.labels]
        return fields

    def to_json(self) -> str:
        """Return the text that the table stores."""
        # The distances are written as text of their bytes.
        empty = np.empty(0)
        others = replace(self, distances=empty)
        fields = asdict(others)
        values = self.distances.astype("<f4")
        encoded = base64.b64encode(values.tobytes())
        fields["distances"] = encoded.decode()
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> SpaceCalibration:
        """Parse the text of `to_json`.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is incomplete.
        """
        fields = json.loads(text)
        encoded = fields["distances"]
        values = base64.b64decode(encoded)
        fields["distances"] = np.frombuffer(values, "<f4")

        kept = fields["kept"]
        fields["kept"] = Rate(*kept)
        absent = fields["absent"]
        if absent is not None:
            fields["absent"] = Rate(*absent)
        rates = fields["labels"]
        fields["labels"] = tuple(LabelRate(*rate) for rate in rates)
        return cls(**fields)


class CalibrationState(NamedTuple):
    """A calibration, and what has happened to the rows since.

    Attributes
    ----------
    calibration
        The calibration.
    added, removed
        The rows with a vector that were added and removed since it was measured.
    """

    calibration: SpaceCalibration
    added: int
    removed: int

    @property
    def change(self) -> float:
        """The share of rows that were added or removed, of those that were measured."""
        changed = self.added + self.removed
        calibration = self.calibration
        return changed / calibration.rows

    @property
    def is_usable(self) -> bool:
        """Whether it still describes the collection."""
        change = self.change
        return change <= _USABLE_CHANGE

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration and its state as plain data."""
        return {
            **self.calibration.to_dict(),
            "added": self.added,
            "removed": self.removed,
            "usable": self.is_usable,
        }


def conformal(calibrated: Distances, distances: Distances) -> Distances:
    """Return the conformal p-value of each distance.

    Parameters
    ----------
    calibrated
        ``[n]``, ascending.
    distances
        ``[k]``.

    Returns
    -------
    confidences
        float64 ``[k]``, the share of the calibrated distances that are at least as large, where the
        distance itself counts as one more; 1 for a distance of 0.
    """
    # Rounded alike: a row that is measured again is as far as it was.
    given = np.asarray(distances)
    rounded = given.astype(np.float32)
    known = calibrated.astype(np.float32, copy=False)
    smaller = np.searchsorted(known, rounded, side="left")
    count = len(known)
    at_least_as_far = count - smaller
    confidences: Distances = (1 + at_least_as_far) / (count + 1)
    return confidences


def read_calibration(
    view: View, space: str, kind: str = IMAGE
) -> SpaceCalibration | None:
    """Return the stored calibration of a Space, outdated or not; None without one."""
    text = calibrations.read_text(view, space, kind)
    if text is None:
        return None
    # A text that a newer version wrote counts as none.
    return parse_calibration(text)


def parse_calibration(text: str) -> SpaceCalibration | None:
    """Return the calibration of a stored text, or None if it is damaged."""
    try:
        calibration = SpaceCalibration.from_json(text)
    except (ValueError, TypeError, KeyError):
        return None
    if not calibration.is_valid:
        return None
    return calibration


def calibration_state(
    view: View, space: str, kind: str = IMAGE
) -> CalibrationState | None:
    """Return the stored calibration of a Space, and the rows that have changed since; or None."""
    calibration = read_calibration(view, space, kind)
    if calibration is None:
        return None
    rows = calibration.rows
    last_id = calibration.last_id
    added, removed = count_changes(view, space, rows, last_id)
    return CalibrationState(calibration, added, removed)


def count_changes(
    view: View, space: str, known_rows: int, last_id: int
) -> tuple[int, int]:
    """Return how many rows with a vector were added and removed since a measurement.

    Parameters
    ----------
    view, space
        The Space.
    known_rows, last_id
        The number of its rows then, and the largest of their ids.
    """
    has_vector = vector_clause(space)
    rows = view.count_where(has_vector)
    # Ids of new rows are larger than all before.
    is_new = f"{has_vector} AND _rowid > {last_id}"
    added = view.count_where(is_new)
    difference = known_rows + added - rows
    removed = max(0, difference)
    return added, removed


class StoredCalibrations:
    """The calibration of a Space, read on first use and again for each new version.

    Parameters
    ----------
    view
        The collection's table.
    space
        The name of the Space.
    """

    def __init__(self, view: View, space: str) -> None:
        self._view = view
        self._space = space
        # One object, so that another thread never sees a state with the wrong version.
        self._known: tuple[int, CalibrationState | None] | None = None

    @property
    def are_read(self) -> bool:
        """Whether the calibration of the newest version is in memory."""
        known = self._known
        return known is not None and known[0] == self._view.version

    def current(self, queries: Sequence[WeightedQuery]) -> CalibrationState | None:
        """Return the calibration for a search by some queries; None without a usable one.

        A mean of several vectors lies at other distances than an image does, so a search by several
        examples has none.
        """
        if len(queries) != 1:
            return None
        kind = _query_kind(queries[0])
        if kind != IMAGE:
            return None
        state = self._read()
        if state is None or not state.is_usable:
            return None
        return state

    def require(self, queries: Sequence[WeightedQuery]) -> CalibrationState:
        """Return the calibration for a search that asks for a confidence.

        Raises
        ------
        InputError
            If there is none.
        """
        state = self.current(queries)
        if state is not None:
            return state
        path = self._view.path
        if len(queries) != 1:
            raise InputError(
                f"min_confidence was given with a search by {len(queries)} examples. Only the "
                "matches of one example have a confidence. Search by one, or leave out "
                "min_confidence."
            )
        reason = "has no calibration"
        if self._read() is not None:
            reason = "has changed by more than half since its calibration"
        raise InputError(
            f"min_confidence was given, but the Space {self._space!r} of {path} {reason}. "
            f"Run: lookalike calibrate -c {path}"
        )

    def _read(self) -> CalibrationState | None:
        version = self._view.version
        known = self._known
        if known is None or known[0] != version:
            state = calibration_state(self._view, self._space)
            known = (version, state)
            self._known = known
        return known[1]


def _query_kind(weighted: WeightedQuery) -> str:
    """Return the kind of a query: that which its class names, or else an image."""
    query = weighted.query
    return getattr(query, "kind", IMAGE)


def cut(
    found: Neighbors,
    distances: Distances,
    state: CalibrationState,
    min_confidence: float,
) -> Neighbors:
    """Return the matches of at least a confidence, with the confidence of each and of the answer.

    Parameters
    ----------
    found
        The matches, best first.
    distances
        float64 ``[k]``, their plain distances to the query.
    state
        The calibration.
    min_confidence
        The smallest confidence of a match; 0 keeps all.
    """
    calibration = state.calibration
    confidences = calibration.confidences(distances)
    is_alike = confidences >= min_confidence
    places = np.flatnonzero(is_alike)
    answer = AnswerConfidence(
        confidence=float(confidences.max(initial=0.0)),
        nearest=float(distances.min()) if len(distances) else None,
        hidden=len(distances) - len(places),
        rows=calibration.rows,
        version=calibration.version,
        added=state.added,
        removed=state.removed,
    )
    if not answer.hidden:
        return found._replace(confidences=confidences, answer=answer)
    kept = keep_places(found, places, confidences)
    return kept._replace(answer=answer)


def keep_places(found: Neighbors, places: Places, confidences: Distances) -> Neighbors:
    """Return some of the matches, with their confidences out of those of all."""
    copies = found.copies
    return found._replace(
        ids=found.ids[places],
        distances=found.distances[places],
        copies=None if copies is None else copies[places],
        confidences=confidences[places],
    )
