"""The results of a review: clusters, outliers, doubtful labels and diverse images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = [
    "PARTS",
    "Cluster",
    "Clusters",
    "DiverseImage",
    "DiverseImages",
    "DoubtfulLabel",
    "DoubtfulLabels",
    "Outlier",
    "Outliers",
    "Review",
    "ReviewImage",
    "ReviewPart",
    "ReviewSettings",
]

ReviewPart = Literal["clusters", "outliers", "labels", "diverse"]
PARTS: tuple[ReviewPart, ...] = ("clusters", "outliers", "labels", "diverse")


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """What a review looks for.

    Attributes
    ----------
    parts
        Any of ``clusters``, ``outliers``, ``labels`` and ``diverse``.
    space
        The Space whose vectors are compared; None for the first.
    where
        A filter; only images that match it are reviewed. None for all.
    clusters
        The number of clusters; None finds it.
    outliers
        The number of outliers; None for those above the threshold.
    diverse
        The number of diverse images.
    """

    parts: Sequence[ReviewPart] = PARTS
    space: str | None = None
    where: str | None = None
    clusters: int | None = None
    outliers: int | None = None
    diverse: int = 20


@dataclass(frozen=True, slots=True)
class ReviewImage:
    """An image of a review.

    Attributes
    ----------
    id, uri
        The row's id, and its uri.
    label
        The label; None without one.
    """

    id: int
    uri: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Outlier(ReviewImage):
    """An image that is far from all others.

    Attributes
    ----------
    distance
        The Euclidean distance, 0 to 2, to its k-th nearest image.
    """

    distance: float


@dataclass(frozen=True, slots=True)
class DoubtfulLabel(ReviewImage):
    """An image whose label does not fit its vector.

    Attributes
    ----------
    suggested
        The label that fits best.
    score
        How much better it fits, from the threshold to 1.
    agreeing, neighbors
        Of so many nearest labeled images, the number that have the suggested label.
    """

    suggested: str
    score: float
    agreeing: int
    neighbors: int


@dataclass(frozen=True, slots=True)
class DiverseImage(ReviewImage):
    """One of the most diverse images.

    Attributes
    ----------
    distance
        The Euclidean distance, 0 to 2, to the nearest of those before it; None for the first.
    represents
        The number of images to which it is the nearest of all diverse images, itself included.
    """

    distance: float | None
    represents: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """Images that lie close together.

    Attributes
    ----------
    name
        The label of most of its labeled images, or the tag of most of its images where there are no
        labels. It is numbered where several clusters share it. Without either, ``cluster 3``.
    label, share
        The most frequent label, and its share of the labeled images; None without labels.
    images
        The images, the most central first.
    """

    name: str
    label: str | None
    share: float | None
    images: tuple[ReviewImage, ...]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters of a collection.

    Attributes
    ----------
    groups
        The clusters, the largest first.
    unclustered
        The images of no cluster.
    method
        ``hdbscan``, which finds the number of clusters, or ``kmeans`` with a given number.
    """

    groups: tuple[Cluster, ...]
    unclustered: tuple[ReviewImage, ...]
    method: Literal["hdbscan", "kmeans"]


@dataclass(frozen=True, slots=True)
class Outliers:
    """The images that are far from all others.

    Attributes
    ----------
    images
        Those above the threshold, or as many as were asked for, the farthest first.
    threshold
        The distance above which an image is an outlier.
    neighbor
        The number of the nearest image whose distance counts: the k of k-th.
    median
        The median of the distances of all images.
    """

    images: tuple[Outlier, ...]
    threshold: float
    neighbor: int
    median: float


@dataclass(frozen=True, slots=True)
class DoubtfulLabels:
    """The labels that do not fit.

    Attributes
    ----------
    images
        The images whose label is doubtful, the most doubtful first.
    threshold
        The score above which a label is doubtful.
    checked
        The number of labels that were checked; 0 with fewer than two different ones.
    """

    images: tuple[DoubtfulLabel, ...]
    threshold: float
    checked: int


@dataclass(frozen=True, slots=True)
class DiverseImages:
    """A few images that represent all.

    Attributes
    ----------
    images
        The images, in the order in which they were chosen. Any first part of them represents all
        images as well as so few chosen alike.
    radius, mean
        The largest and the mean distance, 0 to 2, of all images to the nearest diverse one.
    labels, all_labels
        The number of labels among them, and in all.
    """

    images: tuple[DiverseImage, ...]
    radius: float
    mean: float
    labels: int
    all_labels: int


@dataclass(frozen=True, slots=True)
class Review:
    """A review of a collection. Parts that were not asked for are None.

    Attributes
    ----------
    space
        The Space whose vectors were compared.
    version
        The version of the collection that was read.
    images
        The number of images that were reviewed.
    clusters, outliers, labels, diverse
        The parts.
    notes
        Sentences about what could not be reviewed.
    """

    space: str
    version: int
    images: int
    clusters: Clusters | None = None
    outliers: Outliers | None = None
    labels: DoubtfulLabels | None = None
    diverse: DiverseImages | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the review as plain data, as ``lookalike review --json`` prints it."""
        fields = asdict(self)
        fields["notes"] = list(self.notes)
        return fields

    def to_json(self) -> str:
        """Return the review as JSON."""
        fields = self.to_dict()
        return json.dumps(fields, allow_nan=False)
