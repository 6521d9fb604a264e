"""What an evaluation gives: every Space's scores on the same queries, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

__all__ = [
    "CUTS",
    "METRICS",
    "TITLES",
    "ClassScores",
    "Confusion",
    "Counts",
    "Estimate",
    "Evaluation",
    "SpaceScores",
]

CUTS = (1, 5, 10)
TITLES = {
    "map": "mAP",
    "mean_class_map": "mean of class mAPs",
    "r_precision": "R-precision",
    **{f"precision_at_{k}": f"precision@{k}" for k in CUTS},
    **{f"recall_at_{k}": f"recall@{k}" for k in CUTS},
}
METRICS = tuple(TITLES)


class Estimate(NamedTuple):
    """A mean over the queries, and its bootstrap 95 % interval."""

    value: float
    low: float
    high: float


class ClassScores(NamedTuple):
    """What the queries of one class scored."""

    queries: int
    map: float
    precision_at_1: float
    precision_at_10: float


class Confusion(NamedTuple):
    """The share, 0 to 1, of the ten nearest to the queries of one class that another class takes."""

    label: str
    taken_for: str
    share: float


@dataclass(frozen=True, slots=True)
class SpaceScores:
    """What one Space scored.

    Attributes
    ----------
    space
        Its name.
    metrics
        The estimate of each of `METRICS`.
    differences
        The same of what this Space has more than the first; empty for the first itself.
    classes
        By label, for every class that has queries.
    confused
        The pairs of classes that are most often confused, worst first.
    """

    space: str
    metrics: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    classes: Mapping[str, ClassScores]
    confused: tuple[Confusion, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain data."""
        values = {name: estimate.value for name, estimate in self.metrics.items()}
        return {
            **{name: values[name] for name in ("map", "mean_class_map", "r_precision")},
            **{
                what: {str(k): values[f"{what}_{k}"] for k in CUTS}
                for what in ("precision_at", "recall_at")
            },
            "classes": {
                label: {"queries": queries, "map": mean, "precision_at": {"1": first, "10": tenth}}
                for label, (queries, mean, first, tenth) in self.classes.items()
            },
            "intervals": {name: [low, high] for name, (_, low, high) in self.metrics.items()},
            "differences": {
                name: {"value": value, "interval": [low, high]}
                for name, (value, low, high) in self.differences.items()
            },
            "confused": [pair._asdict() for pair in self.confused],
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """What was compared, and what was not.

    Attributes
    ----------
    queries, gallery
        Images that were queries, and images that they were compared with (in leave-one-out, all but the query).
    skipped
        Images that were no query, because the gallery has no other of their class.
    unlabelled
        Images without a label: neither query nor gallery.
    left_out
        Labelled images that lack a vector in one of the Spaces.
    absent
        Images that the manifest names and the collection does not hold.
    """

    queries: int
    gallery: int
    skipped: int
    unlabelled: int
    left_out: int
    absent: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Several Spaces' scores on the same queries.

    Attributes
    ----------
    spaces
        One or more, in the order asked for.
    counts
        What was compared, the same for all.
    leave_one_out
        Whether each image was compared with all the others, or a manifest's test images with its train images.
    seed, resamples
        Of the bootstrap.
    """

    spaces: tuple[SpaceScores, ...]
    counts: Counts
    leave_one_out: bool
    seed: int
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain data: what ``lookalike evaluate --json`` prints.

        Each Space's entry stands by itself: the counts, though the same for all, are in each.
        """
        counts = asdict(self.counts)
        sizes = {name: counts.pop(name) for name in ("queries", "gallery")}
        spaces = [
            {"space": scores.space, **sizes, **scores.to_dict(), **counts} for scores in self.spaces
        ]
        return {
            "spaces": spaces,
            "leave_one_out": self.leave_one_out,
            "seed": self.seed,
            "resamples": self.resamples,
        }
