"""Clusters: images that lie close together, by HDBSCAN or k-means.

References
----------
Campello, Moulavi, Sander: Density-based clustering based on hierarchical density estimates, PAKDD
2013 (HDBSCAN).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable

import numpy as np

from lookalike.review.components import draw_places
from lookalike.review.results import Cluster, Clusters, ReviewImage
from lookalike.review.rows import MIN_COMPARED_ROWS, ReviewedRows
from lookalike.types import Places, VectorsF32
from lookalike.vectors import k_nearest

__all__ = ["assign_clusters", "find_clusters"]

# In more dimensions all distances are alike.
_DIMENSIONS = 24
# A cluster has at least as many rows, and in a large collection at least this share of them.
_MIN_ROWS = 5
_MIN_SHARE = 0.001
# The rows by which HDBSCAN measures density.
_DENSITY_ROWS = 5
# HDBSCAN takes time by the square of the rows. In larger collections it clusters as many drawn
# rows, and every other row joins the nearest of them.
_MOST_ROWS = 20_000
# Rows within this distance of each other are copies.
_COPY_DISTANCE = 1e-3
_STARTS = 4
_UNCLUSTERED = -1
# A cluster is named after the labels of this share of its labeled images, two at most.
_NAMED_SHARE = 0.5


def find_clusters(
    rows: ReviewedRows,
    components: VectorsF32,
    count: int | None,
    random: np.random.Generator,
) -> Clusters:
    """Return the clusters of rows, the largest first.

    Parameters
    ----------
    rows
        The rows.
    components
        float32 ``[n, c]``, their principal components.
    count
        The number of clusters; None finds it.
    random
        Draws the rows of a large collection that are clustered.
    """
    components = components[:, :_DIMENSIONS]
    numbers = assign_clusters(components, count, random)
    members = []
    for member_places in _split_clusters(numbers):
        places = _most_central_first(member_places, components)
        members.append(places)
    members.sort(key=len, reverse=True)
    is_unclustered = numbers == _UNCLUSTERED
    unclustered = np.flatnonzero(is_unclustered)
    unclustered_images = rows.images(unclustered)
    groups = _named(rows, members)
    return Clusters(
        groups=groups,
        unclustered=unclustered_images,
        method="hdbscan" if count is None else "kmeans",
    )


def assign_clusters(
    components: VectorsF32, count: int | None, random: np.random.Generator
) -> Places:
    """Return the number of each row's cluster, intp ``[n]``; -1 for rows of none."""
    if count is not None:
        return _by_means(components, count)
    row_count = len(components)
    if row_count < MIN_COMPARED_ROWS:
        return np.full(row_count, _UNCLUSTERED)
    extents = np.ptp(components, axis=0)
    if extents.max() < _COPY_DISTANCE:
        # Copies of one image.
        return np.zeros(row_count, np.intp)

    drawn = draw_places(row_count, _MOST_ROWS, random)
    numbers = _by_density(components[drawn])
    if len(drawn) == row_count:
        return numbers

    # Every row joins the nearest drawn row: a drawn one joins itself.
    nearest, _ = k_nearest(components, components[drawn], k=1)
    first_column = nearest[:, 0]
    return numbers[first_column]


def _split_clusters(numbers: Places) -> list[Places]:
    """Return the places of each cluster, ascending."""
    order = np.argsort(numbers, kind="stable")
    in_order = numbers[order]
    # Rows of no cluster come first.
    clusters = np.arange(numbers.max() + 1)
    starts = np.searchsorted(in_order, clusters)
    parts = np.split(order, starts)
    return parts[1:]


def _by_density(components: VectorsF32) -> Places:
    """Return the clusters that HDBSCAN finds."""
    from sklearn.cluster import HDBSCAN

    row_count = len(components)
    share = round(_MIN_SHARE * row_count)
    smallest_cluster = max(_MIN_ROWS, share)
    clusterer = HDBSCAN(
        min_cluster_size=smallest_cluster, min_samples=_DENSITY_ROWS, copy=True
    )
    # Copies have a distance of 0 to each other, and so an infinite density.
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers = clusterer.fit_predict(components)
    return np.array(numbers, np.intp)


def _by_means(components: VectorsF32, count: int) -> Places:
    """Return the clusters that k-means finds; fewer than `count` if fewer rows differ."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    clusterer = KMeans(count, n_init=_STARTS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        numbers = clusterer.fit_predict(components)
    # Without gaps.
    _, places = np.unique(numbers, return_inverse=True)
    return places


def _most_central_first(places: Places, components: VectorsF32) -> Places:
    """Return the places of a cluster by their distance to its mean."""
    members = components[places]
    mean = members.mean(axis=0)
    differences = members - mean
    distances = np.linalg.norm(differences, axis=1)
    order = np.argsort(distances, kind="stable")
    return places[order]


def _named(rows: ReviewedRows, members: list[Places]) -> tuple[Cluster, ...]:
    """Return clusters with names, from the places of their rows."""
    names = []
    for number, places in enumerate(members, 1):
        name = _name(rows, places)
        if name is None:
            name = f"cluster {number}"
        names.append(name)

    # The clusters of one name are numbered.
    totals = Counter(names)
    numbers: Counter[str] = Counter()
    clusters = []
    for name, places in zip(names, members, strict=True):
        numbers[name] += 1
        unique_name = name
        if totals[name] > 1:
            unique_name = f"{name} {numbers[name]}"
        images = rows.images(places)
        label, share = _majority(images)
        cluster = Cluster(unique_name, label, share, images)
        clusters.append(cluster)
    return tuple(clusters)


def _name(rows: ReviewedRows, places: Places) -> str | None:
    """Return the label of most images, or the two labels that most share; None otherwise.

    Where no image has a label, tags take their place. An image without a tag counts against them:
    the network did not know what it is.
    """
    of_images = [rows.names[place] for place in places]
    counts = _count_names(of_images)
    total = counts.total()
    if rows.names is rows.tags:
        total = len(places)
    named = 0
    names: list[str] = []
    for name, count in counts.most_common(2):
        named += count
        names.append(name)
        if named > _NAMED_SHARE * total:
            return " and ".join(names)
    return None


def _majority(images: tuple[ReviewImage, ...]) -> tuple[str | None, float | None]:
    """Return the most frequent label, and its share of the labeled images; None without labels."""
    labels = [image.label for image in images]
    counts = _count_names(labels)
    for label, count in counts.most_common(1):
        total = counts.total()
        return label, count / total
    return None, None


def _count_names(names: Iterable[str | None]) -> Counter[str]:
    """Return how often each name occurs, in the order of the alphabet."""
    present = [name for name in names if name is not None]
    present.sort()
    return Counter(present)
