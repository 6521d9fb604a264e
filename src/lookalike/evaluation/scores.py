"""The results of an evaluation: the scores of every Space on the same queries, with intervals."""

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

    def __str__(self) -> str:
        interval = f"[{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f} {interval}"


class ClassScores(NamedTuple):
    """The mean scores of the queries of one class."""

    queries: int
    map: float
    precision_at_1: float
    precision_at_10: float


class Confusion(NamedTuple):
    """The share, 0 to 1, of the ten nearest to queries of one class that belong to another."""

    label: str
    taken_for: str
    share: float


@dataclass(frozen=True, slots=True)
class SpaceScores:
    """The scores of one Space by one ranking.

    Attributes
    ----------
    space, ranking
        The name of the Space, and of the ranking of its images.
    metrics
        The estimate of each of `METRICS`.
    differences
        The estimate of each difference to the first scores; empty for these themselves.
    classes
        The scores of every class that has queries, by label.
    confused
        The pairs of classes that are confused most often, worst first.
    """

    space: str
    ranking: str
    metrics: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    classes: Mapping[str, ClassScores]
    confused: tuple[Confusion, ...]

    @property
    def title(self) -> str:
        """The name of the Space, followed by that of any ranking but the plain one."""
        if self.ranking == "plain":
            return self.space
        return f"{self.space}, {self.ranking}"

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain data."""
        values = {name: estimate.value for name, estimate in self.metrics.items()}
        intervals = {}
        for name, (_, low, high) in self.metrics.items():
            intervals[name] = [low, high]
        differences = {}
        for name, (value, low, high) in self.differences.items():
            differences[name] = {"value": value, "interval": [low, high]}
        classes = {}
        for label, scores in self.classes.items():
            classes[label] = {
                "queries": scores.queries,
                "map": scores.map,
                "precision_at": {
                    "1": scores.precision_at_1,
                    "10": scores.precision_at_10,
                },
            }
        precision_at = {}
        recall_at = {}
        for k in CUTS:
            precision_at[str(k)] = values[f"precision_at_{k}"]
            recall_at[str(k)] = values[f"recall_at_{k}"]
        return {
            "map": values["map"],
            "mean_class_map": values["mean_class_map"],
            "r_precision": values["r_precision"],
            "precision_at": precision_at,
            "recall_at": recall_at,
            "classes": classes,
            "intervals": intervals,
            "differences": differences,
            "confused": [pair._asdict() for pair in self.confused],
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of images by their role.

    Attributes
    ----------
    queries, gallery
        Images that were queries, and images that each was compared with (in leave-one-out, the
        query itself is counted too).
    skipped
        Images that were not queries because the gallery has no other image of their class.
    unlabelled
        Images without a label, which were neither query nor gallery.
    left_out
        Labeled images that lack a vector in one of the Spaces.
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
    """The scores of several Spaces and rankings on the same queries.

    Attributes
    ----------
    spaces
        One or more, in the requested order; of each Space, one for each ranking.
    counts
        The number of images by their role, the same for all Spaces.
    leave_one_out
        Whether each image was compared with all the others, or a manifest's test images with its
        train images.
    seed, resamples
        The seed of the bootstrap and its number of resamples.
    """

    spaces: tuple[SpaceScores, ...]
    counts: Counts
    leave_one_out: bool
    seed: int
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain data, as ``lookalike evaluate --json`` prints it.

        The entry of each Space is complete: it repeats the counts, which are the same for all.
        """
        counts = asdict(self.counts)
        sizes = {name: counts.pop(name) for name in ("queries", "gallery")}
        spaces = []
        for scores in self.spaces:
            names = {"space": scores.space, "ranking": scores.ranking}
            entry = {**names, **sizes, **scores.to_dict(), **counts}
            spaces.append(entry)
        return {
            "spaces": spaces,
            "leave_one_out": self.leave_one_out,
            "seed": self.seed,
            "resamples": self.resamples,
        }
