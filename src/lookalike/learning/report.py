"""The results of `lookalike tune`: what was learned from, the measured gains and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lookalike.evaluation.scores import Estimate
from lookalike.types import Purpose

__all__ = ["Gains", "TuneReport"]

_ESTIMATE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Gains:
    """The scores of one kind of queries, whose images or labels were not learned from.

    Attributes
    ----------
    queries, labels
        The number of queries, and of their labels.
    plain, centered, tuned
        The mean of the labels' mAPs in the base Space, in the base Space ranked ``centered``, and
        in the tuned Space, each with a 95 % interval.
    gain
        The difference of `tuned` to `plain`.
    precision_gain
        The same difference of precision@1.
    """

    queries: int
    labels: int
    plain: Estimate
    centered: Estimate
    tuned: Estimate
    gain: Estimate
    precision_gain: Estimate

    @property
    def is_better(self) -> bool:
        """Whether the whole interval of the gain is above 0."""
        return self.gain.low > 0

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval of the gain is below 0."""
        return self.gain.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain data; an estimate is its value and its interval."""
        data: dict[str, Any] = {"queries": self.queries, "labels": self.labels}
        for name in ("plain", "centered", "tuned", "gain", "precision_gain"):
            estimate: Estimate = getattr(self, name)
            value, low, high = (round(number, _ESTIMATE_DIGITS) for number in estimate)
            data[name] = {"value": value, "interval": [low, high]}
        return data


@dataclass(frozen=True, slots=True)
class TuneReport:
    """The outcome of `lookalike.learning.tune.tune_space`.

    Attributes
    ----------
    space, base
        The name of the tuned Space, and of the Space that it is computed from.
    purpose
        ``these-classes`` or ``anything``.
    labels
        The number of images of each label that was learned from.
    images
        The number of these images.
    new_images
        The gains for images that were not learned from, of labels that were; None if an earlier run
        had measured them.
    new_labels
        The gains for images of labels that were not learned from; None with two labels, too.
    is_stored
        Whether the Space is in the collection. It is refused where the gains do not show that it is
        better.
    filled
        The number of vectors that were computed.
    verdict
        One sentence: what the Space is good for, or why it was refused.
    seed, seconds
        The seed of everything drawn at random, and the duration.
    """

    space: str
    base: str
    purpose: Purpose
    labels: Mapping[str, int]
    images: int
    new_images: Gains | None
    new_labels: Gains | None
    is_stored: bool
    filled: int
    verdict: str
    seed: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``lookalike tune --json`` prints it."""
        fields = asdict(self)
        del fields["is_stored"]
        for name in ("new_images", "new_labels"):
            gains: Gains | None = getattr(self, name)
            fields[name] = None if gains is None else gains.to_dict()
        return {"stored": self.is_stored, **fields}
