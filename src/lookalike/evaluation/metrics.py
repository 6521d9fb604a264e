"""The metrics of a ranking, their bootstrap intervals, and the results of each class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lookalike.evaluation.scores import CUTS, METRICS, ClassScores, Confusion, Estimate
from lookalike.evaluation.task import EvaluationTask

__all__ = [
    "MEAN_CLASS_MAP",
    "bootstrap",
    "estimates",
    "measure",
    "most_confused",
    "scores_by_class",
    "weight_by_class",
]

Values = npt.NDArray[np.float64]
Classes = npt.NDArray[np.intp]

MEAN_CLASS_MAP = METRICS.index("mean_class_map")

_MOST_CONFUSED = 20


def measure(hits: npt.NDArray[np.bool_], relevant: Classes) -> Values:
    """Return the metrics of each query.

    Parameters
    ----------
    hits
        bool ``[b, n]``, whether each image of a query's ranking is relevant.
    relevant
        intp ``[b]``, the number of relevant images of each query, all of them in its ranking.

    Returns
    -------
    values
        float64 ``[b, len(METRICS)]``. The column of `mean_class_map` holds the average precision.
    """
    count = len(hits)
    # One entry for each relevant image: the row of its query, and its rank from 0.
    rows, ranks = np.nonzero(hits)

    # Its number among the relevant images of the query, from 1.
    entries = np.arange(len(rows))
    first_entries = np.cumsum(relevant) - relevant
    own_first_entries = np.repeat(first_entries, relevant)
    numbers = entries - own_first_entries + 1

    # The precision at the rank of each relevant image, and its mean for each query.
    positions = ranks + 1
    precisions = numbers / positions
    precision_sums = np.bincount(rows, precisions, minlength=count)
    average_precision = precision_sums / relevant

    # The share of relevant images among the first R, for a query with R relevant images.
    own_relevant = relevant[rows]
    is_early = ranks < own_relevant
    early_rows = rows[is_early]
    early_counts = np.bincount(early_rows, minlength=count)
    r_precision = early_counts / relevant

    # The relevant images among the first k.
    hit_counts = []
    for k in CUTS:
        first_hits = hits[:, :k]
        hit_count = first_hits.sum(axis=1)
        hit_counts.append(hit_count)
    within = np.stack(hit_counts, axis=1)
    precision_at = within / CUTS
    recall_at = within / relevant[:, np.newaxis]
    return np.column_stack(
        [average_precision, average_precision, r_precision, precision_at, recall_at]
    )


def weight_by_class(values: Values, classes: Classes) -> None:
    """Scale each query's share of `mean_class_map`, in place.

    The mean over the queries is then the mean of the means of the classes.
    """
    sizes = np.bincount(classes)
    class_count = np.count_nonzero(sizes)
    own_sizes = sizes[classes]
    weights = len(values) / (class_count * own_sizes)
    values[:, MEAN_CLASS_MAP] *= weights


def bootstrap(values: Values, classes: Classes, resamples: int, seed: int) -> Values:
    """Return the means of resampled queries.

    Queries are drawn with replacement; for `mean_class_map` within their class, so that each class
    keeps its size. The same draws serve every Space.

    Parameters
    ----------
    values
        float64 ``[queries, spaces, metrics]``.
    classes
        intp ``[queries]``.

    Returns
    -------
    means
        float64 ``[resamples, spaces, metrics]``.
    """
    count = len(values)
    rng = np.random.default_rng(seed)
    flat = values.reshape(count, -1)
    class_map = values[:, :, MEAN_CLASS_MAP]

    # The queries in the order of their classes, and the start and size of each one's class.
    by_class = np.argsort(classes, kind="stable")
    ordered = classes[by_class]
    starts = np.searchsorted(ordered, ordered)
    class_sizes = np.bincount(classes)
    sizes = class_sizes[ordered]

    means = np.empty((resamples, *values.shape[1:]))
    for sample in means:
        # Draw among all queries. The mean weights each query by the times that it was drawn.
        drawn = rng.integers(count, size=count)
        times = np.bincount(drawn, minlength=count)
        sums = times @ flat
        flat_means = sums / count
        sample[:] = flat_means.reshape(sample.shape)

        # Draw among the queries of each class.
        offsets = rng.integers(sizes)
        drawn_places = starts + offsets
        drawn = by_class[drawn_places]
        times = np.bincount(drawn, minlength=count)
        sums = times @ class_map
        sample[:, MEAN_CLASS_MAP] = sums / count
    return means


def estimates(values: Values, means: Values) -> dict[str, Estimate]:
    """Return the mean of each metric, and the 2.5th and 97.5th percentile of its resampled means.

    `values` is ``[queries, metrics]``, `means` is ``[resamples, metrics]``.
    """
    value = values.mean(axis=0).tolist()
    low, high = np.percentile(means, [2.5, 97.5], axis=0).tolist()
    by_metric = zip(METRICS, value, low, high, strict=True)
    found = {}
    for name, *estimate in by_metric:
        found[name] = Estimate(*estimate)
    return found


def scores_by_class(task: EvaluationTask, values: Values) -> dict[str, ClassScores]:
    """Return the mean scores of each class that has queries; `values` is ``[queries, metrics]``."""
    classes = task.query_classes
    queries = np.bincount(classes)
    means = []
    for name in ("map", "precision_at_1", "precision_at_10"):
        column = METRICS.index(name)
        metric = values[:, column]
        sums = np.bincount(classes, metric)
        with np.errstate(invalid="ignore"):
            # A class without queries has no mean.
            class_means = sums / queries
        means.append(class_means.tolist())

    scores = {}
    for number, query_count in enumerate(queries.tolist()):
        if query_count == 0:
            continue
        label = task.labels[number]
        own_means = [class_means[number] for class_means in means]
        scores[label] = ClassScores(query_count, *own_means)
    return scores


def most_confused(task: EvaluationTask, wrong: Classes) -> tuple[Confusion, ...]:
    """Return the pairs of classes that are confused most often, worst first.

    Parameters
    ----------
    wrong
        intp ``[queries, 10]``, the classes of the ten nearest of each query; -1 for its own class.
    """
    # A pair of classes as one number.
    label_count = len(task.labels)
    classes = task.query_classes
    own_classes = classes[:, np.newaxis]
    pair_numbers = own_classes * label_count + wrong
    is_wrong = wrong >= 0
    wrong_pairs = pair_numbers[is_wrong]
    pairs, times = np.unique(wrong_pairs, return_counts=True)

    # The share of all the neighbors of a class's queries that the other class takes.
    query_counts = np.bincount(classes)
    own_numbers = pairs // label_count
    own_counts = query_counts[own_numbers]
    _, neighbors = wrong.shape
    shares = times / (own_counts * neighbors)
    worst_first = np.lexsort((pairs, -shares))

    confusions = []
    for place in worst_first[:_MOST_CONFUSED]:
        pair = int(pairs[place])
        share = float(shares[place])
        own, other = divmod(pair, label_count)
        own_label = task.labels[own]
        other_label = task.labels[other]
        confusion = Confusion(own_label, other_label, share)
        confusions.append(confusion)
    return tuple(confusions)
